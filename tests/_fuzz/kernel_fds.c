/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_parts.h"

#include <linux/ioctl.h>
#include <linux/seccomp.h>

#define NOTIF_RECV SECCOMP_IOCTL_NOTIF_RECV

static bool is_open(long fd)
{
	return fd >= 0 && fd < FDS_MAX && kernel.process.fds[fd] != FD_CLOSED;
}

/* Whoever uses a number that was its own and is closed may hit a stranger's descriptor. */
long use_fd(long fd)
{
	int number = (int)fd;

	expect(number < 0 || is_open(number), "a closed descriptor is used");
	return number < 0 && number != AT_FDCWD_ ? -E_BADF : 0;
}

long open_from(uint64_t least, bool close_on_exec)
{
	for (uint64_t fd = least; fd < FDS_MAX; fd++)
		if (kernel.process.fds[fd] == FD_CLOSED) {
			kernel.process.fds[fd] = close_on_exec ? FD_CLOEXEC : FD_OPEN;
			return (long)fd;
		}
	return least < FDS_MAX ? -E_MFILE : -E_INVAL;
}

long open_held(void)
{
	long fd = open_from(0, true);

	if (fd >= 0)
		kernel.process.fds[fd] |= FD_HELD;
	return fd;
}

uint32_t count_fds(void)
{
	uint32_t n = 0;

	for (int fd = 0; fd < FDS_MAX; fd++)
		n += kernel.process.fds[fd] == FD_OPEN || kernel.process.fds[fd] == FD_CLOEXEC;
	return n;
}

long new_fd(bool close_on_exec)
{
	long err = refusal();

	return err ? err : open_from(0, close_on_exec);
}

long open_name(long dirfd, long path, uint64_t flags)
{
	long err = use_fd(dirfd);

	touch_text(path);
	if (!err)
		err = refusal();
	return err ? err : open_from(0, flags & O_CLOEXEC_);
}

static long close_fd(long fd)
{
	expect(kernel.sweeping || (int)fd < 0 || is_open((int)fd), "a descriptor is closed twice");
	if (!is_open((int)fd))
		return -E_BADF;
	kernel.process.fds[fd] = FD_CLOSED;
	if (fd == kernel.payload_fd)
		kernel.payload_fd = -1;
	return 0;
}

long close_range(uint64_t first, uint64_t flags)
{
	long err = refusal();

	kernel.sweeping = err == -E_NOSYS && !flags;
	if (err) {
		kernel.process.did |= LOST_CLOSE_RANGE;
		return err;
	}
	for (uint64_t fd = first; fd < FDS_MAX; fd++)
		if (kernel.process.fds[fd] != FD_CLOSED)
			kernel.process.fds[fd] =
				flags & CLOSE_RANGE_CLOEXEC_ ? FD_CLOEXEC : FD_CLOSED;
	return 0;
}

static long duplicate(long from, long to, long flags)
{
	long err = use_fd(from);

	if (!err)
		err = refusal();
	if (err)
		return err;
	if (to < 0 || to >= FDS_MAX)
		return -E_BADF;
	if (from == to)
		return -E_INVAL;
	kernel.process.fds[to] = flags & O_CLOEXEC_ ? FD_CLOEXEC : FD_OPEN;
	return to;
}

static long control_fd(long fd, long command, long argument)
{
	/* Without close_range(2), every number is marked (F_SETFD). */
	long err = command == 2 && !is_open(fd) ? -E_BADF : use_fd(fd);

	if (!err)
		err = refusal();
	if (err)
		return err;
	if (command == F_DUPFD_CLOEXEC_)
		return open_from((uint64_t)argument, true);
	if (command == 2 && argument) /* F_SETFD */
		kernel.process.fds[fd] = FD_CLOEXEC;
	return command == 3 ? take() % 3 : 0; /* F_GETFL: the access mode */
}

static long control_device(long fd, unsigned long command, long argument)
{
	long err = use_fd(fd);

	if (!err)
		err = refusal();
	if (err)
		return err;
	if (command == NOTIF_RECV)
		fill(argument, sizeof(struct seccomp_notif));
	return command == 0x5441 ? open_from(0, argument & O_CLOEXEC_) : 0; /* TIOCGPTPEER */
}

long describe(long fd, long path, struct statx *stat)
{
	static const uint16_t types[] = { 0040755, 0100644, 0120777, 0020666, 0010644, 0140600 };
	long err = use_fd(fd);

	touch_text(path);
	if (!err)
		err = refusal();
	if (err)
		return err;
	memset(stat, 0, sizeof *stat);
	stat->stx_mode = types[take() % (sizeof types / sizeof *types)];
	stat->stx_dev_minor = take() % 4;
	stat->stx_rdev_major = take() % 4;
	stat->stx_rdev_minor = take() % 8;
	stat->stx_uid = stat->stx_gid = take() * 512u;
	stat->stx_size = fd == kernel.payload_fd ? kernel.payload_size : take();
	return 0;
}

static long read_payload(long fd, char *to, size_t size, size_t offset)
{
	long err = use_fd(fd);
	size_t n;

	if (!err)
		err = refusal();
	if (err)
		return err;
	if (fd != kernel.payload_fd || offset >= kernel.payload_size)
		return 0;
	n = kernel.payload_size - offset < size ? kernel.payload_size - offset : size;
	if (take() % 4 == 3)
		n = 1 + n / 2;
	memcpy(to, kernel.payload + offset, n);
	return (long)n;
}

static long read_file(long fd, char *to, size_t size)
{
	long err = use_fd(fd);

	if (!err)
		err = refusal();
	if (err)
		return err;
	if (fd == kernel.signal_fd)
		return -E_AGAIN;
	return (long)take_text(to, size < 256 ? size : take());
}

/* Up to three processes, or what else is in /proc. */
static long list(long fd, char *to, size_t size)
{
	uint8_t n = take() % 4;
	size_t length = 32;
	long err = use_fd(fd);

	if (!err)
		err = refusal();
	if (err)
		return err;
	expect(size >= 4 * length, "a small buffer for a directory");
	for (uint8_t i = 0; i < n; i++) {
		char *entry = to + i * length;

		memset(entry, 0, length);
		entry[16] = (char)length;
		(void)snprintf(entry + 19, 12, i == 2 ? "self" : "%u", take() * 9u);
	}
	return (long)(n * length);
}

long read_link(long dirfd, long path, char *to, size_t size)
{
	long err = use_fd(dirfd);
	char target[32];
	int n;

	touch_text(path);
	if (!err)
		err = refusal();
	if (err)
		return err;
	n = snprintf(target, sizeof target, take() % 2 ? "/%u/b" : "cgroup:[%u]", take() % 3u);
	if (take() == 255) /* what a hostile name may look like */
		return (long)take_text(to, size);
	expect((size_t)n <= size, "a small buffer for a link");
	memcpy(to, target, (size_t)n);
	return n;
}

long pair_sockets(int32_t *pair)
{
	long err = refusal();

	for (int i = 0; i < 2 && !err; i++) {
		long fd = open_from(0, true);

		expect(fd >= 0, "descriptors leak");
		pair[i] = (int32_t)fd;
	}
	return err;
}

long write_bytes(long fd, long address, size_t size)
{
	long err = use_fd(fd);

	touch(address, size);
	if (!err)
		err = refusal();
	return err || !size ? err : take() % 4 == 3 ? (long)(1 + size / 2) : (long)size;
}

long call_with_fd(long number, const long *a)
{
	switch (number) {
	case __NR_close:
		return close_fd(a[0]);
	case __NR_dup3:
		return duplicate(a[0], a[1], a[2]);
	case __NR_fcntl:
		return control_fd(a[0], a[1], a[2]);
	case __NR_ioctl:
		return control_device(a[0], (unsigned long)a[1], a[2]);
	case __NR_recvmsg:
		return receive_from(a[0], (struct header *)a[1]);
	case __NR_sendmsg:
		return send_message(a[0], (const struct header *)a[1]);
	case __NR_pread64:
		return read_payload(a[0], (char *)a[1], (size_t)a[2], (size_t)a[3]);
	case __NR_read:
		return read_file(a[0], (char *)a[1], (size_t)a[2]);
	case __NR_getdents64:
		return list(a[0], (char *)a[1], (size_t)a[2]);
	default: /* fstatfs */
		fill(a[1], sizeof(struct sys_statfs));
		return use_fd(a[0]) ? -E_BADF : refusal();
	}
}
