/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of messages between a container's process and its makers, the wait for them, and sockets of
 * other network namespaces. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "spawn.h"

enum { BACKLOG = 4, RECEIVED_MAX = 8 };

/* Returns a socket, or a negative errno, and the address of a path. */
static int message_socket(const char *path, int flags, struct sockaddr_un *ret)
{
	size_t length = strlen(path);
	int fd;

	if (length >= sizeof ret->sun_path)
		return -ENAMETOOLONG;
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret->sun_path, path, length);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0);
	return fd < 0 ? -errno : fd;
}

int nsb_listen(const char *path)
{
	struct sockaddr_un address;
	int fd = message_socket(path, SOCK_NONBLOCK, &address);

	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0) {
		int err = errno;

		close(fd);
		return -err;
	}
	return fd;
}

int nsb_connect(const char *path)
{
	struct sockaddr_un address;
	int fd = message_socket(path, 0, &address);

	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		int err = errno;

		close(fd);
		return -err;
	}
	return fd;
}

/* Returns the first descriptor, or -1. */
static int32_t take_descriptors(struct msghdr *message)
{
	struct cmsghdr *rights = CMSG_FIRSTHDR(message);
	int fds[RECEIVED_MAX];
	size_t n;

	if (!rights || rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS)
		return -1;
	n = (rights->cmsg_len - CMSG_LEN(0)) / sizeof *fds;
	memcpy(fds, CMSG_DATA(rights), n * sizeof *fds);
	for (size_t i = 1; i < n; i++)
		close(fds[i]);
	return n ? fds[0] : -1;
}

int64_t nsb_receive(int socket_fd, void *buffer, size_t size, int32_t *ret_fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(RECEIVED_MAX * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = buffer, .iov_len = size };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};
	ssize_t n = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);

	*ret_fd = -1;
	if (n < 0)
		return -errno;
	*ret_fd = take_descriptors(&message);
	return n;
}

_Static_assert(sizeof(struct nsb_waiting) == sizeof(struct pollfd) &&
		       offsetof(struct nsb_waiting, revents) == offsetof(struct pollfd, revents),
	       "struct nsb_waiting is struct pollfd");

int nsb_wait(struct nsb_waiting *waiting, uint32_t n, int timeout_ms)
{
	int ready = poll((struct pollfd *)(void *)waiting, n, timeout_ms);

	return ready < 0 ? -errno : ready;
}

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
