/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes of devices, pipes and the console. No node of the host is ever changed. */
#include "init_command.h"

enum { FILE_TYPE = 0170000 };

static bool is_node(int fd, const struct nsb_op *op)
{
	struct statx stat;
	uint32_t major = op->length >> 20, minor = op->length & 0xfffff;

	return sys_statx(fd, "", AT_EMPTY_PATH_, &stat) == 0 &&
	       (stat.stx_mode & FILE_TYPE) == (op->mode & FILE_TYPE) &&
	       stat.stx_rdev_major == major && stat.stx_rdev_minor == minor;
}

/* dev_t as mknod(2) takes it */
static uint64_t device_number(uint32_t device)
{
	uint64_t major = device >> 20, minor = device & 0xfffff;

	return (minor & 0xff) | major << 8 | (minor & ~0xffull) << 12;
}

static long check_node(int parent_fd, const char *name, const struct nsb_op *op)
{
	long fd = sys_openat(parent_fd, name, O_PATH_ | O_NOFOLLOW_ | O_CLOEXEC_, 0);
	bool same = fd >= 0 && is_node((int)fd, op);

	if (fd >= 0)
		sys_close((int)fd);
	return same ? 0 : -E_EXIST;
}

static long make_node(int parent_fd, const char *name, const struct nsb_op *op)
{
	long err = sys4(__NR_mknodat, parent_fd, name, op->mode, device_number(op->length));

	if (err == -E_EXIST)
		return check_node(parent_fd, name, op);
	if (!err && (op->uid || op->gid))
		err = sys5(__NR_fchownat, parent_fd, name, op->uid, op->gid, AT_SYMLINK_NOFOLLOW_);
	return err;
}

/* Where none may be made, as in a user namespace, the host's own. */
static long show_node(struct builder *builder, const struct nsb_op *op)
{
	struct place place = { builder->root_fd, target_of(builder, op), true };
	long source = source_open(source_of(builder, op), false), target, fd;

	if (source < 0)
		return source;
	if (!is_node((int)source, op)) {
		sys_close((int)source);
		return -E_NODEV;
	}
	target = make_mount_point(builder->root_fd, place.path, false, true);
	if (target < 0) {
		sys_close((int)source);
		return target;
	}
	fd = source_attach((int)source, (int)target, &place, false);
	if (fd >= 0)
		sys_close((int)fd);
	return fd < 0 ? fd : 0;
}

long op_node(struct builder *builder, const struct nsb_op *op)
{
	static const struct making making = { .mode = 0755, .symlinks = true };
	char name[256];
	long parent =
		open_parent_in_root(builder->root_fd, target_of(builder, op), name, true, &making);
	long err = parent < 0 ? parent : make_node((int)parent, name, op);

	if (parent >= 0)
		sys_close((int)parent);
	return err == -E_PERM && *source_of(builder, op) ? show_node(builder, op) : err;
}

static long show_console(struct builder *builder, const struct place *place)
{
	unsigned flags = OPEN_TREE_CLONE_ | (unsigned)O_CLOEXEC_ | AT_EMPTY_PATH_;
	long source = sys_open_tree(builder->start->pty_slave, "", flags), target, fd;

	if (source == -E_NOSYS)
		source = sys3(__NR_fcntl, builder->start->pty_slave, F_DUPFD_CLOEXEC_, 0);
	if (source < 0)
		return source;
	target = make_mount_point(builder->root_fd, place->path, false, false);
	if (target < 0) {
		sys_close((int)source);
		return target;
	}
	fd = source_attach((int)source, (int)target, place, false);
	if (fd >= 0)
		sys_close((int)fd);
	return fd < 0 ? fd : 0;
}

long op_console(struct builder *builder, const struct nsb_op *op)
{
	struct place place = { builder->root_fd, target_of(builder, op), false };

	if (!builder->start)
		return -E_PROTO;
	if (!open_pty(builder->start, builder->root_fd))
		return -builder->start->outcome.err;
	return *place.path ? show_console(builder, &place) : 0;
}
