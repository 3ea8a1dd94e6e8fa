/* SPDX-License-Identifier: Apache-2.0 */
/* Attempts that take more than a list of system calls. */
#include "probe.h"

enum { BLOCK = 1 << 15, DEPTH = 12 };

#define PTRACE_ATTACH_ 16
#define PTRACE_SEIZE_  0x4206
#define CLONE_NEWNS_   0x00020000
#define S_IFMT_        0170000
#define S_IFDIR_       0040000
#define S_IFLNK_       0120000
#define SI_QUEUE_      (-1)

struct dirent64 {
	uint64_t inode, offset;
	uint16_t size;
	uint8_t type;
	char name[];
};

/* Call visit for each name but . and .. of a directory. Returns their number or a negative errno. */
static long each_name(const char *path, void (*visit)(const char *path, int depth), int depth)
{
	char block[4096], child[1024];
	long fd = sys_openat(AT_FDCWD_, path, O_RDONLY_ | O_DIRECTORY_ | O_CLOEXEC_, 0), n,
	     count = 0;

	if (fd < 0)
		return fd;
	while ((n = sys3(__NR_getdents64, fd, block, sizeof block)) > 0)
		for (long at = 0; at < n;) {
			const struct dirent64 *entry = (const void *)(block + at);
			char *end = text_append(child, child + sizeof child, path);

			at += entry->size;
			if (text_equal(entry->name, ".") || text_equal(entry->name, ".."))
				continue;
			count++;
			if (!visit)
				continue;
			end = text_append(end, child + sizeof child, "/");
			text_append(end, child + sizeof child, entry->name);
			visit(child, depth);
		}
	sys_close((int)fd);
	return n < 0 ? n : count;
}

static long mode_of(const char *path)
{
	struct statx stat;
	long result = sys_statx(AT_FDCWD_, path, AT_SYMLINK_NOFOLLOW_, &stat);

	return result < 0 ? result : stat.stx_mode;
}

static long read_some(const char *path, char *to, size_t size)
{
	long fd = sys_openat(AT_FDCWD_, path, O_RDONLY_ | O_NONBLOCK_ | O_CLOEXEC_, 0);
	size_t used = 0;

	if (fd < 0)
		return fd;
	while (used < size) {
		long n = sys_read((int)fd, to + used, size - used);

		if (n <= 0) {
			sys_close((int)fd);
			return n < 0 && !used ? n : (long)used;
		}
		used += (size_t)n;
	}
	sys_close((int)fd);
	return (long)used;
}

static void attack_file_of(const char *path)
{
	char byte[64];
	long mode = mode_of(path), fd;

	if (mode < 0)
		tell(path, mode);
	else if ((mode & S_IFMT_) == S_IFLNK_)
		tell(path, sys4(__NR_readlinkat, AT_FDCWD_, path, byte, sizeof byte));
	else if ((mode & S_IFMT_) == S_IFDIR_)
		tell(path, each_name(path, 0, 0));
	else if (mode & 0444)
		tell(path, read_some(path, byte, sizeof byte));
	if (mode < 0 || (mode & S_IFMT_) == S_IFLNK_ || !(mode & 0222))
		return;
	fd = sys_openat(AT_FDCWD_, path, O_WRONLY_ | O_CLOEXEC_, 0);
	(void)text_append(text_append(byte, byte + sizeof byte, "write "), byte + sizeof byte,
			  path);
	tell(byte, fd);
	if (fd >= 0)
		sys_close((int)fd);
}

int attack_process(const char *pid, int pid_number)
{
	static const char *const names[] = {
		"mem",       "environ",       "fd",          "exe",        "root",
		"cwd",       "maps",          "smaps",       "auxv",       "ns/mnt",
		"ns/net",    "stack",         "syscall",     "fdinfo",     "io",
		"map_files", "oom_score_adj", "personality", "clear_refs", "task",
	};
	char buffer[64], path[64];
	uint64_t local[2] = { (uint64_t)(uintptr_t)buffer, sizeof buffer },
		 remote[2] = { 0x400000, sizeof buffer };
	uint64_t limit[2] = { 1, 1 };
	long pidfd;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char *end = text_append(text_append(path, path + sizeof path, "/proc/"),
					path + sizeof path, pid);

		text_append(text_append(end, path + sizeof path, "/"), path + sizeof path,
			    names[i]);
		attack_file_of(path);
	}
	tell("PTRACE_ATTACH", sys4(__NR_ptrace, PTRACE_ATTACH_, pid_number, 0, 0));
	tell("PTRACE_SEIZE", sys4(__NR_ptrace, PTRACE_SEIZE_, pid_number, 0, 0));
	tell("process_vm_readv",
	     sys_call6(__NR_process_vm_readv, pid_number, (long)local, 1, (long)remote, 1, 0));
	tell("process_vm_writev",
	     sys_call6(__NR_process_vm_writev, pid_number, (long)local, 1, (long)remote, 1, 0));
	pidfd = sys2(__NR_pidfd_open, pid_number, 0);
	tell("pidfd_getfd", pidfd < 0 ? pidfd : sys3(438 /* pidfd_getfd */, pidfd, 3, 0));
	tell("prlimit", sys4(__NR_prlimit64, pid_number, 7 /* RLIMIT_NOFILE */, limit, 0));
	tell("setns", pidfd < 0 ? pidfd : sys2(__NR_setns, pidfd, CLONE_NEWNS_));
	return 0;
}

int attack_with_signals(int pid)
{
	int info[32] = { 0, 0, SI_QUEUE_ };
	long pidfd = sys2(__NR_pidfd_open, pid, 0);

	for (int number = 1; number <= SIGNAL_COUNT; number++) {
		(void)sys2(__NR_kill, pid, number);
		(void)sys3(__NR_tgkill, pid, pid, number);
		(void)sys2(__NR_tkill, pid, number);
		(void)sys3(__NR_rt_sigqueueinfo, pid, number, info);
		(void)sys4(__NR_rt_tgsigqueueinfo, pid, pid, number, info);
		(void)sys4(__NR_pidfd_send_signal, pidfd, number, 0, 0);
	}
	tell("signals", SIGNAL_COUNT);
	return 0;
}

int show_files(char **paths)
{
	static char text[BLOCK];

	for (; *paths; paths++) {
		long n = mode_of(*paths);

		if (n >= 0 && (n & S_IFMT_) == S_IFLNK_)
			n = sys4(__NR_readlinkat, AT_FDCWD_, *paths, text, sizeof text);
		else
			n = read_some(*paths, text, sizeof text);
		out_text("what", *paths, text_length(*paths));
		out_number("result", n);
		out_text("text", text, n < 0 ? 0 : (size_t)n);
		out_line();
	}
	return 0;
}

/* A name in /proc that stands for an object: what it shows, and which object that is. */
static void show_object(const char *path, int depth)
{
	char text[512];
	struct statx stat;
	long n = sys4(__NR_readlinkat, AT_FDCWD_, path, text, sizeof text), found;

	(void)depth;
	if (n < 0)
		return;
	found = sys_statx(AT_FDCWD_, path, 0, &stat);
	out_text("what", path, text_length(path));
	out_number("result", found);
	out_text("text", text, (size_t)n);
	out_number("device",
		   found < 0 ? 0 : (int64_t)stat.stx_dev_major << 32 | stat.stx_dev_minor);
	out_number("inode", found < 0 ? 0 : (int64_t)stat.stx_ino);
	out_line();
}

static void show_objects_of(const char *process, int depth)
{
	static const char *const links[] = { "/exe", "/root", "/cwd" };
	static const char *const lists[] = { "/fd", "/map_files", "/ns" };
	const char *name = process + sizeof "/proc";
	char path[128];

	(void)depth;
	if (*name < '0' || *name > '9')
		return;
	for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
		text_append(text_append(path, path + sizeof path, process), path + sizeof path,
			    links[i]);
		show_object(path, 0);
	}
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		text_append(text_append(path, path + sizeof path, process), path + sizeof path,
			    lists[i]);
		(void)each_name(path, show_object, 0);
	}
}

int show_objects(void)
{
	return each_name("/proc", show_objects_of, 0) < 0;
}

static int64_t seen;

static void try_file(const char *path, int depth)
{
	long mode = mode_of(path), fd;

	if (mode < 0 || (mode & S_IFMT_) == S_IFLNK_)
		return;
	if ((mode & S_IFMT_) == S_IFDIR_) {
		if (depth < DEPTH)
			(void)each_name(path, try_file, depth + 1);
		return;
	}
	seen++;
	fd = sys_openat(AT_FDCWD_, path, O_WRONLY_ | O_NONBLOCK_ | O_CLOEXEC_, 0);
	if (fd >= 0) {
		tell(path, fd);
		sys_close((int)fd);
	}
}

/* Opens every file below a directory for writing and names those that open; nothing is written. */
int try_to_write(const char *directory)
{
	try_file(directory, 0);
	tell("files", seen);
	return 0;
}
