/* SPDX-License-Identifier: Apache-2.0 */
/* What targets share that need no kernel.c: memory for the program that is fuzzed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

void expect(bool condition, const char *what); /* else it is a crash */
long map_memory(const void *old, size_t size); /* mmap(2), or with `old` mremap(2) */
void program_forget(void);                     /* all that it has mapped, and its variables */
