/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing trees of any depth with two descriptors and no stack: the directories in a directory that
 * is to go move up beside it, until it has none. Nothing is ever looked up by more than one name, so
 * nothing outside is reached, whoever moves what meanwhile.
 */
#include "layer.h"

static long make_room(int top, int directory, const char *name)
{
	static uint64_t number;
	char other[32];
	long err;

	do {
		char *at = text_append(other, other + sizeof other, ".removed-");

		(void)number_append(at, other + sizeof other, number++);
		err = sys5(__NR_renameat2, directory, name, top, other, RENAME_NOREPLACE_);
	} while (err == -E_EXIST);
	return err;
}

/* A name in a directory; NOTEMPTY: it is a directory with something in it. What another process has
 * made something else of meanwhile is left for the next round. */
static long remove_name(int directory, const char *name)
{
	long err = sys3(__NR_unlinkat, directory, name, 0), other;

	/* Linux says EISDIR, POSIX EPERM, which also is what an immutable file gives. */
	if (err != -E_ISDIR && err != -E_PERM)
		return err == -E_NOENT ? 0 : err;
	other = sys3(__NR_unlinkat, directory, name, AT_REMOVEDIR_);
	if (other == -E_NOTDIR)
		return err == -E_PERM ? err : 0;
	return other == -E_EXIST ? -E_NOTEMPTY : other == -E_NOENT ? 0 : other;
}

/* A directory of a directory that is to go. */
static void empty_below(int top, int directory)
{
	static struct names names;
	const struct directory_entry *entry;

	names_of(&names, directory);
	while ((entry = names_next(&names))) {
		long err = remove_name(directory, entry->name);

		if (err == -E_NOTEMPTY)
			err = make_room(top, directory, entry->name);
		if (err < 0 && err != -E_NOENT)
			fail("os", err, entry->name);
	}
}

static void empty_directory(int top, const char *name)
{
	long fd = sys_openat(top, name, DIRECTORY_FLAGS | O_NOFOLLOW_, 0);

	if (fd == -E_NOENT || fd == -E_NOTDIR || fd == -E_LOOP)
		return;
	if (fd < 0)
		fail("os", fd, name);
	empty_below(top, (int)fd);
	sys_close((int)fd);
}

void directory_empty(int fd)
{
	static struct names names;
	bool found = true;

	while (found) {
		const struct directory_entry *entry;

		found = false;
		names_of(&names, fd);
		while ((entry = names_next(&names))) {
			long err = remove_name(fd, entry->name);

			found = true;
			if (err == -E_NOTEMPTY) {
				empty_directory(fd, entry->name);
				err = remove_name(fd, entry->name);
			}
			if (err < 0 && err != -E_NOTEMPTY)
				fail("os", err, entry->name);
		}
	}
}

void remove_at(int directory, const char *name, uint32_t kind)
{
	long err, fd;

	if (kind != S_DIRECTORY) {
		err = sys3(__NR_unlinkat, directory, name, 0);
		if (err < 0)
			fail("os", err, "unlink");
		if (kind == S_LINK)
			directories_forget();
		return;
	}
	err = sys3(__NR_unlinkat, directory, name, AT_REMOVEDIR_);
	if (err == -E_NOTEMPTY || err == -E_EXIST) {
		fd = sys_openat(directory, name, DIRECTORY_FLAGS | O_NOFOLLOW_, 0);
		if (fd < 0)
			fail("os", fd, "open");
		directory_empty((int)fd);
		sys_close((int)fd);
		err = sys3(__NR_unlinkat, directory, name, AT_REMOVEDIR_);
	}
	if (err < 0)
		fail("os", err, "rmdir");
	directories_forget();
}
