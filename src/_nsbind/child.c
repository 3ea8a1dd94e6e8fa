/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between clone and exec. The process here may share its memory with a threaded interpreter whose
 * other threads go on running, so:
 *
 * 1. Only raw system calls: no libc, no allocation, no lock, no errno, no thread-local storage. A
 * test compares the undefined symbols of this object file with an allow-list.
 * 2. Nothing is written but *plan. Credentials are not changed here: a change of uid would make the
 * shared memory, and with it the caller, non-dumpable (commit_creds()). PID 1 does that in its own
 * memory, after the exec.
 * 3. All signals are blocked by the caller, so that none of its handlers runs here.
 * 4. It ends with the exec of PID 1, which is alone in its namespaces until then: nothing foreign
 * can reach us.
 */
#include "child.h"

static int fail(struct child_plan *plan, enum nsb_step step, long err, uint32_t index)
{
	plan->failure = (struct nsb_failure){ .step = step, .err = (int32_t)-err, .index = index };
	return 127;
}

/* 0 is "the writing process", so the kernel need not look up and lock a foreign one. */
static long join_tasks_file(int fd)
{
	long n = sys_write(fd, "0", 1);

	return n < 0 ? n : 0;
}

/* clone(2) has no CLONE_INTO_CGROUP. */
static long join_cgroup(int cgroup_fd)
{
	long fd = sys_openat(cgroup_fd, "cgroup.procs", O_WRONLY_ | O_CLOEXEC_, 0);

	return fd < 0 ? fd : join_tasks_file((int)fd);
}

/* The kernel leaves out in silence what the cpuset does not have, so compare with what came out. */
static long set_affinity(const uint64_t *wanted, uint32_t n_wanted)
{
	uint64_t got[NSB_CPU_WORDS];
	long n = sys3(__NR_sched_setaffinity, 0, n_wanted * sizeof *wanted, wanted);

	if (n < 0)
		return n;
	n = sys3(__NR_sched_getaffinity, 0, sizeof got, got);
	if (n < 0)
		return n;
	n /= (long)sizeof *got;
	for (uint32_t i = 0; i < n_wanted; i++)
		if (wanted[i] != (i < n ? got[i] : 0))
			return -E_INVAL;
	return 0;
}

/*
 * Standard streams on /dev/null, the control socket on its fixed number, nothing else. The parent
 * made sure that the descriptors it passes are above the numbers that are overwritten here.
 */
static long arrange_fds(const struct child_plan *plan)
{
	long err;

	for (int fd = 0; fd < NSB_CONTROL_FD; fd++)
		if ((err = sys_dup3(plan->null_fd, fd, 0)) < 0)
			return err;
	if ((err = sys_dup3(plan->control_fd, NSB_CONTROL_FD, 0)) < 0)
		return err;
	err = sys_close_range(NSB_CONTROL_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC_);
	if (err != -E_NOSYS && err != -E_INVAL)
		return err;

	/* Linux < 5.11 lacks the flag, < 5.9 the call: walk up to the limit, since an inheritable
	 * one must not go in. */
	struct {
		uint64_t soft, hard;
	} nofile = { 1024, 1024 };

	(void)sys4(__NR_prlimit64, 0, 7 /* RLIMIT_NOFILE */, 0, &nofile);
	for (uint64_t fd = NSB_CONTROL_FD + 1; fd < nofile.soft; fd++)
		(void)sys3(__NR_fcntl, fd, 2 /* F_SETFD */, 1 /* FD_CLOEXEC */);
	return 0;
}

/*
 * PID 1 is executed with an id that is not root inside, which would cost it its capabilities: carry
 * them in the ambient set (capabilities(7), "Transformation of capabilities during execve").
 */
static long raise_ambient(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	long err = sys2(__NR_capget, &header, data);

	if (err < 0)
		return err;
	data[0].inheritable = data[0].permitted;
	data[1].inheritable = data[1].permitted;
	if ((err = sys2(__NR_capset, &header, data)) < 0)
		return err;
	for (unsigned cap = 0; cap < CAP_COUNT; cap++) {
		if (!(data[cap / 32].permitted & (1u << cap % 32)))
			continue;
		err = sys_prctl(PR_CAP_AMBIENT_, PR_CAP_AMBIENT_RAISE_, cap, 0, 0);
		if (err < 0)
			return err;
	}
	return 0;
}

static int become_init(void *argument)
{
	struct child_plan *plan = argument;
	static const char *const argv[] = { "pycontain-init", NULL };
	static const char *const envp[] = { NULL };
	long err;

	if (plan->cgroup_fd >= 0 && plan->used_clone2 && (err = join_cgroup(plan->cgroup_fd)) < 0)
		return fail(plan, NSB_STEP_JOIN_CGROUP, err, 0);
	for (uint32_t i = 0; i < plan->n_tasks; i++)
		if ((err = join_tasks_file(plan->tasks_fds[i])) < 0)
			return fail(plan, NSB_STEP_JOIN_CGROUP, err, i + 1);
	/* Only now: who is in the namespace and not below its root can join no group there, with
	 * the mount option nsdelegate (cgroup_procs_write_permission()). */
	if (plan->cgroupns_fd >= 0 &&
	    (err = sys2(__NR_setns, plan->cgroupns_fd, CLONE_NEWCGROUP)) < 0)
		return fail(plan, NSB_STEP_JOIN_NAMESPACE, err, 0);
	if (plan->affinity && (err = set_affinity(plan->affinity, plan->n_affinity)) < 0)
		return fail(plan, NSB_STEP_AFFINITY, err, 0);
	if ((err = arrange_fds(plan)) < 0)
		return fail(plan, NSB_STEP_STDIO, err, 0);
	if ((err = raise_ambient()) < 0)
		return fail(plan, NSB_STEP_AMBIENT, err, 0);
	err = sys5(__NR_execveat, plan->init_fd, "", argv, envp, AT_EMPTY_PATH_);
	return fail(plan, NSB_STEP_EXEC_INIT, err, 0);
}

long child_clone(struct child_plan *plan, uint64_t extra_flags)
{
	uint64_t flags = plan->namespaces | extra_flags | CLONE_PIDFD;
	struct sys_clone_args args = {
		.pidfd = (uint64_t)(uintptr_t)&plan->pidfd,
		.stack = (uint64_t)(uintptr_t)plan->stack_top - 65536,
		.stack_size = 65536,
	};
	long pid = -E_NOSYS;

	if (!(plan->spawn_flags & NSB_SPAWN_FORK))
		flags |= CLONE_VM | CLONE_VFORK;
	if (!(plan->spawn_flags & NSB_SPAWN_CLONE2)) {
		args.flags = flags;
		if (plan->cgroup_fd >= 0) {
			args.flags |= CLONE_INTO_CGROUP;
			args.cgroup = (uint64_t)plan->cgroup_fd;
		}
		pid = sys_clone3(&args, sizeof args, become_init, plan);
	}
	/* An outer sandbox may refuse clone3, whose flags no filter can read: Docker's default
	 * answers ENOSYS. */
	if (pid == -E_NOSYS) {
		plan->used_clone2 = 1;
		pid = sys_clone2(flags, plan->stack_top, &plan->pidfd, become_init, plan);
	}
	plan->pid = (int32_t)pid;
	return pid;
}

int child_join_and_clone(void *argument)
{
	struct child_plan *plan = argument;
	long err = sys2(__NR_setns, plan->userns_fd, CLONE_NEWUSER);

	if (err < 0)
		return fail(plan, NSB_STEP_JOIN_USER_NAMESPACE, err, 0);
	/* CLONE_PARENT: PID 1 is the caller's child, not ours. Our descriptors are the caller's own
	 * (CLONE_FILES), so the pidfd is, too. */
	err = child_clone(plan, CLONE_PARENT);
	return err < 0 ? fail(plan, NSB_STEP_CLONE_NAMESPACES, err, 0) : 0;
}
