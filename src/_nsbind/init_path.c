/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names below a root that an adversary may have filled. Every look-up stays inside the root and
 * never follows a magic link; what is made is made by descriptor, one component at a time, and only
 * on file systems that we mounted ourselves, so that no file or directory appears in a caller's
 * volume (CVE-2026-87766, CVE-2024-45310).
 */
#include "init.h"

enum { OWN_DEVICES_MAX = 64, LOOKUP_TRIES = 128, LINKS_MAX = 40 /* path_resolution(7) */ };

static struct {
	uint32_t major, minor;
} own_devices[OWN_DEVICES_MAX];
static uint32_t n_own_devices;
static bool root_is_open;

/* From now on names are made on every file system: for a container's mounts, or after a sandbox's
 * set-up for the caller's file requests. */
void own_devices_end(void)
{
	root_is_open = true;
}

void own_device_add(int fd)
{
	struct statx stat;

	if (n_own_devices == OWN_DEVICES_MAX || sys_statx(fd, "", AT_EMPTY_PATH_, &stat) < 0)
		return;
	own_devices[n_own_devices].major = stat.stx_dev_major;
	own_devices[n_own_devices++].minor = stat.stx_dev_minor;
}

static bool on_own_device(int fd)
{
	struct statx stat;

	if (root_is_open)
		return true;
	if (sys_statx(fd, "", AT_EMPTY_PATH_, &stat) < 0)
		return false;
	for (uint32_t i = 0; i < n_own_devices; i++)
		if (own_devices[i].major == stat.stx_dev_major &&
		    own_devices[i].minor == stat.stx_dev_minor)
			return true;
	return false;
}

/* Copy the next component of *path to name and advance. Returns its length, 0 at the end, or a
 * negative errno. */
static long next_component(const char **path, char name[256], bool dots)
{
	size_t n = 0;

	while (**path == '/')
		(*path)++;
	while (**path && **path != '/' && n < 255)
		name[n++] = *(*path)++;
	name[n] = '\0';
	if (**path && **path != '/')
		return -E_NAMETOOLONG;
	if (!dots && text_equal(name, ".."))
		return -E_XDEV;
	return (long)n;
}

static bool is_last_component(const char *path)
{
	while (*path == '/')
		path++;
	return !*path;
}

static long refuse_symlink(long fd)
{
	struct statx stat;

	if (fd < 0)
		return fd;
	if (sys_statx((int)fd, "", AT_EMPTY_PATH_, &stat) < 0 ||
	    (stat.stx_mode & 0170000) == 0120000) {
		sys_close((int)fd);
		return -E_LOOP;
	}
	return fd;
}

static bool is_symlink(int parent_fd, const char *name)
{
	struct statx stat;

	return sys_statx(parent_fd, name, AT_SYMLINK_NOFOLLOW_, &stat) == 0 &&
	       (stat.stx_mode & 0170000) == 0120000;
}

/* Without openat2 (Linux < 5.6): component by component, where every symbolic link is refused. */
static long walk_in_root(int root_fd, const char *path, int flags, unsigned mode)
{
	long fd = sys_openat(root_fd, ".", O_PATH_ | O_DIRECTORY_ | O_CLOEXEC_, 0);
	char name[256];

	if (is_last_component(path)) {
		long opened = fd < 0 ? fd : sys_openat((int)fd, ".", flags | O_CLOEXEC_, mode);

		if (fd >= 0)
			sys_close((int)fd);
		return opened;
	}
	while (fd >= 0) {
		long length = next_component(&path, name, false);
		bool last = is_last_component(path);
		long next = length < 0 ? length
				       : sys_openat((int)fd, name,
						    last ? flags | O_NOFOLLOW_ | O_CLOEXEC_
							 : O_PATH_ | O_NOFOLLOW_ | O_CLOEXEC_,
						    mode);

		/* With O_DIRECTORY the kernel says ENOTDIR of a link that it does not follow. */
		if (next == -E_NOTDIR && is_symlink((int)fd, name))
			next = -E_LOOP;
		sys_close((int)fd);
		fd = refuse_symlink(next);
		if (last)
			break;
	}
	return fd;
}

/* Returns a descriptor or a negative errno; symlinks: resolve them, inside the root; else any is
 * -E_LOOP. */
long open_in_root(int root_fd, const char *path, int flags, unsigned mode, bool symlinks)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC_),
		.mode = mode,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS |
			   (symlinks ? 0ull : RESOLVE_NO_SYMLINKS),
	};
	long fd = -E_AGAIN;

	/* EAGAIN: a rename raced with a ".." (openat2(2)). */
	for (int i = 0; fd == -E_AGAIN && i < LOOKUP_TRIES; i++)
		fd = sys4(__NR_openat2, root_fd, *path ? path : ".", &how, sizeof how);
	return fd == -E_NOSYS ? walk_in_root(root_fd, path, flags, mode) : fd;
}

void act_as(uint32_t uid, uint32_t gid)
{
	(void)sys1(__NR_setfsgid, gid);
	(void)sys1(__NR_setfsuid, uid);
}

void act_as_ourselves(void)
{
	act_as((uint32_t)sys0(__NR_geteuid), (uint32_t)sys0(__NR_getegid));
	/* Another id makes us what fs.suid_dumpable says. */
	if (sys_prctl(PR_SET_DUMPABLE_, 0, 0, 0, 0) < 0)
		sys_exit(1);
}

/* Step from parent_fd, which is closed, into name; make it where it is missing and the file system
 * is ours. */
static long enter_directory(int parent_fd, const char *name, uint32_t mode,
			    const struct making *making)
{
	long err, fd = sys_openat(parent_fd, name,
				  O_PATH_ | O_DIRECTORY_ | O_NOFOLLOW_ | O_CLOEXEC_, 0);

	if (fd == -E_NOENT) {
		fd = -E_XDEV;
		if (on_own_device(parent_fd)) {
			err = sys3(__NR_mkdirat, parent_fd, name, mode);
			if (err == -E_OVERFLOW) {
				act_as(making->uid, making->gid);
				err = sys3(__NR_mkdirat, parent_fd, name, mode);
				act_as_ourselves();
			}
			fd = err && err != -E_EXIST
				     ? err
				     : sys_openat(parent_fd, name,
						  O_PATH_ | O_DIRECTORY_ | O_NOFOLLOW_ | O_CLOEXEC_,
						  0);
			if (!err && fd >= 0 && (making->uid || making->gid))
				err = sys5(__NR_fchownat, fd, "", making->uid, making->gid,
					   AT_EMPTY_PATH_);
			if (fd >= 0 && err && err != -E_EXIST) {
				sys_close((int)fd);
				fd = err;
			}
		}
	}
	if (fd == -E_NOTDIR && is_symlink(parent_fd, name))
		fd = -E_LOOP;
	sys_close(parent_fd);
	return fd;
}

/* What the path parent/name/rest is where name is a symbolic link: to path, PATH_SIZE bytes. */
static long through_link(int parent_fd, const char *parent, const char *name, const char *rest,
			 char *path)
{
	char target[PATH_SIZE], whole[PATH_SIZE];
	const char *limit = whole + sizeof whole;
	long length = sys4(__NR_readlinkat, parent_fd, name, target, sizeof target - 1);
	char *end = whole;

	if (length < 0)
		return length;
	target[length] = '\0';
	*end = '\0';
	if (*target != '/')
		end = text_append(text_append(end, limit, parent), limit, "/");
	end = text_append(text_append(text_append(end, limit, target), limit, "/"), limit, rest);
	if (!end)
		return -E_NAMETOOLONG;
	(void)text_append(path, path + PATH_SIZE, whole);
	return 0;
}

/* Make the components of path that are missing, up to a symbolic link that leads nowhere. Returns
 * the directory, -E_NOLINK with path changed to what it is through that link, or another negative
 * errno. */
static long make_components(int root_fd, char *path, const struct making *making)
{
	const char *rest = path;
	char prefix[PATH_SIZE], name[256];
	char *end = prefix, *before;
	long fd = sys_openat(root_fd, ".", O_PATH_ | O_DIRECTORY_ | O_CLOEXEC_, 0);

	*end = '\0';
	while (fd >= 0 && !is_last_component(rest)) {
		long length = next_component(&rest, name, making->dots), found = length;

		before = end;
		end = text_append(text_append(end, prefix + PATH_SIZE, "/"), prefix + PATH_SIZE,
				  name);
		if (length >= 0)
			found = end ? open_in_root(root_fd, prefix, O_PATH_ | O_DIRECTORY_, 0,
						   making->symlinks)
				    : -E_NAMETOOLONG;
		if (found == -E_NOENT && making->dangling && is_symlink((int)fd, name)) {
			*before = '\0';
			found = through_link((int)fd, prefix, name, rest, path);
			sys_close((int)fd);
			fd = found < 0 ? found : -E_NOLINK;
		} else if (found == -E_NOENT) {
			fd = enter_directory((int)fd, name,
					     is_last_component(rest) ? making->mode : 0755, making);
		} else {
			sys_close((int)fd);
			fd = found;
		}
	}
	return fd;
}

/* What `make`, which is make_components or make_last, makes of path and of the links that it meets. */
static long make_through_links(int root_fd, const char *path, const struct making *making,
			       long (*make)(int root_fd, char *path, const struct making *making))
{
	struct making through = *making;
	char whole[PATH_SIZE];
	long fd = -E_NOLINK;

	*whole = '\0';
	if (!text_append(whole, whole + sizeof whole, path))
		return -E_NAMETOOLONG;
	for (int links = 0; fd == -E_NOLINK; links++) {
		fd = links > LINKS_MAX ? -E_LOOP : make(root_fd, whole, &through);
		through.dots = true; /* the link's own */
	}
	return fd;
}

/* Mostly it is there: one look-up. */
static long open_or_make(int root_fd, const char *path, const struct making *making)
{
	long fd = open_in_root(root_fd, path, O_PATH_ | O_DIRECTORY_, 0, making->symlinks);

	return fd == -E_NOENT ? make_through_links(root_fd, path, making, make_components) : fd;
}

/* Split path into its parent (PATH_SIZE bytes) and its last component (256 bytes), "" for the root
 * itself. */
static long split_path(const char *path, char *parent, char *name, bool dots)
{
	char *end = parent;

	*name = *parent = '\0';
	while (!is_last_component(path)) {
		if (*name)
			end = text_append(text_append(end, parent + PATH_SIZE, "/"),
					  parent + PATH_SIZE, name);
		if (!end)
			return -E_NAMETOOLONG;

		long length = next_component(&path, name, dots);

		if (length < 0)
			return length;
	}
	return 0;
}

/* A descriptor of path's parent; ret_name (256 bytes) receives the last component, "" for the root
 * itself. */
long open_parent_in_root(int root_fd, const char *path, char *ret_name, bool create,
			 const struct making *making)
{
	char parent[PATH_SIZE];
	long err = split_path(path, parent, ret_name, making->dots);

	if (err < 0)
		return err;
	if (create)
		return open_or_make(root_fd, parent, making);
	return open_in_root(root_fd, parent, O_PATH_ | O_DIRECTORY_, 0, making->symlinks);
}

/* Make path and its missing parents; an existing directory keeps its mode and owner. */
long make_directory(int root_fd, const char *path, const struct making *making)
{
	long fd = open_or_make(root_fd, path, making);

	if (fd < 0)
		return fd;
	sys_close((int)fd);
	return 0;
}

/* Make the file path, and the directories above it. Returns as make_components. */
static long make_last(int root_fd, char *path, const struct making *making)
{
	char parent[PATH_SIZE], name[256];
	long file = split_path(path, parent, name, making->dots);
	long fd = file < 0 ? file : open_or_make(root_fd, parent, making);

	if (fd < 0)
		return fd;
	if (making->dangling && is_symlink((int)fd, name)) {
		file = through_link((int)fd, parent, name, "", path);
		file = file < 0 ? file : -E_NOLINK;
	} else if (on_own_device((int)fd)) {
		file = sys_openat((int)fd, name,
				  O_RDONLY_ | O_CREAT_ | O_EXCL_ | O_NOFOLLOW_ | O_CLOEXEC_, 0644);
	} else {
		file = -E_XDEV;
	}
	sys_close((int)fd);
	return file;
}

/* A descriptor of a directory, or of a file, to mount on; made where it is missing. */
long make_mount_point(int root_fd, const char *path, bool directory, bool symlinks)
{
	struct making making = { .mode = 0755,
				 .symlinks = symlinks,
				 .dangling = symlinks && root_is_open };
	long fd;

	if (directory)
		return open_or_make(root_fd, path, &making);
	fd = open_in_root(root_fd, path, O_PATH_, 0, symlinks);
	return fd == -E_NOENT ? make_through_links(root_fd, path, &making, make_last) : fd;
}
