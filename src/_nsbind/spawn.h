/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the parent's side share. */
#pragma once

#include "child.h"

/* spawn.c */
void close_fd(int *fd);
int set_failure(struct nsb_failure *reterr, enum nsb_step step, int err, uint32_t index);
int wait_ready(int fd, short events, int timeout_ms);
void reap_pid(int pid);

/* keeper.c: the clone, by a keeper, which goes on between the two. control_fd is left to the caller.
 */
int keeper_ask(const struct nsb_spawn_args *args, int init_control_fd, int *ret_reply_fd,
	       struct nsb_failure *reterr);
int keeper_answer(int reply_fd, struct nsb_sandbox *ret, struct nsb_failure *reterr);
