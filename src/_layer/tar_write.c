/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers: ustar where it does, with an extended header before it for what does not fit (pax(1)). So
 * that the same content always gives the same bytes, nothing else is ever written: whole seconds, no
 * names of owners, records in the order of their keys.
 */
#include "layer.h"

enum {
	BUFFER_SIZE = 1 << 18,
	NAME_FIELD = 100,
	PREFIX_FIELD = 155,
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
	EXTENDED_NAME_MAX = 80,
};

static char buffer[BUFFER_SIZE];
static size_t used;
static struct region records;

void output_flush(void)
{
	for (size_t done = 0; done < used;) {
		long n = sys_write(OUTPUT_FD, buffer + done, used - done);

		if (n <= 0)
			fail("output", n, NULL);
		done += (size_t)n;
	}
	used = 0;
}

char *output_room(size_t *ret_size)
{
	if (used == sizeof buffer)
		output_flush();
	*ret_size = sizeof buffer - used;
	return buffer + used;
}

void output_done(size_t size)
{
	used += size;
}

void output_bytes(const char *bytes, uint64_t size)
{
	while (size) {
		size_t room;
		char *to = output_room(&room);
		size_t n = size < room ? (size_t)size : room;

		if (bytes) {
			memcpy(to, bytes, n);
			bytes += n;
		} else {
			memset(to, 0, n);
		}
		output_done(n);
		size -= n;
	}
}

void output_padding(uint64_t size)
{
	output_bytes(NULL, -size % BLOCK);
}

void output_end(void)
{
	output_bytes(NULL, 2ull * BLOCK);
	output_flush();
}

/* false: it does not fit, and the field is 0 */
static bool put_octal(char *field, size_t size, uint64_t value)
{
	bool fits = value >> 3 * (size - 1) == 0;

	if (!fits)
		value = 0;
	for (size_t i = size - 1; i-- > 0; value >>= 3)
		field[i] = (char)('0' + (value & 7));
	field[size - 1] = '\0';
	return fits;
}

static void add_bytes(const char *bytes, size_t size)
{
	memcpy(region_add(&records, size), bytes, size);
}

/* "LENGTH KEY=VALUE\n": the length counts its own digits. */
void pax_record(const char *prefix, const char *key, const char *value, size_t size)
{
	char digits[24];
	size_t rest = text_length(prefix) + text_length(key) + size + 3, length = rest;

	for (size_t before = 0; before != length;) {
		before = length;
		(void)number_append(digits, digits + sizeof digits, length);
		length = rest + text_length(digits);
	}
	add_bytes(digits, text_length(digits));
	add_bytes(" ", 1);
	add_bytes(prefix, text_length(prefix));
	add_bytes(key, text_length(key));
	add_bytes("=", 1);
	add_bytes(value, size);
	add_bytes("\n", 1);
	if (records.used > options.header)
		fail_limit("header");
}

static void pax_number(const char *key, uint64_t magnitude, bool negative)
{
	char text[24] = "-";

	(void)number_append(text + negative, text + sizeof text, magnitude);
	pax_record("", key, text, text_length(text));
}

static void put_sum(char *header)
{
	uint64_t sum = 0;

	memset(header + AT_SUM, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)header[i];
	(void)put_octal(header + AT_SUM, 7, sum);
}

static void put_magic(char *header)
{
	static const char magic[] = { 'u', 's', 't', 'a', 'r', '\0', '0', '0' };

	memcpy(header + AT_MAGIC, magic, sizeof magic);
	(void)put_octal(header + AT_MAJOR, 8, 0);
	(void)put_octal(header + AT_MINOR, 8, 0);
}

/* Where the name is cut into prefix and name, or 0. */
static size_t split(const char *name, size_t length)
{
	size_t from = length > NAME_FIELD ? length - NAME_FIELD - 1 : 0;

	for (size_t at = from ? from : 1; at <= PREFIX_FIELD && at + 1 < length; at++)
		if (name[at] == '/')
			return at;
	return 0;
}

static bool put_name(char *header, const char *name, size_t length)
{
	size_t cut;

	if (length <= NAME_FIELD) {
		memcpy(header, name, length);
		return true;
	}
	cut = split(name, length);
	if (cut) {
		memcpy(header + AT_PREFIX, name, cut);
		memcpy(header, name + cut + 1, length - cut - 1);
		return true;
	}
	memcpy(header, name, NAME_FIELD);
	return false;
}

static void output_extended(const char *name)
{
	static const char folder[] = "PaxHeaders.0/";
	char header[BLOCK] = { 0 };
	const char *base = base_of(name);
	size_t length = text_length(base);

	memcpy(header, folder, sizeof folder - 1);
	memcpy(header + sizeof folder - 1, base,
	       length < EXTENDED_NAME_MAX ? length : EXTENDED_NAME_MAX);
	(void)put_octal(header + AT_MODE, 8, 0644);
	(void)put_octal(header + AT_UID, 8, 0);
	(void)put_octal(header + AT_GID, 8, 0);
	(void)put_octal(header + AT_SIZE, 12, records.used);
	(void)put_octal(header + AT_MTIME, 12, 0);
	header[AT_TYPE] = 'x';
	put_magic(header);
	put_sum(header);
	output_bytes(header, BLOCK);
	output_bytes(records.base, records.used);
	output_padding(records.used);
}

/* After the records of its attributes, which come first in the order of keys. */
void output_header(const struct header *entry)
{
	char header[BLOCK] = { 0 };
	size_t name_length = text_length(entry->name);
	size_t link_length = entry->link ? text_length(entry->link) : 0;
	bool past = entry->mtime < 0;

	(void)put_octal(header + AT_MODE, 8, entry->mode);
	put_magic(header);
	if (!put_octal(header + AT_GID, 8, entry->gid))
		pax_number("gid", entry->gid, false);
	memcpy(header + AT_LINK, entry->link ? entry->link : "",
	       link_length < NAME_FIELD ? link_length : NAME_FIELD);
	if (link_length > NAME_FIELD)
		pax_record("", "linkpath", entry->link, link_length);
	if (!put_octal(header + AT_MTIME, 12, past ? 0 : (uint64_t)entry->mtime) || past)
		pax_number("mtime", past ? -(uint64_t)entry->mtime : (uint64_t)entry->mtime, past);
	if (!put_name(header, entry->name, name_length))
		pax_record("", "path", entry->name, name_length);
	if (!put_octal(header + AT_SIZE, 12, entry->size))
		pax_number("size", entry->size, false);
	if (!put_octal(header + AT_UID, 8, entry->uid))
		pax_number("uid", entry->uid, false);
	if (!put_octal(header + AT_MAJOR, 8, entry->major) ||
	    !put_octal(header + AT_MINOR, 8, entry->minor))
		fail("device-number", 0, NULL);
	header[AT_TYPE] = entry->type;
	put_sum(header);
	if (records.used)
		output_extended(entry->name);
	region_empty(&records);
	output_bytes(header, BLOCK);
}
