/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of a directory of the image in a new file system. What is copied may be hostile: it is
 * opened by descriptor and without following links, its depth is bounded, devices are left out.
 */
#include "init_ops.h"

enum {
	FILE_TYPE = 0170000,
	DIRECTORY = 0040000,
	REGULAR = 0100000,
	SYMLINK = 0120000,
	DEPTH_MAX = 64,
	CHUNK = 1 << 20,
};

struct entry {
	uint64_t inode;
	int64_t offset;
	unsigned short length;
	unsigned char type;
	char name[];
};

static long copy_directory(int from, int to, unsigned depth);

static long copy_link(int from, int to, const char *name)
{
	char text[PATH_SIZE];
	long n = sys4(__NR_readlinkat, from, name, text, sizeof text - 1);

	if (n < 0)
		return n;
	text[n] = '\0';
	return sys3(__NR_symlinkat, text, to, name);
}

static long copy_bytes(int from, int to)
{
	long n;

	do
		n = sys4(__NR_sendfile, to, from, NULL, CHUNK);
	while (n > 0);
	return n;
}

static long copy_file(int from, int to, const char *name)
{
	long source = sys_openat(from, name, O_RDONLY_ | O_NOFOLLOW_ | O_NONBLOCK_ | O_CLOEXEC_, 0);
	long target =
		source < 0 ? source
			   : sys_openat(to, name,
					O_WRONLY_ | O_CREAT_ | O_EXCL_ | O_NOFOLLOW_ | O_CLOEXEC_,
					0600);
	long err = target < 0 ? target : copy_bytes((int)source, (int)target);

	if (source >= 0)
		sys_close((int)source);
	if (target >= 0)
		sys_close((int)target);
	return err;
}

static long copy_subdirectory(int from, int to, const char *name, unsigned depth)
{
	const int flags = O_RDONLY_ | O_DIRECTORY_ | O_NOFOLLOW_ | O_CLOEXEC_;
	long err = sys3(__NR_mkdirat, to, name, 0700);
	long source = err ? err : sys_openat(from, name, flags, 0);
	long target = source < 0 ? source : sys_openat(to, name, flags, 0);

	if (target >= 0) {
		err = copy_directory((int)source, (int)target, depth + 1);
		sys_close((int)target);
	}
	if (source >= 0)
		sys_close((int)source);
	return target < 0 ? target : err;
}

/* The owner first: a change of it clears set-id bits. */
static long copy_owner(int to, const char *name, const struct statx *stat)
{
	long err =
		sys5(__NR_fchownat, to, name, stat->stx_uid, stat->stx_gid, AT_SYMLINK_NOFOLLOW_);

	if (err || (stat->stx_mode & FILE_TYPE) == SYMLINK)
		return err;
	return sys3(__NR_fchmodat, to, name, stat->stx_mode & 07777);
}

static long copy_entry(int from, int to, const char *name, unsigned depth)
{
	struct statx stat;
	long err = sys_statx(from, name, AT_SYMLINK_NOFOLLOW_, &stat);

	if (err < 0)
		return err;
	switch (stat.stx_mode & FILE_TYPE) {
	case DIRECTORY:
		err = copy_subdirectory(from, to, name, depth);
		break;
	case REGULAR:
		err = copy_file(from, to, name);
		break;
	case SYMLINK:
		err = copy_link(from, to, name);
		break;
	default:
		return 0;
	}
	return err < 0 ? err : copy_owner(to, name, &stat);
}

static bool is_dot(const char *name)
{
	return text_equal(name, ".") || text_equal(name, "..");
}

static long copy_directory(int from, int to, unsigned depth)
{
	char buffer[2048] __attribute__((aligned(16)));
	long n, err = depth > DEPTH_MAX ? -E_LOOP : 0;

	while (!err && (n = sys3(__NR_getdents64, from, buffer, sizeof buffer)) != 0) {
		err = n < 0 ? n : 0;
		for (long at = 0; !err && at < n;) {
			const struct entry *entry = (const void *)(buffer + at);

			at += entry->length;
			if (!is_dot(entry->name))
				err = copy_entry(from, to, entry->name, depth);
		}
	}
	return err;
}

/* Both are of directories, also with O_PATH. */
long copy_tree(int from, int to)
{
	const int flags = O_RDONLY_ | O_DIRECTORY_ | O_CLOEXEC_;
	long source = sys_openat(from, ".", flags, 0);
	long target = source < 0 ? source : sys_openat(to, ".", flags, 0);
	long err = target < 0 ? target : copy_directory((int)source, (int)target, 0);

	if (source >= 0)
		sys_close((int)source);
	if (target >= 0)
		sys_close((int)target);
	return err;
}
