/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw system calls for code that runs without libc (PID 1) or must not touch it (the child of a
 * shared-memory clone). Every wrapper returns what the kernel returns: a negative errno on failure.
 * The only place with constants that older kernel headers lack.
 */
#pragma once

#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/stat.h>
#include <linux/time_types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In a build for the fault tests (tests/tools/fault.h), an error to return instead of the call. */
#ifdef NSB_FAULT_INJECTION
long nsb_fault(long number, long a, long b);
#else
#define nsb_fault(number, a, b) 0
#endif

/* What mmap(2) returns is an address or a negative errno. */
static inline bool sys_failed(long ret)
{
	return ret < 0 && ret >= -4095;
}

#if defined(NSB_FAKE_KERNEL)

/* An ordinary function: tests/fuzz/kernel.c is the kernel, or an analyser, which reads no assembly,
 * has to reckon with anything. */
long sys_call6(long n, long a, long b, long c, long d, long e, long f);

#elif defined(__x86_64__)

static inline long sys_call6(long n, long a, long b, long c, long d, long e, long f)
{
	long ret = nsb_fault(n, a, b);

	if (ret)
		return ret;

	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#elif defined(__aarch64__)

static inline long sys_call6(long n, long a, long b, long c, long d, long e, long f)
{
	long ret = nsb_fault(n, a, b);

	if (ret)
		return ret;

	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5), "r"(x8)
			 : "memory", "cc");
	return x0;
}

#else
#error "pycontain's core is written for x86-64 and aarch64"
#endif

#define SYS_ARG(x)          ((long)(x))
#define sys0(n)             sys_call6(n, 0, 0, 0, 0, 0, 0)
#define sys1(n, a)          sys_call6(n, SYS_ARG(a), 0, 0, 0, 0, 0)
#define sys2(n, a, b)       sys_call6(n, SYS_ARG(a), SYS_ARG(b), 0, 0, 0, 0)
#define sys3(n, a, b, c)    sys_call6(n, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), 0, 0, 0)
#define sys4(n, a, b, c, d) sys_call6(n, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d), 0, 0)
#define sys5(n, a, b, c, d, e) \
	sys_call6(n, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d), SYS_ARG(e), 0)

/* Numbers newer than some supported kernel headers; the same on every architecture since 5.0. */
#ifndef __NR_open_tree
#define __NR_open_tree  428
#define __NR_move_mount 429
#define __NR_fsopen     430
#define __NR_fsconfig   431
#define __NR_fsmount    432
#endif
#ifndef __NR_pidfd_open
#define __NR_pidfd_open 434
#endif
#ifndef __NR_clone3
#define __NR_clone3 435
#endif
#ifndef __NR_landlock_create_ruleset
#define __NR_landlock_create_ruleset 444
#define __NR_landlock_add_rule       445
#define __NR_landlock_restrict_self  446
#endif
#ifndef __NR_close_range
#define __NR_close_range 436
#endif
#ifndef __NR_openat2
#define __NR_openat2 437
#endif
#ifndef __NR_mount_setattr
#define __NR_mount_setattr 442
#endif

#define OPEN_TREE_CLONE_         1u
#define MOVE_MOUNT_F_EMPTY_PATH_ 0x04u
#define MOVE_MOUNT_T_EMPTY_PATH_ 0x40u
#define FSCONFIG_SET_FLAG_       0u
#define FSCONFIG_SET_STRING_     1u
#define FSCONFIG_CMD_CREATE_     6u
#define FSOPEN_CLOEXEC_          1u
#define FSMOUNT_CLOEXEC_         1u

#define MOUNT_ATTR_RDONLY_      0x01ull
#define MOUNT_ATTR_NOSUID_      0x02ull
#define MOUNT_ATTR_NODEV_       0x04ull
#define MOUNT_ATTR_NOEXEC_      0x08ull
#define MOUNT_ATTR_NOSYMFOLLOW_ 0x200000ull
#define MOUNT_ATTR_IDMAP_       0x100000ull

struct sys_mount_attr {
	uint64_t attr_set;
	uint64_t attr_clr;
	uint64_t propagation;
	uint64_t userns_fd;
};

#define AT_FDCWD_            (-100)
#define AT_EMPTY_PATH_       0x1000
#define AT_RECURSIVE_        0x8000
#define AT_SYMLINK_NOFOLLOW_ 0x100
#define AT_REMOVEDIR_        0x200

#define O_RDONLY_   0
#define O_WRONLY_   01
#define O_RDWR_     02
#define O_CREAT_    0100
#define O_EXCL_     0200
#define O_NOCTTY_   0400
#define O_NONBLOCK_ 04000
#define O_CLOEXEC_  02000000
#define O_PATH_     010000000
#if defined(__aarch64__)
#define O_DIRECTORY_ 040000
#define O_NOFOLLOW_  0100000
#else
#define O_DIRECTORY_ 0200000
#define O_NOFOLLOW_  0400000
#endif

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ull
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#define CLOSE_RANGE_CLOEXEC_ 4u
#define F_DUPFD_CLOEXEC_     1030

/* struct statfs of the 64-bit architectures */
struct sys_statfs {
	uint64_t type, bsize, blocks, bfree, bavail, files, ffree, fsid, namelen, frsize, flags;
	uint64_t spare[4];
};

#define PR_SET_DUMPABLE_          4
#define PR_SET_KEEPCAPS_          8
#define PR_SET_NAME_              15
#define PR_CAPBSET_DROP_          24
#define PR_SET_SECUREBITS_        28
#define PR_SET_NO_NEW_PRIVS_      38
#define PR_CAP_AMBIENT_           47
#define PR_CAP_AMBIENT_RAISE_     2
#define PR_CAP_AMBIENT_CLEAR_ALL_ 4
#define CAP_COUNT                 64 /* prctl(2) answers EINVAL past the kernel's last capability */

#define E_PERM        1
#define E_NOENT       2
#define E_INTR        4
#define E_NOMEM       12
#define E_ACCES       13
#define E_EXIST       17
#define E_NOTDIR      20
#define E_INVAL       22
#define E_MFILE       24
#define E_NODEV       19
#define E_CHILD       10
#define E_NOEXEC      8
#define E_AGAIN       11
#define E_BUSY        16
#define E_ISDIR       21
#define E_NAMETOOLONG 36
#define E_NOSYS       38
#define E_LOOP        40
#define E_NOLINK      67
#define E_PROTO       71
#define E_OVERFLOW    75
#define E_SRCH        3
#define E_XDEV        18
#define E_2BIG        7
#define E_BADFD       77
#define E_OPNOTSUPP   95
#define E_TIMEDOUT    110

#define SIG_KILL     9
#define SIG_CHLD     17
#define SIG_STOP     19
#define SIG_SYS      31
#define SIGNAL_COUNT 64

/* clone3's argument block up to the cgroup field (88 bytes, Linux 5.7). */
struct sys_clone_args {
	uint64_t flags;
	uint64_t pidfd;
	uint64_t child_tid;
	uint64_t parent_tid;
	uint64_t exit_signal;
	uint64_t stack;
	uint64_t stack_size;
	uint64_t tls;
	uint64_t set_tid;
	uint64_t set_tid_size;
	uint64_t cgroup;
};

/* Run fn(arg) in a new process on the stack that args names. The child ends with exit_group(fn's
 * result). */
long sys_clone3(struct sys_clone_args *args, size_t size, int (*fn)(void *), void *arg);
/* clone(2) in the kernel's argument order of this architecture; ptid receives the pidfd of
 * CLONE_PIDFD. */
long sys_clone2(uint64_t flags, void *stack_top, int32_t *ptid, int (*fn)(void *), void *arg);

static inline long sys_close(int fd)
{
	return sys1(__NR_close, fd);
}
static inline _Noreturn void sys_exit(int status)
{
	for (;;)
		(void)sys1(__NR_exit_group, status);
}
static inline long sys_openat(int dirfd, const char *path, int flags, unsigned mode)
{
	return sys4(__NR_openat, dirfd, path, flags, mode);
}
static inline long sys_openat2(int dirfd, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = flags, .resolve = resolve };

	return sys4(__NR_openat2, dirfd, path, &how, sizeof how);
}
static inline long sys_write(int fd, const void *data, size_t size)
{
	return sys3(__NR_write, fd, data, size);
}
static inline long sys_read(int fd, void *data, size_t size)
{
	return sys3(__NR_read, fd, data, size);
}
static inline long sys_dup3(int from, int to, int flags)
{
	return sys3(__NR_dup3, from, to, flags);
}
static inline long sys_prctl(int option, long a, long b, long c, long d)
{
	return sys5(__NR_prctl, option, a, b, c, d);
}
static inline long sys_close_range(unsigned first, unsigned last, unsigned flags)
{
	return sys3(__NR_close_range, first, last, flags);
}
static inline long sys_mount_setattr(int fd, const char *path, unsigned flags,
				     struct sys_mount_attr *attr)
{
	return sys5(__NR_mount_setattr, fd, path, flags, attr, sizeof *attr);
}
static inline long sys_open_tree(int dirfd, const char *path, unsigned flags)
{
	return sys3(__NR_open_tree, dirfd, path, flags);
}
static inline long sys_move_mount(int from, int to)
{
	return sys5(__NR_move_mount, from, "", to, "",
		    MOVE_MOUNT_F_EMPTY_PATH_ | MOVE_MOUNT_T_EMPTY_PATH_);
}
static inline long sys_mount(const char *source, const char *target, const char *type,
			     unsigned long flags, const void *data)
{
	return sys5(__NR_mount, source, target, type, flags, data);
}
static inline long sys_statx(int fd, const char *path, int flags, struct statx *stat)
{
	return sys5(__NR_statx, fd, path, flags, STATX_BASIC_STATS, stat);
}
static inline long sys_sigmask_all(uint64_t *old)
{
	uint64_t all = ~0ull;

	return sys4(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &all, old, sizeof all);
}
static inline long sys_sigmask(const uint64_t *mask)
{
	return sys4(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, mask, 0, sizeof *mask);
}
