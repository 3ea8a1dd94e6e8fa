/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands. Each is cloned with shared memory, as vfork(2) does: this program has a few pages,
 * cannot be traced by what runs inside (it is not dumpable and holds every capability), and sleeps
 * until the exec. Everything that the exec needs is in the request; every restriction is in force
 * before it.
 */
#include <linux/resource.h>
#include <linux/seccomp.h>
#include <linux/termios.h>
#include <linux/time.h>
#include <linux/wait.h>

#include "init.h"

enum {
	POINTERS_MAX = 4096,
	WAIT_ALL = 0x40000000,             /* __WALL */
	TERMINAL_SET_CONTROLLING = 0x540e, /* TIOCSCTTY */
	TERMINAL_SET_SIZE = 0x5414,        /* TIOCSWINSZ */
	TERMINAL_UNLOCK = 0x40045431,      /* TIOCSPTLCK */
	TERMINAL_PEER = 0x5441,            /* TIOCGPTPEER */
};

struct command {
	uint32_t id;
	int32_t pid;
	int32_t reply_fd;
	bool only;
	bool refused; /* its SIGKILL stands for the filter's SIGSYS */
};

/* Everything that the child of one request walks. */
struct start {
	const struct nsb_exec *request;
	const struct policy *policy;
	const char *const *paths;
	const char *const *argv;
	const char *const *envp;
	const char *cwd;
	const uint32_t *groups;
	const uint32_t *targets;
	int *fds; /* in the order of targets */
	const int *tasks_fds;
	int cgroup_fd;
	bool cgroup_by_file; /* clone(2) has no CLONE_INTO_CGROUP */
	int pty_master;
	int pty_slave;
	uint32_t highest;   /* number that a descriptor has inside */
	int audit_socks[2]; /* ours, and the one by which the command hands its listener over */
	struct outcome outcome;
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

static bool step_failed(struct start *start, enum nsb_step step, long err, uint32_t index)
{
	if (err >= 0)
		return false;
	start->outcome = failed(step, err, index);
	return true;
}

/* "0" is the writer itself, while it is still alone. */
static bool join_groups(struct start *start)
{
	if (start->cgroup_by_file) {
		long fd = sys_openat(start->cgroup_fd, "cgroup.procs", O_WRONLY_ | O_CLOEXEC_, 0);

		if (step_failed(start, NSB_STEP_TASKS, fd, start->request->n_tasks) ||
		    step_failed(start, NSB_STEP_TASKS, sys_write((int)fd, "0", 1),
				start->request->n_tasks))
			return false;
	}
	for (uint32_t i = 0; i < start->request->n_tasks; i++)
		if (step_failed(start, NSB_STEP_TASKS, sys_write(start->tasks_fds[i], "0", 1), i))
			return false;
	/*
	 * Only now: the namespace's root is the group that we are in. PID 1 has none of its own,
	 * since with the mount option nsdelegate it could not put us into a group outside of that
	 * (cgroups(7)).
	 */
	return !(start->request->flags & NSB_EXEC_MARK) ||
	       !step_failed(start, NSB_STEP_TASKS, sys1(__NR_unshare, CLONE_NEWCGROUP),
			    start->request->n_tasks + 1);
}

static bool session(struct start *start)
{
	const struct nsb_exec *request = start->request;
	long err = request->flags & NSB_EXEC_SESSION
			   ? sys0(__NR_setsid)
			   : sys2(__NR_setpgid, 0, request->process_group);

	if (step_failed(start, NSB_STEP_SESSION, err, 0))
		return false;
	return !(request->flags & NSB_EXEC_PTY) ||
	       !step_failed(start, NSB_STEP_SESSION,
			    sys3(__NR_ioctl, start->pty_slave, TERMINAL_SET_CONTROLLING, 0), 1);
}

/*
 * No descriptor has a number that one is moved to (raise_fds()). All are close-on-exec already,
 * which is made sure of here, since one too many would be a way out (CVE-2024-21626).
 */
static bool place_fds(struct start *start)
{
	long err = sys_close_range(0, ~0u, CLOSE_RANGE_CLOEXEC_);

	/* Linux < 5.11 lacks the flag, < 5.9 the call. */
	if (err != -E_NOSYS && err != -E_INVAL && step_failed(start, NSB_STEP_FDS, err, 0))
		return false;
	if (start->request->flags & NSB_EXEC_PTY) {
		for (int fd = 0; fd <= 2; fd++)
			if (step_failed(start, NSB_STEP_FDS, sys_dup3(start->pty_slave, fd, 0),
					(uint32_t)fd))
				return false;
	}
	for (uint32_t i = 0; i < start->request->n_fds; i++)
		if (step_failed(start, NSB_STEP_FDS,
				sys_dup3(start->fds[i], (int)start->targets[i], 0), i))
			return false;
	return true;
}

static bool limit(struct start *start)
{
	for (uint32_t i = 0; i < start->policy->n_rlimits; i++) {
		const struct nsb_rlimit *rlimit = &start->policy->rlimits[i];
		uint64_t value[2] = { rlimit->soft, rlimit->hard };

		if (step_failed(start, NSB_STEP_RLIMIT,
				sys4(__NR_prlimit64, 0, rlimit->resource, value, NULL), i))
			return false;
	}
	(void)sys1(__NR_umask, start->request->umask);
	return true;
}

static bool take_user(struct start *start)
{
	const struct nsb_exec *request = start->request;
	long err = 0;

	/* Permitted capabilities survive the change of ids, for what drop_capabilities() still has
	 * to do. */
	if (step_failed(start, NSB_STEP_USER, sys_prctl(PR_SET_KEEPCAPS_, 1, 0, 0, 0), 0))
		return false;
	if (start->policy->drop_groups)
		err = sys2(__NR_setgroups, request->n_groups, start->groups);
	if (step_failed(start, NSB_STEP_USER, err, 1) ||
	    step_failed(start, NSB_STEP_USER,
			sys3(__NR_setresgid, request->gid, request->gid, request->gid), 2))
		return false;
	return !step_failed(start, NSB_STEP_USER,
			    sys3(__NR_setresuid, request->uid, request->uid, request->uid), 3);
}

static bool set_capabilities(struct start *start, uint64_t effective, uint64_t permitted,
			     uint64_t inheritable)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ (uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable },
		{ (uint32_t)(effective >> 32), (uint32_t)(permitted >> 32),
		  (uint32_t)(inheritable >> 32) },
	};

	return !step_failed(start, NSB_STEP_CAPABILITIES, sys2(__NR_capset, &header, data), 0);
}

static bool set_securebits(struct start *start)
{
	const uint64_t set_pcap = 1ull << 8; /* CAP_SETPCAP */

	if (!start->policy->securebits)
		return true;
	return set_capabilities(start, set_pcap, start->policy->permitted | set_pcap, 0) &&
	       !step_failed(start, NSB_STEP_CAPABILITIES,
			    sys_prctl(PR_SET_SECUREBITS_, start->policy->securebits, 0, 0, 0), 1);
}

static bool drop_capabilities(struct start *start)
{
	const struct policy *policy = start->policy;

	if (step_failed(start, NSB_STEP_CAPABILITIES,
			sys_prctl(PR_CAP_AMBIENT_, PR_CAP_AMBIENT_CLEAR_ALL_, 0, 0, 0), 2) ||
	    !set_securebits(start) ||
	    !set_capabilities(start, policy->permitted, policy->permitted, policy->inheritable))
		return false;
	for (unsigned cap = 0; cap < CAP_COUNT; cap++)
		if (policy->ambient & 1ull << cap &&
		    step_failed(start, NSB_STEP_CAPABILITIES,
				sys_prctl(PR_CAP_AMBIENT_, PR_CAP_AMBIENT_RAISE_, cap, 0, 0),
				3 + cap))
			return false;
	return true;
}

/* As the user, so that a directory which the user may not enter is an error, and never through a
 * magic link, which may lead out of the root (CVE-2024-21626). */
static bool change_directory(struct start *start)
{
	long fd = open_in_root(AT_FDCWD_, start->cwd, O_PATH_ | O_DIRECTORY_, 0, true);

	return !step_failed(start, NSB_STEP_CWD, fd, 0) &&
	       !step_failed(start, NSB_STEP_CWD, sys1(__NR_fchdir, fd), 0);
}

static bool filter(struct start *start)
{
	struct sock_fprog program = {
		.len = (unsigned short)start->policy->n_seccomp,
		.filter = (struct sock_filter *)(uintptr_t)start->policy->seccomp,
	};

	if (start->policy->n_audit)
		return !step_failed(start, NSB_STEP_LISTENER,
				    audit_install(start->policy, start->audit_socks[1]), 0);
	return !program.len || !step_failed(start, NSB_STEP_SECCOMP,
					    sys3(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
						 start->policy->seccomp_flags, &program),
					    0);
}

static bool confine(struct start *start)
{
	const struct landlock_policy *policy = &start->policy->landlock;
	int stdio[3] = { start->pty_slave, -1, -1 };
	bool pty = start->request->flags & NSB_EXEC_PTY;
	long fd;

	if (!policy->handled)
		return true;
	fd = landlock_ruleset(policy, pty ? stdio : start->fds, pty ? 1 : start->request->n_fds);
	return !step_failed(start, NSB_STEP_LANDLOCK, fd, 0) &&
	       !step_failed(start, NSB_STEP_LANDLOCK, sys2(__NR_landlock_restrict_self, fd, 0), 1);
}

/* The only id of a map keeps its capabilities through take_user(); root is let in everywhere, as it
 * is used to. */
static bool drop_and_enter(struct start *start)
{
	if (start->request->uid == 0)
		return change_directory(start) && drop_capabilities(start);
	return drop_capabilities(start) && change_directory(start);
}

/*
 * With no_new_privs the filter comes last, so that it need not allow what comes before. Without,
 * only CAP_SYS_ADMIN may load one (seccomp(2)), so it comes first and must allow those calls. The
 * rules of Landlock are for the root, which is our working directory at first.
 */
static bool restrict_privileges(struct start *start)
{
	if (!confine(start))
		return false;
	if (!start->policy->no_new_privs)
		return filter(start) && take_user(start) && drop_and_enter(start);
	return take_user(start) && drop_and_enter(start) &&
	       !step_failed(start, NSB_STEP_NO_NEW_PRIVS,
			    sys_prctl(PR_SET_NO_NEW_PRIVS_, 1, 0, 0, 0), 0) &&
	       filter(start);
}

/* The first errno that is not "no such path" decides, as in execvpe(3). */
static void execute(struct start *start)
{
	static const uint64_t no_signals = 0;
	long verdict = -E_NOENT;
	uint32_t index = 0;

	if (step_failed(start, NSB_STEP_EXEC, sys_sigmask(&no_signals), 0))
		return;
	for (uint32_t i = 0; i < start->request->n_paths; i++) {
		long err = sys3(__NR_execve, start->paths[i], start->argv, start->envp);

		if (err != -E_NOENT && err != -E_NOTDIR) {
			verdict = err;
			index = i;
			if (err != -E_ACCES)
				break;
		}
	}
	start->outcome = failed(NSB_STEP_EXEC, verdict, index);
}

/* Limits before the ids change, since a count may be more than the new user has left. */
static int command_main(void *argument)
{
	struct start *start = argument;

	if (join_groups(start) && session(start) && place_fds(start) && limit(start) &&
	    restrict_privileges(start))
		execute(start);
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

/* The pty comes from the devpts that we mounted; only its descriptors go in, so no name is looked
 * up inside. */
static bool open_pty(struct start *start)
{
	int32_t unlock = 0;
	struct winsize size = { .ws_row = (unsigned short)start->request->rows,
				.ws_col = (unsigned short)start->request->columns };
	long fd = sys_openat(AT_FDCWD_, "/dev/pts/ptmx",
			     O_RDWR_ | O_NOCTTY_ | O_NOFOLLOW_ | O_CLOEXEC_, 0);

	if (step_failed(start, NSB_STEP_PTY, fd, 0))
		return false;
	start->pty_master = (int)fd;
	if (step_failed(start, NSB_STEP_PTY, sys3(__NR_ioctl, fd, TERMINAL_UNLOCK, &unlock), 1) ||
	    step_failed(start, NSB_STEP_PTY, sys3(__NR_ioctl, fd, TERMINAL_SET_SIZE, &size), 2))
		return false;
	fd = sys3(__NR_ioctl, fd, TERMINAL_PEER, O_RDWR_ | O_NOCTTY_ | O_CLOEXEC_);
	if (step_failed(start, NSB_STEP_PTY, fd, 3))
		return false;
	start->pty_slave = (int)fd;
	return !step_failed(start, NSB_STEP_PTY,
			    sys3(__NR_fchown, fd, start->request->uid, start->request->gid), 4);
}

/* Descriptors that will be placed move above every number that one is placed on. */
static bool raise_fds(struct message *message, struct start *start, uint32_t first)
{
	start->highest = 2;
	for (uint32_t i = 0; i < start->request->n_fds; i++)
		if (start->targets[i] > start->highest)
			start->highest = start->targets[i];
	for (uint32_t i = 0; i < message->n_fds; i++) {
		long fd = message->fds[i];

		if (fd < 0 || (uint32_t)fd > start->highest)
			continue;
		fd = sys3(__NR_fcntl, fd, F_DUPFD_CLOEXEC_, start->highest + 1);
		if (step_failed(start, NSB_STEP_FDS, fd, i))
			return false;
		sys_close(message->fds[i]);
		message->fds[i] = (int)fd;
	}
	start->fds = message->fds + first;
	return true;
}

/* Consecutive strings become pointers at *at, ended by NULL. */
static bool collect_strings(const struct message *message, uint32_t offset, uint32_t count,
			    const char ***at)
{
	const char *text = message_string(message, offset);
	const char *end = message->bytes + message->size;

	for (uint32_t i = 0; i < count; i++) {
		if (!text || text >= end)
			return false;
		*(*at)++ = text;
		text += text_length(text) + 1;
	}
	*(*at)++ = NULL;
	return true;
}

static bool parse(struct message *message, struct start *start, const char **pointers)
{
	const struct nsb_exec *request = start->request;
	uint32_t n_cgroup = request->flags & NSB_EXEC_CGROUP ? 1 : 0;
	const char **at = pointers;

	if ((uint64_t)1 + n_cgroup + request->n_tasks + request->n_fds != message->n_fds)
		return false;
	start->cgroup_fd = n_cgroup ? message->fds[1] : -1;
	start->tasks_fds = message->fds + 1 + n_cgroup;
	start->cwd = message_string(message, request->cwd);
	start->groups = message_at(message, request->groups, request->n_groups, sizeof(uint32_t));
	start->targets = message_at(message, request->fds, request->n_fds, sizeof(uint32_t));
	start->paths = at;
	if (!collect_strings(message, request->paths, request->n_paths, &at))
		return false;
	start->argv = at;
	if (!collect_strings(message, request->argv, request->n_argv, &at))
		return false;
	start->envp = at;
	return collect_strings(message, request->env, request->n_env, &at) && start->cwd &&
	       start->groups && start->targets;
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
	else if (!parse(message, start, pointers))
		step_failed(start, NSB_STEP_REQUEST, -E_PROTO, 0);
	ready = !start->outcome.step &&
		raise_fds(message, start, message->n_fds - request->n_fds) &&
		(!(request->flags & NSB_EXEC_PTY) || open_pty(start)) && open_audit(start);
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
		mapped = (n <= message->size + 3) * n * sizeof *pointers;
		long address =
			mapped ? sys_call6(__NR_mmap, 0, (long)mapped, 3, 0x22, -1, 0) : -E_2BIG;

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
