/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Through a directory: names are sorted in each, parents come first, deletions before what else there
 * is in the same directory. Whoever changes the tree meanwhile gets something that fits neither
 * before nor after, but nothing from outside the tree.
 */
#include "layer.h"

char walk_path[PATH_SIZE + 1];
size_t walk_length;
static const struct walker *walker;

/* Names that are still to be visited, the next one last. */
struct pending {
	uint32_t parent; /* length of the path of their directory */
	uint32_t size;
};
static struct region pending;

static void push(size_t parent, const char *name)
{
	struct pending item = { (uint32_t)parent, (uint32_t)text_length(name) + 1 };
	char *at = region_add(&pending, item.size + sizeof item);

	memcpy(at, name, item.size);
	memcpy(at + item.size, &item, sizeof item);
}

static bool pop(size_t *ret_parent)
{
	struct pending item;

	if (pending.used == 0)
		return false;
	memcpy(&item, pending.base + pending.used - sizeof item, sizeof item);
	pending.used -= item.size + sizeof item;
	*ret_parent = item.parent;
	walk_length = path_add(walk_path, item.parent, pending.base + pending.used, item.size - 1);
	if (walk_length == 0 || walk_length >= options.path) {
		walk_path[item.parent] = '\0';
		report_entry(walk_path + 1, item.parent - 1);
		fail_limit("path");
	}
	return true;
}

/* Paths that are left out, with all that is below them: NUL-terminated, on the input. */
static struct region excluded;

static void read_excluded(void)
{
	size_t n;
	const char *bytes;

	while ((bytes = stream_take(UINT64_MAX, &n)))
		memcpy(region_add(&excluded, n), bytes, n);
	*(char *)region_add(&excluded, 1) = '\0';
}

static bool is_excluded(const char *path)
{
	for (size_t at = 0; at + 1 < excluded.used; at += text_length(excluded.base + at) + 1)
		if (text_equal(excluded.base + at, path))
			return true;
	return false;
}

static bool is_excluded_in(const char *name)
{
	char path[PATH_SIZE];

	memcpy(path, walk_path, walk_length + 1);
	return path_add(path, walk_length, name, text_length(name)) && is_excluded(path);
}

/* A name of names_sorted(). */
static bool is_deleted(int directory, const char *name, bool by_attribute)
{
	struct statx stat;
	bool deleted;
	char type = name[-1];
	long fd;

	if (type == TYPE_CHARACTER || type == TYPE_UNKNOWN) {
		if (kind_of(directory, name, &stat) && is_whiteout(&stat))
			return true;
	}
	if (!by_attribute || (type != TYPE_REGULAR && type != TYPE_UNKNOWN))
		return false;
	fd = sys_openat(directory, name, O_RDONLY_ | O_NOFOLLOW_ | O_NONBLOCK_ | O_CLOEXEC_, 0);
	if (fd < 0)
		return false;
	deleted = sys_statx((int)fd, "", AT_EMPTY_PATH_, &stat) == 0 && stat.stx_size == 0 &&
		  sys4(__NR_fgetxattr, fd, OVERLAY "whiteout", &stat, 0) >= 0;
	sys_close((int)fd);
	return deleted;
}

static void visit_children(int directory)
{
	char opaque = overlay_flag(directory, OPAQUE);
	size_t n;
	const char **names = names_sorted(directory, false, &n);

	if (opaque == 'y')
		walker->opaque(directory);
	for (size_t i = 0; options.overlay && i < n; i++) {
		if (!is_deleted(directory, names[i], opaque == 'x'))
			continue;
		if (opaque != 'y' && !is_excluded_in(names[i]))
			walker->deleted(names[i]);
		names[i] = NULL;
	}
	while (n-- > 0)
		if (names[n])
			push(walk_length, names[n]);
}

static void visit_directory(int fd)
{
	walker->directory(fd);
	visit_children(fd);
}

static void visit_subdirectory(int directory, const char *name)
{
	long fd = sys_openat(directory, name, DIRECTORY_FLAGS | O_NOFOLLOW_, 0);

	if (fd == -E_NOENT || fd == -E_NOTDIR || fd == -E_LOOP) {
		warn("changed", fd);
		return;
	}
	if (fd < 0)
		fail("os", fd, "open");
	visit_directory((int)fd);
	sys_close((int)fd);
}

static void visit_name(size_t parent)
{
	int directory = directory_at(walk_path, parent);
	const char *name = base_of(walk_path);
	struct statx stat;
	uint32_t kind;

	if (is_excluded(walk_path))
		return;
	report_entry(walk_path + 1, walk_length - 1);
	if (counts.entries > options.entries)
		fail_limit("entries");
	kind = directory < 0 ? 0 : kind_of(directory, name, &stat);
	if (kind == 0)
		warn("changed", 0);
	else if (kind == S_DIRECTORY)
		visit_subdirectory(directory, name);
	else
		walker->other(directory, name, &stat);
}

void walk_tree(const struct walker *by)
{
	size_t parent;

	walker = by;
	tree_open(false);
	read_excluded();
	walk_path[0] = '/';
	walk_length = 1;
	visit_directory(root_fd);
	while (pop(&parent))
		visit_name(parent);
}
