/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records for the caller: a length of four bytes, then fields that are separated by NULs. The first
 * says which record it is:
 *
 *     error    code  errno  entry  detail  name
 *     warning  code  errno  entry  count  name     (the first entry; each code once)
 *     implicit name        a directory without an entry of its own
 *     copied   name        a file of a lower layer that a hard link needed
 *     done     name=value ...
 *
 * A name is always last and ends with the record.
 */
#include "layer.h"

enum {
	WARNINGS_MAX = 24,
	NAMES_MAX =
		65536, /* bytes of names that are listed, before it is only said that there are more */
	SHOWN_MAX = 4095,
};

struct warning {
	const char *code;
	long err;
	uint64_t entry, count;
	char name[NAME_SIZE];
	size_t length;
};

struct options options;
struct counts counts;
static struct warning warnings[WARNINGS_MAX];
static const char *entry_name = "";
static size_t entry_length;
static struct region listed;
static bool more_listed;

void report_entry(const char *name, size_t length)
{
	counts.entries++;
	report_part(name, length);
}

void report_part(const char *name, size_t length)
{
	entry_name = name;
	entry_length = length < SHOWN_MAX ? length : SHOWN_MAX;
}

static void write_whole(const char *bytes, size_t size)
{
	while (size) {
		long n = sys_write(REPORT_FD, bytes, size);

		if (n <= 0)
			sys_exit(2);
		bytes += n;
		size -= (size_t)n;
	}
}

struct record {
	char bytes[PATH_SIZE + 512];
	size_t size;
};

static void record_bytes(struct record *record, const char *bytes, size_t size)
{
	size_t room = sizeof record->bytes - record->size;

	if (size > room)
		size = room;
	memcpy(record->bytes + record->size, bytes, size);
	record->size += size;
}

static void record_text(struct record *record, const char *text)
{
	record_bytes(record, text, text_length(text) + 1);
}

static void record_number(struct record *record, uint64_t number)
{
	char digits[24];

	(void)number_append(digits, digits + sizeof digits, number);
	record_text(record, digits);
}

static void record_begin(struct record *record, const char *kind)
{
	record->size = sizeof(uint32_t);
	record_text(record, kind);
}

static void record_end(struct record *record)
{
	uint32_t length = (uint32_t)(record->size - sizeof length);

	memcpy(record->bytes, &length, sizeof length);
	write_whole(record->bytes, record->size);
}

_Noreturn void fail(const char *code, long err, const char *detail)
{
	static struct record record;

	record_begin(&record, "error");
	record_text(&record, code);
	record_number(&record, (uint64_t)-err);
	record_number(&record, counts.entries);
	record_text(&record, detail ? detail : "");
	record_bytes(&record, entry_name, entry_length);
	record_end(&record);
	sys_exit(1);
}

_Noreturn void fail_limit(const char *limit)
{
	fail("limit", 0, limit);
}

void warn(const char *code, long err)
{
	struct warning *warning = warnings;

	while (warning < warnings + WARNINGS_MAX && warning->code &&
	       !text_equal(warning->code, code))
		warning++;
	if (warning == warnings + WARNINGS_MAX)
		return;
	if (warning->count++)
		return;
	warning->code = code;
	warning->err = err;
	warning->entry = counts.entries;
	warning->length = entry_length < NAME_SIZE ? entry_length : NAME_SIZE;
	memcpy(warning->name, entry_name, warning->length);
}

void report_name(const char *kind, const char *name, size_t length)
{
	size_t kind_size = text_length(kind) + 1;
	uint32_t size = (uint32_t)(kind_size + length);
	char *at;

	if (listed.used + size > NAMES_MAX) {
		more_listed = true;
		return;
	}
	at = region_add(&listed, sizeof size + size);
	memcpy(at, &size, sizeof size);
	memcpy(at + sizeof size, kind, kind_size);
	memcpy(at + sizeof size + kind_size, name, length);
}

_Noreturn void report_done(void)
{
	static struct record record;
	static const char *const names[] = { "entries",   "files", "directories", "symlinks",
					     "hardlinks", "fifos", "devices",     "whiteouts",
					     "opaque",    "bytes", "trailing",    "root" };
	const uint64_t values[] = { counts.entries,  counts.files,     counts.directories,
				    counts.symlinks, counts.hardlinks, counts.fifos,
				    counts.devices,  counts.whiteouts, counts.opaque,
				    counts.bytes,    counts.trailing,  counts.root };

	write_whole(listed.base, listed.used);
	for (struct warning *warning = warnings; warning < warnings + WARNINGS_MAX && warning->code;
	     warning++) {
		record_begin(&record, "warning");
		record_text(&record, warning->code);
		record_number(&record, (uint64_t)-warning->err);
		record_number(&record, warning->entry);
		record_number(&record, warning->count);
		record_bytes(&record, warning->name, warning->length);
		record_end(&record);
	}
	record_begin(&record, "done");
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		record_text(&record, names[i]);
		record_number(&record, values[i]);
	}
	record_text(&record, "more");
	record_number(&record, more_listed);
	record_end(&record);
	sys_exit(0);
}
