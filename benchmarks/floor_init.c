/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 of the floor: a static program without libc that builds the sandbox with system calls written down one after
 * the other, starts commands as vfork(2) does and reports their exit. It checks nothing but errors: what remains is
 * the kernel's work, which is what the floor measures.
 */
#include <asm/resource.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <linux/signalfd.h>
#include <linux/sockios.h>
#include <linux/stat.h>
#include <linux/wait.h>

#include "floor.h"

enum {
	EMPTY_PATH = 0x1000, /* AT_EMPTY_PATH */
	DIRECTORY = O_PATH | O_DIRECTORY,
	TREE = OPEN_TREE_CLONE | O_CLOEXEC,
	NO_SUID = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
	NO_SUID_EXEC = NO_SUID | MOUNT_ATTR_NOEXEC,
	SIGNAL_CHILD = 17,
	INTERFACE_UP = 0x41, /* IFF_UP | IFF_RUNNING */
	LAST_CAPABILITY = 40,
	SECUREBITS = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
		SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
};

struct io {
	void *base;
	size_t size;
};

/* struct msghdr and struct cmsghdr as the kernel has them */
struct packet {
	void *name;
	uint32_t name_size;
	struct io *io;
	size_t n_io;
	void *control;
	size_t control_size;
	uint32_t flags;
};

struct rights {
	size_t size;
	int32_t level;
	int32_t type;
	int32_t fds[FDS_MAX];
};

struct option {
	const char *key;
	const char *value;
};

struct command {
	const struct message *message;
	const int32_t *fds;
	uint32_t n_fds;
	long error;
	uint32_t line;
};

static const char *const nodes[] = { "/dev/null",   "/dev/zero",    "/dev/full",
				     "/dev/random", "/dev/urandom", "/dev/tty" };

enum { N_NODES = sizeof nodes / sizeof *nodes };

static char setup_bytes[MESSAGE_MAX] __attribute__((aligned(16)));
static char command_bytes[MESSAGE_MAX] __attribute__((aligned(16)));
static char command_stack[STACK_SIZE] __attribute__((aligned(16)));
static struct sock_fprog filter;
static int reply_fd = CONTROL_FD;
static int32_t command_pid = -1;
static int command_only;

/* What the compiler calls by itself. */
void *memset(void *to, int byte, size_t size);
void *memcpy(void *restrict to, const void *restrict from, size_t size);

void *memset(void *to, int byte, size_t size)
{
	char *at = to;

	while (size--)
		*at++ = (char)byte;
	return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	char *at = to;
	const char *source = from;

	while (size--)
		*at++ = *source++;
	return to;
}

static void send_report(int fd, const struct report *report)
{
	struct io io = { (void *)(uintptr_t)report, sizeof *report };
	struct packet packet = { .io = &io, .n_io = 1 };

	(void)sys3(__NR_sendmsg, fd, &packet, 0x4040 /* NOSIGNAL|DONTWAIT */);
}

static _Noreturn void leave(int status)
{
	for (;;)
		(void)sys1(__NR_exit_group, status);
}

static long checked(long ret, uint32_t line)
{
	struct report report = { .event = FAILED, .error = (int32_t)ret, .line = line };

	if (ret >= 0)
		return ret;
	send_report(reply_fd, &report);
	leave(1);
}

#define MUST(call) checked(call, __LINE__)

static long receive(char *bytes, struct rights *rights)
{
	struct io io = { bytes, MESSAGE_MAX - 1 };
	struct packet packet = {
		.io = &io, .n_io = 1, .control = rights, .control_size = sizeof *rights
	};

	return sys3(__NR_recvmsg, CONTROL_FD, &packet, 0x40000000 /* CMSG_CLOEXEC */);
}

/* Look up below the new root, as an image's hostile links demand. */
static int look_up(int root, const char *path, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
	};

	return (int)sys4(__NR_openat2, root, path, &how, sizeof how);
}

static int below(int root, const char *path, uint64_t flags)
{
	return (int)MUST(look_up(root, path, flags));
}

static int attach(int mount, int target)
{
	MUST(sys5(__NR_move_mount, mount, "", target, "",
		  MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
	(void)sys1(__NR_close, target);
	return mount;
}

/* options end with a key of NULL; one without a value is a flag. */
static int new_mount(const char *type, const struct option *options, uint64_t attr, int target)
{
	int fs = (int)MUST(sys2(__NR_fsopen, type, FSOPEN_CLOEXEC));
	int mount;

	for (; options && options->key; options++)
		MUST(sys5(__NR_fsconfig, fs,
			  options->value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, options->key,
			  options->value, 0));
	MUST(sys5(__NR_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	mount = (int)MUST(sys3(__NR_fsmount, fs, FSMOUNT_CLOEXEC, attr));
	(void)sys1(__NR_close, fs);
	return attach(mount, target);
}

static void set_attr(int mount, uint64_t attr)
{
	struct mount_attr change = { .attr_set = attr };

	MUST(sys5(__NR_mount_setattr, mount, "", EMPTY_PATH, &change, sizeof change));
}

/* tree is the parent's detached, idmapped copy of the root directory. */
static int make_root(int tree)
{
	static const struct option stage_options[] = {
		{ "size", "67108864" }, { "nr_inodes", "16384" }, { "mode", "700" }, { NULL, NULL }
	};
	static const struct option overlay_options[] = { { "lowerdir", "l0" },
							 { "upperdir", "u0" },
							 { "workdir", "w0" },
							 { "userxattr", NULL },
							 { NULL, NULL } };
	struct statx stat;
	int stage, lower;

	stage = new_mount("tmpfs", stage_options, NO_SUID,
			  (int)MUST(sys4(__NR_openat, AT_FDCWD, "/sys",
					 O_PATH | O_DIRECTORY | O_CLOEXEC, 0)));
	MUST(sys3(__NR_mkdirat, stage, "l0", 0700));
	lower = attach(tree, below(stage, "l0", O_PATH));
	set_attr(lower, NO_SUID | MOUNT_ATTR_RDONLY);
	(void)sys1(__NR_close, lower);

	MUST(sys3(__NR_mkdirat, stage, "root", 0700));
	MUST(sys5(__NR_statx, stage, "l0", 0, STATX_BASIC_STATS, &stat));
	MUST(sys3(__NR_mkdirat, stage, "u0", stat.stx_mode & 07777));
	MUST(sys5(__NR_fchownat, stage, "u0", stat.stx_uid, stat.stx_gid, 0));
	MUST(sys3(__NR_mkdirat, stage, "w0", 0700));
	MUST(sys1(__NR_fchdir, stage));
	return new_mount("overlay", overlay_options, NO_SUID, below(stage, "root", DIRECTORY));
}

static void make_devices(int root, const int *sources)
{
	static const struct option links[] = { { "dev/fd", "/proc/self/fd" },
					       { "dev/stdin", "/proc/self/fd/0" },
					       { "dev/stdout", "/proc/self/fd/1" },
					       { "dev/stderr", "/proc/self/fd/2" },
					       { "dev/ptmx", "pts/ptmx" } };
	static const struct option dev_options[] = {
		{ "size", "65536" }, { "nr_inodes", "64" }, { "mode", "755" }, { NULL, NULL }
	};
	static const struct option pts_options[] = { { "ptmxmode", "0666" },
						     { "mode", "0620" },
						     { NULL, NULL } };
	static const struct option shm_options[] = {
		{ "size", "67108864" }, { "nr_inodes", "4096" }, { "mode", "1777" }, { NULL, NULL }
	};
	struct statx stat;

	new_mount("tmpfs", dev_options, NO_SUID_EXEC & ~MOUNT_ATTR_NODEV,
		  below(root, "dev", DIRECTORY));
	for (size_t i = 0; i < N_NODES; i++) {
		int fd = (int)MUST(sys4(__NR_openat, root, nodes[i] + 1,
					O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));

		MUST(sys5(__NR_statx, sources[i], "", EMPTY_PATH, STATX_BASIC_STATS, &stat));
		(void)sys1(__NR_close, attach(sources[i], fd));
	}
	for (size_t i = 0; i < sizeof links / sizeof *links; i++)
		MUST(sys3(__NR_symlinkat, links[i].value, root, links[i].key));
	MUST(sys3(__NR_mkdirat, root, "dev/pts", 0755));
	new_mount("devpts", pts_options, NO_SUID_EXEC & ~MOUNT_ATTR_NODEV,
		  below(root, "dev/pts", DIRECTORY));
	MUST(sys3(__NR_mkdirat, root, "dev/shm", 0755));
	new_mount("tmpfs", shm_options, NO_SUID_EXEC, below(root, "dev/shm", DIRECTORY));
}

/* Limit what is made below, hide what tells of the host, protect what changes it. */
static void restrict_proc(int root, int proc)
{
	static const char *const hidden[] = { "proc/interrupts", "proc/keys",     "proc/cmdline",
					      "proc/config.gz",  "proc/kallsyms", "proc/key-users",
					      "proc/locks" };
	static const char *const protected[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys" };
	static const struct option empty_options[] = {
		{ "size", "0" }, { "nr_inodes", "1" }, { "mode", "555" }, { NULL, NULL }
	};
	long fd = MUST(
		sys4(__NR_openat, proc, "sys/user/max_user_namespaces", O_WRONLY | O_CLOEXEC, 0));
	long null =
		MUST(sys4(__NR_openat, AT_FDCWD, "/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC, 0));
	int target, copy;

	MUST(sys3(__NR_write, fd, "0", 1));
	(void)sys1(__NR_close, fd);
	target = look_up(root, "proc/acpi", O_PATH);
	if (target >= 0)
		new_mount("tmpfs", empty_options, NO_SUID_EXEC | MOUNT_ATTR_RDONLY, target);
	for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
		target = look_up(root, hidden[i], O_PATH);
		if (target < 0)
			continue;
		copy = (int)MUST(sys3(__NR_open_tree, null, "", TREE | EMPTY_PATH));
		(void)sys1(__NR_close, attach(copy, target));
	}
	for (size_t i = 0; i < sizeof protected / sizeof *protected; i++) {
		target = below(root, protected[i], O_PATH);
		copy = (int)MUST(sys3(__NR_open_tree, target, "",
				      TREE | EMPTY_PATH | 0x8000 /* RECURSIVE */));
		set_attr(attach(copy, target), MOUNT_ATTR_RDONLY);
		(void)sys1(__NR_close, copy);
	}
}

static void loopback_up(void)
{
	/* struct ifreq, whose header would bring libc's */
	struct {
		char name[16];
		int16_t flags;
		char rest[22];
	} request = { .name = "lo", .flags = INTERFACE_UP };
	long fd = MUST(sys3(__NR_socket, 2 /* INET */, 2 /* DGRAM */ | O_CLOEXEC, 0));

	MUST(sys3(__NR_ioctl, fd, SIOCSIFFLAGS, &request));
	(void)sys1(__NR_close, fd);
}

static void open_devices(int *sources)
{
	for (size_t i = 0; i < N_NODES; i++)
		sources[i] = (int)MUST(sys3(__NR_open_tree, AT_FDCWD, nodes[i], TREE));
}

static void set_up(int tree)
{
	int sources[N_NODES], root;

	(void)sys1(__NR_umask, 0);
	MUST(sys5(__NR_mount, NULL, "/", NULL, (1 << 18) | 16384 /* PRIVATE|REC */, NULL));
	open_devices(sources);
	MUST(sys2(__NR_setgroups, 0, NULL));
	MUST(sys3(__NR_setresgid, 0, 0, 0));
	MUST(sys3(__NR_setresuid, 0, 0, 0));
	(void)sys5(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);

	root = make_root(tree);
	make_devices(root, sources);
	restrict_proc(root, new_mount("proc", NULL, NO_SUID_EXEC, below(root, "proc", DIRECTORY)));
	MUST(sys2(__NR_sethostname, "sandbox", 7));
	loopback_up();
	MUST(sys2(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL));
	MUST(sys1(__NR_fchdir, root));
	MUST(sys2(__NR_pivot_root, ".", "."));
	MUST(sys2(__NR_umount2, ".", 2 /* MNT_DETACH */));
	MUST(sys1(__NR_chdir, "/"));
	for (long cap = 0; cap <= LAST_CAPABILITY; cap++)
		(void)sys5(__NR_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
	(void)sys3(__NR_close_range, CONTROL_FD + 1, ~0u, 0);
}

static _Noreturn void command_failed(struct command *command, long error, uint32_t line)
{
	command->error = error;
	command->line = line;
	leave(127);
}

#define TRY(call) \
	do { \
		long ret_ = (call); \
		if (ret_ < 0) \
			command_failed(command, ret_, __LINE__); \
	} while (0)

/* On memory shared with PID 1, which sleeps until the exec. */
static void run_command(void *argument)
{
	static const char *const environment[] = { "PATH=/bin", "HOME=/tmp", NULL };
	static const uint64_t limits[][2] = {
		{ RLIMIT_CORE, 1 },   { RLIMIT_MEMLOCK, 65536 },  { RLIMIT_MSGQUEUE, 819200 },
		{ RLIMIT_NICE, 0 },   { RLIMIT_NOFILE, 1024 },    { RLIMIT_NPROC, 4096 },
		{ RLIMIT_RTPRIO, 0 }, { RLIMIT_SIGPENDING, 256 }, { RLIMIT_STACK, 8388608 },
	};
	struct command *command = argument;
	const struct message *message = command->message;
	const char *const arguments[] = { message->program, NULL };
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	const int32_t *fds = command->fds + 1;
	uint64_t no_signals = 0;
	long fd;

	for (uint32_t i = 0; i < message->n_tasks; i++)
		TRY(sys3(__NR_write, fds[i], "0", 1));
	TRY(sys0(__NR_setsid));
	TRY(sys3(__NR_close_range, 0, ~0u, CLOSE_RANGE_CLOEXEC));
	for (int i = 0; i < 3; i++)
		TRY(sys3(__NR_dup3, fds[message->n_tasks + (uint32_t)i], i, 0));
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		const uint64_t limit[2] = { limits[i][1], limits[i][1] };

		TRY(sys4(__NR_prlimit64, 0, limits[i][0], limit, NULL));
	}
	(void)sys1(__NR_umask, 022);
	TRY(sys5(__NR_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0));
	TRY(sys2(__NR_setgroups, 0, NULL));
	TRY(sys3(__NR_setresgid, USER, USER, USER));
	TRY(sys3(__NR_setresuid, USER, USER, USER));
	TRY(fd = sys4(__NR_openat2, AT_FDCWD, "/", &how, sizeof how));
	TRY(sys1(__NR_fchdir, fd));
	TRY(sys5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	data[0].effective = data[0].permitted = 1u << CAP_SETPCAP;
	TRY(sys2(__NR_capset, &header, data));
	TRY(sys5(__NR_prctl, PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0));
	data[0].effective = data[0].permitted = 0;
	TRY(sys2(__NR_capset, &header, data));
	TRY(sys5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	TRY(sys3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter));
	(void)sys4(__NR_rt_sigprocmask, 2 /* SETMASK */, &no_signals, NULL, sizeof no_signals);
	TRY(sys3(__NR_execve, message->program, arguments, environment));
}

/* Descriptors that land on 0..2 would be overwritten there: PID 1 has those open, so none does. */
static void start_command(const struct message *message, const struct rights *rights)
{
	struct command command = { .message = message, .fds = rights->fds };
	struct clone_args args = {
		.flags = CLONE_VM | CLONE_VFORK,
		.exit_signal = SIGNAL_CHILD,
		.stack = (uint64_t)(uintptr_t)command_stack,
		.stack_size = sizeof command_stack,
	};

	command.n_fds = (uint32_t)((rights->size - offsetof(struct rights, fds)) / sizeof(int32_t));
	reply_fd = rights->fds[0];
	command_pid = (int32_t)MUST(clone_onto(&args, run_command, &command));
	checked(command.error, command.line);
	command_only = (int)message->only;
	for (uint32_t i = 1; i < command.n_fds; i++)
		(void)sys1(__NR_close, rights->fds[i]);
}

static void reap(void)
{
	struct report report = { .event = EXITED };
	uint64_t usage[18];

	for (;;) {
		long pid = sys4(__NR_wait4, -1, &report.status, WNOHANG | __WALL, usage);

		if (pid <= 0)
			return;
		if (pid != command_pid)
			continue;
		send_report(reply_fd, &report);
		if (command_only)
			leave(0);
		(void)sys1(__NR_close, reply_fd);
		reply_fd = CONTROL_FD;
		command_pid = -1;
	}
}

static _Noreturn void serve(int signals)
{
	static struct rights rights;
	struct pollfd fds[2] = { { .fd = CONTROL_FD, .events = POLLIN },
				 { .fd = signals, .events = POLLIN } };
	struct signalfd_siginfo info[8];

	for (;;) {
		(void)sys5(__NR_ppoll, fds, 2, NULL, NULL, 8);
		if (fds[1].revents) {
			while (sys3(__NR_read, signals, info, sizeof info) > 0)
				;
			reap();
		}
		if (fds[0].revents) {
			if (receive(command_bytes, &rights) <= 0)
				leave(0);
			start_command((const void *)command_bytes, &rights);
		}
	}
}

__attribute__((used, noinline)) static _Noreturn void init_main(void)
{
	struct {
		uint64_t handler, flags, restorer, mask;
	} action = { 0 };
	struct report ready = { .event = READY };
	uint64_t child = 1ull << (SIGNAL_CHILD - 1);
	struct rights rights;
	long size, signals;

	(void)sys5(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	for (int signal = 1; signal <= 64; signal++)
		(void)sys4(__NR_rt_sigaction, signal, &action, NULL, sizeof action.mask);
	size = MUST(receive(setup_bytes, &rights));
	filter = (struct sock_fprog){
		.len = (unsigned short)(((size_t)size - sizeof(struct message)) /
					sizeof(struct sock_filter)),
		.filter = (void *)(setup_bytes + sizeof(struct message)),
	};
	set_up(rights.fds[0]);
	signals = MUST(sys4(__NR_signalfd4, -1, &child, sizeof child, SFD_CLOEXEC | SFD_NONBLOCK));
	send_report(CONTROL_FD, &ready);
	serve((int)signals);
}

#if defined(__x86_64__)
__asm__(".text\n.globl _start\n_start:\n\txorl %ebp, %ebp\n\tandq $-16, %rsp\n\tcall init_main\n\thlt\n");
#elif defined(__aarch64__)
__asm__(".text\n.globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tbl init_main\n\tbrk #1\n");
#endif
