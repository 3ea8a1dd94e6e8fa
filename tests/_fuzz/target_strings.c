/* SPDX-License-Identifier: Apache-2.0 */
/* The functions that stand in for libc's, against libc's. Input: a size, and bytes. */
#include "init.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* init_string.c, compiled so that its names are not libc's (build.py). */
void *own_memcpy(void *restrict to, const void *restrict from, size_t size);
void *own_memset(void *to, int byte, size_t size);

long sys_call6(long n, long a, long b, long c, long d, long e, long f)
{
	(void)n, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
	abort();
}

static void expect(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "strings: %s\n", what);
	abort();
}

/* Two texts into `size` bytes: all of both, or NULL. */
static void check_append(const char *one, const char *two, size_t size)
{
	char *room = malloc(size), *end = room + size;
	char *at = text_append(text_append(room, end, one), end, two);
	bool fits = size && strlen(one) + strlen(two) < size;

	expect(!at == !fits, "text that fits and is refused, or the other way round");
	expect(!at || (at == room + strlen(room) && !strncmp(room, one, strlen(one)) &&
		       !strcmp(room + strlen(one), two)),
	       "other text");
	free(room);
}

static void check_number(uint64_t number, size_t size)
{
	char expected[32], *room = malloc(size + 1);
	int n = snprintf(expected, sizeof expected, "%llu", (unsigned long long)number);
	char *at = number_append(room, room + size, number);

	expect(!at == ((size_t)n >= size), "a number that fits and is refused");
	expect(!at || !strcmp(room, expected), "another number");
	free(room);
}

static void check_memory(const uint8_t *data, size_t size, uint8_t byte)
{
	uint8_t *own = malloc(size + 1), *libc = malloc(size + 1);

	own[size] = libc[size] = 0;
	expect(own_memcpy(own, data, size) == own, "memcpy() returns its argument");
	expect(!memcmp(own, data, size), "memcpy() copies");
	expect(own_memset(own, byte, size / 2) == own, "memset() returns its argument");
	memcpy(libc, data, size);
	memset(libc, byte, size / 2);
	expect(!memcmp(own, libc, size + 1), "memset() sets");
	free(own);
	free(libc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[32], expected[32];
	uint64_t number = 0;
	char *one, *two;

	if (size < 1)
		return -1;
	memcpy(&number, data, size < sizeof number ? size : sizeof number);
	one = strndup((const char *)data + 1, size - 1);
	two = strndup((const char *)data + size / 2, size - size / 2);
	expect(text_length(one) == strlen(one), "a length");
	expect(text_equal(one, two) == !strcmp(one, two), "equality");
	check_append(one, two, data[0]);
	check_number(number, data[0] % 24);
	check_memory(data, size, data[0]);
	(void)snprintf(expected, sizeof expected, "/proc/self/fd/%d", (int)(number & 0x7fffffff));
	expect(!proc_fd_path(path, (int)(number & 0x7fffffff)) && !strcmp(path, expected),
	       "a path");
	free(one);
	free(two);
	return 0;
}
