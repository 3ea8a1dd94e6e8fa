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

/* A directory of a directory that is to go. */
static void empty_below(int top, int directory)
{
	static struct names names;
	const struct directory_entry *entry;

	names_of(&names, directory);
	while ((entry = names_next(&names))) {
		long err = sys3(__NR_unlinkat, directory, entry->name, 0);

		if (err == -E_ISDIR || err == -E_PERM)
			err = sys3(__NR_unlinkat, directory, entry->name, AT_REMOVEDIR_);
		if (err == -E_NOTEMPTY || err == -E_EXIST)
			err = make_room(top, directory, entry->name);
		if (err < 0 && err != -E_NOENT)
			fail("os", err, entry->name);
	}
}

static void remove_directory(int top, const char *name)
{
	long err = sys3(__NR_unlinkat, top, name, AT_REMOVEDIR_);

	while (err == -E_NOTEMPTY || err == -E_EXIST) {
		long fd = sys_openat(top, name, DIRECTORY_FLAGS | O_NOFOLLOW_, 0);

		if (fd < 0) {
			err = fd;
			break;
		}
		empty_below(top, (int)fd);
		sys_close((int)fd);
		err = sys3(__NR_unlinkat, top, name, AT_REMOVEDIR_);
	}
	if (err < 0 && err != -E_NOENT)
		fail("os", err, name);
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
			long err = sys3(__NR_unlinkat, fd, entry->name, 0);

			found = true;
			if (err == -E_ISDIR || err == -E_PERM)
				remove_directory(fd, entry->name);
			else if (err < 0 && err != -E_NOENT)
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
