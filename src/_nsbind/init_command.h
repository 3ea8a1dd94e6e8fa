/* SPDX-License-Identifier: Apache-2.0 */
/* What a command does to itself between its birth, or a set-up, and its exec (init_command.c). */
#pragma once

#include "init_ops.h"

/* Everything that the child of one request walks, or a process that becomes its command. */
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
	int control_fd;     /* of a process that becomes its command */
	int listener_fd;    /* the same: where it is told to go on; -1: nowhere */
	struct outcome outcome;
};

bool step_failed(struct start *start, enum nsb_step step, long err, uint32_t index);
bool collect_strings(const struct message *message, uint32_t offset, uint32_t count,
		     const char ***at);
bool parse_command(struct message *message, struct start *start, const char **pointers);
long map_pointers(const struct message *message, uint64_t n, size_t *ret_mapped);
bool raise_fds(struct message *message, struct start *start, uint32_t first);
bool open_pty(struct start *start, int root_fd);

bool join_groups(struct start *start);
bool session(struct start *start);
bool place_fds(struct start *start);
bool limit(struct start *start);
bool filters_first(const struct start *start);
bool give_up_privileges(struct start *start);
bool seal(struct start *start);
bool restrict_privileges(struct start *start);
bool program_exists(struct start *start);
bool unblock_signals(struct start *start);
void execute_program(struct start *start);

/* init_hook.c */
bool serve_until_go(int fd);
