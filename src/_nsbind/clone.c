/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clone3(2) and clone(2) onto a stack of their own: the two calls that C cannot express, since the
 * child returns from the system call with another stack pointer. Registers that carry fn and arg
 * are ones that the kernel preserves and, with the flags used here, ignores.
 */
#include "syscalls.h"

#define FUNCTION(name) \
	".text\n.balign 16\n.globl " name "\n.hidden " name "\n.type " name ", %function\n" name \
	":\n"
#define END(name) ".size " name ", . - " name "\n"

#if defined(__x86_64__)

/* The system call destroys rcx and r11. */
__asm__(FUNCTION("sys_clone3") /* rdi args, rsi size, rdx fn, rcx arg */
	"	endbr64\n"
	"	movq	%rcx, %r8\n"
	"	movl	$435, %eax\n"
	"	syscall\n"
	"	testq	%rax, %rax\n"
	"	jz	1f\n"
	"	ret\n"
	"1:	xorl	%ebp, %ebp\n"
	"	movq	%r8, %rdi\n"
	"	call	*%rdx\n"
	"	movl	%eax, %edi\n"
	"	movl	$231, %eax\n"
	"	syscall\n"
	"	hlt\n" END("sys_clone3"));

__asm__(FUNCTION("sys_clone2") /* rdi flags, rsi stack, rdx ptid, rcx fn, r8 arg (as tls) */
	"	endbr64\n"
	"	movq	%rcx, %r9\n"
	"	xorl	%r10d, %r10d\n"
	"	movl	$56, %eax\n"
	"	syscall\n"
	"	testq	%rax, %rax\n"
	"	jz	1f\n"
	"	ret\n"
	"1:	xorl	%ebp, %ebp\n"
	"	movq	%r8, %rdi\n"
	"	call	*%r9\n"
	"	movl	%eax, %edi\n"
	"	movl	$231, %eax\n"
	"	syscall\n"
	"	hlt\n" END("sys_clone2"));

#elif defined(__aarch64__)

__asm__(FUNCTION("sys_clone3") /* x0 args, x1 size, x2 fn, x3 arg */
	"	hint	#34\n" /* bti c */
	"	mov	x8, #435\n"
	"	svc	#0\n"
	"	cbz	x0, 1f\n"
	"	ret\n"
	"1:	mov	x29, xzr\n"
	"	mov	x30, xzr\n"
	"	mov	x0, x3\n"
	"	blr	x2\n"
	"	mov	x8, #94\n"
	"	svc	#0\n"
	"	brk	#1\n" END("sys_clone3"));

__asm__(FUNCTION("sys_clone2") /* x0 flags, x1 stack, x2 ptid, x3 fn (as tls), x4 arg (as ctid) */
	"	hint	#34\n"
	"	mov	x8, #220\n"
	"	svc	#0\n"
	"	cbz	x0, 1f\n"
	"	ret\n"
	"1:	mov	x29, xzr\n"
	"	mov	x30, xzr\n"
	"	mov	x0, x4\n"
	"	blr	x3\n"
	"	mov	x8, #94\n"
	"	svc	#0\n"
	"	brk	#1\n" END("sys_clone2"));

#endif
