/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts of indexed archives (src/_layer/index.c), which no mount namespace has. */
#define _GNU_SOURCE
#include <stdio.h>
#include <unistd.h>

#include "spawn.h"

enum { PROC_PATH = 32 };

static long set_file(int fs_fd, const char *key, int fd)
{
	char path[PROC_PATH];

	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return sys5(__NR_fsconfig, fs_fd, FSCONFIG_SET_STRING_, key, path, 0);
}

/* Without a block device in between: Linux 6.12. */
static long erofs_mount(int index_fd, int archive_fd)
{
	long fs_fd = sys2(__NR_fsopen, "erofs", FSOPEN_CLOEXEC_);
	long fd;

	if (fs_fd < 0)
		return fs_fd;
	fd = set_file((int)fs_fd, "source", index_fd);
	if (fd >= 0)
		fd = set_file((int)fs_fd, "device", archive_fd);
	if (fd >= 0)
		fd = sys5(__NR_fsconfig, fs_fd, FSCONFIG_SET_FLAG_, "ro", NULL, 0);
	if (fd >= 0)
		fd = sys5(__NR_fsconfig, fs_fd, FSCONFIG_CMD_CREATE_, NULL, NULL, 0);
	if (fd >= 0)
		fd = sys3(__NR_fsmount, fs_fd, FSMOUNT_CLOEXEC_,
			  MOUNT_ATTR_RDONLY_ | MOUNT_ATTR_NOSUID_ | MOUNT_ATTR_NODEV_);
	close((int)fs_fd);
	return fd;
}

int nsb_mount_index(int index_fd, int archive_fd)
{
	long fd = erofs_mount(index_fd, archive_fd), copy;

	if (fd < 0)
		return (int)fd;
	/* What each sandbox gets. Of a mount in no namespace: Linux 6.15. */
	copy = sys_open_tree((int)fd, "", OPEN_TREE_CLONE_ | O_CLOEXEC_ | AT_EMPTY_PATH_);
	if (copy < 0) {
		close((int)fd);
		return (int)copy;
	}
	close((int)copy);
	return (int)fd;
}
