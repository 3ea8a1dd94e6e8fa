// SPDX-License-Identifier: Apache-2.0
/*
 * What tests run inside a sandbox, as one static program:
 *
 *   probe fds                  each open descriptor, one a line
 *   probe orphans N            N processes that end as PID 1's children, then "done"
 *   probe daemons N            N double-forked daemons that sleep, then "ready", and sleeps
 *   probe leaderless           the main thread ends, another says "ready" and sleeps
 *   probe hidden-leaderless    the same in a daemon, and sleeps
 *   probe forks N              a tree that forks without end, at most N at once; "ready" first
 *   probe swap A B             exchanges two names without end; "ready" first
 *   probe grow FILE            appends without end; "ready" first
 *   probe socket PATH          a listening socket, and ends
 *   probe window               the terminal's size, and again after SIGWINCH
 *   probe namespaces           inode of each namespace
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int say(const char *text)
{
	puts(text);
	fflush(stdout);
	return 0;
}

static int fds(void)
{
	for (int fd = 0; fd < 65536; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("%d\n", fd);
	return 0;
}

static int orphans(int n)
{
	for (int i = 0; i < n; i++) {
		pid_t child = fork();

		if (child == 0) {
			if (fork() == 0)
				usleep(1000);
			_exit(0);
		}
		waitpid(child, NULL, 0);
	}
	return say("done");
}

static _Noreturn void sleep_for_ever(void)
{
	for (;;)
		pause();
}

static int daemons(int n)
{
	int pipes[2];
	char byte;

	if (pipe(pipes) < 0)
		return 1;
	for (int i = 0; i < n; i++) {
		pid_t child = fork();

		if (child == 0) {
			setsid();
			if (fork() == 0) {
				setsid();
				if (write(pipes[1], "x", 1) == 1)
					sleep_for_ever();
			}
			_exit(0);
		}
		waitpid(child, NULL, 0);
	}
	for (int i = 0; i < n; i++)
		if (read(pipes[0], &byte, 1) != 1)
			return 1;
	say("ready");
	sleep_for_ever();
}

static void *outlive_leader(void *unused)
{
	char path[64], state[256];

	(void)unused;
	snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
	for (;;) {
		FILE *file = fopen(path, "r");

		if (file && fgets(state, sizeof state, file) && strstr(state, ") Z "))
			break;
		if (file)
			fclose(file);
		usleep(1000);
	}
	say("ready");
	sleep_for_ever();
}

static int leaderless(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, outlive_leader, NULL))
		return 1;
	/* The thread alone, where pthread_exit() in the last place would run what the C library has to do. */
	syscall(SYS_exit, 0);
	return 1;
}

static int hidden_leaderless(void)
{
	if (fork() == 0) {
		setsid();
		if (fork() == 0)
			_exit(leaderless());
		_exit(0);
	}
	wait(NULL);
	sleep_for_ever();
}

static _Noreturn void forks(int n)
{
	struct rlimit limit = { (rlim_t)n, (rlim_t)n };

	setrlimit(RLIMIT_NPROC, &limit);
	say("ready");
	for (;;) {
		pid_t child = fork();

		if (child == 0)
			setsid();
		else if (child < 0)
			usleep(1000);
	}
}

static int swap(const char *a, const char *b)
{
	say("ready");
	for (;;)
		if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) < 0)
			return 1;
}

static int grow(const char *path)
{
	static char block[4096];
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);

	if (fd < 0)
		return 1;
	say("ready");
	for (;;)
		if (write(fd, block, sizeof block) < 0)
			lseek(fd, 0, SEEK_SET), ftruncate(fd, 0);
}

static int make_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	return fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
	       listen(fd, 1) < 0;
}

static int print_window(void)
{
	struct winsize size;

	if (ioctl(0, TIOCGWINSZ, &size) < 0)
		return 1;
	printf("%d %d\n", size.ws_row, size.ws_col);
	fflush(stdout);
	return 0;
}

static int window(void)
{
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (print_window())
		return 1;
	sigwait(&set, &number);
	return print_window();
}

static int namespaces(void)
{
	static const char *const names[] = { "mnt", "pid",    "net",  "uts",
					     "ipc", "cgroup", "user", "time" };
	char path[64], link[64];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		ssize_t n;

		snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
		n = readlink(path, link, sizeof link);
		if (n > 0)
			printf("%s %.*s\n", names[i], (int)n, link);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	const char *a = argc > 2 ? argv[2] : "0", *b = argc > 3 ? argv[3] : "";

	if (!strcmp(what, "fds"))
		return fds();
	if (!strcmp(what, "orphans"))
		return orphans(atoi(a));
	if (!strcmp(what, "daemons"))
		return daemons(atoi(a));
	if (!strcmp(what, "leaderless"))
		return leaderless();
	if (!strcmp(what, "hidden-leaderless"))
		return hidden_leaderless();
	if (!strcmp(what, "forks"))
		forks(atoi(a));
	if (!strcmp(what, "swap"))
		return swap(a, b);
	if (!strcmp(what, "grow"))
		return grow(a);
	if (!strcmp(what, "socket"))
		return make_socket(a);
	if (!strcmp(what, "window"))
		return window();
	if (!strcmp(what, "namespaces"))
		return namespaces();
	fprintf(stderr, "probe: unknown: %s\n", what);
	return 2;
}
