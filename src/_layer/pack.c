/* SPDX-License-Identifier: Apache-2.0 */
/* A directory becomes a layer's archive. */
#include "layer.h"

enum { FIRST_SLOTS = 1024 };

/* The first name of each file that has several. */
struct first {
	uint64_t device, inode;
	size_t name; /* in first_names; 0: the place is free */
};
static struct region first_names, firsts;
static size_t n_firsts, n_slots;

static struct first *first_place(uint64_t device, uint64_t inode)
{
	struct first *table = (void *)firsts.base;
	size_t at = (size_t)((inode ^ device << 32) * 0x9e3779b97f4a7c15ull >> 20) % n_slots;

	while (table[at].name && (table[at].device != device || table[at].inode != inode))
		at = (at + 1) % n_slots;
	return &table[at];
}

/* Twice the slots; the old ones are found at the end of the new. */
static void firsts_grow(void)
{
	struct region old = firsts;
	size_t n_old = n_slots;

	firsts = (struct region){ 0 };
	n_slots = n_old ? 2 * n_old : FIRST_SLOTS;
	memset(region_add(&firsts, n_slots * sizeof(struct first)), 0,
	       n_slots * sizeof(struct first));
	for (size_t i = 0; i < n_old; i++) {
		const struct first *item = (const struct first *)(void *)old.base + i;

		if (item->name)
			*first_place(item->device, item->inode) = *item;
	}
	region_free(&old);
}

/* NULL: this is the first name. */
static const char *earlier_name(const struct statx *stat)
{
	uint64_t device = (uint64_t)stat->stx_dev_major << 32 | stat->stx_dev_minor;
	struct first *first;

	if (stat->stx_nlink < 2)
		return NULL;
	if (2 * (n_firsts + 1) > n_slots)
		firsts_grow();
	first = first_place(device, stat->stx_ino);
	if (first->name)
		return first_names.base + first->name;
	if (first_names.used == 0)
		(void)region_add(&first_names, 1);
	first->device = device;
	first->inode = stat->stx_ino;
	first->name = first_names.used;
	memcpy(region_add(&first_names, walk_length), walk_path + 1, walk_length);
	n_firsts++;
	return NULL;
}

static void header_of(const struct statx *stat, char type, struct header *ret)
{
	int64_t mtime = stat->stx_mtime.tv_sec;

	if (mtime > 0 && (uint64_t)mtime > options.clamp)
		mtime = (int64_t)options.clamp;
	*ret = (struct header){
		.name = walk_path + 1,
		.type = type,
		.mode = stat->stx_mode & 07777,
		.uid = stat->stx_uid,
		.gid = stat->stx_gid,
		.mtime = mtime,
	};
}

static void count_bytes(uint64_t size)
{
	if (size > options.bytes - counts.bytes)
		fail_limit("bytes");
	counts.bytes += size;
}

/* A file that shrinks meanwhile is filled up: its size has been written. */
static void pack_data(int fd, uint64_t size)
{
	for (uint64_t left = size; left;) {
		size_t room;
		char *to = output_room(&room);
		long n = sys_read(fd, to, left < room ? (size_t)left : room);

		if (n < 0)
			fail("os", n, "read");
		if (n == 0) {
			warn("changed", 0);
			output_bytes(NULL, left);
			break;
		}
		output_done((size_t)n);
		left -= (uint64_t)n;
	}
	output_padding(size);
}

static void check_name(const char *name)
{
	if (starts_with(name, WHITEOUT))
		fail("reserved-name", 0, NULL);
}

static bool pack_link(const struct statx *stat)
{
	struct header header;
	const char *first = earlier_name(stat);

	if (!first)
		return false;
	header_of(stat, '1', &header);
	header.link = first;
	counts.hardlinks++;
	output_header(&header);
	return true;
}

static void pack_file(int directory, const char *name)
{
	struct statx stat;
	struct header header;
	long fd =
		sys_openat(directory, name, O_RDONLY_ | O_NOFOLLOW_ | O_NONBLOCK_ | O_CLOEXEC_, 0);

	if (fd < 0 || sys_statx((int)fd, "", AT_EMPTY_PATH_, &stat) < 0 ||
	    (stat.stx_mode & S_TYPE) != S_REGULAR) {
		if (fd < 0 && fd != -E_NOENT && fd != -E_LOOP)
			fail("os", fd, "open");
		warn("changed", 0);
	} else if (overlay_flag((int)fd, OVERLAY "metacopy")) {
		fail("redirected", 0, "metacopy");
	} else if (!pack_link(&stat)) {
		counts.files++;
		count_bytes(stat.stx_size);
		header_of(&stat, '0', &header);
		header.size = stat.stx_size;
		pack_xattrs((int)fd);
		output_header(&header);
		pack_data((int)fd, stat.stx_size);
	}
	if (fd >= 0)
		sys_close((int)fd);
}

static void pack_symbolic_link(int directory, const char *name, const struct statx *stat)
{
	static char text[PATH_SIZE];
	struct header header;
	long n = sys4(__NR_readlinkat, directory, name, text, sizeof text - 1);

	if (n < 0) {
		warn("changed", n);
		return;
	}
	text[n] = '\0';
	if (pack_link(stat))
		return;
	counts.symlinks++;
	header_of(stat, '2', &header);
	header.mode = 0777;
	header.link = text;
	output_header(&header);
}

static void pack_special(const struct statx *stat, uint32_t kind)
{
	struct header header;

	if (pack_link(stat))
		return;
	switch (kind) {
	case S_FIFO:
		counts.fifos++;
		header_of(stat, '6', &header);
		break;
	case S_CHARACTER:
		header_of(stat, '3', &header);
		break;
	default:
		header_of(stat, '4', &header);
	}
	if (kind != S_FIFO) {
		counts.devices++;
		header.major = stat->stx_rdev_major;
		header.minor = stat->stx_rdev_minor;
	}
	output_header(&header);
}

/* An entry for a name in the directory that is packed now. */
static void pack_marker(const char *marker, const char *name)
{
	struct header header = { .name = walk_path + 1, .type = '0' };
	size_t length = path_add(walk_path, walk_length, marker, text_length(marker));
	size_t name_length = text_length(name);

	if (length == 0 || length + name_length >= options.path)
		fail_limit("path");
	memcpy(walk_path + length, name, name_length + 1);
	report_entry(walk_path + 1, length + name_length - 1);
	output_header(&header);
	walk_path[walk_length] = '\0';
}

static void pack_directory(int fd)
{
	struct statx stat;
	struct header header;
	char last = walk_path[walk_length];
	long err = sys_statx(fd, "", AT_EMPTY_PATH_, &stat);

	if (err < 0)
		fail("os", err, "stat");
	if (overlay_flag(fd, OVERLAY "redirect"))
		fail("redirected", 0, "redirect");
	if (walk_length == 1 && !options.root)
		return;
	counts.directories++;
	header_of(&stat, '5', &header);
	pack_xattrs(fd);
	if (walk_length == 1) {
		header.name = "./";
		counts.root = 1;
		report_entry(header.name, 2);
	} else {
		check_name(base_of(walk_path));
		walk_path[walk_length] = '/';
		walk_path[walk_length + 1] = '\0';
	}
	output_header(&header);
	walk_path[walk_length] = last;
}

static void pack_opaque(int fd)
{
	(void)fd;
	counts.opaque++;
	pack_marker(OPAQUE_MARKER, "");
}

static void pack_deleted(const char *name)
{
	check_name(name);
	counts.whiteouts++;
	pack_marker(WHITEOUT, name);
}

static void pack_other(int directory, const char *name, const struct statx *stat)
{
	uint32_t kind = stat->stx_mode & S_TYPE;

	check_name(name);
	if (kind == S_REGULAR)
		pack_file(directory, name);
	else if (kind == S_LINK)
		pack_symbolic_link(directory, name, stat);
	else if (kind == S_SOCKET)
		warn("socket", 0);
	else
		pack_special(stat, kind);
}

void pack(void)
{
	static const struct walker packer = {
		.directory = pack_directory,
		.opaque = pack_opaque,
		.deleted = pack_deleted,
		.other = pack_other,
	};

	walk_tree(&packer);
	report_part("", 0);
	output_end();
}
