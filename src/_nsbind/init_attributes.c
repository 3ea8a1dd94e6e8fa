/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes, propagation and label of a mount that is there, as an op names them. */
#include "init_ops.h"

enum { MS_REC_ = 16384, TREE = AT_EMPTY_PATH_ | AT_RECURSIVE_ };

static long change_tree(int fd, const struct nsb_op *op)
{
	struct sys_mount_attr change = { .attr_set = op->tree_attr,
					 .attr_clr = op->tree_attr_clear };

	return sys_mount_setattr(fd, "", TREE, &change);
}

static long propagate(int fd, uint32_t propagation)
{
	struct sys_mount_attr change = { .propagation = propagation & ~(uint32_t)MS_REC_ };
	unsigned flags = propagation & MS_REC_ ? TREE : AT_EMPTY_PATH_;
	long err = sys_mount_setattr(fd, "", flags, &change);
	char path[32];

	if (err != -E_NOSYS)
		return err;
	proc_fd_path(path, fd);
	return sys_mount(NULL, path, NULL, propagation, NULL);
}

long change_mount(struct builder *builder, const struct nsb_op *op, int fd, bool recursive)
{
	long err = 0;

	if (op->attr_clear)
		err = mount_change(fd, op->attr, op->attr_clear);
	else if (op->attr)
		err = mount_restrict(builder->root_fd, fd, op->attr,
				     recursive && !(op->flags & NSB_OP_TOP));
	if (!err && (op->tree_attr || op->tree_attr_clear))
		err = change_tree(fd, op);
	for (int i = 0; i < 2 && !err && op->propagation[i]; i++)
		err = propagate(fd, op->propagation[i]);
	return err;
}

long op_attributes(struct builder *builder, const struct nsb_op *op)
{
	struct place place = { builder->root_fd, target_of(builder, op), true };
	long fd, err;

	if (!*place.path)
		return change_mount(builder, op, builder->root_fd, false);
	fd = place_open(&place, 0);
	if (fd < 0)
		return fd;
	err = change_mount(builder, op, (int)fd, false);
	sys_close((int)fd);
	return err;
}

/* Of the root of a file system that takes no label when it is mounted. */
long op_label(struct builder *builder, const struct nsb_op *op)
{
	struct place place = in_root(builder, op);
	const char *label = source_of(builder, op);
	long fd = place_open(&place, 0), err;
	char path[32];

	if (fd < 0)
		return fd;
	proc_fd_path(path, (int)fd);
	err = sys5(__NR_setxattr, path, "security.selinux", label, text_length(label), 0);
	sys_close((int)fd);
	return err;
}
