/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands. Each is cloned with shared memory, as vfork(2) does: this program has a few pages,
 * cannot be traced by what runs inside (it is not dumpable and holds every capability), and sleeps
 * until the exec. What they do on the way there is in init_command.c.
 */
#include <linux/resource.h>
#include <linux/time.h>
#include <linux/wait.h>

#include "init_command.h"

enum {
	POINTERS_MAX = 4096,
	WAIT_ALL = 0x40000000, /* __WALL */
};

struct command {
	uint32_t id;
	int32_t pid;
	int32_t reply_fd;
	bool only;
	bool refused; /* its SIGKILL stands for the filter's SIGSYS */
};

static struct command commands[COMMANDS_MAX];
static uint32_t n_commands;
static char command_stack[COMMAND_STACK_SIZE] __attribute__((aligned(16)));

int command_pid(uint32_t id)
{
	for (uint32_t i = 0; i < n_commands; i++)
		if (commands[i].id == id)
			return commands[i].pid;
	return -1;
}

void command_refused(int pid)
{
	for (uint32_t i = 0; i < n_commands; i++)
		commands[i].refused |= commands[i].pid == pid;
}

/* Children are reaped here and nowhere else, so a pid in the table is never another process's. */
void commands_reap(void)
{
	for (;;) {
		struct rusage usage;
		int32_t status;
		long pid = sys4(__NR_wait4, -1, &status, WNOHANG | WAIT_ALL, &usage);

		if (pid <= 0)
			return;
		for (uint32_t i = 0; i < n_commands; i++) {
			if (commands[i].pid != pid)
				continue;

			struct nsb_report report = {
				.event = NSB_EVENT_EXITED,
				.pid = (int32_t)pid,
				.status = status,
				.user_us = (uint64_t)usage.ru_utime.tv_sec * 1000000 +
					   (uint64_t)usage.ru_utime.tv_usec,
				.system_us = (uint64_t)usage.ru_stime.tv_sec * 1000000 +
					     (uint64_t)usage.ru_stime.tv_usec,
				.read_blocks = (uint64_t)usage.ru_inblock,
				.written_blocks = (uint64_t)usage.ru_oublock,
			};

			if (commands[i].refused && status == SIG_KILL)
				report.status = SIG_SYS;
			report.index = status && volume_full();
			report.denied = audit_end(commands[i].id, commands[i].reply_fd);
			(void)send_report(commands[i].reply_fd, &report, -1, 0);
			if (commands[i].only)
				sys_exit(0);
			sys_close(commands[i].reply_fd);
			commands[i] = commands[--n_commands];
			break;
		}
	}
}

/* Limits before the ids change, since a count may be more than the new user has left. */
static int command_main(void *argument)
{
	struct start *start = argument;

	if (join_groups(start) && session(start) && place_fds(start) && limit(start) &&
	    restrict_privileges(start) && unblock_signals(start))
		execute_program(start);
	return 127;
}

static long clone_command(struct start *start)
{
	uint64_t flags = CLONE_VM | (start->policy->n_audit ? 0 : CLONE_VFORK);
	struct sys_clone_args args = {
		.flags = flags,
		.exit_signal = SIG_CHLD,
		.stack = (uint64_t)(uintptr_t)command_stack,
		.stack_size = sizeof command_stack,
	};
	long pid;

	if (start->cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)start->cgroup_fd;
	}
	pid = sys_clone3(&args, sizeof args, command_main, start);
	if (pid == -E_NOSYS) {
		start->cgroup_by_file = start->cgroup_fd >= 0;
		pid = sys_clone2(flags | SIG_CHLD, command_stack + sizeof command_stack, NULL,
				 command_main, start);
	}
	return pid;
}

/* A command whose pid or pty cannot be handed out is of no use to anybody. */
static void reply_started(struct start *start, int reply_fd, int32_t pid)
{
	struct nsb_report report = { .event = NSB_EVENT_STARTED, .pid = pid };

	if (start->request->flags & (NSB_EXEC_TELL_START | NSB_EXEC_PTY) &&
	    step_failed(start, NSB_STEP_START,
			send_report(reply_fd, &report, start->pty_master, pid), 1))
		(void)sys2(__NR_kill, pid, SIG_KILL);
}

static bool open_audit(struct start *start)
{
	int socks[2] = { -1, -1 };
	long fd;

	if (!start->policy->n_audit)
		return true;
	if (step_failed(start, NSB_STEP_LISTENER,
			sys4(__NR_socketpair, 1 /* AF_UNIX */, 5 /* SOCK_SEQPACKET */ | O_CLOEXEC_,
			     0, socks),
			1))
		return false;
	start->audit_socks[0] = socks[0];
	fd = sys3(__NR_fcntl, socks[1], F_DUPFD_CLOEXEC_, start->highest + 1);
	sys_close(socks[1]);
	start->audit_socks[1] = (int)fd;
	return !step_failed(start, NSB_STEP_LISTENER, fd, 2);
}

static void close_audit(struct start *start)
{
	for (int i = 0; i < 2; i++) {
		if (start->audit_socks[i] >= 0)
			sys_close(start->audit_socks[i]);
		start->audit_socks[i] = -1;
	}
}

/* In an audit the clone returns at once, and the command shares our memory until its exec. */
static void follow(struct start *start, int32_t pid, int reply_fd)
{
	long err;

	if (!start->policy->n_audit)
		return;
	sys_close(start->audit_socks[1]);
	err = audit_follow(start->audit_socks[0], start->request->header.id, start->policy,
			   reply_fd);
	start->audit_socks[1] = -1; /* not before: the command has read it from here */
	/* What the command itself says of its failure comes first. */
	if (err >= 0 || start->outcome.step)
		return;
	(void)sys2(__NR_kill, pid, SIG_KILL);
	step_failed(start, NSB_STEP_LISTENER, err, 3);
}

static void command_start(struct message *message, struct start *start, const char **pointers)
{
	const struct nsb_exec *request = start->request;
	bool ready;
	long pid = -1;

	if (n_commands == COMMANDS_MAX || audits_full())
		step_failed(start, NSB_STEP_START, -E_AGAIN, COMMANDS_MAX);
	else if (!parse_command(message, start, pointers))
		step_failed(start, NSB_STEP_REQUEST, -E_PROTO, 0);
	ready = !start->outcome.step &&
		raise_fds(message, start, message->n_fds - request->n_fds) &&
		(!(request->flags & NSB_EXEC_PTY) || open_pty(start, AT_FDCWD_)) &&
		open_audit(start);
	if (start->cgroup_fd >= 0)
		start->cgroup_fd = message->fds[1]; /* raised, too */
	if (ready) {
		pid = clone_command(start);
		if (!step_failed(start, NSB_STEP_START, pid, 0))
			follow(start, (int32_t)pid, message->fds[0]);
		if (!start->outcome.step)
			reply_started(start, message->fds[0], (int32_t)pid);
	}
	if (start->outcome.step) {
		if (pid > 0)
			(void)sys4(__NR_wait4, pid, NULL, WAIT_ALL, NULL);
		(void)audit_end(request->header.id, -1);
		send_failure(message->fds[0], start->outcome);
		if (request->flags & NSB_EXEC_ONLY)
			sys_exit(0);
	} else {
		commands[n_commands++] = (struct command){
			.id = request->header.id,
			.pid = (int32_t)pid,
			.reply_fd = take_fd(message, 0),
			.only = request->flags & NSB_EXEC_ONLY,
		};
	}
	if (start->pty_master >= 0)
		sys_close(start->pty_master);
	if (start->pty_slave >= 0)
		sys_close(start->pty_slave);
	close_audit(start);
}

void command_request(struct message *message, const struct policy *policy)
{
	static const char *few_pointers[POINTERS_MAX];
	const struct nsb_exec *request = (const void *)message->bytes;
	struct start start = { .request = request,
			       .policy = policy,
			       .pty_master = -1,
			       .pty_slave = -1,
			       .audit_socks = { -1, -1 },
			       .cgroup_fd = -1 };
	const char **pointers = few_pointers;
	uint64_t n = 3;
	size_t mapped = 0;

	if (message->n_fds == 0)
		return;
	if (message->size < sizeof *request) {
		send_failure(message->fds[0], failed(NSB_STEP_REQUEST, -E_PROTO, 1));
		return;
	}
	n += (uint64_t)request->n_paths + request->n_argv + request->n_env;
	if (n > POINTERS_MAX) {
		long address = map_pointers(message, n, &mapped);

		if (sys_failed(address)) {
			send_failure(message->fds[0], failed(NSB_STEP_REQUEST, address, 2));
			return;
		}
		pointers = (const char **)(uintptr_t)address;
	}
	command_start(message, &start, pointers);
	if (mapped)
		(void)sys2(__NR_munmap, pointers, mapped);
}
