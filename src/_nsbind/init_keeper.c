/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: the same program, when it is not to be PID 1. It shares its memory with what it clones
 * until that has executed PID 1, as the caller does where it clones itself (child.c), so the same
 * rules hold, and a fork-like clone has nothing to offer here.
 */
#include "init.h"

enum { CLONE_STACK_SIZE = 65536 }; /* child_clone() relies on it */

static char helper_stack[CLONE_STACK_SIZE] __attribute__((aligned(16)));
static char init_stack[CLONE_STACK_SIZE] __attribute__((aligned(16)));

/* A sibling joins the user namespace, since we could not come back from there. */
static long clone_in_namespace(struct child_plan *plan)
{
	uint64_t flags = CLONE_PARENT | CLONE_FILES | CLONE_VM | CLONE_VFORK;
	struct sys_clone_args args = {
		.flags = flags,
		.stack = (uint64_t)(uintptr_t)helper_stack,
		.stack_size = sizeof helper_stack,
	};
	long helper = -E_NOSYS;

	if (!(plan->spawn_flags & NSB_SPAWN_CLONE2))
		helper = sys_clone3(&args, sizeof args, child_join_and_clone, plan);
	if (helper == -E_NOSYS) {
		plan->spawn_flags |= NSB_SPAWN_CLONE2;
		helper = sys_clone2(flags, helper_stack + sizeof helper_stack, NULL,
				    child_join_and_clone, plan);
	}
	return helper;
}

static void clone_request(const struct message *message)
{
	static struct child_plan plan;
	const struct nsb_clone *request = (const void *)message->bytes;
	struct nsb_report report = { .event = NSB_EVENT_DONE };
	uint32_t n_fds = 4, joined = 0;
	int cgroup_fd = -1, userns_fd = -1, cgroupns_fd = -1;
	long cloned;

	if (message->n_fds == 0)
		return;
	if (message->size >= sizeof *request && request->has_cgroup)
		cgroup_fd = message->fds[n_fds++];
	if (message->size >= sizeof *request && request->has_userns)
		userns_fd = message->fds[n_fds++];
	if (request->header.kind != NSB_REQUEST_CLONE || message->size < sizeof *request ||
	    request->n_joins > NSB_JOINS_MAX || message->n_fds != n_fds + request->n_joins ||
	    request->n_affinity > NSB_CPU_WORDS) {
		send_failure(message->fds[0], failed(NSB_STEP_KEEPER, -E_PROTO, 0));
		return;
	}
	for (uint32_t i = 0; i < request->n_joins && cgroup_fd >= 0; i++)
		if (request->joins[i] == CLONE_NEWCGROUP)
			cgroupns_fd = message->fds[n_fds + i];
	cloned = join_namespaces(message->fds + n_fds, request->joins, request->n_joins,
				 cgroupns_fd >= 0 ? CLONE_NEWCGROUP : 0, &joined);
	if (cloned < 0) {
		send_failure(message->fds[0], failed(NSB_STEP_JOIN_NAMESPACE, cloned, joined));
		return;
	}
	plan = (struct child_plan){
		.namespaces = request->namespaces,
		.spawn_flags = request->flags & NSB_SPAWN_CLONE2,
		.init_fd = message->fds[1],
		.null_fd = message->fds[2],
		.control_fd = message->fds[3],
		.cgroup_fd = cgroup_fd,
		.cgroupns_fd = cgroupns_fd,
		.userns_fd = userns_fd,
		.affinity = request->n_affinity ? request->affinity : NULL,
		.n_affinity = request->n_affinity,
		.stack_top = init_stack + sizeof init_stack,
		.pid = -1,
		.pidfd = -1,
	};
	if (plan.userns_fd >= 0) {
		cloned = clone_in_namespace(&plan);
		report.status = cloned > 0 ? (int32_t)cloned : 0;
	} else {
		cloned = child_clone(&plan, CLONE_PARENT);
	}
	if (cloned < 0)
		plan.failure = (struct nsb_failure){ NSB_STEP_CLONE, (int32_t)-cloned, 0 };
	if (plan.failure.step) {
		report.event = NSB_EVENT_FAILED;
		report.step = plan.failure.step;
		report.err = plan.failure.err;
		report.index = plan.failure.index;
	}
	if (plan.pid > 0)
		report.pid = plan.pid;
	send_report(message->fds[0], &report, plan.pid > 0 ? plan.pidfd : -1, 0);
	if (plan.pid > 0)
		sys_close(plan.pidfd);
}

_Noreturn void keep(void)
{
	struct message message;
	long n;

	(void)sys_prctl(PR_SET_NAME_, (long)"pycontain-keep", 0, 0, 0);
	while ((n = receive_on(NSB_CONTROL_FD, &message)) != 0) {
		if (n > 0)
			clone_request(&message);
		message_release(&message);
	}
	sys_exit(0);
}
