/* SPDX-License-Identifier: Apache-2.0 */
/* The few functions that a program without libc needs; the compiler itself calls the mem* ones. */
#include "init.h"

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memset(void *to, int byte, size_t size);

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	char *target = to;
	const char *source = from;

#if defined(__x86_64__)
	__asm__ volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(size) : : "memory");
#else
	while (size--)
		*target++ = *source++;
#endif
	return to;
}

void *memset(void *to, int byte, size_t size)
{
	char *target = to;

#if defined(__x86_64__)
	__asm__ volatile("rep stosb" : "+D"(target), "+c"(size) : "a"(byte) : "memory");
#else
	while (size--)
		*target++ = (char)byte;
#endif
	return to;
}

size_t text_length(const char *text)
{
	size_t n = 0;

	while (text[n])
		n++;
	return n;
}

bool text_equal(const char *a, const char *b)
{
	for (; *a && *a == *b; a++)
		b++;
	return *a == *b;
}

/* Append text and a NUL. Returns the place of the NUL, or NULL (also given NULL) when it does not
 * fit. */
char *text_append(char *to, const char *end, const char *text)
{
	if (!to)
		return NULL;
	for (; to < end; to++, text++) {
		*to = *text;
		if (!*text)
			return to;
	}
	return NULL;
}

char *number_append(char *to, const char *end, uint64_t value)
{
	char digits[21];
	char *at = digits + sizeof digits;

	*--at = '\0';
	do
		*--at = (char)('0' + value % 10);
	while (value /= 10);
	return text_append(to, end, at);
}

int proc_fd_path(char path[32], int fd)
{
	char *end = text_append(path, path + 32, "/proc/self/fd/");

	return number_append(end, path + 32, (uint64_t)fd) ? 0 : -E_NAMETOOLONG;
}
