/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts by descriptor: the new mount API (open_tree, fsopen, move_mount: Linux 5.2;
 * mount_setattr: 5.12) and, where the kernel lacks it or an outer filter refuses it, mount(2) on
 * /proc/self/fd paths of the host's /proc, which is in view until pivot_root.
 */
#include "init.h"

enum {
	MS_RDONLY_ = 1,
	MS_NOSUID_ = 2,
	MS_NODEV_ = 4,
	MS_NOEXEC_ = 8,
	MS_REMOUNT_ = 32,
	MS_NOSYMFOLLOW_ = 256,
	MS_BIND_ = 4096,
	MS_REC_ = 16384,
	/* what statfs(2) reports and a remount must repeat, lest it clear a locked flag: EPERM */
	ST_KEPT_ = 1 | 2 | 4 | 8 | 1024 | 2048 | 4096,
};

static bool unavailable(long err)
{
	return err == -E_NOSYS;
}

static unsigned long attr_to_ms(uint64_t attr)
{
	return (attr & MOUNT_ATTR_RDONLY_ ? MS_RDONLY_ : 0) |
	       (attr & MOUNT_ATTR_NOSUID_ ? MS_NOSUID_ : 0) |
	       (attr & MOUNT_ATTR_NODEV_ ? MS_NODEV_ : 0) |
	       (attr & MOUNT_ATTR_NOEXEC_ ? MS_NOEXEC_ : 0) |
	       (attr & MOUNT_ATTR_NOSYMFOLLOW_ ? MS_NOSYMFOLLOW_ : 0);
}

/* A descriptor of what a mount will show: a detached copy, or the place itself for mount(2) to
 * bind. */
long source_open(const char *path, bool recursive)
{
	long fd = sys_open_tree(AT_FDCWD_, path,
				OPEN_TREE_CLONE_ | (unsigned)O_CLOEXEC_ |
					(recursive ? AT_RECURSIVE_ : 0));

	return unavailable(fd) ? sys_openat(AT_FDCWD_, path, O_PATH_ | O_CLOEXEC_, 0) : fd;
}

static long bind_by_path(int source_fd, int target_fd, bool recursive)
{
	char source[32], target[32];

	proc_fd_path(source, source_fd);
	proc_fd_path(target, target_fd);
	return sys_mount(source, target, NULL, MS_BIND_ | (recursive ? MS_REC_ : 0), NULL);
}

/* A place's descriptor; once something is mounted there, a descriptor of the mounted root. */
long place_open(const struct place *place, int flags)
{
	if (place->root_fd == AT_FDCWD_)
		return sys_openat(AT_FDCWD_, place->path, flags | O_PATH_ | O_CLOEXEC_, 0);
	return open_in_root(place->root_fd, place->path, flags | O_PATH_, 0, place->symlinks);
}

/*
 * Mount source_fd (of source_open(), or a detached mount of the parent's) on target_fd, which place
 * names. Consumes both; returns a descriptor of the mounted root or a negative errno.
 */
long source_attach(int source_fd, int target_fd, const struct place *place, bool recursive)
{
	long err = sys_move_mount(source_fd, target_fd);

	if (err >= 0) {
		sys_close(target_fd);
		return source_fd;
	}
	/* EINVAL: source_fd is no detached mount but the place itself (source_open()'s second
	 * form). */
	if (unavailable(err) || err == -E_INVAL)
		err = bind_by_path(source_fd, target_fd, recursive);
	sys_close(target_fd);
	sys_close(source_fd);
	return err < 0 ? err : place_open(place, 0);
}

/* "a=b,c" as fsconfig(2) calls. A value in double quotes may have commas, as the labels of SELinux
 * do, which takes the quotes off by itself where mount(2) is used. */
static long configure(int fs_fd, const char *options)
{
	char key[64], value[256];

	while (*options) {
		size_t n = 0, m = 0;

		while (*options && *options != ',' && *options != '=' && n < sizeof key - 1)
			key[n++] = *options++;
		if (*options == '=') {
			char end = options[1] == '"' ? '"' : ',';

			for (options += end == '"' ? 2 : 1;
			     *options && *options != end && m < sizeof value - 1; options++)
				value[m++] = *options;
			options += end == '"' && *options == end;
		}
		if (*options && *options++ != ',')
			return -E_NAMETOOLONG;
		key[n] = value[m] = '\0';

		long err = sys5(__NR_fsconfig, fs_fd, m ? FSCONFIG_SET_STRING_ : FSCONFIG_SET_FLAG_,
				key, m ? value : NULL, 0);
		if (err < 0)
			return err;
	}
	return sys5(__NR_fsconfig, fs_fd, FSCONFIG_CMD_CREATE_, NULL, NULL, 0);
}

static long filesystem_open(const struct filesystem *filesystem)
{
	long fs_fd = sys2(__NR_fsopen, filesystem->type, FSOPEN_CLOEXEC_);
	long fd = 0;

	if (fs_fd < 0)
		return fs_fd;
	if (filesystem->source)
		fd = sys5(__NR_fsconfig, fs_fd, FSCONFIG_SET_STRING_, "source", filesystem->source,
			  0);
	if (fd >= 0)
		fd = configure((int)fs_fd, filesystem->options);
	if (fd >= 0)
		fd = sys3(__NR_fsmount, fs_fd, FSMOUNT_CLOEXEC_, filesystem->attr);
	sys_close((int)fs_fd);
	return fd;
}

/*
 * A new instance of a file system on target_fd, which place names and which is consumed. Returns a
 * descriptor of its root or a negative errno.
 */
long filesystem_attach(const struct filesystem *filesystem, int target_fd,
		       const struct place *place)
{
	const char *type = filesystem->type;
	long fd = filesystem_open(filesystem);
	long err = fd < 0 ? fd : sys_move_mount((int)fd, target_fd);
	char path[32];

	if (err < 0 && fd >= 0)
		sys_close((int)fd);
	/* fsconfig(2) takes values of 255 bytes, mount(2) a page of layers, or of what the caller
	 * wrote. */
	if (unavailable(err) ||
	    (err == -E_NAMETOOLONG && (filesystem->source || text_equal(type, "overlay")))) {
		proc_fd_path(path, target_fd);
		err = sys_mount(filesystem->source ? filesystem->source : type, path, type,
				attr_to_ms(filesystem->attr), filesystem->options);
		fd = err < 0 ? err : place_open(place, O_DIRECTORY_);
	}
	sys_close(target_fd);
	return err < 0 ? err : fd;
}

static long remount(int mounted_fd, uint64_t set, uint64_t clear)
{
	struct sys_statfs stat;
	long err = sys2(__NR_fstatfs, mounted_fd, &stat);
	char path[32];

	if (err < 0)
		return err;
	proc_fd_path(path, mounted_fd);
	return sys_mount(NULL, path, NULL,
			 MS_REMOUNT_ | MS_BIND_ | (stat.flags & ST_KEPT_ & ~attr_to_ms(clear)) |
				 attr_to_ms(set),
			 NULL);
}

static char *read_mountinfo(size_t *ret_size)
{
	long fd = sys_openat(AT_FDCWD_, "/proc/self/mountinfo", O_RDONLY_ | O_CLOEXEC_, 0);
	long address, size = 1 << 20, done = 0, n;

	if (fd < 0)
		return NULL;
	address = sys_call6(__NR_mmap, 0, size, 3, 0x22, -1, 0);
	if (sys_failed(address)) {
		sys_close((int)fd);
		return NULL;
	}
	while ((n = sys_read((int)fd, (char *)(uintptr_t)address + done,
			     (size_t)(size - done - 1))) > 0)
		done += n;
	sys_close((int)fd);
	*ret_size = (size_t)size;
	return (char *)(uintptr_t)address;
}

/* The fifth field, with \040 and the like decoded (proc_pid_mountinfo(5)). Returns the start of the
 * next line. */
static const char *parse_mount_point(const char *line, char path[PATH_SIZE])
{
	size_t n = 0;

	for (int field = 0; field < 4 && *line; field++) {
		while (*line && *line != ' ')
			line++;
		line += *line == ' ';
	}
	for (; *line && *line != ' ' && n < PATH_SIZE - 1; line++) {
		if (*line == '\\' && line[1] && line[2] && line[3]) {
			path[n++] = (char)((line[1] - '0') << 6 | (line[2] - '0') << 3 |
					   (line[3] - '0'));
			line += 3;
		} else {
			path[n++] = *line;
		}
	}
	path[n] = '\0';
	while (*line && *line != '\n')
		line++;
	return *line ? line + 1 : line;
}

static long descriptor_path(int fd, char path[PATH_SIZE])
{
	char link[32];
	long n;

	proc_fd_path(link, fd);
	n = sys4(__NR_readlinkat, AT_FDCWD_, link, path, PATH_SIZE - 1);
	if (n >= 0)
		path[n] = '\0';
	return n;
}

/* Remount what lies below mounted_fd, found in mountinfo and opened anew below root_fd. */
static long remount_below(int root_fd, int mounted_fd, uint64_t attr)
{
	static char root[PATH_SIZE], top[PATH_SIZE], found[PATH_SIZE];
	long root_length = descriptor_path(root_fd, root),
	     top_length = descriptor_path(mounted_fd, top), err = 0;
	size_t size;
	char *table;

	if (root_length < 0 || top_length < 0)
		return -E_NOENT;
	table = read_mountinfo(&size);
	if (!table)
		return -E_NOENT;
	for (const char *line = table; *line && !err;) {
		line = parse_mount_point(line, found);
		for (long i = 0; i < top_length; i++)
			if (found[i] != top[i])
				goto next;
		if (found[top_length] == '/') {
			long fd = open_in_root(root_fd, found + root_length, O_PATH_, 0, false);

			err = fd < 0 ? fd : remount((int)fd, attr, 0);
			if (fd >= 0)
				sys_close((int)fd);
		}
next:;
	}
	(void)sys2(__NR_munmap, table, size);
	return err;
}

/* Add attr to a mount and, recursively, to those below it. */
long mount_restrict(int root_fd, int mounted_fd, uint64_t attr, bool recursive)
{
	struct sys_mount_attr change = { .attr_set = attr };
	long err;

	if (!attr)
		return 0;
	err = sys_mount_setattr(mounted_fd, "", AT_EMPTY_PATH_ | (recursive ? AT_RECURSIVE_ : 0),
				&change);
	if (!unavailable(err))
		return err;
	err = remount(mounted_fd, attr, 0);
	return err < 0 || !recursive ? err : remount_below(root_fd, mounted_fd, attr);
}

/* Set and clear attributes of one mount. */
long mount_change(int mounted_fd, uint64_t set, uint64_t clear)
{
	struct sys_mount_attr change = { .attr_set = set, .attr_clr = clear };
	long err = sys_mount_setattr(mounted_fd, "", AT_EMPTY_PATH_, &change);

	return unavailable(err) ? remount(mounted_fd, set, clear) : err;
}
