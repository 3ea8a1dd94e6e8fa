/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of other network namespaces: the namespace of a socket is that of its maker. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>

#include "spawn.h"

struct wanted {
	int netns_fd;
	int domain;
	int type;
	int protocol;
	long fd;
};

/* The child: raw system calls only, its memory and its descriptors are the caller's (child.c). */
static int make_socket(void *argument)
{
	struct wanted *wanted = argument;

	wanted->fd = sys2(__NR_setns, wanted->netns_fd, CLONE_NEWNET);
	if (wanted->fd >= 0)
		wanted->fd = sys3(__NR_socket, wanted->domain, wanted->type | O_CLOEXEC,
				  wanted->protocol);
	return 0;
}

/* In a process of its own, so that no thread of the caller's has ever been elsewhere. */
int nsb_socket_in(int netns_fd, int domain, int type, int protocol)
{
	char stack[8192] __attribute__((aligned(16)));
	struct wanted wanted = { netns_fd, domain, type, protocol, -ECHILD };
	uint64_t mask;
	long pid;

	(void)sys_sigmask_all(&mask);
	pid = sys_clone2(CLONE_VM | CLONE_VFORK | CLONE_FILES, stack + sizeof stack, NULL,
			 make_socket, &wanted);
	(void)sys_sigmask(&mask);
	if (pid < 0)
		return (int)pid;
	reap_pid((int)pid);
	return (int)wanted.fd;
}
