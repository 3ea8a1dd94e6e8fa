/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals to commands. PID 1 is the only one that reaps, so a pid from its table cannot have been
 * recycled. Where no cgroup tracks a command, its processes are those in its cgroup namespace,
 * which they cannot leave without CAP_SYS_ADMIN: setsid, double forks and reparenting change
 * nothing about it.
 */
#include "init.h"

enum { QUICK_PASSES = 20, PASSES_MAX = 3000, DIRECTORY_BUFFER = 16384, TASKS_BUFFER = 1024 };

struct entry {
	uint64_t inode;
	int64_t offset;
	unsigned short length;
	unsigned char type;
	char name[];
};

static long namespace_of(const char *pid, char link[64])
{
	char path[64];
	char *end = text_append(path, path + sizeof path, "/proc/");
	long n;

	end = text_append(text_append(end, path + sizeof path, pid), path + sizeof path,
			  "/ns/cgroup");
	if (!end)
		return -E_NAMETOOLONG;
	n = sys4(__NR_readlinkat, AT_FDCWD_, path, link, 63);
	if (n >= 0)
		link[n] = '\0';
	return n;
}

static int parse_pid(const char *name)
{
	int pid = 0;

	for (; *name; name++) {
		if (*name < '0' || *name > '9' || pid > 100000000)
			return -1;
		pid = pid * 10 + (*name - '0');
	}
	return pid;
}

/* A thread's, if the first one has ended: pthread_exit() in main() must not hide a process. */
static long namespace_of_threads(const char *pid, char link[64])
{
	static char buffer[TASKS_BUFFER] __attribute__((aligned(16)));
	char path[64];
	char *end = text_append(path, path + sizeof path, "/proc/");
	long tasks, n = 0, found = -E_SRCH;

	end = text_append(text_append(end, path + sizeof path, pid), path + sizeof path, "/task");
	tasks = end ? sys_openat(AT_FDCWD_, path, O_RDONLY_ | O_DIRECTORY_ | O_CLOEXEC_, 0)
		    : -E_NAMETOOLONG;
	if (tasks < 0)
		return tasks;
	while (found < 0 && (n = sys3(__NR_getdents64, tasks, buffer, sizeof buffer)) > 0) {
		for (long at = 0; found < 0 && at < n;) {
			const struct entry *entry = (const void *)(buffer + at);
			char task[48];

			at += entry->length;
			end = text_append(text_append(task, task + sizeof task, pid),
					  task + sizeof task, "/task/");
			if (parse_pid(entry->name) > 0 &&
			    text_append(end, task + sizeof task, entry->name))
				found = namespace_of(task, link);
		}
	}
	sys_close((int)tasks);
	return n < 0 ? n : found;
}

/* Any other errno says nothing of the process, which may be one of those that are looked for. */
static bool is_gone(long err)
{
	return err == -E_SRCH || err == -E_NOENT;
}

static long namespace_of_process(const char *pid, char link[64])
{
	long n = namespace_of(pid, link);

	return n < 0 && n != -E_ACCES ? namespace_of_threads(pid, link) : n;
}

/* Signal each process whose cgroup namespace is mark. Returns how many there were, or a negative
 * errno. */
static long signal_marked(const char *mark, uint32_t signal)
{
	static char buffer[DIRECTORY_BUFFER] __attribute__((aligned(16)));
	long proc = sys_openat(AT_FDCWD_, "/proc", O_RDONLY_ | O_DIRECTORY_ | O_CLOEXEC_, 0), n,
	     found = 0, err;
	bool hidden = false;

	if (proc < 0)
		return proc;
	while ((n = sys3(__NR_getdents64, proc, buffer, sizeof buffer)) > 0) {
		for (long at = 0; at < n;) {
			const struct entry *entry = (const void *)(buffer + at);
			int pid = parse_pid(entry->name);
			char link[64];

			at += entry->length;
			err = pid <= 1 ? -E_SRCH : namespace_of_process(entry->name, link);
			/* EACCES: it runs a program that nobody inside may read (would_dump() in
			 * fs/exec.c). */
			hidden |= err < 0 && !is_gone(err);
			if (err < 0 || !text_equal(link, mark))
				continue;
			found++;
			(void)sys2(__NR_kill, pid, signal);
		}
	}
	sys_close((int)proc);
	return n < 0 ? n : found ? found : hidden ? -E_ACCES : 0;
}

static long kill_marked(int pid, uint32_t signal)
{
	static const struct __kernel_timespec pause = { .tv_nsec = 1000000 };
	char own[64], mark[64], text[16];
	long found = 0;

	(void)number_append(text, text + sizeof text, (uint64_t)pid);
	if (namespace_of("1", own) < 0)
		return -E_ACCES;
	/* A zombie has no namespaces: its children were reparented and cannot be told apart any
	 * more. */
	found = namespace_of_process(text, mark);
	if (found < 0)
		return is_gone(found) ? -E_SRCH : -E_ACCES;
	if (text_equal(own, mark))
		return -E_ACCES;
	/* A process may fork between the look and the kill, so until a pass finds nobody; zombies
	 * have no link. */
	for (int pass = 0; pass < PASSES_MAX; pass++) {
		found = signal_marked(mark, signal);
		if (found <= 0 || signal != SIG_KILL)
			return found < 0 ? found : 0;
		/* On a busy machine the dead take their time: a millisecond each, some seconds in
		 * all. */
		if (pass < QUICK_PASSES)
			(void)sys0(__NR_sched_yield);
		else
			(void)sys2(__NR_nanosleep, &pause, NULL);
	}
	return -E_BUSY;
}

void kill_request(struct message *message)
{
	const struct nsb_kill *request = (const void *)message->bytes;
	int pid = command_pid(request->header.id);
	long err = -E_SRCH;

	if (message->n_fds == 0)
		return;
	if (message->size < sizeof *request)
		err = -E_PROTO;
	else if (request->everything == 2)
		err = sys2(__NR_kill, -1, request->signal);
	else if (pid > 0 && request->everything)
		err = kill_marked(pid, request->signal);
	else if (pid > 0)
		err = sys2(__NR_kill, pid, request->signal);
	if (err < 0)
		send_failure(message->fds[0], failed(NSB_STEP_KILL, err, 0));
	else
		send_done(message->fds[0], -1);
}
