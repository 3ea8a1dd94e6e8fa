/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The set-up: ids, then the ops in the order in which Python wrote them, then the bounding set. The
 * order of the first steps: host paths are opened before the ids change (a mapped root may not be
 * able to traverse the caller's directories), and ids change before anything is made (an unmapped
 * id owns nothing: EOVERFLOW).
 */
#include "init_ops.h"

enum { MS_SHARED_ = 1 << 20, MS_PRIVATE_ = 1 << 18, SECCOMP_MAX = 4096 /* BPF_MAXINSNS */ };

static bool has_source(uint32_t kind)
{
	return kind == NSB_OP_BIND || kind == NSB_OP_DEVICE || kind == NSB_OP_LOWER ||
	       kind == NSB_OP_LAYERS || kind == NSB_OP_ROOT_BIND;
}

/* Host paths and attached trees, before ids and mounts change what a path means. */
static struct outcome open_sources(struct builder *builder)
{
	for (uint32_t i = 0; i < builder->setup->n_ops; i++) {
		const struct nsb_op *op = &builder->op[i];
		long fd;

		builder->sources[i] = -1;
		if (!has_source(op->kind))
			continue;
		fd = op->fd >= 0
			     ? take_fd(builder->message, (uint32_t)op->fd)
			     : source_open(source_of(builder, op), op->flags & NSB_OP_RECURSIVE);
		if (fd == -E_NOENT && op->flags & NSB_OP_OPTIONAL)
			continue;
		if (fd < 0)
			return failed(NSB_STEP_SOURCE, fd == -1 && op->fd >= 0 ? -E_PROTO : fd, i);
		builder->sources[i] = (int)fd;
	}
	return succeeded();
}

static struct outcome write_maps(const struct message *message, const struct nsb_setup *setup)
{
	const char *uid_map = message_string(message, setup->uid_map);
	const char *gid_map = message_string(message, setup->gid_map);
	long err;

	if (!uid_map || !gid_map)
		return succeeded();
	/* A gid map by an unprivileged process needs setgroups denied first (user_namespaces(7)).
	 */
	if ((err = write_text(AT_FDCWD_, "/proc/self/setgroups", "deny")) < 0)
		return failed(NSB_STEP_ID_MAP, err, 0);
	if ((err = write_text(AT_FDCWD_, "/proc/self/uid_map", uid_map)) < 0)
		return failed(NSB_STEP_ID_MAP, err, 1);
	if ((err = write_text(AT_FDCWD_, "/proc/self/gid_map", gid_map)) < 0)
		return failed(NSB_STEP_ID_MAP, err, 2);
	return succeeded();
}

/* The offsets can be set until a process enters. We do, since before Linux 6.3 a process whose
 * children are to be in another time namespace cannot clone with CLONE_VM. */
static struct outcome enter_time_namespace(const struct message *message,
					   const struct nsb_setup *setup)
{
	const char *offsets = message_string(message, setup->timens_offsets);
	long err, fd = -1;

	if (!setup->time_namespace)
		return succeeded();
	err = sys1(__NR_unshare, CLONE_NEWTIME);
	if (!err && offsets)
		err = write_text(AT_FDCWD_, "/proc/self/timens_offsets", offsets);
	if (err >= 0)
		err = fd = sys_openat(AT_FDCWD_, "/proc/self/ns/time_for_children",
				      O_RDONLY_ | O_CLOEXEC_, 0);
	if (err >= 0)
		err = sys2(__NR_setns, fd, CLONE_NEWTIME);
	if (fd >= 0)
		sys_close((int)fd);
	return err < 0 ? failed(NSB_STEP_TIME_NAMESPACE, err, 0) : succeeded();
}

static struct outcome take_ids(const struct nsb_setup *setup)
{
	long err = 0;

	if (setup->drop_groups)
		err = sys2(__NR_setgroups, 0, NULL);
	if (!err && setup->gid != (uint32_t)NSB_KEEP_ID)
		err = sys3(__NR_setresgid, setup->gid, setup->gid, setup->gid);
	if (!err && setup->uid != (uint32_t)NSB_KEEP_ID)
		err = sys3(__NR_setresuid, setup->uid, setup->uid, setup->uid);
	/* Not to be traced or read through /proc/1 by what runs here later, whatever ids it has
	 * (ptrace(2)). Not before: the id maps of an undumpable process belong to the host's root,
	 * and a change of ids resets this. */
	if (!err)
		err = sys_prctl(PR_SET_DUMPABLE_, 0, 0, 0, 0);
	return err ? failed(NSB_STEP_SET_ID, err, 0) : succeeded();
}

/* The bounding set of every command is ours; our own permitted set stays, so that commands can be
 * started. */
static struct outcome drop_bounding(uint64_t bounding)
{
	for (unsigned cap = 0; cap < CAP_COUNT; cap++) {
		long err = (bounding & 1ull << cap) ? 0 : sys_prctl(PR_CAPBSET_DROP_, cap, 0, 0, 0);

		if (err == -E_INVAL)
			break;
		if (err < 0)
			return failed(NSB_STEP_BOUNDING_SET, err, cap);
	}
	return succeeded();
}

static struct outcome read_policy(const struct message *message, const struct nsb_setup *setup,
				  struct policy *policy)
{
	*policy = (struct policy){
		.rlimits = message_at(message, setup->rlimits, setup->n_rlimits,
				      sizeof(struct nsb_rlimit)),
		.n_rlimits = setup->n_rlimits,
		.seccomp = message_at(message, setup->seccomp, setup->n_seccomp,
				      sizeof(struct sock_filter)),
		.n_seccomp = setup->n_seccomp,
		.seccomp_flags = setup->seccomp_flags,
		.audit = message_at(message, setup->audit, setup->n_audit,
				    sizeof(struct sock_filter)),
		.n_audit = setup->n_audit,
		.hand_listener = setup->hand_listener,
		.trace = setup->trace,
		.no_new_privs = setup->no_new_privs,
		.securebits = setup->securebits,
		.drop_groups = setup->drop_groups,
		.landlock = { setup->landlock_handled, setup->landlock_scoped,
			      setup->landlock_below_root, setup->landlock_below_paths,
			      message_strings(message, setup->landlock_paths,
					      setup->n_landlock_paths),
			      setup->n_landlock_paths, setup->landlock_net },
		.effective = setup->effective,
		.permitted = setup->permitted,
		.inheritable = setup->inheritable,
		.ambient = setup->ambient,
	};
	if ((policy->n_rlimits && !policy->rlimits) || (policy->n_seccomp && !policy->seccomp) ||
	    policy->n_seccomp > SECCOMP_MAX || policy->n_audit > SECCOMP_MAX ||
	    (policy->n_audit && !policy->audit) ||
	    (policy->landlock.n_paths && !policy->landlock.paths))
		return failed(NSB_STEP_RECEIVE, -E_PROTO, 1);
	return succeeded();
}

static struct outcome check_plan(const struct builder *builder)
{
	if (!builder->op || builder->setup->n_ops > OPS_MAX ||
	    !message_string(builder->message, builder->setup->attach_at))
		return failed(NSB_STEP_RECEIVE, -E_PROTO, 2);
	for (uint32_t i = 0; i < builder->setup->n_ops; i++)
		if (!op_is_valid(builder, &builder->op[i]))
			return failed(NSB_STEP_REQUEST, -E_PROTO, i);
	return succeeded();
}

/* A new root cannot be where its mount would show on the host (pivot_root(2)). path is changed. */
static long make_parent_private(char *path)
{
	size_t n = text_length(path);
	long err = sys_mount(NULL, path, NULL, MS_PRIVATE_, NULL);

	while (n && err == -E_INVAL) { /* not a mount point */
		while (n && path[--n] != '/')
			;
		path[n ? n : 1] = '\0';
		err = sys_mount(NULL, path, NULL, MS_PRIVATE_, NULL);
	}
	return err;
}

/* Nothing that is mounted here shows on the host, nor the other way round, if not asked for. */
static struct outcome propagate(const struct message *message, const struct nsb_setup *setup)
{
	char path[PATH_SIZE];
	long err = 0;

	if (setup->propagation)
		err = sys_mount(NULL, "/", NULL, setup->propagation, NULL);
	if (!err && setup->propagation & MS_SHARED_)
		err = text_append(path, path + sizeof path,
				  message_string(message, setup->attach_at))
			      ? make_parent_private(path)
			      : -E_NAMETOOLONG;
	return err ? failed(NSB_STEP_PROPAGATION, err, 0) : succeeded();
}

/* No way to the host stays open while the process waits; the message stays, as the policy is in it. */
static void close_builder(const struct builder *builder)
{
	const int fds[] = { builder->root_fd, builder->stage_fd, builder->proc_fd,
			    builder->null_fd };

	for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
		if (fds[i] >= 0)
			sys_close(fds[i]);
	for (uint32_t i = 0; i < builder->message->n_fds; i++)
		if (builder->message->fds[i] >= 0)
			sys_close(builder->message->fds[i]);
}

struct outcome set_up(struct message *message, const struct nsb_setup *setup, struct policy *policy,
		      struct start *start)
{
	static struct builder builder;
	struct outcome outcome = read_policy(message, setup, policy);

	builder = (struct builder){
		.message = message,
		.setup = setup,
		.op = message_at(message, setup->ops, setup->n_ops, sizeof(struct nsb_op)),
		.root_fd = -1,
		.stage_fd = -1,
		.proc_fd = -1,
		.null_fd = -1,
		.start = start,
	};
	if (setup->flags & NSB_SETUP_OPEN_ROOT)
		own_devices_end();
	if (!outcome.step)
		outcome = check_plan(&builder);
	(void)sys1(__NR_umask, 0);
	if (!outcome.step)
		outcome = write_maps(message, setup);
	if (!outcome.step)
		outcome = enter_time_namespace(message, setup);
	if (!outcome.step)
		outcome = propagate(message, setup);
	if (!outcome.step)
		outcome = open_sources(&builder);
	if (!outcome.step)
		outcome = take_ids(setup);
	if (!outcome.step)
		outcome = run_ops(&builder);
	if (!outcome.step)
		outcome = drop_bounding(setup->bounding);
	own_devices_end();
	if (start)
		close_builder(&builder);
	return outcome;
}
