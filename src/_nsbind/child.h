/* SPDX-License-Identifier: Apache-2.0 */
/* What spawn.c prepares and child.c walks. Lives in memory that both see, also when the clone
 * copies memory. */
#pragma once

#include "syscalls.h"
#include "api.h"

struct child_plan {
	uint64_t namespaces;
	uint32_t spawn_flags;
	int32_t userns_fd;
	int32_t init_fd;
	int32_t null_fd;
	int32_t control_fd;
	int32_t cgroup_fd;
	int32_t cgroupns_fd; /* of a namespace to join; -1: none */
	const int32_t *tasks_fds;
	uint32_t n_tasks;
	const uint64_t *affinity;
	uint32_t n_affinity;
	void *stack_top; /* of the process that becomes PID 1 */

	/* written by the child */
	int32_t pid;
	int32_t pidfd;
	struct nsb_failure failure;
	uint32_t used_clone2;
};

/* Clone the process that becomes PID 1 onto plan->stack_top. Returns its pid or a negative errno.
 */
long child_clone(struct child_plan *plan, uint64_t extra_flags);
/* Entry of a short-lived helper that joins plan->userns_fd and clones PID 1 as its own sibling. */
int child_join_and_clone(void *plan);
