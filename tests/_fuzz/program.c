/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAPS_MAX = 64 };

extern uint64_t __start_program_bss[], __stop_program_bss[];

static struct {
	void *base;
	size_t size;
} maps[MAPS_MAX];

void expect(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "program: %s\n", what);
	abort();
}

long map_memory(const void *old, size_t size)
{
	for (int i = 0; i < MAPS_MAX; i++)
		if (maps[i].base == old) {
			maps[i].base = realloc(maps[i].base, size);
			memset((char *)maps[i].base + maps[i].size, 0, size - maps[i].size);
			maps[i].size = size;
			return (long)(uintptr_t)maps[i].base;
		}
	expect(false, "memory that was never mapped");
	return 0;
}

/* As kernel.c does it: not memset(), between the variables are red zones. */
__attribute__((no_sanitize("address"))) void program_forget(void)
{
	for (int i = 0; i < MAPS_MAX; i++) {
		free(maps[i].base);
		maps[i].base = NULL;
		maps[i].size = 0;
	}
	for (uint64_t *at = __start_program_bss; at < __stop_program_bss; at++)
		*at = 0;
}
