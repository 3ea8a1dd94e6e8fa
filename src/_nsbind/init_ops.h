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
	struct start *start; /* of a process that becomes its command; else NULL */
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
static inline struct place in_root(const struct builder *builder, const struct nsb_op *op)
{
	return (struct place){ builder->root_fd, target_of(builder, op),
			       !(op->flags & NSB_OP_NO_SYMLINKS) };
}

/* init_attributes.c */
long change_mount(struct builder *builder, const struct nsb_op *op, int fd, bool recursive);
long op_attributes(struct builder *builder, const struct nsb_op *op);
long op_label(struct builder *builder, const struct nsb_op *op);

/* init_device.c */
long op_node(struct builder *builder, const struct nsb_op *op);
long op_console(struct builder *builder, const struct nsb_op *op);

/* init_copy.c */
long copy_tree(int from, int to);

/* init_filesystem.c */
long op_mount(struct builder *builder, const struct nsb_op *op);

/* init_hook.c */
long op_sync(struct builder *builder, const struct nsb_op *op);
