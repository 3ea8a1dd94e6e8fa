/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers of images: a static program without libc that turns a tar stream into a directory for
 * overlayfs (extract), or makes an index of it, by which the kernel shows it as that directory
 * (index); that turns such a directory into a tar stream (pack), says what it changes of the layers
 * below (changes), or makes a directory empty (remove). It runs in a sandbox of its own
 * (pycontain/_layers), in which there is nothing but what it works on:
 *
 *     /tree     the directory; to make an index, an empty tmpfs
 *     /lower/N  the layers below it, or links to them, topmost first, read-only
 *     0, 1      tar in, tar, index or changes out
 *     3         records of what was done, or of what is wrong (report.c)
 *     4         the directory, where it has no path; to make an index, how the input grows (stream.c)
 *
 * It does one thing and ends, so whatever goes wrong ends it at once: fail() does not return.
 */
#pragma once

#include "init.h"

/* init_string.c */
void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memset(void *to, int byte, size_t size);

enum {
	INPUT_FD = 0,
	OUTPUT_FD = 1,
	REPORT_FD = 3,
	TREE_FD = 4,
	GROWTH_FD = 4, /* index: there is no directory from elsewhere */
	BLOCK = 512,
	NAME_SIZE = 256, /* with the NUL; NAME_MAX of every file system */
	LOWERS_MAX = 512,
	XATTR_NAME_SIZE = 256,
	XATTR_VALUE_MAX = 65536,

	E_IO = 5,
	E_NOTEMPTY = 39,
	E_NODATA = 61,

	S_TYPE = 0170000,
	S_FIFO = 0010000,
	S_CHARACTER = 0020000,
	S_DIRECTORY = 0040000,
	S_BLOCK = 0060000,
	S_REGULAR = 0100000,
	S_LINK = 0120000,
	S_SOCKET = 0140000,

	/* DT_* */
	TYPE_UNKNOWN = 0,
	TYPE_CHARACTER = 2,
	TYPE_DIRECTORY = 4,
	TYPE_REGULAR = 8,

	RENAME_NOREPLACE_ = 1,
	DIRECTORY_FLAGS = O_RDONLY_ | O_DIRECTORY_ | O_CLOEXEC_ | O_NONBLOCK_,
};

#define OPAQUE        "user.overlay.opaque"
#define OVERLAY       "user.overlay."
#define WHITEOUT      ".wh."
#define OPAQUE_MARKER ".wh..wh..opq"
#define WHITEOUT_AUFS ".wh..wh."

/* From the command line; each is `name=number`. */
struct options {
	uint64_t entries; /* limits: entries of one archive, with the directories that it implies */
	uint64_t bytes;   /* of all files, with holes */
	uint64_t header;  /* of one extended header, or one map of a sparse file */
	uint64_t path;    /* of a path, with the NUL */
	uint64_t xattrs;  /* of one entry */
	uint64_t xattr;   /* of the value of one */
	uint64_t memory;  /* of lists that grow with the archive */
	uint64_t lowers;
	uint64_t strict; /* a path that comes twice is an error */
	uint64_t squash; /* there is one id only: all owners become that */
	uint64_t sync;
	uint64_t overlay; /* pack: the directory is a layer; its deletions become markers */
	uint64_t root;    /* pack: with an entry for the root itself */
	uint64_t clamp;   /* pack: no later time of modification */
	uint64_t index;   /* extract: without data, for an index of the archive */
	uint64_t handed;  /* the directory is TREE_FD; there is no /tree */
	uint64_t device;  /* what /tree must be, else it was replaced on the way here */
	uint64_t inode;
};
extern struct options options;

/* report.c. Codes are words that Python has sentences for. */
struct counts {
	uint64_t entries, files, directories, symlinks, hardlinks, fifos, devices, whiteouts;
	uint64_t opaque, bytes, trailing, root;
};
extern struct counts counts;
void report_entry(const char *name, size_t length); /* what comes is about the next entry */
void report_part(const char *name, size_t length);  /* the same entry has another name */
_Noreturn void fail(const char *code, long err, const char *detail);
_Noreturn void fail_limit(const char *limit);
void warn(const char *code, long err);
void report_name(const char *kind, const char *name, size_t length);
_Noreturn void report_done(void);

/* memory.c */
struct region {
	char *base;
	size_t used, size;
};
void *region_add(struct region *region, size_t size); /* until the next region_add() */
void region_empty(struct region *region);
void region_free(struct region *region);
bool bytes_equal(const void *a, const void *b, size_t size);
int text_compare(const char *a, const char *b);
bool starts_with(const char *text, const char *prefix);
void text_sort(const char **items, size_t n);

/* stream.c: the input, in pieces that lie in one buffer */
const char *stream_peek(size_t size, size_t *ret_there);     /* size <= BLOCK; NULL: less is left */
const char *stream_need(size_t size, size_t *ret_there);     /* the same, and it is taken */
const char *stream_take(uint64_t at_most, size_t *ret_size); /* NULL: the end */
bool stream_skip(uint64_t size);                             /* false: less is left */
uint64_t stream_position(void);                              /* of the next byte */

/* tree.c: names below /tree. Paths begin with a slash and are clean: "/" or "/a/b". */
extern int root_fd;
void tree_open(bool symlinks);
long tree_at(const char *path, int flags);
int directory_at(const char *path, size_t length); /* kept open; a negative errno */
void directories_forget(void);
const char *base_of(const char *path);
size_t parent_length(const char *path);
size_t path_add(char path[PATH_SIZE], size_t length, const char *name, size_t name_length);
bool is_whiteout(const struct statx *stat);
uint32_t kind_of(int directory, const char *name, struct statx *stat); /* 0: nothing there */
struct names {
	char buffer[32768] __attribute__((aligned(8)));
	size_t at, size;
	int fd;
};
struct directory_entry {
	uint64_t inode;
	int64_t next;
	uint16_t size;
	uint8_t type; /* DT_* */
	char name[];
};
void names_of(struct names *names, int directory); /* from the beginning */
const struct directory_entry *names_next(struct names *names);
/* All of them, the byte before each is its DT_*; perhaps with "." and "..". Until the next call. */
const char **names_sorted(int directory, bool dots, size_t *ret_n);

/* visit.c: directories that are still to be looked at, the next one last */
struct visit {
	uint64_t mark, above; /* what is to be known of it */
	size_t length;
	char path[PATH_SIZE];
};
/* Of a name in a directory, NULL: of the root. false: the path is too long, it will not be. */
bool visit_later(const struct visit *directory, const char *name, uint64_t mark, uint64_t above);
bool visit_next(struct visit *ret);

/* tar.c */
struct extent {
	uint64_t offset, size;
};
struct entry {
	char type;               /* '0' to '6' */
	bool directory_name;     /* it ended with a slash */
	const char *name, *link; /* as they are in the archive */
	size_t name_size, link_size;
	uint64_t data; /* bytes in the archive that are not read yet */
	uint64_t padding;
	uint64_t size; /* of the file */
	uint32_t mode;
	uint64_t uid, gid;
	int64_t mtime, atime;
	uint32_t mtime_ns, atime_ns;
	bool has_atime;
	uint64_t major, minor;
	bool sparse;
	const struct extent *extents;
	size_t n_extents;
};
bool tar_next(struct entry *entry);
const char *tar_data(struct entry *entry, size_t *ret_size); /* the next piece; NULL: no more */
void tar_skip(struct entry *entry);
bool tar_number(const char *field, size_t size, int64_t *ret);
void tar_exact(char *to, uint64_t size); /* of the input, and the padding to whole blocks */
_Noreturn void tar_truncated(void);

/* tar_pax.c: the records of the entry's extended header */
struct pax_xattr {
	char name[XATTR_NAME_SIZE];
	const char *value;
	size_t size;
};
struct pax {
	const char *path, *link, *sparse_name; /* NULL: not given */
	size_t path_size, link_size, sparse_name_size;
	bool has_size, has_uid, has_gid, has_mtime, has_atime, has_real_size;
	uint64_t size, uid, gid, real_size;
	int64_t mtime, atime;
	uint32_t mtime_ns, atime_ns;
	bool sparse, sparse_map_in_data;
};
void pax_read(uint64_t size);
void pax_forget(void);
bool pax_parse(struct pax *pax);                     /* false: there is none */
bool pax_xattr(size_t *at, struct pax_xattr *xattr); /* *at: 0 at first */
/* tar_sparse.c */
void sparse_begin(void);
void sparse_add(uint64_t offset, uint64_t size);
void sparse_old(struct entry *entry, const char *header);
void sparse_from_data(struct entry *entry);
void sparse_end(struct entry *entry);

/* path.c */
enum escape { ESCAPE_NONE, ESCAPE_CLAMPED };
enum escape path_clean(const char *name, size_t size, char ret[PATH_SIZE], size_t *ret_length);

/* attributes.c */
struct attributes {
	uint32_t mode;
	uint64_t uid, gid;
	int64_t mtime, atime;
	uint32_t mtime_ns, atime_ns;
};
void attributes_of(const struct entry *entry, struct attributes *ret);
void attributes_at(int directory, const char *name, const struct attributes *attributes);
void attributes_of_file(const struct statx *stat, struct attributes *ret);
/* xattrs: those of this open file, or */
enum { XATTRS_NONE = -1, XATTRS_OF_ENTRY = -2 };
void attributes_set(int fd, const struct attributes *attributes, int xattrs);
bool xattr_kept(const char *name); /* by a layer: no label, and nothing of the administrator */
void times_set(int fd, const struct attributes *attributes);
void xattrs_clear(int fd);
void times_later(const char *path, size_t length, const struct attributes *attributes);
void times_now(void);

/* lower.c: the layers below, as one */
void lowers_open(void);
long lower_open(const char *path, struct statx *stat); /* a negative errno if it is not there */
void lower_names(const char *path, struct region *list);
bool lower_copy(const char *path, size_t length); /* into the tree, not for directories */

/* place.c: room in the tree for an entry */
int place_parent(const char *path);                 /* with the directories that are missing */
void place_of(const struct attributes *attributes); /* of the entry that needs them */
bool place_implied(const char *path);
enum room { ROOM_FREE, ROOM_WAS_WHITEOUT, ROOM_DIRECTORY };
enum room place_clear(int directory, const char *path, bool for_directory);
void count_entry(void);

/* whiteout.c */
bool whiteout_entry(const char *path);
void make_opaque(int fd);
bool is_opaque(int fd);
bool below_opaque(const char *path, size_t length);
void whiteouts_drop_hidden(void);

/* walk.c: all below /tree */
extern char walk_path[PATH_SIZE + 1]; /* of what is visited; one more slash fits behind it */
extern size_t walk_length;
struct walker {
	void (*directory)(int fd); /* "/" is the first */
	void (*opaque)(int fd);    /* of the same directory: it hides what is below */
	void (*deleted)(const char *name);
	void (*other)(int directory, const char *name, const struct statx *stat);
};
void walk_tree(const struct walker *by);

/* tar_write.c */
struct header {
	const char *name, *link;
	char type;
	uint32_t mode;
	uint64_t uid, gid, size, major, minor;
	int64_t mtime;
};
void output_header(const struct header *entry);
void pax_record(const char *prefix, const char *key, const char *value, size_t size);
char *output_room(size_t *ret_size); /* for bytes that output_done() then counts */
void output_done(size_t size);
void output_bytes(const char *bytes, uint64_t size); /* NULL: zeros */
void output_padding(uint64_t size);
void output_end(void);
void output_flush(void);

/* pack_xattrs.c */
void pack_xattrs(int fd); /* records for the next header */
char overlay_flag(int fd, const char *name);

/* The verbs. */
void extract(void);
void index_write(void);
void pack(void);
void changes(void);
void directory_empty(int fd);
void remove_at(int directory, const char *name, uint32_t kind);
