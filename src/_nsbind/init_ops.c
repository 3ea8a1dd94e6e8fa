/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ops of a set-up, each a small function with the row in op_table that says which step it is.
 * Every name below the new root goes through init_path.c, every mount through init_mount.c.
 */
#include <linux/if.h>
#include <linux/sockios.h>

#include "init_ops.h"

enum {
	MNT_DETACH_ = 2,
	MS_MOVE_ = 8192,
	MS_REC_ = 16384,
	MS_PRIVATE_ = 1 << 18,
	MS_SLAVE_ = 1 << 19,
	KEYCTL_JOIN_SESSION_KEYRING_ = 1,
	CHARACTER_DEVICE = 0020000,
	DIRECTORY = 0040000,
	FILE_TYPE = 0170000,
	OVERFLOW_ID = 65534,
	PROC_SUPER_MAGIC_ = 0x9fa0,
};

typedef long (*op_function)(struct builder *builder, const struct nsb_op *op);

static struct place at_host(const struct builder *builder)
{
	return (struct place){ AT_FDCWD_,
			       message_string(builder->message, builder->setup->attach_at), true };
}

long write_text(int dirfd, const char *path, const char *text)
{
	long fd = sys_openat(dirfd, path, O_WRONLY_ | O_CLOEXEC_, 0), n;

	if (fd < 0)
		return fd;
	n = sys_write((int)fd, text, text_length(text));
	sys_close((int)fd);
	return n < 0 ? n : 0;
}

static bool is_directory(int fd)
{
	struct statx stat;

	return sys_statx(fd, "", AT_EMPTY_PATH_, &stat) == 0 &&
	       (stat.stx_mode & FILE_TYPE) == DIRECTORY;
}

/* Keep a descriptor that is done with from staying open, whatever came of it. */
static long close_result(long fd)
{
	if (fd < 0)
		return fd;
	sys_close((int)fd);
	return 0;
}

static int take_source(struct builder *builder, const struct nsb_op *op)
{
	uint32_t i = (uint32_t)(op - builder->op);
	int fd = builder->sources[i];

	builder->sources[i] = -1;
	return fd;
}

static void own_file_system(int fd)
{
	own_device_add(fd);
	volume_add(fd);
}

static long attach_new(const struct builder *builder, const struct nsb_op *op, const char *type,
		       int target_fd, const struct place *place)
{
	struct filesystem filesystem = { type, NULL, source_of(builder, op), op->attr };

	return filesystem_attach(&filesystem, target_fd, place);
}

static long attach_at_host(struct builder *builder, const struct nsb_op *op)
{
	struct place place = at_host(builder);
	long target = place_open(&place, O_DIRECTORY_);

	return target < 0 ? target : attach_new(builder, op, "tmpfs", (int)target, &place);
}

static long op_root_tmpfs(struct builder *builder, const struct nsb_op *op)
{
	long fd = attach_at_host(builder, op);

	builder->root_fd = (int)fd;
	if (fd >= 0)
		own_file_system((int)fd);
	return fd;
}

static long op_root_bind(struct builder *builder, const struct nsb_op *op)
{
	struct place place = at_host(builder);
	long target = place_open(&place, O_DIRECTORY_);
	long fd = target < 0 ? target
			     : source_attach(take_source(builder, op), (int)target, &place,
					     op->flags & NSB_OP_RECURSIVE);

	builder->root_fd = (int)fd;
	return fd < 0 ? fd
		      : mount_restrict((int)fd, (int)fd, op->attr, op->flags & NSB_OP_RECURSIVE);
}

static long op_stage(struct builder *builder, const struct nsb_op *op)
{
	long fd = attach_at_host(builder, op);

	builder->stage_fd = (int)fd;
	if (fd >= 0)
		own_file_system((int)fd);
	return fd;
}

/* "l", "s", "u", "w" and a number: a layer, a directory of layers, an upper and a work directory on
 * the stage. */
static const char *stage_name(char name[16], char kind, uint32_t number)
{
	name[0] = kind;
	(void)number_append(name + 1, name + 16, number);
	return name;
}

static long attach_to_stage(struct builder *builder, const struct nsb_op *op, const char *name)
{
	struct place place = { builder->stage_fd, name, false };
	long err = sys3(__NR_mkdirat, builder->stage_fd, name, 0700);
	long target = err ? err : place_open(&place, O_DIRECTORY_), fd;

	if (target < 0)
		return target;
	fd = source_attach(take_source(builder, op), (int)target, &place,
			   op->flags & NSB_OP_RECURSIVE);
	if (fd < 0)
		return fd;
	err = mount_restrict(builder->stage_fd, (int)fd, op->attr, op->flags & NSB_OP_RECURSIVE);
	sys_close((int)fd);
	return err;
}

static long op_lower(struct builder *builder, const struct nsb_op *op)
{
	char name[16];

	return attach_to_stage(builder, op, stage_name(name, 'l', builder->n_lowers++));
}

static long op_layers(struct builder *builder, const struct nsb_op *op)
{
	char name[16];

	return attach_to_stage(builder, op, stage_name(name, 's', builder->n_stores++));
}

/* A link, whose short name lets 500 layers fit in a page of options. */
static long op_layer(struct builder *builder, const struct nsb_op *op)
{
	char name[16], path[PATH_SIZE];
	const char *end = path + sizeof path;
	char *at;

	if (!builder->n_stores)
		return -E_PROTO;
	at = text_append(path, end, stage_name(name, 's', builder->n_stores - 1));
	at = text_append(text_append(at, end, "/"), end, source_of(builder, op));
	if (!at)
		return -E_NAMETOOLONG;
	stage_name(name, 'l', builder->n_lowers++);
	return sys3(__NR_symlinkat, path, builder->stage_fd, name);
}

/* The overlay's root takes mode and owner from its upper directory, which must look like the
 * topmost layer. */
static long make_upper(const struct builder *builder, const char *lower, const char *upper,
		       const char *work)
{
	struct statx stat;
	long err = sys_statx(builder->stage_fd, lower, 0, &stat);

	if (!err)
		err = sys3(__NR_mkdirat, builder->stage_fd, upper, stat.stx_mode & 07777);
	if (!err && stat.stx_uid != OVERFLOW_ID && stat.stx_gid != OVERFLOW_ID)
		err = sys5(__NR_fchownat, builder->stage_fd, upper, stat.stx_uid, stat.stx_gid, 0);
	return err ? err : sys3(__NR_mkdirat, builder->stage_fd, work, 0700);
}

static long overlay_options(char *options, const char *end, uint32_t first, uint32_t last,
			    const char *upper, const char *work)
{
	char name[16];
	char *at = text_append(options, end, "lowerdir=");

	for (uint32_t i = first; i < last; i++) {
		at = text_append(at, end, i > first ? ":" : "");
		at = text_append(at, end, stage_name(name, 'l', i));
	}
	at = text_append(text_append(at, end, ",upperdir="), end, upper);
	at = text_append(text_append(at, end, ",workdir="), end, work);
	/* Without userxattr the mount succeeds and opaque directories of the layers show through.
	 */
	return text_append(at, end, ",userxattr") ? 0 : -E_NAMETOOLONG;
}

/* Of the layers since the last overlay. Paths are relative to the stage, so that no name needs
 * quoting. */
static long overlay_attach(struct builder *builder, int target_fd, const struct place *place,
			   uint64_t attr)
{
	static uint32_t first_lower;
	static char options[PATH_SIZE];
	char lower[16], upper[16], work[16];
	long err;

	stage_name(lower, 'l', first_lower);
	stage_name(upper, 'u', builder->n_overlays);
	stage_name(work, 'w', builder->n_overlays);
	err = make_upper(builder, lower, upper, work);
	if (!err)
		err = overlay_options(options, options + sizeof options, first_lower,
				      builder->n_lowers, upper, work);
	if (!err)
		err = sys1(__NR_fchdir, builder->stage_fd);
	if (err) {
		sys_close(target_fd);
		return err;
	}
	first_lower = builder->n_lowers;
	builder->n_overlays++;
	return filesystem_attach(&(struct filesystem){ "overlay", NULL, options, attr }, target_fd,
				 place);
}

/* For a caller that asks for it. */
static long keep_upper(const struct builder *builder, uint32_t number)
{
	char name[16];
	long err, fd = sys_openat(builder->stage_fd, stage_name(name, 'u', number),
				  O_PATH_ | O_DIRECTORY_ | O_NOFOLLOW_ | O_CLOEXEC_, 0);

	if (fd < 0)
		return fd;
	err = upper_add((int)fd);
	sys_close((int)fd);
	return err;
}

static long op_root_overlay(struct builder *builder, const struct nsb_op *op)
{
	struct place place = { builder->stage_fd, "root", false };
	uint32_t number = builder->n_overlays;
	long err = sys3(__NR_mkdirat, builder->stage_fd, "root", 0700);
	long target = err ? err : place_open(&place, O_DIRECTORY_);
	long fd = target < 0 ? target : overlay_attach(builder, (int)target, &place, op->attr);

	builder->root_fd = (int)fd;
	if (fd < 0)
		return fd;
	own_device_add((int)fd);
	return keep_upper(builder, number);
}

static long op_overlay(struct builder *builder, const struct nsb_op *op)
{
	struct place place = in_root(builder, op);
	long target = make_mount_point(builder->root_fd, place.path, true, place.symlinks);
	long fd = target < 0 ? target : overlay_attach(builder, (int)target, &place, op->attr);

	if (fd >= 0)
		own_device_add((int)fd);
	return close_result(fd);
}

static long op_mkdir(struct builder *builder, const struct nsb_op *op)
{
	struct making making = { .mode = op->mode,
				 .uid = op->uid,
				 .gid = op->gid,
				 .symlinks = !(op->flags & NSB_OP_NO_SYMLINKS) };

	return make_directory(builder->root_fd, target_of(builder, op), &making);
}

static long op_symlink(struct builder *builder, const struct nsb_op *op)
{
	const struct making making = { .mode = 0755, .symlinks = op->flags & NSB_OP_FOLLOW };
	char name[256];
	long err, fd = open_parent_in_root(builder->root_fd, target_of(builder, op), name, true,
					   &making);

	if (fd < 0)
		return fd;
	if (op->flags & NSB_OP_REPLACE)
		(void)sys3(__NR_unlinkat, fd, name, 0);
	err = sys3(__NR_symlinkat, source_of(builder, op), fd, name);
	sys_close((int)fd);
	return err == -E_EXIST && op->flags & NSB_OP_OPTIONAL ? 0 : err;
}

static long write_all(int fd, const char *bytes, size_t size)
{
	while (size) {
		long n = sys_write(fd, bytes, size);

		if (n < 0)
			return n;
		bytes += n;
		size -= (size_t)n;
	}
	return 0;
}

static long op_file(struct builder *builder, const struct nsb_op *op)
{
	static const struct making making = { .mode = 0755 };
	char name[256];
	const char *bytes = message_string(builder->message, op->source);
	long err, file, fd;

	if (op->length > builder->message->size - op->source)
		return -E_PROTO;
	fd = open_parent_in_root(builder->root_fd, target_of(builder, op), name, true, &making);
	if (fd < 0)
		return fd;
	if (op->flags & NSB_OP_REPLACE)
		(void)sys3(__NR_unlinkat, fd, name, 0);
	file = sys_openat((int)fd, name, O_WRONLY_ | O_CREAT_ | O_EXCL_ | O_NOFOLLOW_ | O_CLOEXEC_,
			  op->mode);
	sys_close((int)fd);
	if (file < 0)
		return file;
	err = write_all((int)file, bytes, op->length);
	if (!err && (op->uid || op->gid))
		err = sys3(__NR_fchown, file, op->uid, op->gid);
	sys_close((int)file);
	return err;
}

static long attach_source(struct builder *builder, const struct nsb_op *op, int source,
			  bool directory)
{
	struct place place = in_root(builder, op);
	bool recursive = op->flags & NSB_OP_RECURSIVE;
	long target = make_mount_point(builder->root_fd, place.path, directory, place.symlinks);
	long fd, err;

	if (target < 0) {
		sys_close(source);
		return target;
	}
	fd = source_attach(source, (int)target, &place, recursive);
	if (fd < 0)
		return fd;
	err = change_mount(builder, op, (int)fd, recursive);
	sys_close((int)fd);
	return err;
}

static long op_bind(struct builder *builder, const struct nsb_op *op)
{
	int source = take_source(builder, op);

	return source < 0 ? 0 : attach_source(builder, op, source, is_directory(source));
}

static bool is_character_device(int fd, uint32_t major, uint32_t minor)
{
	struct statx stat;

	return sys_statx(fd, "", AT_EMPTY_PATH_, &stat) == 0 &&
	       (stat.stx_mode & FILE_TYPE) == CHARACTER_DEVICE && stat.stx_rdev_major == major &&
	       stat.stx_rdev_minor == minor;
}

static long op_device(struct builder *builder, const struct nsb_op *op)
{
	int source = take_source(builder, op);

	if (source < 0)
		return 0;
	if (!is_character_device(source, op->mode >> 8, op->mode & 0xff)) {
		sys_close(source);
		return -E_NODEV;
	}
	return attach_source(builder, op, source, false);
}

static long attach_instance(struct builder *builder, const struct nsb_op *op, const char *type)
{
	struct place place = in_root(builder, op);
	long target = make_mount_point(builder->root_fd, place.path, true, place.symlinks);

	return target < 0 ? target : attach_new(builder, op, type, (int)target, &place);
}

static long op_tmpfs(struct builder *builder, const struct nsb_op *op)
{
	long fd = attach_instance(builder, op, "tmpfs");

	if (fd >= 0)
		own_file_system((int)fd);
	return close_result(fd);
}

static long op_proc(struct builder *builder, const struct nsb_op *op)
{
	long fd = attach_instance(builder, op, "proc");

	builder->proc_fd = (int)fd;
	return fd;
}

static long op_devpts(struct builder *builder, const struct nsb_op *op)
{
	return close_result(attach_instance(builder, op, "devpts"));
}

static long op_mqueue(struct builder *builder, const struct nsb_op *op)
{
	long err = close_result(attach_instance(builder, op, "mqueue"));

	return err == -E_NODEV ? 0 : err; /* this kernel has no POSIX queues */
}

/* One that is there already is the same: a user namespace that is joined again is kept for one. */
static long op_binfmt(struct builder *builder, const struct nsb_op *op)
{
	struct place place = in_root(builder, op);
	long target = make_mount_point(builder->root_fd, place.path, true, place.symlinks);
	struct filesystem filesystem = { "binfmt_misc", NULL, "", op->attr };
	long fd = target < 0 ? target : filesystem_attach(&filesystem, (int)target, &place);
	long err = fd < 0 ? fd : write_text((int)fd, "register", source_of(builder, op));

	if (fd >= 0)
		sys_close((int)fd);
	return err == -E_EXIST ? 0 : err;
}

/* The source of masks is opened once, from the host's own /dev, and checked (CVE-2025-31133). */
static long open_null(struct builder *builder)
{
	long fd;

	if (builder->null_fd >= 0)
		return builder->null_fd;
	fd = sys_openat(AT_FDCWD_, "/dev/null", O_PATH_ | O_NOFOLLOW_ | O_CLOEXEC_, 0);
	if (fd >= 0 && !is_character_device((int)fd, 1, 3)) {
		sys_close((int)fd);
		return -E_NODEV;
	}
	builder->null_fd = (int)fd;
	return fd;
}

static long clone_tree(int fd, bool recursive)
{
	unsigned flags = OPEN_TREE_CLONE_ | (unsigned)O_CLOEXEC_ | AT_EMPTY_PATH_ |
			 (recursive ? AT_RECURSIVE_ : 0);
	long tree = sys_open_tree(fd, "", flags);

	return tree == -E_NOSYS ? sys3(__NR_fcntl, fd, 1030 /* F_DUPFD_CLOEXEC */, 0) : tree;
}

static long mask_file(struct builder *builder, int target_fd, const struct place *place)
{
	long null_fd = open_null(builder),
	     source = null_fd < 0 ? null_fd : clone_tree((int)null_fd, false);

	if (source >= 0)
		return source_attach((int)source, target_fd, place, false);
	sys_close(target_fd);
	return source;
}

static struct place covered(const struct builder *builder, const struct nsb_op *op)
{
	return (struct place){ builder->root_fd, target_of(builder, op),
			       op->flags & NSB_OP_FOLLOW };
}

/* An empty directory, with the op's options besides its own. */
static long mask_directory(const struct builder *builder, const struct nsb_op *op, int target_fd,
			   const struct place *place)
{
	static char options[PATH_SIZE];
	const struct filesystem empty = { "tmpfs", NULL, options,
					  MOUNT_ATTR_RDONLY_ | MOUNT_ATTR_NOSUID_ |
						  MOUNT_ATTR_NODEV_ | MOUNT_ATTR_NOEXEC_ };
	const char *more = source_of(builder, op), *end = options + sizeof options;
	char *at = text_append(options, end, "size=0,nr_inodes=1,mode=555");

	at = text_append(at, end, *more ? "," : "");
	if (text_append(at, end, more))
		return filesystem_attach(&empty, target_fd, place);
	sys_close(target_fd);
	return -E_NAMETOOLONG;
}

static long op_mask(struct builder *builder, const struct nsb_op *op)
{
	struct place place = covered(builder, op);
	long target = place_open(&place, 0);

	if (target < 0)
		return target == -E_NOENT ? 0 : target;
	if (is_directory((int)target))
		return close_result(mask_directory(builder, op, (int)target, &place));
	return close_result(mask_file(builder, (int)target, &place));
}

static long bind_on_itself(struct builder *builder, const struct place *place, uint64_t attr)
{
	long target = place_open(place, 0), source, fd, err;

	if (target < 0)
		return target == -E_NOENT ? 0 : target;
	source = clone_tree((int)target, true);
	if (source < 0) {
		sys_close((int)target);
		return source;
	}
	fd = source_attach((int)source, (int)target, place, true);
	err = fd < 0 ? fd : mount_restrict(builder->root_fd, (int)fd, attr, true);
	if (fd >= 0)
		sys_close((int)fd);
	return err;
}

static long op_read_only(struct builder *builder, const struct nsb_op *op)
{
	struct place place = covered(builder, op);

	if (!*place.path)
		return mount_restrict(builder->root_fd, builder->root_fd, op->attr, false);
	return bind_on_itself(builder, &place, op->attr);
}

/* Of the very file system that the descriptor is of, whatever may be mounted on its files. */
static long write_kernel_text(int proc_fd, const char *path, const char *text)
{
	long fd = sys_openat2(proc_fd, path, (unsigned)(O_WRONLY_ | O_CLOEXEC_),
			      RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS),
	     n;

	if (fd == -E_NOSYS)
		return write_text(proc_fd, path, text);
	if (fd < 0)
		return fd;
	n = sys_write((int)fd, text, text_length(text));
	sys_close((int)fd);
	return n < 0 ? n : 0;
}

/* Through the procfs that we mounted ourselves; whatever lies on /proc of the image is never
 * written to. */
static long op_sysctl(struct builder *builder, const struct nsb_op *op)
{
	struct {
		uint64_t type, rest[15];
	} stat = { 0 };

	/* In the host's the names below sys are those of our namespaces, too. */
	if (builder->proc_fd < 0 && builder->start)
		builder->proc_fd =
			(int)sys_openat(AT_FDCWD_, "/proc", O_PATH_ | O_DIRECTORY_ | O_CLOEXEC_, 0);
	if (sys2(__NR_fstatfs, builder->proc_fd, &stat) < 0 || stat.type != PROC_SUPER_MAGIC_)
		return -E_PROTO;
	return write_kernel_text(builder->proc_fd, target_of(builder, op), source_of(builder, op));
}

static long op_hostname(struct builder *builder, const struct nsb_op *op)
{
	const char *name = source_of(builder, op);

	return sys2(op->kind == NSB_OP_HOSTNAME ? __NR_sethostname : __NR_setdomainname, name,
		    text_length(name));
}

static long op_loopback(struct builder *builder, const struct nsb_op *op)
{
	struct ifreq request = { .ifr_name = "lo" };
	long fd = sys3(__NR_socket, 2 /* AF_INET */, 2 /* SOCK_DGRAM */ | O_CLOEXEC_, 0), err;

	(void)builder;
	(void)op;
	if (fd < 0)
		return fd;
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	err = sys3(__NR_ioctl, fd, SIOCSIFFLAGS, &request);
	sys_close((int)fd);
	return err;
}

static long op_keyring(struct builder *builder, const struct nsb_op *op)
{
	const char *name = source_of(builder, op);
	long err = sys2(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING_, *name ? name : NULL);

	/* A kernel without keys has none to leak. */
	return err == -E_NOSYS ? 0 : err < 0 ? err : 0;
}

/* The old root, where its mounts may be shared with the host's: those would go with them. */
static long open_shared_root(const struct builder *builder)
{
	if (builder->setup->propagation & (MS_PRIVATE_ | MS_SLAVE_))
		return -E_NOENT;
	return sys_openat(AT_FDCWD_, "/", O_PATH_ | O_DIRECTORY_ | O_CLOEXEC_, 0);
}

static long leave_peers(int root_fd)
{
	long err = sys1(__NR_fchdir, root_fd);

	if (!err)
		err = sys_mount(NULL, ".", NULL, MS_SLAVE_ | MS_REC_, NULL);
	sys_close(root_fd);
	return err;
}

/* The new root replaces the old one in place (pivot_root(2), "pivot_root(".", ".")"). */
static long op_pivot_root(struct builder *builder, const struct nsb_op *op)
{
	long shared = open_shared_root(builder), err = 0;

	(void)op;
	if (shared < 0 && shared != -E_NOENT)
		return shared;
	if ((err = sys1(__NR_fchdir, builder->root_fd)) < 0 ||
	    (err = sys2(__NR_pivot_root, ".", ".")) < 0 ||
	    (shared >= 0 && (err = leave_peers((int)shared)) < 0) ||
	    (err = sys2(__NR_umount2, ".", MNT_DETACH_)) < 0)
		return err;
	return sys1(__NR_chdir, "/");
}

/* Without a mount namespace, or on an initramfs, which pivot_root(2) refuses: mode 1 moves the new
 * root over the old one. */
static long op_chroot(struct builder *builder, const struct nsb_op *op)
{
	long err = sys1(__NR_fchdir, builder->root_fd);

	if (!err && op->mode)
		err = sys_mount(".", "/", NULL, MS_MOVE_, NULL);
	if (!err)
		err = sys1(__NR_chroot, ".");
	return err ? err : sys1(__NR_chdir, "/");
}

static const struct {
	op_function run;
	enum nsb_step step;
} op_table[] = {
	[NSB_OP_ROOT_TMPFS] = { op_root_tmpfs, NSB_STEP_ROOT },
	[NSB_OP_ROOT_BIND] = { op_root_bind, NSB_STEP_ROOT },
	[NSB_OP_STAGE] = { op_stage, NSB_STEP_ROOT },
	[NSB_OP_LOWER] = { op_lower, NSB_STEP_LOWER },
	[NSB_OP_LAYERS] = { op_layers, NSB_STEP_LOWER },
	[NSB_OP_LAYER] = { op_layer, NSB_STEP_LOWER },
	[NSB_OP_ROOT_OVERLAY] = { op_root_overlay, NSB_STEP_OVERLAY },
	[NSB_OP_MKDIR] = { op_mkdir, NSB_STEP_MKDIR },
	[NSB_OP_SYMLINK] = { op_symlink, NSB_STEP_SYMLINK },
	[NSB_OP_FILE] = { op_file, NSB_STEP_FILE },
	[NSB_OP_BIND] = { op_bind, NSB_STEP_BIND },
	[NSB_OP_DEVICE] = { op_device, NSB_STEP_DEVICE },
	[NSB_OP_TMPFS] = { op_tmpfs, NSB_STEP_TMPFS },
	[NSB_OP_OVERLAY] = { op_overlay, NSB_STEP_OVERLAY },
	[NSB_OP_PROC] = { op_proc, NSB_STEP_PROC },
	[NSB_OP_DEVPTS] = { op_devpts, NSB_STEP_DEVPTS },
	[NSB_OP_MQUEUE] = { op_mqueue, NSB_STEP_MQUEUE },
	[NSB_OP_BINFMT] = { op_binfmt, NSB_STEP_BINFMT },
	[NSB_OP_MASK] = { op_mask, NSB_STEP_MASK },
	[NSB_OP_READ_ONLY] = { op_read_only, NSB_STEP_READ_ONLY },
	[NSB_OP_SYSCTL] = { op_sysctl, NSB_STEP_SYSCTL },
	[NSB_OP_HOSTNAME] = { op_hostname, NSB_STEP_HOSTNAME },
	[NSB_OP_DOMAINNAME] = { op_hostname, NSB_STEP_HOSTNAME },
	[NSB_OP_LOOPBACK] = { op_loopback, NSB_STEP_LOOPBACK },
	[NSB_OP_KEYRING] = { op_keyring, NSB_STEP_KEYRING },
	[NSB_OP_PIVOT_ROOT] = { op_pivot_root, NSB_STEP_PIVOT_ROOT },
	[NSB_OP_CHROOT] = { op_chroot, NSB_STEP_PIVOT_ROOT },
	[NSB_OP_MOUNT] = { op_mount, NSB_STEP_MOUNT },
	[NSB_OP_ATTRIBUTES] = { op_attributes, NSB_STEP_ATTRIBUTES },
	[NSB_OP_LABEL] = { op_label, NSB_STEP_LABEL },
	[NSB_OP_NODE] = { op_node, NSB_STEP_NODE },
	[NSB_OP_CONSOLE] = { op_console, NSB_STEP_CONSOLE },
	[NSB_OP_SYNC] = { op_sync, NSB_STEP_SYNC },
};

bool op_is_valid(const struct builder *builder, const struct nsb_op *op)
{
	return op->kind < sizeof op_table / sizeof *op_table && op_table[op->kind].run &&
	       source_of(builder, op) && target_of(builder, op);
}

struct outcome run_ops(struct builder *builder)
{
	for (uint32_t i = 0; i < builder->setup->n_ops; i++) {
		const struct nsb_op *op = &builder->op[i];
		long err = op_table[op->kind].run(builder, op);

		if (err < 0)
			return failed(op_table[op->kind].step, err, i);
	}
	return succeeded();
}
