// SPDX-License-Identifier: Apache-2.0
/* A process that joins groups and then behaves: payload FD,FD,... MODE NUMBER FD
 *
 * Each descriptor is an open cgroup.procs or tasks file. "ready" is printed once the groups are
 * joined (touch: once the memory is touched), and the end of standard input ends sleep and tree.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void ready(void)
{
	if (write(1, "ready\n", 6) != 6)
		_exit(3);
}

static void until_eof(void)
{
	char byte;

	while (read(0, &byte, 1) > 0 || errno == EINTR)
		errno = 0;
}

static void touch(size_t size)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		_exit(4);
	for (size_t at = 0; at < size; at += 4096)
		memory[at] = 1;
}

static void spin(double seconds)
{
	struct timespec now;

	do
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	while (now.tv_sec + now.tv_nsec / 1e9 < seconds);
}

static double used(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Children in sessions of their own that ignore what can be ignored. */
static void spread(int count)
{
	for (int i = 0; i < count; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			setsid();
			for (int signal_number = 1; signal_number < 32; signal_number++)
				signal(signal_number, SIG_IGN);
			if (i % 2)
				raise(SIGSTOP);
			for (;;)
				pause();
		}
		if (pid < 0)
			_exit(5);
	}
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[2] : "";
	double number = argc > 3 ? atof(argv[3]) : 0;
	double before;

	for (char *part = strtok(argv[1], ","); part; part = strtok(NULL, ","))
		if (write(atoi(part), "0", 1) != 1) {
			perror("join");
			return 2;
		}
	before = used(RUSAGE_SELF);
	if (!strcmp(mode, "sleep")) {
		ready();
		until_eof();
	} else if (!strcmp(mode, "touch")) {
		touch((size_t)number);
		ready();
		until_eof();
	} else if (!strcmp(mode, "child-touch")) {
		if (fork() == 0) {
			touch((size_t)number);
			_exit(0);
		}
		wait(NULL);
		ready();
	} else if (!strcmp(mode, "spin")) {
		for (int i = 0; i < 4; i++)
			if (fork() == 0) {
				spin(number);
				_exit(0);
			}
		while (wait(NULL) > 0)
			continue;
		printf("%.6f\n", used(RUSAGE_SELF) - before + used(RUSAGE_CHILDREN));
	} else if (!strcmp(mode, "forks")) { /* how many children at once? */
		int made = 0;

		while (made < (int)number) {
			pid_t pid = fork();

			if (pid == 0) {
				pause();
				_exit(0);
			}
			if (pid < 0)
				break;
			made++;
		}
		printf("%d\n", made);
		fflush(stdout);
		signal(SIGTERM, SIG_IGN);
		kill(0, SIGTERM);
		while (wait(NULL) > 0)
			continue;
	} else if (!strcmp(mode, "spread")) {
		spread((int)number);
		ready();
		for (;;)
			pause();
	} else if (!strcmp(mode, "bomb")) {
		ready();
		for (;;)
			fork();
	} else if (!strcmp(mode, "write")) { /* MiB to the descriptor after NUMBER */
		int file = atoi(argv[4]);
		void *block;

		if (posix_memalign(&block, 4096, 1 << 20))
			return 4;
		memset(block, 1, 1 << 20);
		for (int i = 0; i < (int)number; i++)
			if (write(file, block, 1 << 20) != 1 << 20)
				return 6;
		fsync(file);
	}
	return 0;
}
