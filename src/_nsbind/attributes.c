/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of another process that libc has no function for. */
#include "spawn.h"

/* struct sched_attr of its first version */
struct attributes {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime;
	uint64_t deadline;
	uint64_t period;
};

int nsb_set_scheduler(int pid, const struct nsb_scheduler *scheduler)
{
	struct attributes attributes = {
		.size = sizeof attributes,
		.policy = scheduler->policy,
		.flags = scheduler->flags,
		.nice = scheduler->nice,
		.priority = scheduler->priority,
		.runtime = scheduler->runtime,
		.deadline = scheduler->deadline,
		.period = scheduler->period,
	};

	return (int)sys3(__NR_sched_setattr, pid, &attributes, 0);
}

int nsb_set_io_priority(int pid, int priority)
{
	return (int)sys3(__NR_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, pid, priority);
}
