/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names below /tree. The way to a name is resolved by openat2(2) as if /tree were the root; the last
 * part is then used with calls that follow no link. Directories that were used lately stay open, so
 * that most entries need no look-up at all.
 */
#include "layer.h"

enum {
	RESOLVE_NO_MAGICLINKS_ = 0x02,
	RESOLVE_NO_SYMLINKS_ = 0x04,
	RESOLVE_IN_ROOT_ = 0x10,
	SLOTS = 64,
	TRIES = 1000,
};

struct slot {
	int fd;
	size_t length; /* 0: empty */
	char path[PATH_SIZE];
};

int root_fd;
static struct slot slots[SLOTS];
static uint64_t resolve;
static bool without_openat2; /* as Linux before 5.6 is: links are resolved by a change of root */

static void check_tree(void)
{
	struct statx stat;

	if (sys_statx(root_fd, "", AT_EMPTY_PATH_, &stat) < 0 || stat.stx_ino != options.inode ||
	    ((uint64_t)stat.stx_dev_major << 32 | stat.stx_dev_minor) != options.device)
		fail("replaced", 0, NULL);
}

void tree_open(bool symlinks)
{
	long fd = options.handed ? sys_openat(TREE_FD, ".", DIRECTORY_FLAGS, 0)
				 : sys_openat(AT_FDCWD_, "/tree", DIRECTORY_FLAGS | O_NOFOLLOW_, 0);

	if (fd < 0)
		fail("os", fd, "tree");
	root_fd = (int)fd;
	if (!options.index)
		check_tree();
	resolve = RESOLVE_IN_ROOT_ | RESOLVE_NO_MAGICLINKS_;
	if (!symlinks)
		resolve |= RESOLVE_NO_SYMLINKS_;
	fd = tree_at("/", O_PATH_);
	if (fd >= 0)
		sys_close((int)fd);
	without_openat2 = fd == -E_NOSYS;
	/* There are no magic links here: no procfs is mounted. */
	if (without_openat2 && symlinks && (fd = sys1(__NR_chroot, "/tree")) < 0)
		fail("os", fd, "chroot");
}

/* Without links on the way where openat2 is missing. */
static long walk(const char *path, int flags)
{
	char part[NAME_SIZE];
	long fd = root_fd, next;

	for (path++;; path++) {
		size_t length = 0;

		while (path[length] && path[length] != '/')
			length++;
		if (length >= sizeof part)
			return -E_NAMETOOLONG;
		memcpy(part, path, length);
		part[length] = '\0';
		path += length;
		next = sys_openat((int)fd, length ? part : ".",
				  *path ? O_PATH_ | O_DIRECTORY_ | O_NOFOLLOW_ | O_CLOEXEC_
					: flags | O_NOFOLLOW_ | O_CLOEXEC_,
				  0);
		if (fd != root_fd)
			sys_close((int)fd);
		if (next < 0 || !*path)
			return next;
		fd = next;
	}
}

long tree_at(const char *path, int flags)
{
	if (!without_openat2) {
		long fd = -E_AGAIN;

		/* So it is where ".." of a link meets a rename or a mount anywhere on the machine.
		 */
		for (int i = 0; i < TRIES && fd == -E_AGAIN; i++)
			fd = sys_openat2(root_fd, path, (uint64_t)(flags | O_CLOEXEC_), resolve);
		return fd;
	}
	if (resolve & RESOLVE_NO_SYMLINKS_)
		return walk(path, flags);
	return sys_openat(AT_FDCWD_, path, flags | O_CLOEXEC_, 0);
}

static struct slot *slot_of(const char *path, size_t length)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)path[i]) * 16777619u;
	return &slots[(hash ^ hash >> 16) % SLOTS];
}

int directory_at(const char *path, size_t length)
{
	struct slot *slot;
	long fd;

	if (length == 1)
		return root_fd;
	slot = slot_of(path, length);
	if (slot->length == length && bytes_equal(slot->path, path, length))
		return slot->fd;
	if (slot->length)
		sys_close(slot->fd);
	memcpy(slot->path, path, length);
	slot->path[length] = '\0';
	slot->length = 0;
	fd = tree_at(slot->path, DIRECTORY_FLAGS);
	if (fd < 0)
		return (int)fd;
	slot->length = length;
	slot->fd = (int)fd;
	return slot->fd;
}

/* After a directory or a link was removed: the same path may be another directory now. */
void directories_forget(void)
{
	for (struct slot *slot = slots; slot < slots + SLOTS; slot++) {
		if (slot->length)
			sys_close(slot->fd);
		slot->length = 0;
	}
}

bool is_whiteout(const struct statx *stat)
{
	return (stat->stx_mode & S_TYPE) == S_CHARACTER && stat->stx_rdev_major == 0 &&
	       stat->stx_rdev_minor == 0;
}

uint32_t kind_of(int directory, const char *name, struct statx *stat)
{
	long err = sys_statx(directory, name, AT_SYMLINK_NOFOLLOW_, stat);

	if (err == -E_NOENT)
		return 0;
	if (err < 0)
		fail("os", err, NULL);
	return stat->stx_mode & S_TYPE;
}

void names_of(struct names *names, int directory)
{
	long err = sys3(__NR_lseek, directory, 0, 0 /* SEEK_SET */);

	if (err < 0)
		fail("os", err, "directory");
	names->fd = directory;
	names->at = names->size = 0;
}

const struct directory_entry *names_next(struct names *names)
{
	for (;;) {
		const struct directory_entry *entry;

		if (names->at == names->size) {
			long n = sys3(__NR_getdents64, names->fd, names->buffer,
				      sizeof names->buffer);

			if (n == -E_NOENT) /* it was removed meanwhile */
				n = 0;
			if (n < 0)
				fail("os", n, "directory");
			if (n == 0)
				return NULL;
			names->at = 0;
			names->size = (size_t)n;
		}
		entry = (const void *)(names->buffer + names->at);
		names->at += entry->size;
		if (!text_equal(entry->name, ".") && !text_equal(entry->name, ".."))
			return entry;
	}
}

static void name_add(struct region *found, uint8_t type, const char *name)
{
	size_t size = text_length(name) + 1;
	char *to = region_add(found, size + 1);

	to[0] = (char)type;
	memcpy(to + 1, name, size);
}

const char **names_sorted(int directory, bool dots, size_t *ret_n)
{
	static struct names names;
	static struct region found, sorted;
	const struct directory_entry *entry;
	const char *at;
	size_t n = dots ? 2 : 0;

	region_empty(&found);
	region_empty(&sorted);
	if (dots) {
		name_add(&found, TYPE_DIRECTORY, ".");
		name_add(&found, TYPE_DIRECTORY, "..");
	}
	names_of(&names, directory);
	for (; (entry = names_next(&names)); n++)
		name_add(&found, entry->type, entry->name);
	at = found.base + 1;
	for (size_t i = 0; i < n; i++, at += text_length(at) + 2)
		memcpy(region_add(&sorted, sizeof at), &at, sizeof at);
	text_sort((const char **)(void *)sorted.base, n);
	*ret_n = n;
	return (const char **)(void *)sorted.base;
}
