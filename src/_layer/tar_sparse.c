/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps of sparse files: which parts of a file are in the archive, in order. Four formats (GNU tar's
 * manual, "Storing Sparse Files"): in the header and blocks after it; in records of the extended
 * header (0.0, 0.1); in decimal lines at the beginning of the data (1.0).
 */
#include "layer.h"

enum {
	IN_HEADER = 4,
	HEADER_MAP = 386,
	HEADER_MORE = 482,
	HEADER_REAL_SIZE = 483,
	IN_BLOCK = 21,
	BLOCK_MORE = 504,
	FIELD = 12,
	DIGITS_MAX = 20,
};

static struct region map;

void sparse_begin(void)
{
	region_empty(&map);
}

void sparse_add(uint64_t offset, uint64_t size)
{
	struct extent *extent;

	if (map.used + sizeof *extent > options.header)
		fail_limit("header");
	extent = region_add(&map, sizeof *extent);
	*extent = (struct extent){ offset, size };
}

static uint64_t positive(const char *field)
{
	int64_t number;

	if (!tar_number(field, FIELD, &number) || number < 0)
		fail("malformed-sparse", 0, NULL);
	return (uint64_t)number;
}

static void add_fields(const char *fields, int n)
{
	for (int i = 0; i < n; i++, fields += 2L * FIELD) {
		if (fields[0] == '\0' && fields[FIELD] == '\0')
			return;
		sparse_add(positive(fields), positive(fields + FIELD));
	}
}

/* The whole block was read; what `more` says follows before the data. */
void sparse_old(struct entry *entry, const char *header)
{
	char block[BLOCK];
	bool more = header[HEADER_MORE];

	sparse_begin();
	entry->size = positive(header + HEADER_REAL_SIZE);
	add_fields(header + HEADER_MAP, IN_HEADER);
	while (more) {
		tar_exact(block, BLOCK);
		more = block[BLOCK_MORE];
		add_fields(block, IN_BLOCK);
	}
}

/* One decimal line. */
struct lines {
	struct entry *entry;
	char block[BLOCK];
	size_t at;
	uint64_t blocks;
};

static char next_byte(struct lines *lines)
{
	if (lines->at == BLOCK) {
		if (lines->entry->data < BLOCK)
			fail("malformed-sparse", 0, NULL);
		if (++lines->blocks * BLOCK > options.header)
			fail_limit("header");
		tar_exact(lines->block, BLOCK);
		lines->entry->data -= BLOCK;
		lines->at = 0;
	}
	return lines->block[lines->at++];
}

static uint64_t next_line(struct lines *lines)
{
	uint64_t number = 0;

	for (int digits = 0;; digits++) {
		char c = next_byte(lines);

		if (c == '\n' && digits)
			return number;
		if (c < '0' || c > '9' || digits == DIGITS_MAX - 1)
			fail("malformed-sparse", 0, NULL);
		number = number * 10 + (uint64_t)(c - '0');
	}
}

void sparse_from_data(struct entry *entry)
{
	struct lines lines = { .entry = entry, .at = BLOCK };
	uint64_t n;

	sparse_begin();
	n = next_line(&lines);
	for (; n > 0; n--) {
		uint64_t offset = next_line(&lines);

		sparse_add(offset, next_line(&lines));
	}
}

/* The parts must be in order, within the file, and together what is in the archive. */
void sparse_end(struct entry *entry)
{
	const struct extent *extents = (const void *)map.base;
	size_t n = map.used / sizeof *extents;
	uint64_t end = 0, sum = 0;

	for (size_t i = 0; i < n; i++) {
		if (extents[i].offset < end || extents[i].offset > entry->size ||
		    extents[i].size > entry->size - extents[i].offset)
			fail("malformed-sparse", 0, NULL);
		end = extents[i].offset + extents[i].size;
		sum += extents[i].size;
	}
	if (sum != entry->data)
		fail("malformed-sparse", 0, NULL);
	entry->sparse = true;
	entry->n_extents = n;
	entry->extents = extents;
}
