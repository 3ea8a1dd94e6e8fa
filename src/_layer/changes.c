/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a layer changes of those below: for each change a letter (Added, Modified, Deleted), the path
 * and a NUL. A directory in which something changed is itself unchanged.
 */
#include "layer.h"

static void tell(char kind, const char *path, size_t length)
{
	output_bytes(&kind, 1);
	output_bytes(path, length + 1);
}

static bool looks_different(const struct statx *left, const struct statx *right)
{
	return left->stx_mode != right->stx_mode || left->stx_uid != right->stx_uid ||
	       left->stx_gid != right->stx_gid;
}

static bool is_below(const char *path, struct statx *stat)
{
	long fd = lower_open(path, stat);

	if (fd < 0)
		return false;
	sys_close((int)fd);
	return true;
}

static void changes_deleted(const char *name)
{
	char path[PATH_SIZE];
	struct statx before;
	size_t length;

	memcpy(path, walk_path, walk_length + 1);
	length = path_add(path, walk_length, name, text_length(name));
	if (length && is_below(path, &before))
		tell('D', path, length);
}

/* All that was in a directory and is not any more. */
static void tell_lost(int fd)
{
	static struct region list, sorted;
	const char **names;
	struct statx stat;
	size_t n = 0;

	region_empty(&list);
	region_empty(&sorted);
	lower_names(walk_path, &list);
	for (size_t at = 0; at < list.used; at += text_length(list.base + at) + 1, n++) {
		const char *name = list.base + at;

		memcpy(region_add(&sorted, sizeof name), &name, sizeof name);
	}
	names = (const char **)(void *)sorted.base;
	text_sort(names, n);
	for (size_t i = 0; i < n; i++) {
		uint32_t kind = kind_of(fd, names[i], &stat);

		if ((i == 0 || !text_equal(names[i], names[i - 1])) &&
		    (kind == 0 || is_whiteout(&stat)))
			changes_deleted(names[i]);
	}
}

/* The path of the last directory that hides what is below: all that is in it does, too. */
static char hiding[PATH_SIZE];
static size_t hiding_length;

static bool is_hidden(void)
{
	return hiding_length && walk_length > hiding_length && walk_path[hiding_length] == '/' &&
	       bytes_equal(walk_path, hiding, hiding_length);
}

static void changes_directory(int fd)
{
	struct statx stat, before;
	long err = sys_statx(fd, "", AT_EMPTY_PATH_, &stat);

	if (err < 0)
		fail("os", err, "stat");
	if (!is_below(walk_path, &before))
		tell('A', walk_path, walk_length);
	else if (looks_different(&stat, &before))
		tell('M', walk_path, walk_length);
	if (is_hidden())
		tell_lost(fd);
}

static void changes_opaque(int fd)
{
	if (is_hidden())
		return;
	memcpy(hiding, walk_path, walk_length);
	hiding_length = walk_length;
	tell_lost(fd);
}

static void changes_other(int directory, const char *name, const struct statx *stat)
{
	struct statx before;

	(void)directory;
	(void)name;
	(void)stat;
	tell(is_below(walk_path, &before) ? 'M' : 'A', walk_path, walk_length);
}

void changes(void)
{
	static const struct walker teller = {
		.directory = changes_directory,
		.opaque = changes_opaque,
		.deleted = changes_deleted,
		.other = changes_other,
	};

	lowers_open();
	walk_tree(&teller);
	output_flush();
}
