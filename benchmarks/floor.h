/* SPDX-License-Identifier: Apache-2.0 */
/* What the floor's parent (floor.c) and PID 1 (floor_init.c) share: raw system calls and two messages. */
#pragma once

#include <asm/unistd.h>
#include <linux/sched.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CONTROL_FD = 3,
	FDS_MAX = 16,
	MESSAGE_MAX = 65536,
	STACK_SIZE = 65536,
	USER = 1000,
};

/* Both messages start so. Setup: the seccomp program follows; fds: the root tree.
 * Command: fds: reply socket, n_tasks `tasks` files, stdin, stdout, stderr. */
struct message {
	uint32_t kind;
	uint32_t n_tasks;
	uint32_t only; /* PID 1 ends with this command */
	uint32_t reserved;
	char program[64];
};

enum { SETUP = 1, COMMAND };

struct report {
	uint32_t event;
	int32_t error; /* negative errno */
	uint32_t line; /* of floor_init.c */
	int32_t status;
};

enum { READY = 1, FAILED, EXITED };

#if defined(__x86_64__)

static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/* clone3(2) onto the stack that args names, where the child runs fn(argument), which must not return. */
static inline long clone_onto(struct clone_args *args, void (*fn)(void *), void *argument)
{
	register void (*r8)(void *) __asm__("r8") = fn;
	register void *r9 __asm__("r9") = argument;
	long ret;

	__asm__ volatile("syscall\n"
			 "	testq	%%rax, %%rax\n"
			 "	jnz	1f\n"
			 "	xorl	%%ebp, %%ebp\n"
			 "	movq	%%r9, %%rdi\n"
			 "	call	*%%r8\n"
			 "	hlt\n"
			 "1:\n"
			 : "=a"(ret)
			 : "a"(__NR_clone3), "D"(args), "S"(sizeof *args), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#elif defined(__aarch64__)

static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
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

static inline long clone_onto(struct clone_args *args, void (*fn)(void *), void *argument)
{
	register long x8 __asm__("x8") = __NR_clone3;
	register long x0 __asm__("x0") = (long)args;
	register long x1 __asm__("x1") = sizeof *args;
	register void (*x2)(void *) __asm__("x2") = fn;
	register void *x3 __asm__("x3") = argument;

	__asm__ volatile("svc #0\n"
			 "	cbnz	x0, 1f\n"
			 "	mov	x29, xzr\n"
			 "	mov	x30, xzr\n"
			 "	mov	x0, x3\n"
			 "	blr	x2\n"
			 "	brk	#1\n"
			 "1:\n"
			 : "+r"(x0)
			 : "r"(x1), "r"(x2), "r"(x3), "r"(x8)
			 : "memory", "cc");
	return x0;
}

#else
#error "written for x86-64 and aarch64"
#endif

#define ARG(x)                 ((long)(x))
#define sys0(n)                sys6(n, 0, 0, 0, 0, 0, 0)
#define sys1(n, a)             sys6(n, ARG(a), 0, 0, 0, 0, 0)
#define sys2(n, a, b)          sys6(n, ARG(a), ARG(b), 0, 0, 0, 0)
#define sys3(n, a, b, c)       sys6(n, ARG(a), ARG(b), ARG(c), 0, 0, 0)
#define sys4(n, a, b, c, d)    sys6(n, ARG(a), ARG(b), ARG(c), ARG(d), 0, 0)
#define sys5(n, a, b, c, d, e) sys6(n, ARG(a), ARG(b), ARG(c), ARG(d), ARG(e), 0)
