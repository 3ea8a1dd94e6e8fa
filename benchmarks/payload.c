/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least that can run, under two names: `bare` says "ok" and succeeds, `hold` sleeps until it is killed. Without
 * libc, whose start asks the processor for its features, most of a millisecond in some virtual machines: more than a
 * command in a living sandbox costs.
 */
#include "floor.h"

__attribute__((used)) static _Noreturn void payload_main(const long *stack)
{
	const char *name = (const char *)stack[1];
	long written = 0;

	while (*name)
		name++;
	if (name[-1] == 'd')
		for (;;)
			(void)sys5(__NR_ppoll, NULL, 0, NULL, NULL, 0);
	written = sys3(__NR_write, 1, "ok\n", 3);
	for (;;)
		(void)sys1(__NR_exit_group, written != 3);
}

#if defined(__x86_64__)
__asm__(".text\n.globl _start\n_start:\n\txorl %ebp, %ebp\n\tmovq %rsp, %rdi\n"
	"\tandq $-16, %rsp\n\tcall payload_main\n\thlt\n");
#elif defined(__aarch64__)
__asm__(".text\n.globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tmov x0, sp\n"
	"\tbl payload_main\n\tbrk #1\n");
#endif
