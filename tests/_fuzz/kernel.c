/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_parts.h"

#include <linux/poll.h>
#include <linux/time_types.h>

enum {
	CALLS_MAX = 300000, /* a program that asks for more goes round in circles */
	MAP_SIZE_MAX = 1 << 24,
};

struct fake_kernel kernel;

/* What the linker gathered of the program's variables (build.py): as they are before a run. */
extern uint64_t __start_program_bss[], __stop_program_bss[];

void expect(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "kernel: %s\n", what);
	abort();
}

/* Not memset(), which AddressSanitizer checks: between the variables are its own red zones. */
__attribute__((no_sanitize("address"))) static void forget(void)
{
	for (uint64_t *at = __start_program_bss; at < __stop_program_bss; at++)
		*at = 0;
}

uint8_t take(void)
{
	return kernel.back > kernel.front && !kernel.obliging ? *--kernel.back : 0;
}

size_t take_text(char *to, size_t size)
{
	size_t left = kernel.obliging ? 0 : (size_t)(kernel.back - kernel.front),
	       n = left < size ? left : size;

	for (size_t i = 0; i < n; i++)
		to[i] = (char)take();
	return n;
}

/* One call in four fails while there is input. */
long refusal(void)
{
	static const uint8_t errors[] = { E_PERM,   E_NOENT, E_INTR,     E_NOMEM, E_ACCES, E_EXIST,
					  E_NOTDIR, E_INVAL, E_MFILE,    E_AGAIN, E_BUSY,  E_ISDIR,
					  E_NOSYS,  E_LOOP,  E_OVERFLOW, E_NOSPC, E_XDEV,  E_SRCH,
					  E_NODEV,  E_CHILD, E_BADFD,    E_NOEXEC };
	uint8_t byte = take();

	return byte < 192 ? 0 : -(long)errors[(byte - 192) % sizeof errors];
}

/* Read it, so that AddressSanitizer sees what the kernel would. */
void touch(long address, size_t size)
{
	const volatile char *bytes = (const volatile char *)(uintptr_t)address;

	for (size_t i = 0; i < size; i++)
		(void)bytes[i];
}

void touch_text(long address)
{
	const volatile char *text = (const volatile char *)(uintptr_t)address;

	while (*text)
		text++;
}

void fill(long address, size_t size)
{
	char *bytes = (char *)(uintptr_t)address;

	memset(bytes, 0, size);
	(void)take_text(bytes, size < 32 ? size : 32);
}

static long map_memory(size_t size)
{
	long err = refusal();

	if (err || !size || size > MAP_SIZE_MAX)
		return err ? err : -E_NOMEM;
	for (int i = 0; i < MAPS_MAX; i++)
		if (!kernel.maps[i].base) {
			kernel.maps[i].base = calloc(1, size);
			kernel.maps[i].size = size;
			return (long)(uintptr_t)kernel.maps[i].base;
		}
	expect(false, "memory is mapped and never unmapped");
	return 0;
}

static long unmap_memory(long address, size_t size)
{
	for (int i = 0; i < MAPS_MAX; i++)
		if (kernel.maps[i].base && kernel.maps[i].base == (void *)(uintptr_t)address) {
			expect(kernel.maps[i].size == size, "a part of a mapping is unmapped");
			free(kernel.maps[i].base);
			kernel.maps[i].base = NULL;
			return 0;
		}
	expect(false, "what is not mapped is unmapped");
	return 0;
}

/* Time goes by only if nothing can happen. */
static long poll_fds(struct pollfd *fds, size_t n, bool patient)
{
	long err = refusal(), ready = 0;

	if (err == -E_INTR || err == -E_AGAIN || err == -E_NOMEM)
		return err;
	for (size_t i = 0; i < n; i++) {
		long closed = use_fd(fds[i].fd);
		uint8_t byte = fds[i].fd == NSB_CONTROL_FD || (patient && i == n - 1 && !ready)
				       ? 1
				       : take() % 4;

		fds[i].revents = closed ? 0 : byte == 1 ? POLLIN : byte == 3 ? POLLHUP : 0;
		ready += fds[i].revents != 0;
	}
	return ready;
}

static long limit(long old)
{
	uint64_t *value = (uint64_t *)(uintptr_t)old;
	long err = refusal();

	if (!err && value)
		value[0] = value[1] = take() * 4u;
	return err;
}

/* Calls with names, of which the kernel reads each. */
static long call_with_names(long number, const long *a)
{
	long fd = number == __NR_symlinkat ? a[1] : a[0];
	long err = number == __NR_mount || number == __NR_sethostname ||
				   number == __NR_setdomainname || number == __NR_pivot_root ||
				   number == __NR_umount2 || number == __NR_chdir
			   ? 0
			   : use_fd(fd);

	switch (number) {
	case __NR_mount:
		if (a[0])
			touch_text(a[0]);
		touch_text(a[1]);
		if (a[2])
			touch_text(a[2]);
		if (a[4])
			touch_text(a[4]);
		break;
	case __NR_sethostname:
	case __NR_setdomainname:
		touch(a[0], (size_t)a[1]);
		break;
	case __NR_symlinkat:
		touch_text(a[0]);
		touch_text(a[2]);
		break;
	case __NR_fsconfig:
		if (a[2])
			touch_text(a[2]);
		if (a[3])
			touch_text(a[3]);
		break;
	default:
		touch_text(number == __NR_pivot_root || number == __NR_umount2 ||
					   number == __NR_chdir
				   ? a[0]
				   : a[1]);
	}
	return err ? err : refusal();
}

static long affinity(long address, size_t size)
{
	size_t n = 8u << take() % 8;
	long err = refusal();

	if (err || n > size)
		return err ? err : -E_INVAL;
	fill(address, n);
	return (long)n;
}

static long call(long number, const long *a)
{
	switch (number) {
	case __NR_exit_group:
		end();
	case __NR_openat:
		return open_name(a[0], a[1], (uint64_t)a[2]);
	case __NR_openat2:
		return open_name(a[0], a[1], ((const struct open_how *)a[2])->flags);
	case __NR_open_tree:
		return open_name(a[0], a[1], (uint64_t)a[2]);
	case __NR_fsopen:
		touch_text(a[0]);
		return new_fd(a[1] & FSOPEN_CLOEXEC_);
	case __NR_fsmount:
		return use_fd(a[0]) ? -E_BADF : new_fd(a[1] & FSMOUNT_CLOEXEC_);
	case __NR_socket:
		return new_fd(a[1] & O_CLOEXEC_);
	case __NR_landlock_create_ruleset:
		touch(a[0], (size_t)a[1]);
		return new_fd(true);
	case __NR_accept4:
		return use_fd(a[0]) ? -E_BADF : accept_caller();
	case __NR_signalfd4:
		kernel.sweeping = false;
		kernel.signal_fd = (int)new_fd(a[3] & O_CLOEXEC_);
		return kernel.signal_fd;
	case __NR_statx:
		return describe(a[0], a[1], (struct statx *)a[4]);
	case __NR_readlinkat:
		return read_link(a[0], a[1], (char *)a[2], (size_t)a[3]);
	case __NR_mmap:
		return map_memory((size_t)a[1]);
	case __NR_munmap:
		return unmap_memory(a[0], (size_t)a[1]);
	case __NR_close_range:
		return close_range((uint64_t)a[0], (uint64_t)a[2]);
	case __NR_write:
		return write_bytes(a[0], a[1], (size_t)a[2]);
	case __NR_ppoll:
		return poll_fds((struct pollfd *)a[0], (size_t)a[1], !a[2]);
	case __NR_socketpair:
		return pair_sockets((int32_t *)a[3]);
	case __NR_pidfd_open:
		return refusal() ? -E_MFILE : open_held();
	case __NR_clock_gettime:
		*(struct __kernel_timespec *)a[1] = (struct __kernel_timespec){ .tv_sec = take() };
		return 0;
	case __NR_wait4:
		return wait_for((int)a[0], (int32_t *)a[1], (struct rusage *)a[3]);
	case __NR_execve:
		return execute(a[0], a[1], a[2], true);
	case __NR_execveat:
		return use_fd(a[0]) ? -E_BADF : execute(a[1], a[2], a[3], false);
	case __NR_prlimit64:
		return limit(a[3]);
	case __NR_sched_setaffinity:
		touch(a[2], (size_t)a[1]);
		return refusal();
	case __NR_sched_getaffinity:
		return affinity(a[2], (size_t)a[1]);
	case __NR_capget:
		fill(a[1], 24);
		return refusal();
	case __NR_getpid:
		return 1;
	case __NR_getuid:
	case __NR_getgid:
	case __NR_geteuid:
	case __NR_getegid:
	case __NR_setfsuid:
	case __NR_setfsgid:
	case __NR_sched_yield:
	case __NR_umask:
	case __NR_rt_sigaction: /* many of a kind, that would use the input up */
		return 0;
	case __NR_setgroups:
	case __NR_setresuid:
	case __NR_setresgid:
	case __NR_capset:
	case __NR_seccomp:
	case __NR_prctl:
	case __NR_landlock_restrict_self:
	case __NR_fchdir:
		return restrict_process(number, a);
	case __NR_mount:
	case __NR_mkdirat:
	case __NR_mknodat:
	case __NR_unlinkat:
	case __NR_faccessat:
	case __NR_fchmodat:
	case __NR_fchownat:
	case __NR_symlinkat:
	case __NR_fsconfig:
	case __NR_sethostname:
	case __NR_setdomainname:
	case __NR_pivot_root:
	case __NR_umount2:
	case __NR_chdir:
	case __NR_mount_setattr:
		return call_with_names(number, a);
	case __NR_close:
	case __NR_dup3:
	case __NR_fcntl:
	case __NR_ioctl:
	case __NR_recvmsg:
	case __NR_sendmsg:
	case __NR_pread64:
	case __NR_read:
	case __NR_getdents64:
	case __NR_fstatfs:
		return call_with_fd(number, a);
	default:
		return refusal();
	}
}

long sys_call6(long n, long a, long b, long c, long d, long e, long f)
{
	const long arguments[] = { a, b, c, d, e, f };

	expect(++kernel.n_calls < CALLS_MAX, "no end");
	long result = call(n, arguments);

	if (kernel.tracing)
		fprintf(stderr, "%ld(%ld, %ld, %ld) = %ld\n", n, a, b, c, result);
	return result;
}

void kernel_run(void (*program)(void), const uint8_t *data, size_t size, bool obliging_at_first)
{
	forget();
	kernel = (struct fake_kernel){
		.front = data,
		.back = data + size,
		.obliging = obliging_at_first,
		.tracing = getenv("FUZZ_TRACE"),
		.next_pid = 2,
		.signal_fd = -1,
		.payload_fd = -1,
	};
	for (int fd = 0; fd <= NSB_CONTROL_FD; fd++)
		kernel.process.fds[fd] = FD_OPEN;
	if (!setjmp(kernel.end_of_program))
		program();
	for (int i = 0; i < MAPS_MAX; i++)
		free(kernel.maps[i].base);
}
