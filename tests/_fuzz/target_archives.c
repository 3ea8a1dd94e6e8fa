/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Archives of strangers, read as src/_layer reads them: whatever they hold, the reader stays in its
 * memory, keeps to its limits, and hands out nothing that the rest of the program may not see.
 *
 * Input: a byte for the sizes of the pieces in which the stream comes, then the stream.
 */
#include "layer.h"

#include <setjmp.h>
#include <string.h>

#include "program.h"

enum { ENTRIES_MAX = 200 };

struct options options;
struct counts counts;
static const uint8_t *input;
static size_t left, piece;
static jmp_buf end;

static long read_input(long fd, char *to, size_t size)
{
	size_t n = left < size ? left : size;

	expect(fd == INPUT_FD && size, "a read of something else");
	if (piece && n > piece)
		n = piece;
	memcpy(to, input, n);
	input += n;
	left -= n;
	return (long)n;
}

long sys_call6(long n, long a, long b, long c, long d, long e, long f)
{
	(void)d;
	(void)e;
	(void)f;
	switch (n) {
	case __NR_read:
		return read_input(a, (char *)(uintptr_t)b, (size_t)c);
	case __NR_mmap:
		return map_memory(NULL, (size_t)b);
	case __NR_mremap:
		return map_memory((const void *)(uintptr_t)a, (size_t)c);
	default:
		expect(false, "a call that reading needs not");
		return 0;
	}
}

void report_entry(const char *name, size_t length)
{
	counts.entries++;
	report_part(name, length);
}

void report_part(const char *name, size_t length)
{
	volatile char sum = 0;

	for (size_t i = 0; i < length; i++)
		sum = (char)(sum + name[i]);
}

_Noreturn void fail(const char *code, long err, const char *detail)
{
	expect(*code && err <= 0 && (!detail || strlen(detail) < PATH_SIZE), "an odd failure");
	longjmp(end, 1);
}

_Noreturn void fail_limit(const char *limit)
{
	fail("limit", 0, limit);
}

static void check_path(const char *name, size_t size)
{
	static char path[PATH_SIZE];
	size_t length;

	(void)path_clean(name, size, path, &length);
	expect(length && length < PATH_SIZE && path[0] == '/' && strlen(path) == length,
	       "a path that is none");
	expect(length == 1 || path[length - 1] != '/', "a path with a slash at its end");
	for (const char *at = path; length > 1 && at; at = strchr(at + 1, '/'))
		expect(at[1] != '/' && strncmp(at, "/./", 3) && strncmp(at, "/../", 4) &&
			       strcmp(at, "/.") && strcmp(at, "/.."),
		       "a path that is not clean");
	expect(parent_length(path) <= length && !strchr(base_of(path), '/'), "another parent");
}

static void check_xattrs(void)
{
	struct pax_xattr xattr;
	size_t at = 0;

	while (pax_xattr(&at, &xattr)) {
		expect(strlen(xattr.name) < XATTR_NAME_SIZE, "a long name of an attribute");
		report_part(xattr.value, xattr.size);
	}
}

static void check_extents(const struct entry *entry)
{
	uint64_t sum = 0, last = 0;

	for (size_t i = 0; i < entry->n_extents; i++) {
		const struct extent *extent = &entry->extents[i];

		expect(extent->offset >= last && extent->size <= entry->size &&
			       extent->offset <= entry->size - extent->size,
		       "a part out of order, or past the end");
		last = extent->offset + extent->size;
		sum += extent->size;
	}
	expect(sum == entry->data, "parts that are not the data");
}

static void check_entry(struct entry *entry)
{
	uint64_t data = entry->data, seen = 0;
	const char *bytes;
	size_t n;

	expect(entry->type >= '0' && entry->type <= '6', "another type");
	expect(entry->mode <= 07777, "more than a mode");
	expect(entry->mtime_ns < 1000000000 && entry->atime_ns < 1000000000, "a long second");
	expect(entry->type == '0' || entry->type == '1' || !data, "data of what has none");
	expect(!entry->sparse || entry->type == '0', "a sparse link");
	if (entry->sparse)
		check_extents(entry);
	else
		expect(entry->size == data, "another size");
	report_part(entry->link, entry->link_size);
	check_xattrs();
	while (data % 2 && (bytes = tar_data(entry, &n))) {
		report_part(bytes, n);
		seen += n;
	}
	expect(!seen || seen == data, "not all data");
	check_path(entry->name, entry->name_size);
	tar_skip(entry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct entry entry;

	if (size < 1)
		return -1;
	piece = data[0] < 128 ? 0 : (size_t)(data[0] - 127) * 37;
	input = data + 1;
	left = size - 1;
	counts = (struct counts){ 0 };
	options = (struct options){
		.entries = ENTRIES_MAX, .header = 1 << 16, .path = PATH_SIZE, .memory = 1 << 20
	};
	if (!setjmp(end)) {
		while (tar_next(&entry))
			check_entry(&entry);
		expect(!left, "the input is not read to its end");
	}
	expect(counts.entries <= ENTRIES_MAX + 1, "more entries than are allowed");
	program_forget();
	return 0;
}
