/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layers below, read as overlayfs would merge them. Names are taken literally: a link on the way
 * hides what other layers have there, as a file does.
 */
#include "layer.h"

enum { FICLONE_ = 0x40049409, COPY_SIZE = 1 << 16 };

static int lowers[LOWERS_MAX];

void lowers_open(void)
{
	char name[16];

	if (options.lowers > LOWERS_MAX)
		fail_limit("lowers");
	for (uint64_t i = 0; i < options.lowers; i++) {
		char *at = text_append(name, name + sizeof name, "/lower/");
		long fd;

		(void)number_append(at, name + sizeof name, i);
		fd = sys_openat(AT_FDCWD_, name, DIRECTORY_FLAGS, 0);
		if (fd < 0)
			fail("os", fd, "lower");
		lowers[i] = (int)fd;
	}
}

/* Flags with which the file can be read, once its kind is known. */
static long open_last(int directory, const char *name, struct statx *stat)
{
	uint32_t kind = kind_of(directory, name, stat);

	if (kind == 0 || is_whiteout(stat))
		return -E_NOENT;
	if (kind == S_REGULAR || kind == S_DIRECTORY)
		return sys_openat(directory, name,
				  O_RDONLY_ | O_NOFOLLOW_ | O_NONBLOCK_ | O_CLOEXEC_, 0);
	return sys_openat(directory, name, O_PATH_ | O_NOFOLLOW_ | O_CLOEXEC_, 0);
}

/* Whether what was found, a negative errno or a descriptor, hides what is below. */
static bool hides(long fd, const struct statx *stat)
{
	if (fd >= 0 && (stat->stx_mode & S_TYPE) == S_DIRECTORY)
		return is_opaque((int)fd);
	return fd != -E_NOENT || stat->stx_mode;
}

/* *ret_hidden: layers below this one do not matter, found or not. */
static long look_in(int layer, const char *path, struct statx *stat, bool *ret_hidden)
{
	char part[NAME_SIZE];
	int fd = layer;
	long next;

	for (path++;;) {
		size_t length = 0;

		while (path[length] && path[length] != '/')
			length++;
		if (length >= sizeof part)
			return -E_NOENT;
		memcpy(part, length ? path : ".", length ? length : 1);
		part[length ? length : 1] = '\0';
		path += length;
		*ret_hidden = *ret_hidden || is_opaque(fd);
		if (!*path) {
			next = open_last(fd, part, stat);
			*ret_hidden = *ret_hidden || hides(next, stat);
		} else {
			next = sys_openat(fd, part, DIRECTORY_FLAGS | O_NOFOLLOW_, 0);
			/* Something else than a directory, such as a whiteout. */
			if (next < 0 && next != -E_NOENT)
				*ret_hidden = true;
		}
		if (fd != layer)
			sys_close(fd);
		if (next < 0 || !*path)
			return next;
		fd = (int)next;
		path++;
	}
}

long lower_open(const char *path, struct statx *stat)
{
	bool hidden = false;
	long fd = -E_NOENT;

	for (uint64_t i = 0; i < options.lowers && fd < 0 && !hidden; i++) {
		*stat = (struct statx){ 0 };
		fd = look_in(lowers[i], path, stat, &hidden);
	}
	return fd;
}

static void add_names(struct region *list, int directory)
{
	static struct names names;
	const struct directory_entry *entry;

	names_of(&names, directory);
	while ((entry = names_next(&names))) {
		size_t size = text_length(entry->name) + 1;

		memcpy(region_add(list, size), entry->name, size);
	}
}

/* The names that the directory has in any layer, also those that others delete; some twice. */
void lower_names(const char *path, struct region *list)
{
	bool hidden = false;

	for (uint64_t i = 0; i < options.lowers && !hidden; i++) {
		struct statx stat = { 0 };
		long fd = look_in(lowers[i], path, &stat, &hidden);

		if (fd < 0)
			continue;
		if ((stat.stx_mode & S_TYPE) == S_DIRECTORY)
			add_names(list, (int)fd);
		sys_close((int)fd);
	}
}

static void copy_data(int from, int to)
{
	static char buffer[COPY_SIZE];
	long n;

	if (sys3(__NR_ioctl, to, FICLONE_, from) == 0)
		return;
	while ((n = sys_read(from, buffer, sizeof buffer)) > 0)
		for (long done = 0, m; done < n; done += m)
			if ((m = sys_write(to, buffer + done, (size_t)(n - done))) <= 0)
				fail("os", m, "write");
	if (n < 0)
		fail("os", n, "read");
}

static void copy_regular(int from, int directory, const char *name,
			 const struct attributes *attributes)
{
	long to = sys_openat(directory, name,
			     O_WRONLY_ | O_CREAT_ | O_EXCL_ | O_NOFOLLOW_ | O_CLOEXEC_, 0600);

	if (to < 0)
		fail("os", to, "open");
	copy_data(from, (int)to);
	attributes_set((int)to, attributes, from);
	times_set((int)to, attributes);
	sys_close((int)to);
}

static void copy_special(int from, int directory, const char *name, const struct statx *stat)
{
	static char link[PATH_SIZE];
	long err;

	if ((stat->stx_mode & S_TYPE) == S_LINK) {
		err = sys4(__NR_readlinkat, from, "", link, sizeof link - 1);
		if (err >= 0) {
			link[err] = '\0';
			err = sys3(__NR_symlinkat, link, directory, name);
		}
	} else {
		err = sys4(__NR_mknodat, directory, name, stat->stx_mode, 0);
	}
	if (err < 0)
		fail("os", err, "copy");
}

/* The file becomes one of this layer, under its own name: what a hard link then shares. */
bool lower_copy(const char *path, size_t length)
{
	struct statx stat;
	struct attributes attributes;
	int directory;
	long fd = lower_open(path, &stat);
	bool regular;

	if (fd < 0)
		return false;
	regular = (stat.stx_mode & S_TYPE) == S_REGULAR;
	if ((stat.stx_mode & S_TYPE) == S_DIRECTORY)
		fail("hardlink-directory", 0, path);
	if (options.index)
		fail("unindexable", 0, "hard link to a lower layer");
	if (regular && stat.stx_size > options.bytes - counts.bytes)
		fail_limit("bytes");
	attributes_of_file(&stat, &attributes);
	directory = place_parent(path);
	if (regular) {
		counts.bytes += stat.stx_size;
		copy_regular((int)fd, directory, base_of(path), &attributes);
	} else {
		copy_special((int)fd, directory, base_of(path), &stat);
		attributes_at(directory, base_of(path), &attributes);
	}
	sys_close((int)fd);
	count_entry();
	report_name("copied", path, length);
	return true;
}
