/* SPDX-License-Identifier: Apache-2.0 */
/* Where the kernel enters, with a stack that need not be aligned for C. */
#include "init.h"

#if defined(__x86_64__)
__asm__(".text\n.globl _start\n_start:\n\txorl %ebp, %ebp\n\tandq $-16, %rsp\n\tcall init_main\n\thlt\n");
#elif defined(__aarch64__)
__asm__(".text\n.globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tbl init_main\n\tbrk #1\n");
#endif
