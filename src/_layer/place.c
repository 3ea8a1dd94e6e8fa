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

/* Where a walk is: `real` has no link, so that ".." is its last part taken off; `rest` from `at` on is
 * still to be walked. */
struct way {
	char real[PATH_SIZE];
	size_t length;
	char rest[2 * PATH_SIZE + 2];
	size_t at, n_links;
};

/* Its text takes the place of what was walked; `before` is the length of the path it stands in. */
static void follow(struct way *way, const char *link, size_t length, size_t before)
{
	size_t left = text_length(way->rest + way->at) + 1;
	char *behind = way->rest + sizeof way->rest - left;

	if (++way->n_links > LINKS_MAX)
		fail("os", -E_LOOP, "parent");
	if (length + 1 + left > sizeof way->rest)
		fail_limit("path");
	for (size_t i = left; i-- > 0;)
		behind[i] = way->rest[way->at + i];
	memcpy(way->rest, link, length);
	way->rest[length] = '/';
	for (size_t i = 0; i < left; i++)
		way->rest[length + 1 + i] = behind[i];
	way->at = 0;
	way->length = link[0] == '/' ? 1 : before;
	way->real[way->length] = '\0';
}

static void step(struct way *way, const char *part, size_t size)
{
	static char link[PATH_SIZE];
	size_t before = way->length, link_length = 0;
	struct statx stat;
	uint32_t kind;

	way->length = path_add(way->real, before, part, size);
	if (way->length == 0)
		fail_limit("path");
	kind = look_at(way->real, &stat, link, &link_length);
	if (kind == S_LINK) {
		follow(way, link, link_length, before);
	} else if (kind != S_DIRECTORY) {
		bool hidden = kind && is_whiteout(&stat);

		if (kind)
			remove_at(directory_at(way->real, before), base_of(way->real), kind);
		make_missing(way->real, way->length, hidden);
	}
}

/* The way part by part: links are resolved in the root, and what else is no directory gives way to
 * one. */
static int make_way(const char *parent, size_t length)
{
	static struct way way;
	int directory;

	way.real[0] = '/';
	way.real[1] = '\0';
	way.length = 1;
	way.at = way.n_links = 0;
	memcpy(way.rest, parent, length);
	way.rest[length] = '\0';
	for (;;) {
		const char *part = way.rest + way.at;
		size_t size = 0;

		while (part[size] && part[size] != '/')
			size++;
		if (size == 0 && !*part)
			break;
		way.at += size ? size : 1;
		if (size == 0 || (size == 1 && part[0] == '.'))
			continue;
		if (size == 2 && part[0] == '.' && part[1] == '.') {
			way.length = parent_length(way.real);
			way.real[way.length] = '\0';
			continue;
		}
		step(&way, part, size);
	}
	directory = directory_at(way.real, way.length);
	if (directory < 0)
		fail("os", directory, "parent");
	return directory;
}

int place_parent(const char *path)
{
	size_t length = parent_length(path);
	int fd = directory_at(path, length);

	if (fd >= 0)
		return fd;
	if (fd != -E_NOENT && fd != -E_NOTDIR && fd != -E_LOOP)
		fail("os", fd, "parent");
	return make_way(path, length);
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
