/* SPDX-License-Identifier: Apache-2.0 */
/* Room in the tree for an entry: the directories on the way to it, and nothing in its place. */
#include "layer.h"

enum { LINKS_MAX = 40 };

static const struct attributes *of_missing;
static struct region implied;

void count_entry(void)
{
	static uint64_t more;

	if (counts.entries + ++more > options.entries)
		fail_limit("entries");
}

/* A directory that the archive does not have: as in the layers below, else as mkdir(1) of root
 * makes one. Its times are then those of the entry that needs it. */
static void make_missing(const char *path, size_t length, bool hidden)
{
	struct attributes attributes = { .mode = 0755 };
	size_t above = parent_length(path);
	struct statx stat;
	int directory;
	long err, fd, lower = -E_NOENT;

	count_entry();
	if (!hidden && options.lowers && !below_opaque(path, above))
		lower = lower_open(path, &stat);
	directory = directory_at(path, above);
	err = directory < 0 ? directory : sys3(__NR_mkdirat, directory, base_of(path), 0700);
	fd = err < 0 ? err : sys_openat(directory, base_of(path), DIRECTORY_FLAGS | O_NOFOLLOW_, 0);
	if (fd < 0)
		fail("os", fd, "mkdir");
	if (of_missing)
		attributes.mtime = attributes.atime = of_missing->mtime;
	if (lower >= 0 && (stat.stx_mode & S_TYPE) == S_DIRECTORY) {
		attributes_of_file(&stat, &attributes);
		attributes_set((int)fd, &attributes, (int)lower);
	} else {
		attributes_set((int)fd, &attributes, XATTRS_NONE);
	}
	if (lower >= 0)
		sys_close((int)lower);
	if (hidden)
		make_opaque((int)fd);
	sys_close((int)fd);
	times_later(path, length, &attributes);
	report_name("implicit", path, length);
	if (options.strict)
		memcpy(region_add(&implied, length + 1), path, length + 1);
}

/* Whether a directory was made without an entry. Kept where it matters only. */
bool place_implied(const char *path)
{
	for (size_t at = 0; at < implied.used; at += text_length(implied.base + at) + 1)
		if (text_equal(implied.base + at, path))
			return true;
	return false;
}

/* Returns the kind of what is there, 0 for nothing, and of a link its text. */
static uint32_t look_at(const char *path, struct statx *stat, char *link, size_t *ret_link)
{
	long fd = tree_at(path, O_PATH_ | O_NOFOLLOW_), n;

	if (fd == -E_NOENT)
		return 0;
	n = fd < 0 ? fd : sys_statx((int)fd, "", AT_EMPTY_PATH_, stat);
	if (n == 0 && (stat->stx_mode & S_TYPE) == S_LINK) {
		n = sys4(__NR_readlinkat, fd, "", link, PATH_SIZE - 1);
		*ret_link = n < 0 ? 0 : (size_t)n;
	}
	if (n < 0)
		fail("os", n, "parent");
	sys_close((int)fd);
	return stat->stx_mode & S_TYPE;
}

/*
 * The way part by part: links are resolved in the root, and what else is no directory gives way to
 * one. `real` never has a link, so that ".." is its last part taken off.
 */
static int make_way(const char *parent, size_t length)
{
	static char rest[2 * PATH_SIZE + 2], link[PATH_SIZE];
	char real[PATH_SIZE] = "/";
	size_t real_length = 1, at = 0, n_links = 0, part;
	size_t rest_length = length;
	int directory;

	memcpy(rest, parent, length + 1);
	for (; at < rest_length; at += part) {
		size_t before = real_length, link_length = 0;
		struct statx stat;
		uint32_t kind;

		for (part = 0; rest[at + part] && rest[at + part] != '/'; part++)
			;
		if (part == 0) {
			part = 1;
			continue;
		}
		if (part == 1 && rest[at] == '.')
			continue;
		if (part == 2 && rest[at] == '.' && rest[at + 1] == '.') {
			real_length = parent_length(real);
			real[real_length] = '\0';
			continue;
		}
		real_length = path_add(real, real_length, rest + at, part);
		if (real_length == 0)
			fail_limit("path");
		kind = look_at(real, &stat, link, &link_length);
		if (kind == S_DIRECTORY)
			continue;
		if (kind != S_LINK) {
			bool hidden = kind && is_whiteout(&stat);

			if (kind)
				remove_at(directory_at(real, before), base_of(real), kind);
			make_missing(real, real_length, hidden);
			continue;
		}
		if (++n_links > LINKS_MAX)
			fail("os", -E_LOOP, "parent");
		/* The link's text takes the place of what was walked. */
		at += part;
		if (link_length + 1 + rest_length - at >= sizeof rest)
			fail_limit("path");
		for (size_t i = rest_length - at + 1; i-- > 0;)
			rest[sizeof rest - (rest_length - at + 1) + i] = rest[at + i];
		memcpy(rest, link, link_length);
		rest[link_length] = '/';
		for (size_t i = 0; i <= rest_length - at; i++)
			rest[link_length + 1 + i] = rest[sizeof rest - (rest_length - at + 1) + i];
		rest_length = link_length + 1 + rest_length - at;
		at = part = 0;
		real_length = link[0] == '/' ? 1 : before;
		real[real_length] = '\0';
	}
	directory = directory_at(real, real_length);
	if (directory < 0)
		fail("os", directory, "parent");
	return directory;
}

int place_parent(const char *path)
{
	static char parent[PATH_SIZE];
	size_t length = parent_length(path);
	int fd;

	fd = directory_at(path, length);
	if (fd >= 0)
		return fd;
	if (fd != -E_NOENT && fd != -E_NOTDIR && fd != -E_LOOP)
		fail("os", fd, "parent");
	memcpy(parent, path, length);
	parent[length] = '\0';
	return make_way(parent, length);
}

void place_of(const struct attributes *attributes)
{
	of_missing = attributes;
}

/* A directory stays for a directory; anything else that is there goes. */
enum room place_clear(int directory, const char *path, bool for_directory)
{
	const char *name = base_of(path);
	struct statx stat;
	uint32_t kind = kind_of(directory, name, &stat);

	if (kind == 0)
		return ROOM_FREE;
	if (kind == S_DIRECTORY && for_directory)
		return ROOM_DIRECTORY;
	if (is_whiteout(&stat)) {
		remove_at(directory, name, kind);
		return ROOM_WAS_WHITEOUT;
	}
	if (options.strict)
		fail("duplicate", 0, NULL);
	remove_at(directory, name, kind);
	return ROOM_FREE;
}
