/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files for the caller: opened here, where the sandbox's root and ids are the only ones there are,
 * and handed out as descriptors. Nothing but regular files and directories is opened, and no open
 * can block.
 */
#include "init.h"

enum { FILE_TYPE = 0170000, REGULAR = 0100000, DIRECTORY = 0040000 };

static long type_error(uint32_t type)
{
	return type == DIRECTORY ? -E_ISDIR : type == 0120000 ? -E_LOOP : -E_INVAL;
}

static struct making making_of(const struct nsb_open *request)
{
	return (struct making){ .mode = request->mode & 0777,
				.uid = request->uid,
				.gid = request->gid,
				.symlinks = request->flags & NSB_OPEN_FOLLOW };
}

/*
 * First a path descriptor, which opens nothing, then the real open of the very inode that was
 * checked: a FIFO would block, a device may do anything.
 */
static long open_checked(const char *path, const struct nsb_open *request)
{
	bool directory = request->flags & NSB_OPEN_DIRECTORY,
	     follow = request->flags & NSB_OPEN_FOLLOW;
	long found = open_in_root(AT_FDCWD_, path, O_PATH_ | (follow ? 0 : O_NOFOLLOW_), 0, follow),
	     fd;
	struct statx stat;
	char link[32];

	if (found < 0)
		return found;
	fd = sys_statx((int)found, "", AT_EMPTY_PATH_, &stat);
	if (!fd && (stat.stx_mode & FILE_TYPE) != (directory ? DIRECTORY : REGULAR))
		fd = directory ? -E_NOTDIR : type_error(stat.stx_mode & FILE_TYPE);
	if (!fd) {
		proc_fd_path(link, (int)found);
		fd = sys_openat(
			AT_FDCWD_, link,
			(int)(request->open_flags & ~(unsigned)(O_CREAT_ | O_EXCL_ | O_NOFOLLOW_)) |
				O_NONBLOCK_ | O_CLOEXEC_ | O_NOCTTY_,
			0);
	}
	sys_close((int)found);
	return fd;
}

static long create(const char *path, const struct nsb_open *request)
{
	struct making making = making_of(request);
	char name[256];
	long fd, err;
	long parent;

	making.mode = 0755;
	parent = open_parent_in_root(AT_FDCWD_, path, name, request->flags & NSB_OPEN_PARENTS,
				     &making);

	if (parent < 0)
		return parent;
	fd = sys_openat((int)parent, name,
			(int)request->open_flags | O_CREAT_ | O_EXCL_ | O_NOFOLLOW_ | O_NONBLOCK_ |
				O_CLOEXEC_,
			request->mode & 0777);
	if (fd == -E_OVERFLOW) {
		act_as(request->uid, request->gid);
		fd = sys_openat((int)parent, name,
				(int)request->open_flags | O_CREAT_ | O_EXCL_ | O_NOFOLLOW_ |
					O_NONBLOCK_ | O_CLOEXEC_,
				request->mode & 0777);
		act_as_ourselves();
	}
	sys_close((int)parent);
	if (fd < 0)
		return fd;
	err = sys3(__NR_fchown, fd, request->uid, request->gid);
	if (err < 0) {
		sys_close((int)fd);
		return err;
	}
	return fd;
}

static long unlink_path(const char *path, const struct nsb_open *request)
{
	struct making making = making_of(request);
	char name[256];
	long err, parent = open_parent_in_root(AT_FDCWD_, path, name, false, &making);

	if (parent < 0)
		return parent;
	err = sys3(__NR_unlinkat, parent, name, 0);
	if (err == -E_ISDIR)
		err = sys3(__NR_unlinkat, parent, name, AT_REMOVEDIR_);
	sys_close((int)parent);
	return err;
}

static long open_path(const char *path, const struct nsb_open *request)
{
	struct making making = making_of(request);
	long fd;

	if (request->flags & NSB_OPEN_MKDIR)
		return make_directory(AT_FDCWD_, path, &making);
	if (request->flags & NSB_OPEN_UNLINK)
		return unlink_path(path, request);
	if (request->flags & NSB_OPEN_UPPER)
		return upper_open();
	fd = open_checked(path, request);
	if (fd == -E_NOENT && request->open_flags & O_CREAT_)
		fd = create(path, request);
	else if (fd >= 0 && request->open_flags & O_EXCL_) {
		sys_close((int)fd);
		fd = -E_EXIST;
	}
	return fd;
}

void open_request(struct message *message)
{
	const struct nsb_open *request = (const void *)message->bytes;
	const char *path;
	bool opens;
	long fd;

	if (message->n_fds == 0)
		return;
	path = message->size < sizeof *request ? NULL : message_string(message, request->path);
	fd = path ? open_path(path, request) : -E_PROTO;
	if (fd < 0) {
		send_failure(message->fds[0], failed(NSB_STEP_OPEN, fd, 0));
		return;
	}
	opens = !(request->flags & (NSB_OPEN_MKDIR | NSB_OPEN_UNLINK));
	send_done(message->fds[0], opens ? (int)fd : -1);
	if (opens)
		sys_close((int)fd);
}
