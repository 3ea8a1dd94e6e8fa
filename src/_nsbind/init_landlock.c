/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock, the second layer over mounts and ids (Documentation/userspace-api/landlock.rst): a
 * command opens what lies below the sandbox's root, and nothing else, whatever descriptor or magic
 * link leads there. Each command has a domain of its own, so PID 1 is not bound by it.
 */
#include "init.h"

enum {
	ACCESS_MODE = 3, /* O_ACCMODE */
	TYPE_MASK = 0170000,
	TYPE_DIRECTORY = 0040000,
	/* what can be done with a file that is no directory, by its access mode */
	READING = 1u << 0 | 1u << 2,  /* LANDLOCK_ACCESS_FS_EXECUTE, READ_FILE */
	WRITING = 1u << 1 | 1u << 14, /* WRITE_FILE, TRUNCATE */
	DEVICE_IOCTL = 1u << 15,      /* IOCTL_DEV */
	PATH_BENEATH = 1,             /* LANDLOCK_RULE_PATH_BENEATH */
};

/* The kernel takes what it does not know if it is 0 (ABI 1 has the first field alone). */
struct ruleset_attr {
	uint64_t handled_fs, handled_net, scoped;
};

struct path_beneath_attr {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));

static long allow(int ruleset_fd, int parent_fd, uint64_t rights)
{
	struct path_beneath_attr rule = { rights, parent_fd };

	return sys4(__NR_landlock_add_rule, ruleset_fd, PATH_BENEATH, &rule, 0);
}

static long allow_path(int ruleset_fd, const char *path, uint64_t rights)
{
	long fd = open_in_root(AT_FDCWD_, path, O_PATH_ | O_CLOEXEC_, 0, false);
	long err = fd < 0 ? fd : allow(ruleset_fd, (int)fd, rights);

	if (fd == -E_NOENT) /* what is not there needs no rule */
		return 0;

	if (fd >= 0)
		sys_close((int)fd);
	return err;
}

/* What the caller handed in may be opened again through /dev/stdin and the like, with the access
 * that it was handed in with. */
static long allow_descriptor(const struct landlock_policy *policy, int ruleset_fd, int fd)
{
	struct statx stat;
	uint64_t rights = DEVICE_IOCTL;
	long flags = sys3(__NR_fcntl, fd, 3 /* F_GETFL */, 0);
	long err = flags < 0 ? flags : sys_statx(fd, "", AT_EMPTY_PATH_, &stat);

	if (err < 0)
		return err;
	if ((flags & ACCESS_MODE) != O_WRONLY_)
		rights |= READING;
	if (flags & ACCESS_MODE)
		rights |= WRITING;
	if ((stat.stx_mode & TYPE_MASK) == TYPE_DIRECTORY)
		rights = policy->below_root;
	err = allow(ruleset_fd, fd, rights & policy->handled);
	return err == -E_BADFD ? 0 : err; /* a pipe or socket, which has no path */
}

long landlock_ruleset(const struct landlock_policy *policy, const int *fds, uint32_t n_fds)
{
	struct ruleset_attr attr = { policy->handled, policy->net, policy->scoped };
	long ruleset = sys3(__NR_landlock_create_ruleset, &attr, sizeof attr, 0);
	const char *path = policy->paths;
	long err = ruleset < 0 ? ruleset : allow_path((int)ruleset, "/", policy->below_root);

	for (uint32_t i = 0; i < policy->n_paths && err >= 0; i++) {
		err = allow_path((int)ruleset, path, policy->below_paths);
		path += text_length(path) + 1;
	}
	for (uint32_t i = 0; i < n_fds && err >= 0; i++)
		err = allow_descriptor(policy, (int)ruleset, fds[i]);
	if (err < 0 && ruleset >= 0)
		sys_close((int)ruleset);
	return err < 0 ? err : ruleset;
}
