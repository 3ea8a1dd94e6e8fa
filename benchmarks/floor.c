/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor: what the kernel alone needs for a sandbox such as pycontain's. The parent's side of it, with the same
 * calls in the same order; floor_init.c is PID 1.
 *
 *   floor ROOT INIT FILTER HEAP_MB [GROUP...]
 *
 * ROOT is a directory with payload.c's programs, FILTER a file of struct sock_filter, HEAP_MB the size of memory to
 * touch beforehand, GROUP `v1|v2:PARENT:FILE=VALUE,...`, a cgroup directory to make a group with these limits in.
 * Commands are lines on stdin, answers lines of JSON: `oneshot N GAP_MS`, `living N`, `oneshot_bare N`,
 * `living_bare N`, `threads T N`, `hold N`, `release`, `probe`. Times are seconds. Every run must print "ok" and succeed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "floor.h"

enum {
	GROUPS_MAX = 4,
	OUTPUT_MAX = 65536,
	GUARD_SIZE = 16384,
	RANGE_START = 100000,
	RANGE_SIZE = 65536
};

#define NAMESPACES \
	(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP)

struct parent_group {
	int is_v2;
	char *path;
	char *limits; /* FILE=VALUE,... */
};

struct group {
	char path[512];
	int fd; /* v2: the directory, PID 1 is born in it; v1: its `tasks` file, for the command */
};

struct sandbox {
	struct group groups[GROUPS_MAX];
	int control_fd;
	int pidfd;
};

/* What the two children of a clone share with the waiting parent. */
struct plan {
	char *init_stack;
	int control_fd;
	int group_fd; /* -1: none */
	int pidfd;
	long init_pid;
	long error;
};

static const char *root_path;
static int init_fd, null_fd, userns_fd;
static char setup[MESSAGE_MAX];
static size_t setup_size = sizeof(struct message);
static struct parent_group parents[GROUPS_MAX];
static int n_parents;
static atomic_uint serial;

static _Noreturn void fail(const char *what)
{
	printf("{\"error\": \"%s: %s\"}\n", what, strerror(errno));
	fflush(stdout);
	_exit(1);
}

static long must(long ret, const char *what)
{
	if (ret < 0)
		fail(what);
	return ret;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void write_file(const char *path, const char *text)
{
	int fd = (int)must(open(path, O_WRONLY | O_CLOEXEC), path);

	must(write(fd, text, strlen(text)), path);
	close(fd);
}

static void write_limits(const char *directory, const char *limits)
{
	char path[640], pairs[256], *rest = pairs;

	snprintf(pairs, sizeof pairs, "%s", limits);
	for (char *pair; (pair = strsep(&rest, ","));) {
		char *value = strchr(pair, '=');

		if (!value)
			continue;
		*value = '\0';
		snprintf(path, sizeof path, "%s/%s", directory, pair);
		write_file(path, value + 1);
	}
}

static void make_groups(struct sandbox *sandbox)
{
	unsigned number = atomic_fetch_add(&serial, 1);

	for (int i = 0; i < n_parents; i++) {
		struct group *group = &sandbox->groups[i];
		char tasks[640];

		snprintf(group->path, sizeof group->path, "%s/%d-%u", parents[i].path, getpid(),
			 number);
		must(mkdir(group->path, 0755), group->path);
		write_limits(group->path, parents[i].limits);
		snprintf(tasks, sizeof tasks, "%s/tasks", group->path);
		group->fd = parents[i].is_v2 ? open(group->path, O_PATH | O_DIRECTORY | O_CLOEXEC)
					     : open(tasks, O_WRONLY | O_CLOEXEC);
		must(group->fd, group->path);
	}
}

/* The processes are reaped, but the kernel may take a moment to take them out of their group. */
static void remove_groups(struct sandbox *sandbox)
{
	for (int i = 0; i < n_parents; i++) {
		close(sandbox->groups[i].fd);
		while (rmdir(sandbox->groups[i].path) < 0)
			if (errno != EBUSY)
				fail(sandbox->groups[i].path);
	}
}

static void send_message(int fd, const void *bytes, size_t size, const int *fds, int n_fds)
{
	char control[CMSG_SPACE(FDS_MAX * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)bytes, size };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = CMSG_SPACE((size_t)n_fds * sizeof(int)),
	};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN((size_t)n_fds * sizeof(int));
	memcpy(CMSG_DATA(rights), fds, (size_t)n_fds * sizeof(int));
	must(sendmsg(fd, &message, MSG_NOSIGNAL), "sendmsg");
}

/* The exec is by an id that is not root inside: capabilities survive it only in the ambient set. */
static void raise_ambient(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	(void)sys2(__NR_capget, &header, data);
	data[0].inheritable = data[0].permitted;
	data[1].inheritable = data[1].permitted;
	(void)sys2(__NR_capset, &header, data);
	for (unsigned cap = 0; cap < 64; cap++)
		if (data[cap / 32].permitted & (1u << cap % 32))
			(void)sys5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
}

static void become_init(void *argument)
{
	static const char *const arguments[] = { "floor-init", NULL };
	static const char *const environment[] = { NULL };
	struct plan *plan = argument;

	for (int fd = 0; fd < CONTROL_FD; fd++)
		(void)sys3(__NR_dup3, null_fd, fd, 0);
	(void)sys3(__NR_dup3, plan->control_fd, CONTROL_FD, 0);
	(void)sys3(__NR_close_range, CONTROL_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC);
	raise_ambient();
	plan->error = sys5(__NR_execveat, init_fd, "", arguments, environment, AT_EMPTY_PATH);
	for (;;)
		(void)sys1(__NR_exit_group, 127);
}

/* In the helper, which ends here: a threaded process may not join a user namespace itself. */
static void join_and_clone(void *argument)
{
	struct plan *plan = argument;
	struct clone_args args = {
		.flags = CLONE_VM | CLONE_VFORK | CLONE_PARENT | CLONE_PIDFD | NAMESPACES,
		.pidfd = (uint64_t)(uintptr_t)&plan->pidfd,
		.stack = (uint64_t)(uintptr_t)plan->init_stack,
		.stack_size = STACK_SIZE,
	};

	if (plan->group_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)plan->group_fd;
	}
	plan->error = sys2(__NR_setns, userns_fd, CLONE_NEWUSER);
	if (!plan->error)
		plan->init_pid = clone_onto(&args, become_init, plan);
	for (;;)
		(void)sys1(__NR_exit_group, 0);
}

static void clone_init(struct plan *plan)
{
	size_t size = 2 * (GUARD_SIZE + STACK_SIZE);
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_ANONYMOUS | MAP_PRIVATE | MAP_STACK | MAP_NORESERVE, -1, 0);
	struct clone_args args = {
		.flags = CLONE_VM | CLONE_VFORK | CLONE_FILES,
		.stack = (uint64_t)(uintptr_t)memory + GUARD_SIZE,
		.stack_size = STACK_SIZE,
	};
	uint64_t all = ~0ull, old;
	siginfo_t info;
	long helper;

	if (memory == MAP_FAILED)
		fail("mmap");
	must(mprotect(memory, GUARD_SIZE, PROT_NONE), "mprotect");
	must(mprotect(memory + GUARD_SIZE + STACK_SIZE, GUARD_SIZE, PROT_NONE), "mprotect");
	plan->init_stack = memory + 2 * GUARD_SIZE + STACK_SIZE;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof all);
	helper = clone_onto(&args, join_and_clone, plan);
	if (helper > 0)
		waitid(P_PID, (id_t)helper, &info, WEXITED | __WALL);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof old);
	munmap(memory, size);
	errno = (int)-(helper < 0 ? helper : plan->error ? plan->error : plan->init_pid);
	if (helper < 0 || plan->error || plan->init_pid <= 0)
		fail("clone");
}

/* ret: the pipes' and the reply socket's ends that stay here. */
static void queue_command(struct sandbox *sandbox, const char *program, int only, int ret[3])
{
	struct message message = { .kind = COMMAND, .only = (uint32_t)only };
	int output[2], errors[2], reply[2], fds[FDS_MAX], n = 0;

	must(pipe2(output, O_CLOEXEC), "pipe");
	must(pipe2(errors, O_CLOEXEC), "pipe");
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, reply), "socketpair");
	snprintf(message.program, sizeof message.program, "%s", program);
	fds[n++] = reply[1];
	for (int i = 0; i < n_parents; i++)
		if (!parents[i].is_v2) {
			message.n_tasks++;
			fds[n++] = sandbox->groups[i].fd;
		}
	fds[n++] = null_fd;
	fds[n++] = output[1];
	fds[n++] = errors[1];
	send_message(sandbox->control_fd, &message, sizeof message, fds, n);
	close(reply[1]);
	close(output[1]);
	close(errors[1]);
	ret[0] = output[0];
	ret[1] = errors[0];
	ret[2] = reply[0];
}

static void start_sandbox(struct sandbox *sandbox, const char *program, int command[3])
{
	struct mount_attr idmap = { .attr_set = MOUNT_ATTR_IDMAP,
				    .userns_fd = (uint64_t)userns_fd };
	struct plan plan = { .pidfd = -1, .group_fd = -1 };
	int pair[2], tree;

	make_groups(sandbox);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), "socketpair");
	tree = (int)must(syscall(SYS_open_tree, AT_FDCWD, root_path, OPEN_TREE_CLONE | O_CLOEXEC),
			 root_path);
	must(syscall(__NR_mount_setattr, tree, "", AT_EMPTY_PATH, &idmap, sizeof idmap), "idmap");
	sandbox->control_fd = pair[0];
	send_message(pair[0], setup, setup_size, &tree, 1);
	close(tree);
	if (program)
		queue_command(sandbox, program, 1, command);
	plan.control_fd = pair[1];
	for (int i = 0; i < n_parents; i++)
		if (parents[i].is_v2)
			plan.group_fd = sandbox->groups[i].fd;
	clone_init(&plan);
	close(pair[1]);
	sandbox->pidfd = plan.pidfd;
}

static void stop_sandbox(struct sandbox *sandbox)
{
	siginfo_t info;

	close(sandbox->control_fd);
	must(waitid(P_PIDFD, (id_t)sandbox->pidfd, &info, WEXITED | __WALL), "waitid");
	close(sandbox->pidfd);
	remove_groups(sandbox);
}

/* Read both streams to their end and the exit report; returns the size of the output. */
static size_t finish_command(int control_fd, const int command[3], char *output)
{
	struct pollfd fds[3] = { { .fd = command[0], .events = POLLIN },
				 { .fd = command[1], .events = POLLIN },
				 { .fd = command[2], .events = POLLIN } };
	struct report report = { 0 };
	size_t size = 0;
	int open_fds = 3;

	while (open_fds) {
		must(poll(fds, 3, -1), "poll");
		for (int i = 0; i < 3; i++) {
			ssize_t n;

			if (fds[i].fd < 0 || !fds[i].revents)
				continue;
			n = i < 2 ? read(fds[i].fd, output + size, OUTPUT_MAX - size)
				  : recv(fds[i].fd, &report, sizeof report, 0);
			if (i == 0 && n > 0)
				size += (size_t)n;
			if (n <= 0 || i == 2) {
				close(fds[i].fd);
				fds[i].fd = -1;
				open_fds--;
			}
		}
	}
	if (report.event != EXITED || report.status) {
		if (!report.event)
			(void)recv(control_fd, &report, sizeof report, MSG_DONTWAIT);
		errno = -report.error;
		fprintf(stderr, "floor_init.c:%u event %u status %d\n", report.line, report.event,
			report.status);
		fail("command");
	}
	return size;
}

static void check_ok(const char *output, size_t size)
{
	errno = EPROTO;
	if (size != 3 || memcmp(output, "ok\n", 3))
		fail("output");
}

static size_t run_once(const char *program, char *output)
{
	struct sandbox sandbox;
	int command[3];
	size_t size;

	start_sandbox(&sandbox, program, command);
	size = finish_command(sandbox.control_fd, command, output);
	stop_sandbox(&sandbox);
	return size;
}

static double timed_run(const char *program)
{
	char output[OUTPUT_MAX];
	double start = now();

	check_ok(output, run_once(program, output));
	return now() - start;
}

static struct sandbox *living_sandbox(void)
{
	struct sandbox *sandbox = calloc(1, sizeof *sandbox);
	struct report report;

	start_sandbox(sandbox, NULL, NULL);
	must(recv(sandbox->control_fd, &report, sizeof report, 0), "recv");
	errno = -report.error;
	if (report.event != READY)
		fail("set-up");
	return sandbox;
}

static double timed_command(struct sandbox *sandbox, const char *program)
{
	char output[OUTPUT_MAX];
	double start = now();
	int command[3];

	queue_command(sandbox, program, 0, command);
	check_ok(output, finish_command(sandbox->control_fd, command, output));
	return now() - start;
}

struct worker {
	pthread_t thread;
	pthread_barrier_t *barrier;
	double *seconds;
	int count;
};

static void *work(void *argument)
{
	struct worker *worker = argument;

	pthread_barrier_wait(worker->barrier);
	for (int i = 0; i < worker->count; i++)
		worker->seconds[i] = timed_run("/bin/true");
	return NULL;
}

static double run_threads(int n_threads, int count, double *seconds)
{
	struct worker *workers = calloc((size_t)n_threads, sizeof *workers);
	pthread_barrier_t barrier;
	double start;

	pthread_barrier_init(&barrier, NULL, (unsigned)n_threads + 1);
	for (int i = 0; i < n_threads; i++) {
		workers[i].barrier = &barrier;
		workers[i].seconds = seconds + i * count;
		workers[i].count = count;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			fail("pthread_create");
	}
	pthread_barrier_wait(&barrier);
	start = now();
	for (int i = 0; i < n_threads; i++)
		pthread_join(workers[i].thread, NULL);
	pthread_barrier_destroy(&barrier);
	free(workers);
	return now() - start;
}

static void answer(const double *seconds, int count, double wall)
{
	printf("{\"seconds\": [");
	for (int i = 0; i < count; i++)
		printf("%s%.9f", i ? ", " : "", seconds[i]);
	printf("], \"wall\": %.9f}\n", wall);
}

static void answer_probe(void)
{
	char output[OUTPUT_MAX];
	size_t size = run_once("/bin/probe", output);

	printf("{\"output\": \"");
	for (size_t i = 0; i < size; i++)
		if (output[i] == '\n')
			printf("\\n");
		else if (output[i] == '\t')
			printf("\\t");
		else
			putchar(output[i]);
	printf("\"}\n");
}

static void serve(void)
{
	static struct sandbox *living, *held[1024];
	int a, b, n_held = 0;
	char line[128];

	while (fgets(line, sizeof line, stdin)) {
		int n = sscanf(line, "%*s %d %d", &a, &b);
		int threads = !strncmp(line, "threads", 7);
		size_t total = threads ? (size_t)a * (size_t)b : n >= 1 ? (size_t)a : 1;
		double *seconds = calloc(total, sizeof *seconds), start = now();

		if (threads) {
			answer(seconds, (int)total, run_threads(a, b, seconds));
		} else if (!strncmp(line, "probe", 5)) {
			answer_probe();
		} else if (!strncmp(line, "release", 7)) {
			while (n_held)
				stop_sandbox(held[--n_held]);
			answer(NULL, 0, now() - start);
		} else if (!strncmp(line, "hold", 4)) {
			for (int i = 0; i < a && n_held < 1024; i++) {
				double before = now();

				held[n_held++] = living_sandbox();
				seconds[i] = now() - before;
			}
			answer(seconds, (int)total, now() - start);
		} else {
			const char *program = strstr(line, "bare") ? "/bin/bare" : "/bin/true";
			int in_living = !strncmp(line, "living", 6);

			if (in_living && !living)
				living = living_sandbox();
			for (int i = 0; i < a; i++) {
				if (n == 2)
					usleep((useconds_t)b * 1000);
				seconds[i] = in_living ? timed_command(living, program)
						       : timed_run(program);
			}
			answer(seconds, (int)total, now() - start);
		}
		free(seconds);
		fflush(stdout);
	}
	if (living)
		stop_sandbox(living);
	while (n_held)
		stop_sandbox(held[--n_held]);
}

/* One namespace for all sandboxes, made by a process that lives only until its maps are written. */
static int make_userns(void)
{
	char path[64], map[64];
	int ready[2], release[2], fd;
	char byte;
	pid_t pid;

	must(pipe2(ready, O_CLOEXEC), "pipe");
	must(pipe2(release, O_CLOEXEC), "pipe");
	pid = (pid_t)must(fork(), "fork");
	if (!pid) {
		close(release[1]);
		if (unshare(CLONE_NEWUSER) < 0 || write(ready[1], "", 1) != 1)
			_exit(1);
		_exit(read(release[0], &byte, 1) != 0);
	}
	close(ready[1]);
	close(release[0]);
	errno = EPERM;
	if (read(ready[0], &byte, 1) != 1)
		fail("user namespace");
	snprintf(map, sizeof map, "0 %d %d\n", RANGE_START, RANGE_SIZE);
	snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
	write_file(path, map);
	snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
	write_file(path, map);
	snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
	fd = (int)must(open(path, O_RDONLY | O_CLOEXEC), path);
	close(ready[0]);
	close(release[1]);
	must(waitpid(pid, NULL, 0), "waitpid");
	return fd;
}

static void load_filter(const char *path)
{
	int fd = (int)must(open(path, O_RDONLY | O_CLOEXEC), path);

	((struct message *)(void *)setup)->kind = SETUP;
	setup_size += (size_t)must(read(fd, setup + setup_size, sizeof setup - setup_size), path);
	close(fd);
}

static void load_init(const char *path)
{
	char bytes[65536];
	int fd = (int)must(open(path, O_RDONLY | O_CLOEXEC), path);
	ssize_t n = must(read(fd, bytes, sizeof bytes), path);

	close(fd);
	init_fd = (int)must(memfd_create("floor-init", MFD_CLOEXEC | MFD_ALLOW_SEALING), "memfd");
	must(write(init_fd, bytes, (size_t)n), "memfd");
	must(fcntl(init_fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
	     "seal");
}

/* In pages of the smallest size, as a heap grown piece by piece has them. */
static void touch_heap(size_t size)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);

	if (memory == MAP_FAILED)
		fail("heap");
	(void)madvise(memory, size, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < size; i += 4096)
		memory[i] = 1;
}

static void add_parent(char *text)
{
	struct parent_group *parent = &parents[n_parents++];

	parent->is_v2 = !strncmp(text, "v2:", 3);
	parent->path = text + 3;
	parent->limits = strchr(parent->path, ':');
	errno = EINVAL;
	if (!parent->limits)
		fail(text);
	*parent->limits++ = '\0';
}

int main(int argc, char **argv)
{
	size_t heap;

	if (argc < 5 || argc > 5 + GROUPS_MAX) {
		fprintf(stderr,
			"usage: floor ROOT INIT FILTER HEAP_MB [v1|v2:PARENT:FILE=VALUE,...]...\n");
		return 2;
	}
	/* The children overwrite the numbers up to CONTROL_FD. */
	do
		null_fd = (int)must(open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null");
	while (null_fd <= CONTROL_FD);
	root_path = argv[1];
	load_init(argv[2]);
	load_filter(argv[3]);
	for (int i = 5; i < argc; i++)
		add_parent(argv[i]);
	userns_fd = make_userns();
	heap = strtoul(argv[4], NULL, 10) << 20;
	if (heap)
		touch_heap(heap);
	serve();
	return 0;
}
