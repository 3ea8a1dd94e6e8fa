/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of nsb_fault() (src/_nsbind/syscalls.h), linked into the extension and into PID 1
 * when PYCONTAIN_FAULTS=1. The parent's libc calls come here by the linker's --wrap.
 */
#define _GNU_SOURCE
#undef NSB_FAULT_INJECTION /* our own calls are not counted */
#include "syscalls.h"
#undef nsb_fault

#include "fault.h"

/* setup.py compiles PID 1 with -ffreestanding. */
#if !__STDC_HOSTED__
static const uint32_t first_role = FAULT_INIT, other_role = FAULT_COMMAND;
#else
static const uint32_t first_role = FAULT_CHILD, other_role = FAULT_HELPER;
#endif

long nsb_fault(long number, long a, long b);

static struct fault_page *page;
static int page_fd = FAULT_FD;

static void map_page(void)
{
	/* Not folded into code, so that a test finds it in a binary. */
	static const volatile char mark[] = FAULT_MARK;
	long address = sys_call6(__NR_mmap, 0, sizeof *page, 3 /* READ|WRITE */, 1 /* SHARED */,
				 page_fd, 0);

	page = address < 0 && address >= -4095 ? NULL : (struct fault_page *)(uintptr_t)address;
	for (size_t i = 0; page && i < sizeof mark; i++)
		if (page->mark[i] != mark[i])
			page = NULL;
}

static uint32_t own_role(void)
{
	long pid = sys0(__NR_getpid);

	if (other_role == FAULT_HELPER && pid == page->parent_pid)
		return FAULT_PARENT;
	return pid == 1 ? first_role : other_role;
}

/* PID 1 of a namespace cannot kill itself by a signal. */
static void die(void)
{
	(void)sys2(__NR_kill, sys0(__NR_getpid), SIG_KILL);
	sys_exit(128 + SIG_KILL);
}

static void pause_here(void)
{
	static const struct __kernel_timespec moment = { .tv_nsec = 200000 };

	__atomic_store_n(&page->paused, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&page->released, __ATOMIC_SEQ_CST))
		(void)sys2(__NR_nanosleep, &moment, NULL);
}

static long apply(const struct fault_rule *rule, long number, long a)
{
	if (rule->action == FAULT_DIE)
		die();
	if (rule->action == FAULT_PAUSE) {
		pause_here();
		return 0;
	}
	if (number == __NR_close)
		(void)sys_close((int)a);
	return -rule->err;
}

static const struct fault_rule *rule_of(uint32_t role, uint32_t n)
{
	for (uint32_t i = 0; i < page->n_rules; i++) {
		if (page->rules[i].role == role && page->rules[i].n == n)
			return &page->rules[i];
	}
	return NULL;
}

static long count_call(long number, long a, long b)
{
	uint32_t role = own_role();
	uint32_t n = __atomic_fetch_add(&page->counts[role], 1, __ATOMIC_SEQ_CST);
	uint32_t place = __atomic_fetch_add(&page->n_calls, 1, __ATOMIC_SEQ_CST);
	const struct fault_rule *rule = rule_of(role, n);

	if (place < FAULT_CALLS_MAX)
		page->calls[place] = (struct fault_call){ role, n, number, a, b, rule != NULL, 0 };
	return rule ? apply(rule, number, a) : 0;
}

long nsb_fault(long number, long a, long b)
{
	long err = 0;

#if !__STDC_HOSTED__
	static bool tried;

	if (!tried) {
		tried = true;
		map_page();
	}
#endif
	/* exit_group(2) cannot fail, and its caller has nothing else to do. */
	if (page && page->enabled && number != __NR_exit_group)
		err = count_call(number, a, b);
	/* After the sweep over all descriptors, so that the page survives the exec. */
	if (page && !err && number == __NR_execveat)
		(void)sys_dup3(page_fd, FAULT_FD, 0);
	return err;
}

/* The clones are assembly (clone.c), so they are counted here. */
#define WRAP_CLONE(name, number, parameters, arguments, a) \
	long __real_##name parameters; \
	long __wrap_##name parameters; \
	long __wrap_##name parameters \
	{ \
		long err = nsb_fault(number, (long)(a), 0); \
\
		return err ? err : __real_##name arguments; \
	}

WRAP_CLONE(sys_clone3, __NR_clone3,
	   (struct sys_clone_args * args, size_t size, int (*fn)(void *), void *argument),
	   (args, size, fn, argument), args->flags)
WRAP_CLONE(sys_clone2, __NR_clone,
	   (uint64_t flags, void *stack_top, int32_t *ptid, int (*fn)(void *), void *argument),
	   (flags, stack_top, ptid, fn, argument), flags)

#if __STDC_HOSTED__

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>

/* Called by the test through ctypes; -1 detaches. */
__attribute__((visibility("default"))) void nsb_fault_open(int fd);
void nsb_fault_open(int fd)
{
	page_fd = fd;
	if (fd < 0)
		page = NULL;
	else
		map_page();
}

#define WRAP(type, name, number, parameters, arguments, a, b) \
	type __real_##name parameters; \
	type __wrap_##name parameters; \
	type __wrap_##name parameters \
	{ \
		long err = nsb_fault(number, SYS_ARG(a), SYS_ARG(b)); \
\
		if (!err) \
			return __real_##name arguments; \
		errno = (int)-err; \
		return (type) - 1; \
	}

WRAP(int, close, __NR_close, (int fd), (fd), fd, 0)
WRAP(int, fcntl, __NR_fcntl, (int fd, int command, long value), (fd, command, value), fd, command)
WRAP(int, memfd_create, __NR_memfd_create, (const char *name, unsigned flags), (name, flags), 0,
     flags)
WRAP(void *, mmap, __NR_mmap, (void *at, size_t n, int protection, int flags, int fd, off_t offset),
     (at, n, protection, flags, fd, offset), at, n)
WRAP(int, mprotect, __NR_mprotect, (void *at, size_t n, int protection), (at, n, protection), at, n)
WRAP(int, munmap, __NR_munmap, (void *at, size_t n), (at, n), at, n)
WRAP(int, pipe2, __NR_pipe2, (int fds[2], int flags), (fds, flags), 0, flags)
WRAP(int, poll, __NR_ppoll, (struct pollfd * fds, nfds_t n, int timeout), (fds, n, timeout), 0, n)
WRAP(ssize_t, read, __NR_read, (int fd, void *data, size_t n), (fd, data, n), fd, 0)
WRAP(ssize_t, sendmsg, __NR_sendmsg, (int fd, const struct msghdr *message, int flags),
     (fd, message, flags), fd, 0)
WRAP(int, socketpair, __NR_socketpair, (int domain, int type, int protocol, int fds[2]),
     (domain, type, protocol, fds), domain, type)
WRAP(int, waitid, __NR_waitid, (idtype_t type, id_t id, siginfo_t *info, int options),
     (type, id, info, options), type, id)
WRAP(ssize_t, write, __NR_write, (int fd, const void *data, size_t n), (fd, data, n), fd, n)

#endif
