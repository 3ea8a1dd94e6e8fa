/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file systems that we made and that have a limit of their own. tmpfs counts no refused write,
 * so what can be told of a command that failed is whether one of them is full at its end.
 */
#include "init.h"

enum { VOLUMES_MAX = 64 };

static struct volume {
	int fd;
	bool upper; /* a directory: the root's writable layer */
} volumes[VOLUMES_MAX];
static uint32_t n_volumes;

/* Keeps a descriptor of its own, in ascending order. */
static long add(int fd, bool upper)
{
	uint32_t i = n_volumes;
	long copy;

	if (n_volumes == VOLUMES_MAX)
		return -E_MFILE;
	copy = sys3(__NR_fcntl, fd, F_DUPFD_CLOEXEC_, NSB_CONTROL_FD + 1);
	if (copy < 0)
		return copy;
	for (; i && volumes[i - 1].fd > copy; i--)
		volumes[i] = volumes[i - 1];
	volumes[i] = (struct volume){ (int)copy, upper };
	n_volumes++;
	return 0;
}

/* If it cannot be kept, nothing is said of this volume. */
void volume_add(int fd)
{
	(void)add(fd, false);
}

long upper_add(int fd)
{
	return add(fd, true);
}

long upper_open(void)
{
	for (uint32_t i = 0; i < n_volumes; i++)
		if (volumes[i].upper)
			return sys_openat(volumes[i].fd, ".", O_RDONLY_ | O_DIRECTORY_ | O_CLOEXEC_,
					  0);
	return -E_OPNOTSUPP;
}

/* Moves the descriptors to the lowest numbers from `first` on and returns the next one, or a
 * negative errno. Ascending, each is at or above its new number, so none is overwritten before its
 * turn. */
long volumes_compact(int first)
{
	for (uint32_t i = 0; i < n_volumes; i++, first++) {
		long err = volumes[i].fd == first ? 0 : sys_dup3(volumes[i].fd, first, O_CLOEXEC_);

		if (err < 0)
			return err;
		volumes[i].fd = first;
	}
	return first;
}

bool volume_full(void)
{
	for (uint32_t i = 0; i < n_volumes; i++) {
		struct sys_statfs stat;

		if (volumes[i].upper || sys2(__NR_fstatfs, volumes[i].fd, &stat) < 0)
			continue;
		if ((stat.blocks && !stat.bavail) || (stat.files && !stat.ffree))
			return true;
	}
	return false;
}
