/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The archive's headers: v7, ustar, pax and GNU (tar(5) of libarchive, GNU tar's manual). What an
 * extended header says is about the next file and about nothing in between, such as the header of a
 * long name: readers that disagree here can be made to see different files (CVE-2025-62518).
 */
#include "layer.h"

enum {
	AT_NAME = 0,
	AT_MODE = 100,
	AT_UID = 108,
	AT_GID = 116,
	AT_SIZE = 124,
	AT_MTIME = 136,
	AT_SUM = 148,
	AT_TYPE = 156,
	AT_LINK = 157,
	AT_MAGIC = 257,
	AT_MAJOR = 329,
	AT_MINOR = 337,
	AT_PREFIX = 345,
	NAME_FIELD = 100,
	ID_FIELD = 8,
	SIZE_FIELD = 12,
	PREFIX_FIELD = 155,
};

/* Of GNU's long names; they keep their room from entry to entry. */
static struct region long_name, long_link;
static bool has_long_name, has_long_link;
static char header[BLOCK];
static char ustar_name[PREFIX_FIELD + 1 + NAME_FIELD];

_Noreturn void tar_truncated(void)
{
	fail("truncated", 0, NULL);
}

static size_t field_length(const char *field, size_t size)
{
	size_t length = 0;

	while (length < size && field[length])
		length++;
	return length;
}

/* Two's complement in base 256; what does not fit becomes the number nearest to it. */
static int64_t base_256(const char *field, size_t size)
{
	bool negative = field[0] & 0x40;
	uint64_t value = negative ? ~0ull : 0;

	for (size_t i = 0; i < size; i++) {
		unsigned byte = (unsigned char)field[i];

		if (i == 0)
			byte = negative ? byte | 0x80 : byte & 0x7f;
		if (value >> 55 != (negative ? 0x1ff : 0))
			return negative ? INT64_MIN : INT64_MAX;
		value = value << 8 | byte;
	}
	return (int64_t)value;
}

/* Octal with blanks around it, or base 256. false: neither; an empty field is 0. */
bool tar_number(const char *field, size_t size, int64_t *ret)
{
	size_t at = 0;

	*ret = 0;
	if (field[0] & 0x80) {
		*ret = base_256(field, size);
		return true;
	}
	while (at < size && field[at] == ' ')
		at++;
	for (; at < size && field[at] >= '0' && field[at] <= '7'; at++)
		*ret = *ret << 3 | (field[at] - '0');
	for (; at < size; at++)
		if (field[at] != ' ' && field[at] != '\0')
			return false;
	return true;
}

static int64_t number(size_t at, size_t size, const char *code)
{
	int64_t value;

	if (!tar_number(header + at, size, &value))
		fail(code, 0, NULL);
	return value;
}

static uint64_t natural(size_t at, size_t size, const char *code)
{
	int64_t value = number(at, size, code);

	if (value < 0 || value == INT64_MAX)
		fail(code, 0, NULL);
	return (uint64_t)value;
}

/* false: the input ends here */
static bool read_block(void)
{
	size_t there;
	const char *block = stream_need(BLOCK, &there);

	if (block)
		memcpy(header, block, BLOCK);
	else if (there)
		tar_truncated();
	return block;
}

/* The sum of the bytes, as the standard has it or as if char were signed. */
static bool is_header(const char *block)
{
	int64_t value, plain = 8L * ' ', high = 0;

	for (size_t i = 0; i < BLOCK; i++) {
		unsigned char byte = (unsigned char)block[i];

		if (i - AT_SUM < 8)
			continue;
		plain += byte;
		high += byte >> 7;
	}
	return tar_number(block + AT_SUM, 8, &value) &&
	       (value == plain || value == plain - 256 * high);
}

static bool is_zero(const char *block)
{
	for (size_t i = 0; i < BLOCK; i++)
		if (block[i])
			return false;
	return true;
}

static uint64_t padding_of(uint64_t size)
{
	return -size % BLOCK;
}

static void skip(uint64_t size)
{
	if (!stream_skip(size))
		tar_truncated();
}

static const char *taken(uint64_t at_most, size_t *ret_size)
{
	const char *bytes = stream_take(at_most, ret_size);

	if (bytes)
		return bytes;
	tar_truncated();
}

void tar_exact(char *to, uint64_t size)
{
	size_t n;

	for (uint64_t left = size; left; to += n, left -= n) {
		const char *bytes = taken(left, &n);

		memcpy(to, bytes, n);
	}
	skip(padding_of(size));
}

static uint64_t extended_size(void)
{
	uint64_t size = natural(AT_SIZE, SIZE_FIELD, "invalid-size");

	if (size > options.header)
		fail_limit("header");
	return size;
}

static void read_long(struct region *region, bool *ret_present)
{
	uint64_t size = extended_size();

	region_empty(region);
	tar_exact(region_add(region, (size_t)size), size);
	region->used = field_length(region->base, (size_t)size);
	*ret_present = true;
}

/* true: the header is of something else than a file, and was dealt with */
static bool read_extended(void)
{
	switch (header[AT_TYPE]) {
	case 'x':
		pax_read(extended_size());
		return true;
	case 'g': /* of git archive, for one: defaults that no layer needs */
		skip(extended_size() + padding_of(extended_size()));
		return true;
	case 'L':
		read_long(&long_name, &has_long_name);
		return true;
	case 'K':
		read_long(&long_link, &has_long_link);
		return true;
	default:
		return false;
	}
}

static void take_names(struct entry *entry)
{
	size_t length = field_length(header + AT_NAME, NAME_FIELD), prefix = 0;

	if (bytes_equal(header + AT_MAGIC, "ustar", 6)) { /* GNU's magic has no NUL there */
		prefix = field_length(header + AT_PREFIX, PREFIX_FIELD);
		memcpy(ustar_name, header + AT_PREFIX, prefix);
		if (prefix)
			ustar_name[prefix++] = '/';
	}
	memcpy(ustar_name + prefix, header + AT_NAME, length);
	entry->name = ustar_name;
	entry->name_size = prefix + length;
	entry->link = header + AT_LINK;
	entry->link_size = field_length(header + AT_LINK, NAME_FIELD);
	if (has_long_name) {
		entry->name = long_name.base;
		entry->name_size = long_name.used;
	}
	if (has_long_link) {
		entry->link = long_link.base;
		entry->link_size = long_link.used;
	}
	has_long_name = has_long_link = false;
}

static void take_pax(struct entry *entry, const struct pax *pax)
{
	if (pax->path) {
		entry->name = pax->path;
		entry->name_size = pax->path_size;
	}
	if (pax->sparse_name) {
		entry->name = pax->sparse_name;
		entry->name_size = pax->sparse_name_size;
	}
	if (pax->link) {
		entry->link = pax->link;
		entry->link_size = pax->link_size;
	}
	if (pax->has_mtime) {
		entry->mtime = pax->mtime;
		entry->mtime_ns = pax->mtime_ns;
	}
	if (pax->has_atime) {
		entry->has_atime = true;
		entry->atime = pax->atime;
		entry->atime_ns = pax->atime_ns;
	}
}

/* Before anything is read that is not of the header: `header` stays as it is until then. */
static void take_numbers(struct entry *entry, const struct pax *pax)
{
	entry->data = pax->has_size ? pax->size : natural(AT_SIZE, SIZE_FIELD, "invalid-size");
	if (entry->data > INT64_MAX - BLOCK)
		fail("invalid-size", 0, NULL);
	entry->mode = (uint32_t)number(AT_MODE, ID_FIELD, "malformed-header") & 07777;
	entry->uid = pax->has_uid ? pax->uid : natural(AT_UID, ID_FIELD, "invalid-id");
	entry->gid = pax->has_gid ? pax->gid : natural(AT_GID, ID_FIELD, "invalid-id");
	if (!pax->has_mtime)
		entry->mtime = number(AT_MTIME, SIZE_FIELD, "malformed-header");
}

static char type_of(struct entry *entry)
{
	switch (header[AT_TYPE]) {
	case '\0': /* as the oldest archives have directories, too */
		return entry->directory_name ? '5' : '0';
	case '0':
	case '7':
	case 'S':
		return '0';
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
		return header[AT_TYPE];
	default: {
		char type[2] = { header[AT_TYPE], '\0' };

		fail("unknown-type", 0, type);
	}
	}
}

/*
 * Whatever its size says, only a regular file has data; so do GNU tar, Go and Python read it. Some
 * writers of pax archives repeat the data at a hard link, which no header looks like.
 */
static bool has_data(const struct entry *entry)
{
	const char *next;
	size_t there;

	if (entry->type != '1' || entry->data == 0)
		return entry->type == '0';
	next = stream_peek(BLOCK, &there);
	return next && !is_header(next) && !is_zero(next);
}

static void take_content(struct entry *entry, const struct pax *pax)
{
	bool old = header[AT_TYPE] == 'S';

	if (!has_data(entry))
		entry->data = 0;
	entry->padding = padding_of(entry->data);
	entry->size = entry->data;
	if (entry->type != '0' || (!old && !pax->sparse))
		return;
	if (old) {
		sparse_old(entry, header);
	} else {
		if (!pax->has_real_size)
			fail("malformed-sparse", 0, NULL);
		entry->size = pax->real_size;
		if (pax->sparse_map_in_data)
			sparse_from_data(entry);
	}
	sparse_end(entry);
}

static void take_entry(struct entry *entry)
{
	struct pax pax;

	*entry = (struct entry){ 0 };
	take_names(entry);
	report_entry(entry->name, entry->name_size);
	(void)pax_parse(&pax);
	take_pax(entry, &pax);
	report_part(entry->name, entry->name_size);
	if (counts.entries > options.entries)
		fail_limit("entries");
	entry->directory_name = entry->name_size && entry->name[entry->name_size - 1] == '/';
	entry->type = type_of(entry);
	take_numbers(entry, &pax);
	if (entry->type == '3' || entry->type == '4') {
		entry->major = natural(AT_MAJOR, ID_FIELD, "device-number");
		entry->minor = natural(AT_MINOR, ID_FIELD, "device-number");
	}
	take_content(entry, &pax);
}

/* To the end of the input, so that who writes it never sees it closed. */
static void read_rest(void)
{
	size_t n;

	while (stream_take(UINT64_MAX, &n))
		counts.trailing += n;
}

bool tar_next(struct entry *entry)
{
	pax_forget();
	for (bool extended = false;; extended = true) {
		if (!read_block()) { /* without the two blocks at the end: many do so */
			if (extended)
				tar_truncated();
			return false;
		}
		if (is_zero(header)) {
			if (extended)
				tar_truncated();
			if (read_block() && !is_zero(header))
				fail("lone-zero-block", 0, NULL);
			read_rest();
			return false;
		}
		if (!is_header(header))
			fail("checksum", 0, NULL);
		if (read_extended())
			continue;
		take_entry(entry);
		return true;
	}
}

const char *tar_data(struct entry *entry, size_t *ret_size)
{
	const char *bytes;

	if (entry->data == 0)
		return NULL;
	bytes = taken(entry->data, ret_size);
	entry->data -= *ret_size;
	return bytes;
}

void tar_skip(struct entry *entry)
{
	skip(entry->data);
	skip(entry->padding);
	entry->data = entry->padding = 0;
}
