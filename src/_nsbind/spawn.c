/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent's side: prepare everything, clone PID 1, hand it over. Nothing here logs, exits, keeps
 * state between calls or touches Python; each descriptor is close-on-exec from birth and has one
 * owner.
 */
#define _GNU_SOURCE
#include <linux/seccomp.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "spawn.h"

enum {
	GUARD_SIZE = 16384, /* a whole number of pages for every page size but 64 KiB, where
			       mprotect fails cleanly */
	STACK_SIZE = 65536,
	PLAN_SIZE = 65536,
	THREAD_STACK_SIZE = 262144,
	SEND_TIMEOUT_MS = 10000,
	TRIES = 5,
	P_PIDFD_ = 3,
};

/* guard | helper's stack | guard | PID 1's stack | plan */
struct arena {
	char *base;
	size_t size;
	char *helper_stack_top;
	char *init_stack_top;
	struct child_plan *plan;
};

void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int set_failure(struct nsb_failure *reterr, enum nsb_step step, int err, uint32_t index)
{
	*reterr = (struct nsb_failure){ .step = step, .err = err, .index = index };
	return -1;
}

/* false: errno says why */
static bool arena_map(struct arena *arena, bool shared)
{
	const size_t guarded = (size_t)GUARD_SIZE + STACK_SIZE, size = 2 * guarded + PLAN_SIZE;
	int flags = MAP_ANONYMOUS | MAP_NORESERVE | (shared ? MAP_SHARED : MAP_PRIVATE | MAP_STACK);
	char *base = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (base == MAP_FAILED)
		return false;
	*arena = (struct arena){
		.base = base,
		.size = size,
		.helper_stack_top = base + guarded,
		.init_stack_top = base + 2 * guarded,
		.plan = (struct child_plan *)(void *)(base + 2 * guarded),
	};
	if (mprotect(base, GUARD_SIZE, PROT_NONE) < 0 ||
	    mprotect(arena->helper_stack_top, GUARD_SIZE, PROT_NONE) < 0) {
		int err = errno;

		munmap(base, size);
		errno = err;
		return false;
	}
	return true;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A signal does not end the wait: the caller's handlers run when it is back. EAGAIN of poll(2) is a
 * passing want of memory, while ours is that time is over. */
int wait_ready(int fd, short events, int timeout_ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };
	int64_t end = timeout_ms < 0 ? 0 : now_ms() + timeout_ms;
	int n;

	while ((n = poll(&poll_fd, 1, timeout_ms)) < 0 && (errno == EINTR || errno == EAGAIN)) {
		int64_t left = end - now_ms();

		if (timeout_ms >= 0)
			timeout_ms = left > 0 ? (int)left : 0;
	}
	return n < 0 ? -errno : n == 0 ? -EAGAIN : 0;
}

static int payload_memfd(const void *bytes, size_t size)
{
	int fd = memfd_create("pycontain-message", MFD_CLOEXEC);
	size_t done = 0;

	if (fd < 0)
		return -errno;
	while (done < size) {
		ssize_t n = write(fd, (const char *)bytes + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int err = errno;

			close(fd);
			return -err;
		}
		done += (size_t)n;
	}
	return fd;
}

static int send_once(int fd, const void *bytes, size_t size, const int32_t *fds, uint32_t n_fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE((NSB_FDS_MAX + 1) * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = size };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds) {
		message.msg_control = control.space;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		memset(control.space, 0, message.msg_controllen);

		struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(rights), fds, n_fds * sizeof(int));
	}
	for (;;) {
		if (sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return 0;
		if (errno == EAGAIN) {
			int err = wait_ready(fd, POLLOUT, SEND_TIMEOUT_MS);

			if (err < 0)
				return err == -EAGAIN ? -ETIMEDOUT : err;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
}

int nsb_send(int control_fd, const void *bytes, size_t size, const int32_t *fds, uint32_t n_fds)
{
	int32_t all[NSB_FDS_MAX + 1];
	struct nsb_header header;
	int memfd, err;

	if (n_fds > NSB_FDS_MAX || size < sizeof header)
		return -EINVAL;
	if (size < NSB_INLINE_MAX)
		return send_once(control_fd, bytes, size, fds, n_fds);
	memfd = payload_memfd(bytes, size);
	if (memfd < 0)
		return memfd;
	memcpy(&header, bytes, sizeof header);
	header.payload_fd = 1;
	all[0] = memfd;
	if (n_fds)
		memcpy(all + 1, fds, n_fds * sizeof *fds);
	err = send_once(control_fd, &header, sizeof header, all, n_fds + 1);
	close(memfd);
	return err;
}

/* userns_fd < 0: the tree is shown as it is */
static int open_tree_copy(const char *path, int userns_fd, bool with_submounts, bool map_all,
			  struct nsb_failure *reterr, uint32_t index)
{
	unsigned recursive = with_submounts ? AT_RECURSIVE_ : 0, mapped = map_all ? recursive : 0;
	bool idmapped = userns_fd >= 0;
	/* A copy of a shared mount is its peer: what is mounted on one would appear on the other.
	 */
	struct sys_mount_attr attr = {
		.attr_set = idmapped ? MOUNT_ATTR_IDMAP_ : 0,
		.propagation = MS_PRIVATE,
		.userns_fd = idmapped ? (uint64_t)userns_fd : 0,
	};
	long fd = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE_ | O_CLOEXEC | recursive);
	long err;

	if (fd < 0)
		return set_failure(reterr, NSB_STEP_OPEN_TREE, (int)-fd, index);
	err = sys_mount_setattr((int)fd, "", AT_EMPTY_PATH_ | mapped, &attr);
	if (err >= 0 && mapped != recursive) {
		attr.attr_set = attr.userns_fd = 0;
		err = sys_mount_setattr((int)fd, "", AT_EMPTY_PATH_ | recursive, &attr);
	}
	if (err < 0) {
		close((int)fd);
		return set_failure(reterr, NSB_STEP_IDMAP, (int)-err, index);
	}
	return (int)fd;
}

int nsb_can_idmap(const char *path, int userns_fd)
{
	struct nsb_failure failure = { 0 };
	int fd = open_tree_copy(path, userns_fd, false, false, &failure, 0);

	if (fd < 0)
		return -failure.err;
	close(fd);
	return 0;
}

/* The numbers up to NSB_CONTROL_FD are overwritten in the child, so nothing that it needs may have
 * one of them. */
static int above_stdio(int fd)
{
	int moved;

	if (fd > NSB_CONTROL_FD)
		return fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, NSB_CONTROL_FD + 1);
	close(fd);
	return moved;
}

static int control_pair(int32_t *ret_ours, int *ret_theirs)
{
	int pair[2], err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pair[0] = above_stdio(pair[0]);
	pair[1] = above_stdio(pair[1]);
	if (pair[0] < 0 || pair[1] < 0) {
		err = errno;
		close_fd(&pair[0]);
		close_fd(&pair[1]);
		return -err;
	}
	*ret_ours = pair[0];
	*ret_theirs = pair[1];
	return 0;
}

void reap_pid(int pid)
{
	siginfo_t info;

	while (waitid(P_PID, (id_t)pid, &info, WEXITED | __WALL) < 0 && errno == EINTR)
		;
}

/* A helper joins the user namespace, which a threaded process may not do, and clones PID 1 as our
 * child. */
static long clone_through_helper(struct child_plan *plan, char *stack_top)
{
	uint64_t flags = CLONE_FILES;
	struct sys_clone_args args = {
		.stack = (uint64_t)(uintptr_t)stack_top - STACK_SIZE,
		.stack_size = STACK_SIZE,
	};
	long helper = -ENOSYS;

	if (!(plan->spawn_flags & NSB_SPAWN_FORK))
		flags |= CLONE_VM | CLONE_VFORK;
	args.flags = flags;
	if (!(plan->spawn_flags & NSB_SPAWN_CLONE2))
		helper = sys_clone3(&args, sizeof args, child_join_and_clone, plan);
	if (helper == -ENOSYS) {
		plan->spawn_flags |= NSB_SPAWN_CLONE2;
		helper = sys_clone2(flags, stack_top, NULL, child_join_and_clone, plan);
	}
	if (helper < 0)
		return helper;
	reap_pid((int)helper);
	return plan->pid;
}

/* A fork-like child has not executed PID 1 when the clone returns: wait for the pipe that its exec
 * closes. */
static void wait_for_exec(int exec_pipe)
{
	char byte;

	while (read(exec_pipe, &byte, 1) < 0 && errno == EINTR)
		;
}

static int clone_init(const struct nsb_spawn_args *args, struct arena *arena,
		      struct nsb_failure *reterr)
{
	struct child_plan *plan = arena->plan;
	bool fork_like = args->flags & NSB_SPAWN_FORK;
	int exec_pipe[2] = { -1, -1 };
	uint64_t old_mask;
	long pid;

	if (fork_like && pipe2(exec_pipe, O_CLOEXEC) < 0)
		return set_failure(reterr, NSB_STEP_CLONE, errno, 0);
	/* The child must not run the caller's handlers: they would act on shared memory. */
	pid = sys_sigmask_all(&old_mask);
	if (pid == 0) {
		pid = plan->userns_fd >= 0 ? clone_through_helper(plan, arena->helper_stack_top)
					   : child_clone(plan, 0);
		(void)sys_sigmask(&old_mask);
	}
	close_fd(&exec_pipe[1]);
	if (fork_like && pid > 0)
		wait_for_exec(exec_pipe[0]);
	close_fd(&exec_pipe[0]);
	if (plan->failure.step == NSB_STEP_NONE && pid > 0)
		return 0;
	if (plan->pid > 0) {
		reap_pid(plan->pid);
		close_fd(&plan->pidfd);
	}
	if (plan->failure.step == NSB_STEP_NONE)
		return set_failure(reterr, NSB_STEP_CLONE, (int)-pid, 0);
	*reterr = plan->failure;
	return -1;
}

/* Leaves in *argument a process or a failure. */
static void *clone_directly(void *argument)
{
	struct nsb_spawning *spawning = argument;
	const struct nsb_spawn_args *args = &spawning->args;
	struct nsb_failure *failure = &spawning->failure;
	struct arena arena;

	*failure = (struct nsb_failure){ .step = NSB_STEP_NONE };
	if (!arena_map(&arena, args->flags & NSB_SPAWN_FORK)) {
		(void)set_failure(failure, NSB_STEP_STACK, errno, 0);
		return NULL;
	}
	*arena.plan = (struct child_plan){
		.namespaces = args->namespaces,
		.spawn_flags = args->flags,
		.userns_fd = args->userns_fd,
		.cgroupns_fd = -1,
		.init_fd = args->init_fd,
		.null_fd = args->null_fd,
		.control_fd = spawning->init_control_fd,
		.cgroup_fd = args->cgroup_fd,
		.tasks_fds = args->tasks_fds,
		.n_tasks = args->n_tasks,
		.affinity = args->affinity,
		.n_affinity = args->n_affinity,
		.stack_top = arena.init_stack_top,
		.pid = -1,
		.pidfd = -1,
	};
	if (!clone_init(args, &arena, failure))
		spawning->sandbox = (struct nsb_sandbox){
			.pid = arena.plan->pid,
			.pidfd = arena.plan->pidfd,
			.control_fd = -1,
			.used_clone2 = arena.plan->used_clone2,
		};
	munmap(arena.base, arena.size);
	return NULL;
}

/* false: none can be had, and there is none. None of the caller's handlers runs in it. */
static bool start_thread(struct nsb_spawning *spawning)
{
	pthread_attr_t attributes;
	pthread_t thread;
	uint64_t old_mask;
	int err = pthread_attr_init(&attributes);

	if (err)
		return false;
	(void)pthread_attr_setstacksize(&attributes, THREAD_STACK_SIZE);
	err = (int)-sys_sigmask_all(&old_mask);
	if (!err) {
		err = pthread_create(&thread, &attributes, clone_directly, spawning);
		(void)sys_sigmask(&old_mask);
	}
	(void)pthread_attr_destroy(&attributes);
	if (!err)
		spawning->thread = (uint64_t)(uintptr_t)thread;
	return !err;
}

int nsb_spawn_begin(const struct nsb_spawn_args *args, struct nsb_spawning *ret,
		    struct nsb_failure *reterr)
{
	int err;

	*ret = (struct nsb_spawning){
		.args = *args,
		.control_fd = -1,
		.init_control_fd = -1,
		.reply_fd = -1,
		.sandbox = { .pidfd = -1, .control_fd = -1 },
	};
	err = control_pair(&ret->control_fd, &ret->init_control_fd);
	if (err < 0)
		return set_failure(reterr, NSB_STEP_SOCKETPAIR, -err, 0);
	if (args->flags & NSB_SPAWN_EARLY) {
		if (args->keeper_fd >= 0)
			(void)keeper_ask(args, ret->init_control_fd, &ret->reply_fd, &ret->failure);
		else
			ret->has_thread = start_thread(ret);
	}
	return 0;
}

/* The descriptors in flight are closed here, the kernel holds its own copies. */
int nsb_spawn_queue(struct nsb_spawning *spawning, const struct nsb_spawn_messages *messages,
		    struct nsb_failure *reterr)
{
	int32_t trees[NSB_FDS_MAX];
	uint32_t n = 0;
	int err = 0;

	if (messages->n_trees > NSB_FDS_MAX)
		return set_failure(reterr, NSB_STEP_OPEN_TREE, E2BIG, NSB_FDS_MAX);
	for (; n < messages->n_trees; n++) {
		const struct nsb_tree *tree = &messages->trees[n];
		const int userns_fds[] = { [NSB_IDMAP_NONE] = -1,
					   [NSB_IDMAP_ROOT] = spawning->args.userns_fd,
					   [NSB_IDMAP_BIND] = messages->bind_userns_fd,
					   [NSB_IDMAP_OWN] = tree->userns_fd };

		trees[n] = open_tree_copy(tree->path, userns_fds[tree->idmap], tree->recursive,
					  tree->idmap != NSB_IDMAP_OWN || tree->map_all, reterr, n);
		if (trees[n] < 0) {
			err = -1;
			goto out;
		}
	}
	err = nsb_send(spawning->control_fd, messages->setup, messages->setup_size, trees, n);
	if (!err && messages->command)
		err = nsb_send(spawning->control_fd, messages->command, messages->command_size,
			       messages->command_fds, messages->n_command_fds);
	if (err)
		err = set_failure(reterr, NSB_STEP_SEND, -err, 0);
	else
		spawning->queued = 1;
out:
	while (n > 0)
		close(trees[--n]);
	return err;
}

static void end_by_keeper(struct nsb_spawning *spawning)
{
	if (spawning->queued && spawning->reply_fd < 0 && spawning->failure.step == NSB_STEP_NONE)
		(void)keeper_ask(&spawning->args, spawning->init_control_fd, &spawning->reply_fd,
				 &spawning->failure);
	if (spawning->reply_fd >= 0)
		(void)keeper_answer(spawning->reply_fd, &spawning->sandbox, &spawning->failure);
	close_fd(&spawning->reply_fd);
}

static void end_by_thread(struct nsb_spawning *spawning)
{
	static const struct timespec moment = { .tv_nsec = 1000000 };

	(void)pthread_join((pthread_t)(uintptr_t)spawning->thread, NULL);
	spawning->has_thread = 0;
	/* It may have been the one process too many (clone(2)), and is counted a moment longer than
	 * it can be waited for. */
	for (int i = 0; i < TRIES && spawning->queued && spawning->failure.err == EAGAIN; i++) {
		(void)nanosleep(&moment, NULL);
		(void)clone_directly(spawning);
	}
}

static void drop_process(struct nsb_sandbox *sandbox)
{
	(void)nsb_kill(sandbox->pidfd, SIGKILL);
	reap_pid(sandbox->pid);
	close_fd(&sandbox->pidfd);
}

int nsb_spawn_end(struct nsb_spawning *spawning, struct nsb_sandbox *ret,
		  struct nsb_failure *reterr)
{
	if (spawning->args.keeper_fd >= 0)
		end_by_keeper(spawning);
	else if (spawning->has_thread)
		end_by_thread(spawning);
	else if (spawning->queued)
		(void)clone_directly(spawning);
	close_fd(&spawning->init_control_fd);
	if (spawning->queued && spawning->failure.step == NSB_STEP_NONE) {
		*ret = spawning->sandbox;
		ret->control_fd = spawning->control_fd;
		spawning->sandbox.pidfd = spawning->control_fd = -1;
		spawning->queued = 0;
		return 0;
	}
	spawning->queued = 0;
	if (spawning->sandbox.pidfd >= 0)
		drop_process(&spawning->sandbox);
	close_fd(&spawning->control_fd);
	if (spawning->failure.step == NSB_STEP_NONE)
		return set_failure(reterr, NSB_STEP_SEND, ECANCELED, 0);
	*reterr = spawning->failure;
	return -1;
}

int nsb_spawn(const struct nsb_spawn_args *args, const struct nsb_spawn_messages *messages,
	      struct nsb_sandbox *ret, struct nsb_failure *reterr)
{
	struct nsb_spawning spawning;
	struct nsb_failure ignored;
	int err = nsb_spawn_begin(args, &spawning, reterr);

	if (err < 0)
		return err;
	err = nsb_spawn_queue(&spawning, messages, reterr);
	if (err < 0) {
		(void)nsb_spawn_end(&spawning, ret, &ignored);
		return err;
	}
	return nsb_spawn_end(&spawning, ret, reterr);
}

struct holder_arguments {
	int read_fd;
};

/* Sleeps until the lifeline's other end is closed. It keeps no other descriptor of the caller
 * alive. */
static int hold_userns(void *argument)
{
	int fd = ((struct holder_arguments *)argument)->read_fd;
	char byte;

	if (fd > 0)
		(void)sys_close_range(0, (unsigned)fd - 1, 0);
	(void)sys_close_range((unsigned)fd + 1, ~0u, 0);
	while (sys_read(fd, &byte, 1) == -EINTR)
		;
	return 0;
}

int nsb_userns_hold(uint32_t spawn_flags, struct nsb_userns_holder *ret, struct nsb_failure *reterr)
{
	uint64_t flags = CLONE_NEWUSER | CLONE_VM | CLONE_PIDFD;
	struct holder_arguments *arguments;
	struct arena arena;
	int lifeline[2];
	int32_t pidfd = -1;
	uint64_t old_mask;
	long pid;

	if (pipe2(lifeline, O_CLOEXEC) < 0)
		return set_failure(reterr, NSB_STEP_SOCKETPAIR, errno, 0);
	if (!arena_map(&arena, false)) {
		int err = errno;

		close(lifeline[0]);
		close(lifeline[1]);
		return set_failure(reterr, NSB_STEP_STACK, err, 0);
	}
	arguments = (struct holder_arguments *)(void *)arena.plan;
	arguments->read_fd = lifeline[0];

	struct sys_clone_args args = {
		.flags = flags,
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.stack = (uint64_t)(uintptr_t)arena.init_stack_top - STACK_SIZE,
		.stack_size = STACK_SIZE,
	};

	pid = sys_sigmask_all(&old_mask);
	if (pid == 0) {
		pid = -ENOSYS;
		if (!(spawn_flags & NSB_SPAWN_CLONE2))
			pid = sys_clone3(&args, sizeof args, hold_userns, arguments);
		if (pid == -ENOSYS)
			pid = sys_clone2(flags, arena.init_stack_top, &pidfd, hold_userns,
					 arguments);
		(void)sys_sigmask(&old_mask);
	}
	close(lifeline[0]);
	if (pid < 0) {
		close(lifeline[1]);
		munmap(arena.base, arena.size);
		return set_failure(reterr, NSB_STEP_CLONE, (int)-pid, 0);
	}
	*ret = (struct nsb_userns_holder){
		.pid = (int32_t)pid,
		.pidfd = pidfd,
		.lifeline_fd = lifeline[1],
		.stack = arena.base,
	};
	return 0;
}

void nsb_userns_end(struct nsb_userns_holder *holder)
{
	if (!holder->stack)
		return;
	close_fd(&holder->lifeline_fd);
	/* Killed as well: a fork in another thread may hold a copy of the lifeline for a moment. */
	(void)nsb_kill(holder->pidfd, SIGKILL);
}

void nsb_userns_release(struct nsb_userns_holder *holder)
{
	if (!holder->stack)
		return;
	nsb_userns_end(holder);
	reap_pid(holder->pid);
	close_fd(&holder->pidfd);
	munmap(holder->stack, 2 * (GUARD_SIZE + STACK_SIZE) + PLAN_SIZE);
	holder->stack = NULL;
}

int nsb_kill(int pidfd, int signal)
{
	long err = sys4(__NR_pidfd_send_signal, pidfd, signal, NULL, 0);

	return err < 0 ? (int)err : 0;
}

int nsb_reap(int pidfd, int timeout_ms)
{
	siginfo_t info = { 0 };
	int err = wait_ready(pidfd, POLLIN, timeout_ms);

	if (err < 0)
		return err;
	if (waitid((idtype_t)P_PIDFD_, (id_t)pidfd, &info, WEXITED | __WALL | WNOHANG) < 0)
		return -errno;
	if (info.si_pid == 0)
		return -EAGAIN;
	if (info.si_code == CLD_EXITED)
		return (info.si_status & 0xff) << 8;
	return (info.si_status & 0x7f) | (info.si_code == CLD_DUMPED ? 0x80 : 0);
}

/* The child of probe_listener(); its memory is its parent's. */
static int install_listener(void *argument)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = { .len = 1, .filter = &allow };
	long *ret = argument;

	*ret = sys_prctl(PR_SET_NO_NEW_PRIVS_, 1, 0, 0, 0);
	if (*ret >= 0)
		*ret = sys3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
			    &program);
	return 0;
}

/* Only a filter with a listener shows whether one is to be had: an outer one may be in the way
 * (EBUSY, seccomp(2)). */
static long probe_listener(void)
{
	char stack[8192] __attribute__((aligned(16)));
	uint64_t mask;
	long pid, ret = -ECHILD;

	(void)sys_sigmask_all(&mask);
	pid = sys_clone2(CLONE_VM | CLONE_VFORK, stack + sizeof stack, NULL, install_listener,
			 &ret);
	(void)sys_sigmask(&mask);
	if (pid < 0)
		return pid;
	reap_pid((int32_t)pid);
	return ret < 0 ? ret : 0;
}

int nsb_probe(uint32_t which)
{
	switch (which) {
	case NSB_PROBE_CLONE3:
		return (int)sys2(__NR_clone3, NULL, 0);
	case NSB_PROBE_OPENAT2:
		return (int)sys4(__NR_openat2, -1, NULL, NULL, 0);
	case NSB_PROBE_OPEN_TREE:
		return (int)sys_open_tree(-1, "", ~0u);
	case NSB_PROBE_FSOPEN:
		return (int)sys2(__NR_fsopen, "", ~0u);
	case NSB_PROBE_MOVE_MOUNT:
		return (int)sys5(__NR_move_mount, -1, "", -1, "", ~0u);
	case NSB_PROBE_MOUNT_SETATTR:
		return (int)sys5(__NR_mount_setattr, -1, "", ~0u, NULL, 0);
	case NSB_PROBE_CLOSE_RANGE:
		return (int)sys_close_range(~0u, 0, ~0u);
	case NSB_PROBE_PIDFD_OPEN:
		return (int)sys2(__NR_pidfd_open, -1, ~0u);
	case NSB_PROBE_LANDLOCK:
		return (int)sys3(__NR_landlock_create_ruleset, NULL, 0,
				 1 /* LANDLOCK_CREATE_RULESET_VERSION */);
	case NSB_PROBE_LISTENER:
		return (int)probe_listener();
	default:
		return -EINVAL;
	}
}
