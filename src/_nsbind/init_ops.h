/* SPDX-License-Identifier: Apache-2.0 */
/* What the set-up (init_setup.c) and its ops (init_ops.c) share. */
#pragma once

#include "init.h"

enum { OPS_MAX = 1024 };

struct builder {
	struct message *message;
	const struct nsb_setup *setup;
	const struct nsb_op *op;
	int sources[OPS_MAX]; /* of each op; -1: none */
	int root_fd;
	int stage_fd;
	int proc_fd;
	int null_fd;
	uint32_t n_lowers;
	uint32_t n_stores;
	uint32_t n_overlays;
};

static inline const char *source_of(const struct builder *builder, const struct nsb_op *op)
{
	return message_string(builder->message, op->source);
}

static inline const char *target_of(const struct builder *builder, const struct nsb_op *op)
{
	return message_string(builder->message, op->target);
}

long write_text(int dirfd, const char *path, const char *text);
bool op_is_valid(const struct builder *builder, const struct nsb_op *op);
struct outcome run_ops(struct builder *builder);
