// SPDX-License-Identifier: Apache-2.0
/*
 * Runs a program for which the named system calls do not exist, as on an older kernel or inside an
 * outer sandbox: a seccomp filter answers ENOSYS.
 *
 *   nosys clone3,openat2 PROGRAM [ARGUMENT...]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Numbers above 424 are the same on every architecture; older C libraries lack some names. */
static const struct {
	const char *name;
	unsigned int nr;
} calls[] = {
	{ "pidfd_send_signal", 424 },
	{ "open_tree", 428 },
	{ "move_mount", 429 },
	{ "fsopen", 430 },
	{ "fsconfig", 431 },
	{ "fsmount", 432 },
	{ "fspick", 433 },
	{ "pidfd_open", 434 },
	{ "clone3", 435 },
	{ "close_range", 436 },
	{ "openat2", 437 },
	{ "pidfd_getfd", 438 },
	{ "faccessat2", 439 },
	{ "mount_setattr", 442 },
	{ "landlock_create_ruleset", 444 },
	{ "memfd_secret", 447 },
	{ "execveat", __NR_execveat },
	{ "keyctl", __NR_keyctl },
	{ "memfd_create", __NR_memfd_create },
	{ "pivot_root", __NR_pivot_root },
	{ "prlimit64", __NR_prlimit64 },
	{ "seccomp", __NR_seccomp },
	{ "setns", __NR_setns },
	{ "signalfd4", __NR_signalfd4 },
	{ "statx", __NR_statx },
	{ "unshare", __NR_unshare },
};

enum { CALLS = sizeof(calls) / sizeof(calls[0]) };

static int number_of(const char *name)
{
	for (size_t i = 0; i < CALLS; i++)
		if (strcmp(calls[i].name, name) == 0)
			return (int)calls[i].nr;
	return -1;
}

/* Writes one compare and one return for each name; returns the number of instructions or -1. */
static int add_names(struct sock_filter *program, char *names)
{
	int length = 0;

	for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
		int nr = number_of(name);

		if (nr < 0 || length == 2 * CALLS) {
			(void)fprintf(stderr, "nosys: unknown system call or too many: %s\n", name);
			return -1;
		}
		program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
								 (unsigned int)nr, 0, 1);
		program[length++] =
			(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
	}
	return length;
}

static int load(char *names)
{
	struct sock_filter program[2 * CALLS + 2] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	int length = add_names(program + 1, names);

	if (length < 0)
		return -1;
	program[length + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog filter = { .len = (unsigned short)(length + 2), .filter = program };

	/* Root needs no no_new_privs, without which set-user-id programs go on working. */
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0)
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0)
		return 0;
	perror("nosys: seccomp");
	return -1;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		(void)fprintf(stderr, "usage: nosys NAME[,NAME...] PROGRAM [ARGUMENT...]\n");
		return 125;
	}
	if (load(argv[1]) < 0)
		return 125;
	execvp(argv[2], argv + 2);
	perror("nosys: execvp");
	return 127;
}
