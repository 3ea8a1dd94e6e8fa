/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filtered FILTER NUMBER ARGUMENT COUNT: loads a seccomp program, unless FILTER is "", makes a system
 * call COUNT times, and prints the nanoseconds that took.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LONGEST 4096

static int load(const char *path)
{
	static struct sock_filter program[LONGEST];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = read(fd, program, sizeof program);
	struct sock_fprog filter = { .len = (unsigned short)((size_t)size / sizeof *program),
				     .filter = program };

	if (fd < 0 || size <= 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter);
}

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int argc, char **argv)
{
	if (argc != 5 || (*argv[1] && load(argv[1]))) {
		perror("filtered");
		return 1;
	}

	long number = atol(argv[2]), argument = atol(argv[3]), count = atol(argv[4]);
	long long start = now();

	for (long i = 0; i < count; i++)
		syscall(number, argument, 0, 0);
	printf("%lld\n", now() - start);
	return 0;
}
