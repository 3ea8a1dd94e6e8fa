/* SPDX-License-Identifier: Apache-2.0 */
/* A layer's archive becomes a directory for overlayfs (image-spec, layer.md). */
#include "layer.h"

static void write_at(int fd, struct entry *entry, uint64_t offset, uint64_t size)
{
	struct entry part = *entry;

	part.data = size;
	while (size) {
		size_t n;
		const char *bytes = tar_data(&part, &n);

		size -= n;
		entry->data -= n;
		for (long m; n; n -= (size_t)m, bytes += m, offset += (uint64_t)m) {
			m = entry->sparse ? sys4(__NR_pwrite64, fd, bytes, n, offset)
					  : sys_write(fd, bytes, n);
			if (m <= 0)
				fail("os", m, "write");
		}
	}
}

static void write_data(int fd, struct entry *entry)
{
	long err;

	if (!entry->sparse) {
		write_at(fd, entry, 0, entry->data);
		return;
	}
	for (size_t i = 0; i < entry->n_extents; i++)
		write_at(fd, entry, entry->extents[i].offset, entry->extents[i].size);
	err = sys2(__NR_ftruncate, fd, entry->size);
	if (err < 0)
		fail("os", err, "truncate");
}

/* Its length, and in place of the time of access where its data is in the archive, and whether it has
 * extended attributes. */
static void note_data(int fd, const struct entry *entry, struct attributes *attributes)
{
	struct pax_xattr xattr;
	size_t at = 0;
	long err;

	if (entry->sparse)
		fail("unindexable", 0, "sparse file");
	err = entry->size ? sys2(__NR_ftruncate, fd, entry->size) : 0;
	if (err < 0)
		fail("os", err, "truncate");
	attributes->atime = (int64_t)stream_position();
	attributes->atime_ns = pax_xattr(&at, &xattr);
}

static void make_file(struct entry *entry, const char *path, struct attributes *attributes)
{
	int directory = place_parent(path);
	long fd = -E_EXIST;

	counts.files++;
	if (entry->size > options.bytes - counts.bytes)
		fail_limit("bytes");
	counts.bytes += entry->size;
	for (int tries = 0; fd == -E_EXIST && tries < 2; tries++) {
		if (tries) {
			(void)place_clear(directory, path, false);
			directory = place_parent(path); /* it was perhaps forgotten */
		}
		fd = sys_openat(directory, base_of(path),
				O_WRONLY_ | O_CREAT_ | O_EXCL_ | O_NOFOLLOW_ | O_CLOEXEC_, 0600);
	}
	if (fd < 0)
		fail("os", fd, "open");
	if (options.index)
		note_data((int)fd, entry, attributes);
	else
		write_data((int)fd, entry);
	attributes_set((int)fd, attributes, XATTRS_OF_ENTRY);
	times_set((int)fd, attributes);
	sys_close((int)fd);
}

static void make_directory_entry(const char *path, size_t length,
				 const struct attributes *attributes)
{
	int directory = place_parent(path);
	long fd, err = sys3(__NR_mkdirat, directory, base_of(path), 0700);
	enum room room = ROOM_FREE;

	counts.directories++;
	if (err == -E_EXIST) {
		room = place_clear(directory, path, true);
		directory = place_parent(path);
		err = room == ROOM_DIRECTORY ? 0
					     : sys3(__NR_mkdirat, directory, base_of(path), 0700);
	}
	fd = err < 0 ? err : sys_openat(directory, base_of(path), DIRECTORY_FLAGS | O_NOFOLLOW_, 0);
	if (fd < 0)
		fail("os", fd, "mkdir");
	if (room == ROOM_DIRECTORY) {
		if (options.strict && !place_implied(path))
			fail("duplicate", 0, NULL);
		xattrs_clear((int)fd);
	}
	if (room == ROOM_WAS_WHITEOUT)
		make_opaque((int)fd);
	attributes_set((int)fd, attributes, XATTRS_OF_ENTRY);
	sys_close((int)fd);
	times_later(path, length, attributes);
}

static void set_root(const struct attributes *attributes)
{
	counts.root = 1;
	counts.directories++;
	xattrs_clear(root_fd);
	attributes_set(root_fd, attributes, XATTRS_OF_ENTRY);
	times_later("/", 1, attributes);
}

/* A negative errno if the target is not there. */
static long link_from(int from, const char *target, const char *path)
{
	int to = place_parent(path);
	struct statx stat, own;
	uint32_t kind = kind_of(from, base_of(target), &stat);

	if (kind == 0)
		return -E_NOENT;
	if (is_whiteout(&stat))
		fail("hardlink-missing", 0, target);
	if (kind == S_DIRECTORY)
		fail("hardlink-directory", 0, target);
	if (kind_of(to, base_of(path), &own) && own.stx_ino == stat.stx_ino)
		return 0;
	(void)place_clear(to, path, false);
	return sys5(__NR_linkat, from, base_of(target), place_parent(path), base_of(path), 0);
}

static long link_to(const char *target, const char *path)
{
	char parent[PATH_SIZE];
	size_t length = parent_length(target);
	long err, from;

	memcpy(parent, target, length);
	parent[length] = '\0';
	from = tree_at(parent, O_PATH_ | O_DIRECTORY_);
	if (from < 0)
		return from;
	err = link_from((int)from, target, path);
	sys_close((int)from);
	return err;
}

static void make_hard_link(const struct entry *entry, const char *path)
{
	static char target[PATH_SIZE];
	size_t length;
	long err;

	counts.hardlinks++;
	(void)path_clean(entry->link, entry->link_size, target, &length);
	if (length == 1)
		fail("hardlink-directory", 0, target);
	if (text_equal(target, path))
		fail("hardlink-missing", 0, target);
	err = link_to(target, path);
	if (err == -E_NOENT && !below_opaque(target, parent_length(target)) &&
	    lower_copy(target, length))
		err = link_to(target, path);
	if (err == -E_NOENT || err == -E_NOTDIR || err == -E_LOOP)
		fail("hardlink-missing", 0, target);
	if (err < 0)
		fail("os", err, "link");
}

static void make_symbolic_link(const struct entry *entry, const char *path,
			       const struct attributes *attributes)
{
	static char text[PATH_SIZE];
	int directory = place_parent(path);
	long err;

	counts.symlinks++;
	if (entry->link_size >= sizeof text || entry->link_size >= options.path)
		fail_limit("path");
	if (entry->link_size == 0)
		fail("empty-link", 0, NULL);
	memcpy(text, entry->link, entry->link_size);
	text[entry->link_size] = '\0';
	if (text_length(text) != entry->link_size)
		fail("nul-in-name", 0, NULL);
	err = sys3(__NR_symlinkat, text, directory, base_of(path));
	if (err == -E_EXIST) {
		(void)place_clear(directory, path, false);
		directory = place_parent(path);
		err = sys3(__NR_symlinkat, text, directory, base_of(path));
	}
	if (err < 0)
		fail("os", err, "symlink");
	attributes_at(directory, base_of(path), attributes);
}

static void make_fifo(const char *path, const struct attributes *attributes)
{
	int directory = place_parent(path);
	long err;

	counts.fifos++;
	(void)place_clear(directory, path, false);
	directory = place_parent(path);
	err = sys4(__NR_mknodat, directory, base_of(path), S_FIFO | attributes->mode, 0);
	if (err < 0)
		fail("os", err, "mkfifo");
	attributes_at(directory, base_of(path), attributes);
	err = sys3(__NR_fchmodat, directory, base_of(path), attributes->mode);
	if (err < 0)
		fail("os", err, "chmod");
}

/* A device works in no user namespace, and 0:0 would hide a file of the layers below. */
static void skip_device(const struct entry *entry, const char *path)
{
	if (entry->major > UINT32_MAX || entry->minor > UINT32_MAX)
		fail("device-number", 0, NULL);
	if (entry->type == '3' && entry->major == 0 && entry->minor == 0)
		fail("whiteout-device", 0, NULL);
	counts.devices++;
	(void)place_clear(place_parent(path), path, false);
	warn("device", 0);
}

static void apply(struct entry *entry)
{
	static char path[PATH_SIZE];
	struct attributes attributes;
	size_t length;
	enum escape escape = path_clean(entry->name, entry->name_size, path, &length);

	attributes_of(entry, &attributes);
	place_of(&attributes);
	if (length == 1 && entry->type != '5')
		fail("root-type", 0, NULL);
	if (escape)
		fail("escape", 0, NULL);
	if (length == 1) {
		set_root(&attributes);
		return;
	}
	if (whiteout_entry(path))
		return;
	switch (entry->type) {
	case '0':
		make_file(entry, path, &attributes);
		break;
	case '1':
		make_hard_link(entry, path);
		break;
	case '2':
		make_symbolic_link(entry, path, &attributes);
		break;
	case '3':
	case '4':
		skip_device(entry, path);
		break;
	case '5':
		make_directory_entry(path, length, &attributes);
		break;
	default:
		make_fifo(path, &attributes);
	}
}

void extract(void)
{
	struct attributes root = { .mode = 0755 };
	struct entry entry;
	long err = 0;

	lowers_open(); /* before the root may change */
	tree_open(true);
	attributes_set(root_fd, &root, XATTRS_NONE);
	times_later("/", 1, &root);
	while (tar_next(&entry)) {
		apply(&entry);
		tar_skip(&entry);
	}
	report_part("", 0);
	whiteouts_drop_hidden();
	times_now();
	report_part("", 0);
	if (options.sync)
		err = sys1(__NR_syncfs, root_fd);
	if (err < 0)
		fail("os", err, "sync");
}
