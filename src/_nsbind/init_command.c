/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a command, from its request to its exec. Everything that they need is in the request
 * and in the policy of the set-up; every restriction is in force before the exec.
 */
#include <linux/seccomp.h>
#include <linux/termios.h>

#include "init_command.h"

enum {
	FILE_TYPE = 0170000,
	REGULAR = 0100000,
	FIFO = 0010000,
	SOCKET = 0140000,
	DEVPTS_SUPER_MAGIC_ = 0x1cd1,
	TERMINAL_SET_CONTROLLING = 0x540e, /* TIOCSCTTY */
	TERMINAL_SET_SIZE = 0x5414,        /* TIOCSWINSZ */
	TERMINAL_UNLOCK = 0x40045431,      /* TIOCSPTLCK */
	TERMINAL_PEER = 0x5441,            /* TIOCGPTPEER */
};

bool step_failed(struct start *start, enum nsb_step step, long err, uint32_t index)
{
	if (err >= 0)
		return false;
	start->outcome = failed(step, err, index);
	return true;
}

/* "0" is the writer itself, while it is still alone. */
bool join_groups(struct start *start)
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

bool session(struct start *start)
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
bool place_fds(struct start *start)
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

bool limit(struct start *start)
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

/* Who has another id than the caller could not open /dev/stdout again. Never a device or a file,
 * which would be the host's. */
static void own_stdio(const struct start *start)
{
	for (int fd = 0; start->request->flags & NSB_EXEC_OWN_STDIO && fd <= 2; fd++) {
		struct statx stat;
		uint32_t type;

		if (sys_statx(fd, "", AT_EMPTY_PATH_, &stat) < 0)
			continue;
		type = stat.stx_mode & FILE_TYPE;
		if ((type == FIFO || type == SOCKET) && stat.stx_uid != start->request->uid)
			(void)sys3(__NR_fchown, fd, start->request->uid, -1);
	}
}

static bool take_user(struct start *start)
{
	const struct nsb_exec *request = start->request;
	long err = 0;

	own_stdio(start);
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
	    !set_capabilities(start, policy->effective, policy->permitted, policy->inheritable))
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
 * only CAP_SYS_ADMIN may load one (seccomp(2)), so it comes first and must allow those calls.
 */
bool filters_first(const struct start *start)
{
	return !start->policy->no_new_privs && (start->policy->n_seccomp || start->policy->n_audit);
}

/* The rules of Landlock are for the root, which is our working directory at first. */
bool give_up_privileges(struct start *start)
{
	return confine(start) && (!filters_first(start) || filter(start)) && take_user(start) &&
	       drop_and_enter(start);
}

bool seal(struct start *start)
{
	if (filters_first(start))
		return true;
	if (start->policy->no_new_privs &&
	    step_failed(start, NSB_STEP_NO_NEW_PRIVS, sys_prctl(PR_SET_NO_NEW_PRIVS_, 1, 0, 0, 0),
			0))
		return false;
	return filter(start);
}

bool restrict_privileges(struct start *start)
{
	return give_up_privileges(start) && seal(start);
}

static long find_program(const char *path)
{
	struct statx stat;
	long err = sys_statx(AT_FDCWD_, path, 0, &stat);

	if (err < 0)
		return err;
	if ((stat.stx_mode & FILE_TYPE) != REGULAR)
		return -E_ACCES;
	return sys3(__NR_faccessat, AT_FDCWD_, path, 1 /* X_OK */);
}

/* Which says early, and without an exec, what the exec would say. */
bool program_exists(struct start *start)
{
	long verdict = -E_NOENT;
	uint32_t index = 0;

	for (uint32_t i = 0; i < start->request->n_paths; i++) {
		long err = find_program(start->paths[i]);

		if (err >= 0)
			return true;
		if (err != -E_NOENT && err != -E_NOTDIR) {
			verdict = err;
			index = i;
		}
	}
	return !step_failed(start, NSB_STEP_PROGRAM, verdict, index);
}

bool unblock_signals(struct start *start)
{
	static const uint64_t no_signals = 0;

	return !step_failed(start, NSB_STEP_EXEC, sys_sigmask(&no_signals), 0);
}

/* The first errno that is not "no such path" decides, as in execvpe(3). */
void execute_program(struct start *start)
{
	long verdict = -E_NOENT;
	uint32_t index = 0;

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

/* A devpts, whatever else an image or a mount may have put there. */
static long open_ptmx(int root_fd)
{
	struct sys_statfs stat;
	long fd = open_in_root(root_fd, "dev/pts/ptmx", O_PATH_, 0, false), err;

	if (fd < 0)
		return fd;
	err = sys2(__NR_fstatfs, fd, &stat);
	if (!err && stat.type != DEVPTS_SUPER_MAGIC_)
		err = -E_NODEV;
	sys_close((int)fd);
	return err ? err : open_in_root(root_fd, "dev/pts/ptmx", O_RDWR_ | O_NOCTTY_, 0, false);
}

/* The pty comes from the devpts that we mounted; only its descriptors go in, so no name is looked
 * up inside. */
bool open_pty(struct start *start, int root_fd)
{
	int32_t unlock = 0;
	struct winsize size = { .ws_row = (unsigned short)start->request->rows,
				.ws_col = (unsigned short)start->request->columns };
	long fd = open_ptmx(root_fd);

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
bool raise_fds(struct message *message, struct start *start, uint32_t first)
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

/* Room for pointers; returns its address or a negative errno. */
long map_pointers(const struct message *message, uint64_t n, size_t *ret_mapped)
{
	if (n > message->size + 3)
		return -E_2BIG;
	*ret_mapped = n * sizeof(char *);
	return sys_call6(__NR_mmap, 0, (long)*ret_mapped, 3, 0x22, -1, 0);
}

/* Consecutive strings become pointers at *at, ended by NULL. */
bool collect_strings(const struct message *message, uint32_t offset, uint32_t count,
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

bool parse_command(struct message *message, struct start *start, const char **pointers)
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
