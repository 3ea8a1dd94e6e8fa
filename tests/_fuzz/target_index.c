/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer of indexes (src/_layer/index.c) on trees of any form: what it writes is read again by
 * the layout of fs/erofs/erofs_fs.h, never outside of the image, and is that tree.
 *
 * Input: which call fails, and records of names (take_name()), each in one of the directories before.
 */
#include "layer.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

enum {
	NAMES_MAX = 100,
	FIRST_FD = 100,
	IMAGE_MAX = 1 << 24,
	XATTRS_EACH = 3,
	INODE = 64,
	XATTRS_HEAD = 12,
	DIRENT = 12,
};

struct file {
	uint32_t kind, mode, uid, gid, links, mtime_ns;
	int64_t mtime;
	uint64_t size, position;
	struct __kernel_timespec set[2]; /* by the writer, which uses times for notes */
	bool is_set, seen;
	uint64_t nid;
	size_t cursor;
	unsigned n_xattrs;
	struct {
		const char *name;
		uint16_t size;
	} xattrs[XATTRS_EACH];
};

struct label {
	size_t parent, file;
	char name[NAME_SIZE];
};

static const char *const xattr_names[] = {
	"user.k",
	"security.capability",
	"system.posix_acl_access",
	"system.posix_acl_default",
	"user.overlay.opaque",
	"trusted.of.the.host",
};

struct options options;
struct counts counts;
static const uint8_t *input;
static size_t left, n_files, n_labels, calls_left;
static struct file files[NAMES_MAX];
static struct label labels[NAMES_MAX];
static uint8_t *image;
static size_t image_size;
static jmp_buf end;

static uint64_t take(int bytes)
{
	uint64_t value = 0;

	for (; bytes; bytes--) {
		value = value << 8 | (left ? *input : 0);
		input += left != 0;
		left -= left != 0;
	}
	return value;
}

static size_t directory_of(uint8_t number)
{
	size_t n = 0, at;

	for (size_t i = 0; i < n_files; i++)
		n += files[i].kind == S_DIRECTORY;
	n = number % n;
	for (at = 0; files[at].kind != S_DIRECTORY || n--; at++)
		;
	return at;
}

static void take_xattrs(struct file *file, unsigned n)
{
	bool used[sizeof xattr_names / sizeof *xattr_names] = { false };

	for (; n && file->n_xattrs < XATTRS_EACH; n--) {
		size_t which = take(1) % (sizeof used / sizeof *used);
		uint16_t size = (uint16_t)take(2);

		if (used[which])
			continue;
		used[which] = true;
		file->xattrs[file->n_xattrs].name = xattr_names[which];
		file->xattrs[file->n_xattrs++].size = size;
	}
}

static void take_file(uint8_t head)
{
	static const uint32_t kinds[] = { S_REGULAR, S_DIRECTORY, S_LINK, S_FIFO, S_CHARACTER };
	struct file *file = &files[n_files++];

	*file = (struct file){ .kind = kinds[(head & 7) % 5], .links = 0 };
	file->mode = file->kind == S_LINK ? 0777 : (uint32_t)take(2) & 07777;
	file->uid = (uint32_t)take(2);
	file->gid = file->uid / 3;
	file->mtime = (int8_t)take(1) * 1000000007L;
	file->mtime_ns = (uint32_t)file->uid * 1000;
	file->size = take(2) << take(1) % 33;
	file->position = take(3) * BLOCK;
	if (file->kind == S_LINK)
		file->size = file->size % (PATH_SIZE - 1) + 1;
	if (file->kind == S_REGULAR || file->kind == S_DIRECTORY)
		take_xattrs(file, head >> 3 & 3);
}

static bool is_alone(const struct label *label)
{
	for (size_t i = 1; i < n_labels; i++)
		if (labels[i].parent == label->parent && !strcmp(labels[i].name, label->name))
			return false;
	return strcmp(label->name, ".") && strcmp(label->name, "..");
}

/* Kind and number of attributes; directory; length and letter of the name; then the file, unless it
 * is another name of the last one. */
static void take_name(void)
{
	struct label *label = &labels[n_labels];
	uint8_t head = (uint8_t)take(1);
	size_t length;
	char letter;

	label->parent = directory_of((uint8_t)take(1));
	length = take(1) % (NAME_SIZE - 1) + 1;
	letter = (char)take(1);
	if (letter == '\0' || letter == '/')
		letter = 'x';
	memset(label->name, letter, length);
	label->name[length] = '\0';
	if (!is_alone(label))
		return;
	if ((head & 7) < 5 || n_files == 1 || files[n_files - 1].kind == S_DIRECTORY)
		take_file(head);
	label->file = n_files - 1;
	files[label->file].links++;
	n_labels++;
}

static size_t find(size_t parent, const char *name, size_t length)
{
	if (length == 1 && name[0] == '.')
		return parent;
	for (size_t i = 1; i < n_labels; i++)
		if (labels[i].parent == parent && strlen(labels[i].name) == length &&
		    !memcmp(labels[i].name, name, length))
			return labels[i].file;
	return NAMES_MAX;
}

static struct file *file_of(long fd)
{
	expect(fd >= FIRST_FD && (size_t)fd < FIRST_FD + n_files, "a descriptor that is not open");
	return &files[fd - FIRST_FD];
}

static struct file *named(long directory, const char *name)
{
	size_t at = find((size_t)(file_of(directory) - files), name, strlen(name));

	return at == NAMES_MAX ? NULL : &files[at];
}

static long open_path(const char *path)
{
	size_t at = 0;

	for (const char *part = path + 1; *part;) {
		size_t length = strcspn(part, "/");

		at = find(at, part, length);
		if (at == NAMES_MAX)
			return -E_NOENT;
		part += length + (part[length] == '/');
	}
	return FIRST_FD + (long)at;
}

static long fake_statx(const struct file *file, struct statx *ret)
{
	if (!file)
		return -E_NOENT;
	memset(ret, 0, sizeof *ret);
	ret->stx_mode = (uint16_t)(file->kind | file->mode);
	ret->stx_uid = file->uid;
	ret->stx_gid = file->gid;
	ret->stx_nlink = file->links;
	ret->stx_size = file->size;
	ret->stx_mtime.tv_sec = file->is_set ? file->set[1].tv_sec : file->mtime;
	ret->stx_mtime.tv_nsec = file->mtime_ns;
	ret->stx_atime.tv_sec = file->is_set ? file->set[0].tv_sec : (int64_t)file->position;
	ret->stx_atime.tv_nsec = file->n_xattrs != 0;
	return 0;
}

static long fake_getdents(long fd, char *to, size_t size)
{
	struct file *file = file_of(fd);
	size_t used = 0, parent = (size_t)(file - files);

	for (; file->cursor < n_labels; file->cursor++) {
		const struct label *label = &labels[file->cursor];
		struct directory_entry *entry = (void *)(to + used);
		size_t room = (sizeof *entry + strlen(label->name) + 1 + 7) & ~(size_t)7;

		if (file->cursor == 0 || label->parent != parent)
			continue;
		if (used + room > size)
			break;
		entry->size = (uint16_t)room;
		entry->type = (uint8_t)(files[label->file].kind >> 12);
		strcpy(entry->name, label->name);
		used += room;
	}
	return (long)used;
}

static long fake_readlink(const struct file *file, char *to, size_t size)
{
	expect(file && file->kind == S_LINK && file->size < size, "no link, or little room");
	memset(to, 't', file->size);
	return (long)file->size;
}

static long fake_listxattr(const struct file *file, char *to, size_t size)
{
	size_t used = 0;

	for (unsigned i = 0; i < file->n_xattrs; i++) {
		size_t length = strlen(file->xattrs[i].name) + 1;

		expect(used + length <= size, "little room for names");
		memcpy(to + used, file->xattrs[i].name, length);
		used += length;
	}
	return (long)used;
}

static long fake_getxattr(const struct file *file, const char *name, char *to, size_t size)
{
	for (unsigned i = 0; i < file->n_xattrs; i++) {
		if (strcmp(file->xattrs[i].name, name))
			continue;
		expect(file->xattrs[i].size <= size, "little room for a value");
		memset(to, 'v', file->xattrs[i].size);
		return file->xattrs[i].size;
	}
	expect(false, "an attribute that is not there");
	return 0;
}

static long fake_utimensat(struct file *file, const struct __kernel_timespec *times)
{
	expect(file && file->links > 1 && file->kind != S_DIRECTORY, "times of something else");
	memcpy(file->set, times, sizeof file->set);
	file->is_set = true;
	return 0;
}

static long fake_write(long fd, const void *bytes, size_t size)
{
	expect(fd == OUTPUT_FD && size && image_size + size <= IMAGE_MAX, "an odd write");
	image = realloc(image, image_size + size);
	memcpy(image + image_size, bytes, size);
	image_size += size;
	return (long)size;
}

long sys_call6(long n, long a, long b, long c, long d, long e, long f)
{
	const char *name = (const char *)(uintptr_t)b;
	struct file *file;

	(void)e;
	(void)f;
	if (n != __NR_mmap && n != __NR_mremap && --calls_left == 0)
		return -E_IO;
	switch (n) {
	case __NR_mmap:
		return map_memory(NULL, (size_t)b);
	case __NR_mremap:
		return map_memory((const void *)(uintptr_t)a, (size_t)c);
	case __NR_openat:
		file = named(a, name);
		return file ? FIRST_FD + (file - files) : -E_NOENT;
	case __NR_openat2:
		expect(a == FIRST_FD && name[0] == '/', "a path from elsewhere");
		return open_path(name);
	case __NR_close:
		return file_of(a) ? 0 : -E_IO;
	case __NR_lseek:
		return (long)(file_of(a)->cursor = 0);
	case __NR_statx:
		return fake_statx(named(a, name), (struct statx *)(uintptr_t)e);
	case __NR_getdents64:
		return fake_getdents(a, (char *)(uintptr_t)b, (size_t)c);
	case __NR_readlinkat:
		return fake_readlink(named(a, name), (char *)(uintptr_t)c, (size_t)d);
	case __NR_flistxattr:
		return fake_listxattr(file_of(a), (char *)(uintptr_t)b, (size_t)c);
	case __NR_fgetxattr:
		return fake_getxattr(file_of(a), name, (char *)(uintptr_t)c, (size_t)d);
	case __NR_utimensat:
		return fake_utimensat(named(a, name), (const void *)(uintptr_t)c);
	case __NR_write:
		return fake_write(a, name, (size_t)c);
	default:
		expect(false, "a call that an index needs not");
		return 0;
	}
}

bool xattr_kept(const char *name)
{
	return strcmp(name, "trusted.of.the.host") != 0;
}

uint64_t stream_position(void)
{
	return 0;
}

_Noreturn void fail(const char *code, long err, const char *detail)
{
	(void)detail;
	expect(!strcmp(code, "unindexable") || err == -E_IO, "an odd failure");
	longjmp(end, 1);
}

_Noreturn void fail_limit(const char *limit)
{
	fail("unindexable", 0, limit);
}

/* What was written, read again. */

static uint64_t number(uint64_t at, size_t size)
{
	uint64_t value = 0;

	expect(at <= image_size && size <= image_size - at, "outside of the image");
	for (size_t i = size; i-- > 0;)
		value = value << 8 | image[at + i];
	return value;
}

static const char *bytes(uint64_t at, size_t size)
{
	expect(at <= image_size && size <= image_size - at, "outside of the image");
	return (const char *)image + at;
}

static bool all(const char *at, size_t size, char byte)
{
	for (size_t i = 0; i < size; i++)
		if (at[i] != byte)
			return false;
	return true;
}

/* By the format's prefixes, of which the one of the longer names has nothing behind it. */
static bool is_xattr(const struct file *file, unsigned i, uint8_t prefix, const char *rest,
		     size_t length)
{
	static const char *const prefixes[] = {
		[1] = "user.",
		[2] = "system.posix_acl_access",
		[3] = "system.posix_acl_default",
		[6] = "security.",
	};
	const char *name = file->xattrs[i].name, *text;

	expect(prefix < sizeof prefixes / sizeof *prefixes && prefixes[prefix], "a prefix");
	text = prefixes[prefix];
	return strlen(name) == strlen(text) + length && !strncmp(name, text, strlen(text)) &&
	       !memcmp(name + strlen(text), rest, length);
}

static void check_xattrs(const struct file *file, uint64_t at, uint64_t units)
{
	uint64_t stop = at + XATTRS_HEAD + (units - 1) * 4;
	unsigned n = 0, expected = 0;

	for (unsigned i = 0; i < file->n_xattrs; i++)
		expected += xattr_kept(file->xattrs[i].name);
	expect(all(bytes(at, XATTRS_HEAD), XATTRS_HEAD, 0), "shared attributes");
	for (at += XATTRS_HEAD; at < stop; n++) {
		size_t length = number(at, 1), size = number(at + 2, 2);
		uint8_t prefix = (uint8_t)number(at + 1, 1);
		const char *rest = bytes(at + 4, length + size);
		unsigned i = 0;

		while (i < file->n_xattrs && !is_xattr(file, i, prefix, rest, length))
			i++;
		expect(i < file->n_xattrs && file->xattrs[i].size == size, "another attribute");
		expect(all(rest + length, size, 'v'), "another value");
		at += (4 + length + size + 3) & ~(uint64_t)3;
	}
	expect(at == stop && n == expected, "other attributes");
}

static void check_data(const struct file *file, uint64_t at, uint64_t place)
{
	uint64_t bits = place & 0x1f;

	expect((place & ~(uint64_t)0x1f) == 0x20, "a format of chunks");
	expect(file->size <= (uint64_t)BLOCK << bits, "more than a chunk");
	at = (at + 7) & ~(uint64_t)7;
	expect(number(at, 2) == 0 && number(at + 2, 2) == 1, "another device");
	expect(number(at + 4, 4) * BLOCK == file->position, "another position");
}

static void check_directory(size_t at, size_t above, uint64_t place, uint64_t size);

static void check_inode(uint64_t nid, size_t file_at, size_t above)
{
	struct file *file = &files[file_at];
	uint64_t at = number(1024 + 40, 4) * BLOCK + nid * 32;
	uint64_t format = number(at, 2), units = number(at + 2, 2), size = number(at + 8, 8);
	uint64_t place = number(at + 16, 4), behind = at + INODE;

	expect(nid, "no number");
	if (file->seen) {
		expect(file->nid == nid, "another inode for another name");
		return;
	}
	file->seen = true;
	file->nid = nid;
	expect(number(at + 4, 2) == (file->kind | file->mode), "another mode");
	expect(number(at + 24, 4) == file->uid && number(at + 28, 4) == file->gid, "another owner");
	expect((int64_t)number(at + 32, 8) == file->mtime, "another time");
	expect(number(at + 40, 4) == file->mtime_ns, "another part of a second");
	expect(number(at + 44, 4) == file->links, "another number of names");
	if (units) {
		check_xattrs(file, behind, units);
		behind += XATTRS_HEAD + (units - 1) * 4;
	} else {
		for (unsigned i = 0; i < file->n_xattrs; i++)
			expect(!xattr_kept(file->xattrs[i].name), "no attributes");
	}
	expect(format == (file->kind == S_REGULAR && file->size ? 9 : 1), "another format");
	if (file->kind == S_DIRECTORY)
		check_directory(file_at, above, place, size);
	else if (file->kind == S_REGULAR || file->kind == S_LINK)
		expect(size == file->size, "another size");
	else
		expect(size == 0 && place == 0, "contents of what has none");
	if (file->kind == S_LINK)
		expect(all(bytes(place * BLOCK, size), size, 't'), "another text");
	if (format == 9)
		check_data(file, behind, place);
}

/* One block of names; `last` is that of the block before, and becomes this one's. */
static size_t check_block(size_t at, size_t above, uint64_t begin, size_t size,
			  char last[NAME_SIZE])
{
	size_t n = number(begin + 8, 2) / DIRENT;

	expect(n && n * DIRENT == number(begin + 8, 2), "no whole names");
	for (size_t i = 0; i < n; i++) {
		uint64_t entry = begin + i * DIRENT, nid = number(entry, 8);
		size_t from = number(entry + 8, 2), to = size, child;
		char name[NAME_SIZE];

		if (i + 1 < n)
			to = number(entry + DIRENT + 8, 2);
		expect(from < to && to <= size, "names over each other");
		to = from + strnlen(bytes(begin + from, to - from), to - from);
		expect(to - from < NAME_SIZE, "a long name");
		memcpy(name, bytes(begin + from, to - from), to - from);
		name[to - from] = '\0';
		expect(strcmp(last, name) < 0, "names out of order");
		strcpy(last, name);
		if (!strcmp(name, "..")) {
			expect(nid == files[above].nid, "another directory above");
			continue;
		}
		child = find(at, name, strlen(name));
		expect(child != NAMES_MAX, "a name that is not there");
		check_inode(nid, child, at);
	}
	return n;
}

static void check_directory(size_t at, size_t above, uint64_t place, uint64_t size)
{
	size_t expected = 2, n = 0;
	char last[NAME_SIZE] = "";

	for (size_t i = 1; i < n_labels; i++)
		expected += labels[i].parent == at;
	for (uint64_t from = 0; from < size; from += BLOCK) {
		size_t rest = size - from < BLOCK ? size - from : BLOCK;

		n += check_block(at, above, place * BLOCK + from, rest, last);
	}
	expect(n == expected, "names are missing");
}

static void check_image(void)
{
	expect(image_size % BLOCK == 0, "no whole blocks");
	expect(number(1024, 4) == 0xe0f5e1e2, "another magic number");
	expect(number(1024 + 16, 8) == n_files, "another number of inodes");
	expect(number(1024 + 36, 4) * BLOCK == image_size, "another size");
	check_inode(number(1024 + 14, 2), 0, 0);
	for (size_t i = 0; i < n_files; i++)
		expect(files[i].seen, "a file is missing");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	input = data;
	left = size;
	calls_left = take(1) ? SIZE_MAX : take(2);
	image_size = 0;
	files[0] = (struct file){ .kind = S_DIRECTORY, .mode = 0755, .links = 2 };
	labels[0] = (struct label){ 0 };
	n_files = n_labels = 1;
	while (left && n_labels < NAMES_MAX)
		take_name();
	options = (struct options){ .memory = 1 << 23, .path = PATH_SIZE, .index = 1 };
	root_fd = FIRST_FD;
	if (!setjmp(end)) {
		index_write();
		check_image();
	}
	program_forget();
	return 0;
}
