/* SPDX-License-Identifier: Apache-2.0 */
/* New file systems of any type. */
#include "init_ops.h"

enum { DIRECTORY_MODE = 07777 };

/* "mode=" and what the covered directory has, before the other options. */
static const char *inherit_mode(int target_fd, const char *options, char *text, const char *end)
{
	struct statx stat;
	char *at = text_append(text, end, "mode=");

	if (sys_statx(target_fd, "", AT_EMPTY_PATH_, &stat) < 0)
		return NULL;
	for (int shift = 9; shift >= 0; shift -= 3) {
		uint32_t digit = (stat.stx_mode & DIRECTORY_MODE) >> shift & 7;

		at = number_append(at, end, digit);
	}
	at = text_append(at, end, *options ? "," : "");
	return text_append(at, end, options) ? text : NULL;
}

long op_mount(struct builder *builder, const struct nsb_op *op)
{
	static char text[PATH_SIZE];
	const char *source = source_of(builder, op);
	struct place place = in_root(builder, op);
	struct filesystem filesystem = { message_string(builder->message, op->type), source,
					 source + text_length(source) + 1, op->attr };
	long target, fd, err, covered = -1;

	if (!filesystem.type ||
	    filesystem.options >= builder->message->bytes + builder->message->size)
		return -E_PROTO;
	target = make_mount_point(builder->root_fd, place.path, true, place.symlinks);
	if (target < 0)
		return target;
	if (op->flags & NSB_OP_INHERIT_MODE)
		filesystem.options =
			inherit_mode((int)target, filesystem.options, text, text + sizeof text);
	if (!filesystem.options) {
		sys_close((int)target);
		return -E_NAMETOOLONG;
	}
	if (op->flags & NSB_OP_COPY_UP)
		covered = sys3(__NR_fcntl, target, F_DUPFD_CLOEXEC_, 0);
	fd = filesystem_attach(&filesystem, (int)target, &place);
	err = fd < 0 ? fd : 0;
	if (covered >= 0) {
		err = err ? err : copy_tree((int)covered, (int)fd);
		sys_close((int)covered);
	}
	if (fd < 0)
		return fd;
	err = err ? err : change_mount(builder, op, (int)fd, false);
	sys_close((int)fd);
	return err;
}
