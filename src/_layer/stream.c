/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input: read in large pieces, handed out where it lies.
 *
 * To make an index, the input is a file that still grows, and what is skipped is not read. A byte in
 * the pipe GROWTH_FD says that there is more, the pipe's end that it is whole.
 */
#include "layer.h"

enum {
	BUFFER_SIZE = 1 << 20,
	WINDOW = 1 << 13, /* what follows a header is skipped, if it is longer than this */
};

static char buffer[BUFFER_SIZE] __attribute__((aligned(4096)));
static size_t begin, end;
static uint64_t read_before; /* bytes of the input that are not in the buffer any more */

static bool wait_for_growth(void)
{
	char bytes[BLOCK];
	long n = sys_read(GROWTH_FD, bytes, sizeof bytes);

	if (n < 0)
		fail("input", n, NULL);
	return n > 0;
}

static long read_growing(char *to, size_t size)
{
	static bool whole;
	long n;

	while ((n = sys4(__NR_pread64, INPUT_FD, to, size, read_before + end)) == 0 && !whole)
		whole = !wait_for_growth(); /* what came before the end is still to be read */
	return n;
}

static bool fill(void)
{
	size_t room = sizeof buffer - end;
	long n = options.index ? read_growing(buffer + end, room < WINDOW ? room : WINDOW)
			       : sys_read(INPUT_FD, buffer + end, room);

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

bool stream_skip(uint64_t size)
{
	size_t n;

	if (options.index && size > end - begin) { /* the last byte shows that all are there */
		if (size > INT64_MAX - stream_position())
			return false;
		read_before += begin + size - 1;
		begin = end = 0;
		size = 1;
	}
	for (; size; size -= n)
		if (!stream_take(size, &n))
			return false;
	return true;
}

uint64_t stream_position(void)
{
	return read_before + begin;
}
