/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owner, extended attributes, mode and times, in this order: a change of owner clears set-id bits and
 * security.capability, and everything changes times. Directories get their times at the very end.
 */
#include "layer.h"

enum { LIST_SIZE = 65536, UTIME_OMIT_ = 0x3ffffffe };

/* Which directory has which time, in the order of the archive: the last one counts. */
struct later {
	struct attributes attributes;
	uint64_t length; /* of the path, which follows, up to a multiple of 8 */
};

static struct region all_later;

void attributes_of(const struct entry *entry, struct attributes *ret)
{
	*ret = (struct attributes){
		.mode = entry->mode,
		.uid = entry->uid,
		.gid = entry->gid,
		.mtime = entry->mtime,
		.mtime_ns = entry->mtime_ns,
		.atime = entry->has_atime ? entry->atime : entry->mtime,
		.atime_ns = entry->has_atime ? entry->atime_ns : entry->mtime_ns,
	};
	if (options.index) /* it means something else there (index.c) */
		ret->atime = ret->atime_ns = 0;
}

void attributes_of_file(const struct statx *stat, struct attributes *ret)
{
	*ret = (struct attributes){
		.mode = stat->stx_mode & 07777,
		.uid = stat->stx_uid,
		.gid = stat->stx_gid,
		.mtime = stat->stx_mtime.tv_sec,
		.mtime_ns = stat->stx_mtime.tv_nsec,
		.atime = stat->stx_mtime.tv_sec,
		.atime_ns = stat->stx_mtime.tv_nsec,
	};
}

static void check_owner(const struct attributes *attributes)
{
	if (attributes->uid >= UINT32_MAX || attributes->gid >= UINT32_MAX)
		fail("invalid-id", 0, NULL);
}

static bool squashed(const struct attributes *attributes)
{
	if (options.squash && (attributes->uid || attributes->gid))
		warn("squashed", 0);
	return options.squash;
}

/* EINVAL: the id is none of this user namespace. */
static void check_chown(long err)
{
	if (err < 0)
		fail(err == -E_INVAL ? "unmapped-id" : "os", err, "chown");
}

static void times_of(const struct attributes *attributes, struct __kernel_timespec ret[2])
{
	ret[0].tv_sec = attributes->atime;
	ret[0].tv_nsec = attributes->atime_ns;
	ret[1].tv_sec = attributes->mtime;
	ret[1].tv_nsec = attributes->mtime_ns;
}

static void check(long err, const char *call)
{
	if (err < 0)
		fail("os", err, call);
}

bool xattr_kept(const char *name)
{
	return starts_with(name, "user.") || text_equal(name, "security.capability") ||
	       starts_with(name, "system.posix_acl_");
}

/* What overlayfs would take for its own, escaped as it has been since Linux 6.7. Returns NULL for
 * what no archive may set here: that of the host's security modules, and of its administrator. */
static const char *allowed_name(const char *name, char escaped[XATTR_NAME_SIZE])
{
	if (starts_with(name, OVERLAY)) {
		char *at = text_append(escaped, escaped + XATTR_NAME_SIZE, OVERLAY "overlay.");

		warn("xattr-escaped", 0);
		return text_append(at, escaped + XATTR_NAME_SIZE, name + sizeof OVERLAY - 1)
			       ? escaped
			       : NULL;
	}
	if (xattr_kept(name))
		return name;
	warn("xattr-ignored", 0);
	return NULL;
}

/* Whether an attribute may go missing: the file system has none of this kind. */
static bool refused(long err)
{
	if (err != -E_OPNOTSUPP && err != -E_PERM)
		return false;
	if (options.index) /* of the tree, which is not where it will be read */
		fail("unindexable", err, "extended attribute");
	warn("xattr-unsupported", err);
	return true;
}

static void xattrs_from_entry(int fd)
{
	char escaped[XATTR_NAME_SIZE];
	struct pax_xattr xattr;
	uint64_t n = 0;
	size_t at = 0;

	while (pax_xattr(&at, &xattr)) {
		const char *name;
		long err;

		if (++n > options.xattrs)
			fail_limit("xattrs");
		if (xattr.size > options.xattr)
			fail_limit("xattr");
		name = allowed_name(xattr.name, escaped);
		if (!name)
			continue;
		err = sys5(__NR_fsetxattr, fd, name, xattr.value, xattr.size, 0);
		if (err < 0 && !refused(err))
			fail("xattr", err, name);
	}
}

static const char *list(int fd, size_t *ret_size)
{
	static char names[LIST_SIZE];
	long n = sys3(__NR_flistxattr, fd, names, sizeof names);

	if (n < 0 && n != -E_OPNOTSUPP)
		fail("os", n, "listxattr");
	*ret_size = n < 0 ? 0 : (size_t)n;
	return names;
}

static bool is_own(const char *name)
{
	return starts_with(name, OVERLAY) && !starts_with(name, OVERLAY "overlay.");
}

static void xattrs_copy(int from, int to)
{
	static char value[XATTR_VALUE_MAX];
	size_t size;
	const char *names = list(from, &size);

	for (const char *name = names; name < names + size; name += text_length(name) + 1) {
		long n;

		if (is_own(name) || !xattr_kept(name))
			continue;
		n = sys4(__NR_fgetxattr, from, name, value, sizeof value);
		if (n >= 0)
			n = sys5(__NR_fsetxattr, to, name, value, n, 0);
		if (n < 0 && !refused(n))
			fail("xattr", n, name);
	}
}

void attributes_set(int fd, const struct attributes *attributes, int xattrs)
{
	check_owner(attributes);
	if (!squashed(attributes))
		check_chown(sys3(__NR_fchown, fd, attributes->uid, attributes->gid));
	if (xattrs == XATTRS_OF_ENTRY)
		xattrs_from_entry(fd);
	else if (xattrs >= 0)
		xattrs_copy(xattrs, fd);
	check(sys2(__NR_fchmod, fd, attributes->mode), "chmod");
}

void times_set(int fd, const struct attributes *attributes)
{
	struct __kernel_timespec values[2];

	times_of(attributes, values);
	check(sys4(__NR_utimensat, fd, NULL, values, 0), "utimensat");
}

/* Of what cannot be opened. It was made by us in a directory that is ours, and is no link where the
 * call follows one. */
void attributes_at(int directory, const char *name, const struct attributes *attributes)
{
	struct __kernel_timespec values[2];

	check_owner(attributes);
	if (!squashed(attributes))
		check_chown(sys5(__NR_fchownat, directory, name, attributes->uid, attributes->gid,
				 AT_SYMLINK_NOFOLLOW_));
	times_of(attributes, values);
	check(sys4(__NR_utimensat, directory, name, values, AT_SYMLINK_NOFOLLOW_), "utimensat");
}

/* Before the attributes of a directory are replaced; that it is opaque remains. */
void xattrs_clear(int fd)
{
	size_t size;
	const char *names = list(fd, &size);

	for (const char *name = names; name < names + size; name += text_length(name) + 1)
		if (!is_own(name) && !starts_with(name, "security.s"))
			(void)sys2(__NR_fremovexattr, fd, name);
}

void times_later(const char *path, size_t length, const struct attributes *attributes)
{
	size_t room = (length + 1 + 7) & ~(size_t)7;
	struct later *later = region_add(&all_later, sizeof *later + room);

	*later = (struct later){ *attributes, length };
	memcpy(later + 1, path, length + 1);
}

/* What is no directory any more was replaced. */
void times_now(void)
{
	for (size_t at = 0; at < all_later.used;) {
		const struct later *later = (const void *)(all_later.base + at);
		const char *path = (const void *)(later + 1);
		long fd = tree_at(path, DIRECTORY_FLAGS | O_NOFOLLOW_);

		at += sizeof *later + ((later->length + 1 + 7) & ~(size_t)7);
		if (fd == -E_NOENT || fd == -E_NOTDIR || fd == -E_LOOP)
			continue;
		report_part(path, later->length);
		check(fd, "directory");
		times_set((int)fd, &later->attributes);
		sys_close((int)fd);
	}
}
