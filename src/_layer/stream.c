/* SPDX-License-Identifier: Apache-2.0 */
/* The input: read in large pieces, handed out where it lies. */
#include "layer.h"

enum { BUFFER_SIZE = 1 << 20 };

static char buffer[BUFFER_SIZE] __attribute__((aligned(4096)));
static size_t begin, end;
static uint64_t read_before; /* bytes of the input that are not in the buffer any more */

static bool fill(void)
{
	long n = sys_read(INPUT_FD, buffer + end, sizeof buffer - end);

	if (n < 0)
		fail("input", n, NULL);
	end += (size_t)n;
	return n > 0;
}

/* Without taking it. */
const char *stream_peek(size_t size, size_t *ret_there)
{
	if (end - begin < size && begin) {
		for (size_t i = 0; i < end - begin; i++)
			buffer[i] = buffer[begin + i];
		read_before += begin;
		end -= begin;
		begin = 0;
	}
	while (end - begin < size && fill())
		;
	*ret_there = end - begin;
	return end - begin < size ? NULL : buffer + begin;
}

const char *stream_need(size_t size, size_t *ret_there)
{
	const char *at = stream_peek(size, ret_there);

	if (at)
		begin += size;
	return at;
}

const char *stream_take(uint64_t at_most, size_t *ret_size)
{
	const char *at;

	if (begin == end) {
		read_before += end;
		begin = end = 0;
		if (!fill())
			return NULL;
	}
	*ret_size = end - begin < at_most ? end - begin : (size_t)at_most;
	at = buffer + begin;
	begin += *ret_size;
	return at;
}

uint64_t stream_position(void)
{
	return read_before + begin;
}
