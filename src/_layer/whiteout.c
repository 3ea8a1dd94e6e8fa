/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deletions (image-spec, layer.md, "Whiteouts") as overlayfs has them: a character device 0:0, and
 * an attribute of directories that hide what is below. They are about lower layers only, wherever
 * they stand in the archive, and what is in the tree is all of this layer.
 */
#include "layer.h"

void make_opaque(int fd)
{
	long err = sys5(__NR_fsetxattr, fd, OPAQUE, "y", 1, 0);

	if (err < 0)
		fail("xattr", err, OPAQUE);
	counts.opaque++;
}

bool is_opaque(int fd)
{
	char value;

	return sys4(__NR_fgetxattr, fd, OPAQUE, &value, 1) == 1 && value == 'y';
}

/* The directory or one above it. The path has no links. */
bool below_opaque(const char *path, size_t length)
{
	char at[PATH_SIZE];

	if (!counts.opaque)
		return false;
	memcpy(at, path, length);
	for (at[length] = '\0';; length = parent_length(at), at[length] = '\0') {
		int fd = directory_at(at, length);

		if (fd >= 0 && is_opaque(fd))
			return true;
		if (length == 1)
			return false;
	}
}

static void hide(int directory, const char *name)
{
	static const struct __kernel_timespec no_time[2];
	struct statx stat;
	uint32_t kind = kind_of(directory, name, &stat);
	long err;

	if (kind == S_DIRECTORY) {
		long fd = sys_openat(directory, name, DIRECTORY_FLAGS | O_NOFOLLOW_, 0);

		if (fd < 0)
			fail("os", fd, "open");
		if (!is_opaque((int)fd))
			make_opaque((int)fd);
		sys_close((int)fd);
	}
	if (kind)
		return;
	err = sys4(__NR_mknodat, directory, name, S_CHARACTER, 0);
	if (err == 0)
		err = sys4(__NR_utimensat, directory, name, no_time, AT_SYMLINK_NOFOLLOW_);
	if (err < 0)
		fail("os", err, "mknod");
}

static bool inner_marker(const char *path, const char *base)
{
	for (const char *at = path; at < base; at++)
		if (*at == '/' && at + 1 < base && starts_with(at + 1, WHITEOUT))
			return true;
	return false;
}

static bool inner_aufs(const char *path)
{
	for (const char *at = path; *at; at++)
		if (*at == '/' && starts_with(at + 1, WHITEOUT_AUFS) &&
		    !text_equal(at + 1, OPAQUE_MARKER))
			return true;
	return false;
}

/* Returns whether it was a marker; of any type: all that counts is its name. */
bool whiteout_entry(const char *path)
{
	const char *base = base_of(path);
	const char *hidden = base + sizeof WHITEOUT - 1;
	int directory;

	if (inner_aufs(path))
		return true;
	if (inner_marker(path, base))
		fail("invalid-whiteout", 0, NULL);
	if (!starts_with(base, WHITEOUT))
		return false;
	if (text_equal(hidden, "") || text_equal(hidden, ".") || text_equal(hidden, ".."))
		fail("invalid-whiteout", 0, NULL);
	directory = place_parent(path);
	if (text_equal(base, OPAQUE_MARKER)) {
		if (!is_opaque(directory))
			make_opaque(directory);
	} else {
		counts.whiteouts++;
		hide(directory, hidden);
	}
	return true;
}

/*
 * In a directory that is not merged with one below, readdir(3) would show a whiteout whose name then
 * cannot be opened. Without consequence for what is too deep for a path.
 */
void whiteouts_drop_hidden(void)
{
	static struct names names;
	static struct visit visit;

	if (!counts.opaque || !counts.whiteouts)
		return;
	(void)visit_later(NULL, "", false, 0);
	while (visit_next(&visit)) {
		const struct directory_entry *entry;
		int fd = directory_at(visit.path, visit.length);
		bool hidden;

		if (fd < 0)
			continue;
		hidden = visit.mark || is_opaque(fd);
		names_of(&names, fd);
		while ((entry = names_next(&names))) {
			struct statx stat;
			uint32_t kind = kind_of(fd, entry->name, &stat);

			if (hidden && kind == S_CHARACTER && is_whiteout(&stat))
				(void)sys3(__NR_unlinkat, fd, entry->name, 0);
			if (kind == S_DIRECTORY)
				(void)visit_later(&visit, entry->name, hidden, 0);
		}
	}
}
