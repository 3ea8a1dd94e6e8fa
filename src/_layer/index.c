/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An index of an archive: an image of the file system EROFS (fs/erofs/erofs_fs.h of Linux) of what
 * extract() has just made in a tree without data. All that the kernel's driver interprets is written
 * here; of the archive, which is the image's one extra device, it reads nothing but what files hold.
 *
 *     1024  the superblock, after it the device
 *     1536  contents of directories and texts of links, from a block's beginning each
 *     then  inodes; after each its extended attributes, and where its data is
 *
 * Blocks are those of tar: data begins at one. In the tree a regular file has no data but its length,
 * and its time of access, of which EROFS has none, is the position in the archive, with a nanosecond
 * if it has extended attributes. A file of several names gets the time KNOWN once it has an inode,
 * whose number is then its time of modification.
 */
#include "layer.h"

enum {
	SUPERBLOCK_AT = 1024,
	CONTENTS_AT = 3 * BLOCK,
	BLOCK_BITS = 9,
	COMPAT_MTIME = 2,
	INCOMPAT_CHUNKED_FILE = 4,
	INCOMPAT_DEVICE_TABLE = 8,
	DEVICE_SLOT = 128,

	NID_UNIT = 32, /* an inode's number is where it is, in these */
	EXTENDED = 1,  /* and the data in one piece: layout 0 */
	LAYOUT_CHUNKS = 4 << 1,
	CHUNK_INDEXES = 0x20,
	CHUNK_BITS_MAX = 31, /* more than BLOCK_BITS; an archive has less than 2^32 blocks */
	ARCHIVE = 1,         /* number of the device */

	XATTRS_MAX = 65535, /* of an inode, in units of 4 bytes */
	XATTR_USER = 1,
	XATTR_ACL_ACCESS = 2,
	XATTR_ACL_DEFAULT = 3,
	XATTR_SECURITY = 6,

	KNOWN = -1,
};

static const uint32_t magic = 0xe0f5e1e2;

struct superblock {
	uint32_t magic, checksum, compatible;
	uint8_t block_bits, slots;
	uint16_t root;
	uint64_t inodes, time;
	uint32_t time_ns, blocks, inodes_block, xattrs_block;
	uint8_t uuid[16], name[16];
	uint32_t incompatible;
	uint16_t algorithms, devices, device_slot;
	uint8_t directory_bits, prefixes;
	uint32_t prefixes_at;
	uint64_t packed;
	uint8_t reserved[24];
};

struct device {
	uint8_t tag[64];
	uint32_t blocks, mapped_block;
	uint8_t reserved[56];
};

struct inode {
	uint16_t format, xattrs, mode, reserved;
	uint64_t size;
	uint32_t place; /* first block, number of a device, or format of chunks */
	uint32_t number, uid, gid;
	int64_t mtime;
	uint32_t mtime_ns, links;
	uint8_t reserved_2[16];
};

struct chunk {
	uint16_t reserved, device;
	uint32_t block;
};

struct xattrs {
	uint32_t filter;
	uint8_t shared, reserved[7];
};

struct xattr {
	uint8_t length, prefix;
	uint16_t size;
};

struct name {
	uint64_t nid;
	uint16_t at;
	uint8_t type, reserved;
} __attribute__((packed));

_Static_assert(sizeof(struct superblock) == 128 && sizeof(struct device) == DEVICE_SLOT &&
		       sizeof(struct inode) == 64 && sizeof(struct xattrs) == 12 &&
		       sizeof(struct name) == 12,
	       "as on disk");

static struct region contents, inodes;
static uint32_t n_inodes;

static _Noreturn void unindexable(const char *what)
{
	fail("unindexable", 0, what);
}

static void fill(struct region *region, size_t unit)
{
	size_t rest = -region->used % unit;

	memset(region_add(region, rest), 0, rest);
}

static uint32_t block_of(uint64_t position)
{
	if (position / BLOCK >= UINT32_MAX)
		unindexable("size");
	return (uint32_t)(position / BLOCK);
}

static struct inode *inode_at(uint64_t nid)
{
	return (void *)(inodes.base + nid * NID_UNIT);
}

static uint8_t xattr_prefix(const char **name)
{
	static const struct {
		const char *text;
		uint8_t number;
	} prefixes[] = { { "user.", XATTR_USER },
			 { "system.posix_acl_access", XATTR_ACL_ACCESS },
			 { "system.posix_acl_default", XATTR_ACL_DEFAULT },
			 { "security.", XATTR_SECURITY } };

	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
		if (!starts_with(*name, prefixes[i].text))
			continue;
		*name += text_length(prefixes[i].text);
		return prefixes[i].number;
	}
	unindexable("extended attribute");
}

static void add_xattr(int fd, const char *name)
{
	static char value[XATTR_VALUE_MAX];
	long n = sys4(__NR_fgetxattr, fd, name, value, sizeof value);
	struct xattr xattr = { .prefix = xattr_prefix(&name) };

	if (n < 0)
		fail("os", n, "getxattr");
	if (n > UINT16_MAX)
		unindexable("extended attribute");
	xattr.length = (uint8_t)text_length(name);
	xattr.size = (uint16_t)n;
	memcpy(region_add(&inodes, sizeof xattr), &xattr, sizeof xattr);
	memcpy(region_add(&inodes, xattr.length), name, xattr.length);
	memcpy(region_add(&inodes, (size_t)n), value, (size_t)n);
	fill(&inodes, sizeof xattr);
}

/* Returns what an inode says of their size. */
static uint16_t add_xattrs(int fd)
{
	static char names[XATTR_VALUE_MAX];
	long n = sys3(__NR_flistxattr, fd, names, sizeof names);
	size_t begin = inodes.used, size;
	bool any = false;

	if (n < 0 && n != -E_OPNOTSUPP)
		fail("os", n, "listxattr");
	for (long at = 0; at < n; at += (long)text_length(names + at) + 1) {
		const char *name = names + at;

		if (!xattr_kept(name))
			continue;
		if (!any)
			memset(region_add(&inodes, sizeof(struct xattrs)), 0,
			       sizeof(struct xattrs));
		any = true;
		add_xattr(fd, name);
	}
	if (!any)
		return 0;
	size = (inodes.used - begin - sizeof(struct xattrs)) / sizeof(struct xattr) + 1;
	if (size > XATTRS_MAX)
		unindexable("extended attributes");
	return (uint16_t)size;
}

/* One chunk, as large as the file. */
static uint32_t add_chunk(const struct statx *stat)
{
	struct chunk chunk = { .device = ARCHIVE,
			       .block = block_of((uint64_t)stat->stx_atime.tv_sec) };
	uint32_t bits = 0;

	(void)block_of((uint64_t)stat->stx_atime.tv_sec + stat->stx_size);
	while (bits < CHUNK_BITS_MAX && (uint64_t)BLOCK << bits < stat->stx_size)
		bits++;
	if ((uint64_t)BLOCK << bits < stat->stx_size)
		unindexable("size");
	fill(&inodes, sizeof chunk);
	memcpy(region_add(&inodes, sizeof chunk), &chunk, sizeof chunk);
	return CHUNK_INDEXES | bits;
}

static uint32_t add_link(int directory, const char *name, uint64_t *ret_size)
{
	static char text[PATH_SIZE];
	long n = sys4(__NR_readlinkat, directory, name, text, sizeof text);
	uint32_t block;

	if (n < 0)
		fail("os", n, "readlink");
	block = block_of(CONTENTS_AT + contents.used);
	memcpy(region_add(&contents, (size_t)n), text, (size_t)n);
	fill(&contents, BLOCK);
	*ret_size = (uint64_t)n;
	return block;
}

static uint16_t add_xattrs_of(int directory, const char *name)
{
	long fd =
		sys_openat(directory, name, O_RDONLY_ | O_NOFOLLOW_ | O_NONBLOCK_ | O_CLOEXEC_, 0);
	uint16_t size;

	if (fd < 0)
		fail("os", fd, "open");
	size = add_xattrs((int)fd);
	sys_close((int)fd);
	return size;
}

/* Of a name in a directory; of a directory without its contents. */
static uint64_t add_inode(int directory, const char *name, const struct statx *stat)
{
	uint32_t kind = stat->stx_mode & S_TYPE;
	struct inode inode = {
		.format = EXTENDED,
		.mode = stat->stx_mode,
		.number = ++n_inodes,
		.uid = stat->stx_uid,
		.gid = stat->stx_gid,
		.mtime = stat->stx_mtime.tv_sec,
		.mtime_ns = stat->stx_mtime.tv_nsec,
		.links = stat->stx_nlink,
	};
	size_t at;

	fill(&inodes, NID_UNIT);
	at = inodes.used;
	(void)region_add(&inodes, sizeof inode);
	if (kind == S_DIRECTORY || (kind == S_REGULAR && stat->stx_atime.tv_nsec))
		inode.xattrs = add_xattrs_of(directory, name);
	if (kind == S_LINK) {
		inode.place = add_link(directory, name, &inode.size);
	} else if (kind == S_REGULAR && stat->stx_size) {
		inode.format = EXTENDED | LAYOUT_CHUNKS;
		inode.size = stat->stx_size;
		inode.place = add_chunk(stat);
	}
	memcpy(inodes.base + at, &inode, sizeof inode);
	return at / NID_UNIT;
}

/* The same inode for each name of a file. */
static uint64_t inode_of(int directory, const char *name, const struct statx *stat)
{
	struct __kernel_timespec times[2] = { { .tv_sec = KNOWN } };
	uint64_t nid;
	long err;

	if (stat->stx_nlink < 2 || (stat->stx_mode & S_TYPE) == S_DIRECTORY)
		return add_inode(directory, name, stat);
	if (stat->stx_atime.tv_sec == KNOWN)
		return (uint64_t)stat->stx_mtime.tv_sec;
	nid = add_inode(directory, name, stat);
	times[1].tv_sec = (int64_t)nid;
	err = sys4(__NR_utimensat, directory, name, times, AT_SYMLINK_NOFOLLOW_);
	if (err < 0)
		fail("os", err, "utimensat");
	return nid;
}

static uint8_t type_of(uint32_t kind)
{
	return kind == S_REGULAR     ? 1
	       : kind == S_DIRECTORY ? 2
	       : kind == S_CHARACTER ? 3
	       : kind == S_FIFO      ? 5
				     : 7;
}

/* A name of a directory, and what it is. */
struct child {
	uint64_t nid;
	const char *name;
	uint8_t type;
};

/* As many names as fit into a block: first where each is and its inode, then the texts. Returns how
 * many bytes they take. */
static size_t add_block(const struct child *children, size_t n)
{
	char *block = region_add(&contents, BLOCK);
	size_t at = n * sizeof(struct name);

	memset(block, 0, BLOCK);
	for (size_t i = 0; i < n; i++) {
		struct name name = { children[i].nid, (uint16_t)at, children[i].type, 0 };
		size_t length = text_length(children[i].name);

		memcpy(block + i * sizeof name, &name, sizeof name);
		memcpy(block + at, children[i].name, length);
		at += length;
	}
	return at;
}

/* Returns the directory's size. */
static uint64_t add_blocks(const struct child *children, size_t n)
{
	size_t before = contents.used, last = 0;

	for (size_t first = 0, next = 0; first < n; first = next) {
		size_t size = 0, more;

		for (; next < n; next++, size += more) {
			more = sizeof(struct name) + text_length(children[next].name);
			if (size + more > BLOCK)
				break;
		}
		last = add_block(children + first, next - first);
	}
	return contents.used - before - BLOCK + last;
}

static struct child child_of(int directory, const char *name, const struct visit *visit)
{
	struct child child = { .name = name, .type = 2 };
	struct statx stat;
	uint32_t kind;

	if (text_equal(name, ".") || text_equal(name, "..")) {
		child.nid = name[1] ? visit->above : visit->mark;
		return child;
	}
	kind = kind_of(directory, name, &stat);
	child.nid = inode_of(directory, name, &stat);
	child.type = type_of(kind);
	if (kind == S_DIRECTORY && !visit_later(visit, name, child.nid, visit->mark))
		unindexable("path");
	return child;
}

/* A directory has an inode already, and gets its contents. All other inodes come before these,
 * since links have contents, too. */
static void add_contents(const struct visit *visit)
{
	static struct region children;
	int directory = directory_at(visit->path, visit->length);
	const char **names;
	struct inode *inode;
	uint64_t size;
	uint32_t block;
	size_t n;

	if (directory < 0)
		fail("os", directory, "directory");
	names = names_sorted(directory, true, &n);
	region_empty(&children);
	for (size_t i = 0; i < n; i++) {
		struct child child = child_of(directory, names[i], visit);

		memcpy(region_add(&children, sizeof child), &child, sizeof child);
	}
	block = block_of(CONTENTS_AT + contents.used);
	size = add_blocks((const void *)children.base, n);
	inode = inode_at(visit->mark);
	inode->size = size;
	inode->place = block;
}

static void write_whole(const void *bytes, size_t size)
{
	const char *at = bytes;

	for (long n; size; at += n, size -= (size_t)n)
		if ((n = sys_write(OUTPUT_FD, at, size)) <= 0)
			fail("os", n, "index");
}

static void write_image(uint64_t root)
{
	static const char nothing[SUPERBLOCK_AT];
	static char rest[CONTENTS_AT - SUPERBLOCK_AT - sizeof(struct superblock) -
			 sizeof(struct device)];
	struct superblock superblock = {
		.magic = magic,
		.compatible = COMPAT_MTIME,
		.block_bits = BLOCK_BITS,
		.root = (uint16_t)root,
		.inodes = n_inodes,
		.blocks = block_of(CONTENTS_AT + contents.used + inodes.used),
		.inodes_block = block_of(CONTENTS_AT + contents.used),
		.incompatible = INCOMPAT_CHUNKED_FILE | INCOMPAT_DEVICE_TABLE,
		.devices = 1,
		.device_slot = (SUPERBLOCK_AT + sizeof superblock) / DEVICE_SLOT,
	};
	struct device device = { .blocks = block_of(stream_position() + BLOCK - 1) };

	write_whole(nothing, sizeof nothing);
	write_whole(&superblock, sizeof superblock);
	write_whole(&device, sizeof device);
	write_whole(rest, sizeof rest);
	write_whole(contents.base, contents.used);
	write_whole(inodes.base, inodes.used);
}

void index_write(void)
{
	static struct visit visit;
	struct statx stat;
	uint64_t root;

	(void)kind_of(root_fd, ".", &stat);
	(void)region_add(&inodes, 1); /* no inode has the number 0 */
	inodes.base[0] = 0;
	root = add_inode(root_fd, ".", &stat);
	(void)visit_later(NULL, "", root, root);
	while (visit_next(&visit))
		add_contents(&visit);
	fill(&inodes, BLOCK);
	write_image(root);
}
