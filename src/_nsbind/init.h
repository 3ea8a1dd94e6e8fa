/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 of a sandbox: a static program without libc. It trusts the control socket and nothing else;
 * no byte from inside the sandbox reaches it but signals, of which it reads only SIGCHLD, and names
 * below its own /proc.
 */
#pragma once

#include "child.h"

enum {
	COMMAND_STACK_SIZE = 32768,
	COMMANDS_MAX = 4096,
	PATH_SIZE = 4096,
	AUDIT_POLLS_MAX = COMMANDS_MAX + 8,
};

/* What a step left behind when it failed; zero while all is well. */
struct outcome {
	uint32_t step;
	int32_t err;
	uint32_t index;
};

/* A received message. Offsets in it are checked by message_at() and message_string(). */
struct message {
	char *bytes;
	size_t size;
	size_t mapped; /* bytes to unmap; 0: bytes is the static buffer */
	int fds[NSB_FDS_MAX + 1];
	uint32_t n_fds;
};

/* handled 0: none */
struct landlock_policy {
	uint64_t handled, scoped, below_root, below_paths;
	const char *paths;
	uint32_t n_paths;
	uint32_t net;
};

/* What every command of this sandbox shares, kept from the set-up message. */
struct policy {
	const struct nsb_rlimit *rlimits;
	uint32_t n_rlimits;
	const struct sock_filter *seccomp;
	uint32_t n_seccomp;
	uint32_t seccomp_flags;
	const struct sock_filter *audit;
	uint32_t n_audit; /* 0: none */
	bool hand_listener;
	bool trace;
	uint32_t no_new_privs;
	uint32_t securebits;
	bool drop_groups;
	struct landlock_policy landlock;
	uint64_t effective;
	uint64_t permitted;
	uint64_t inheritable;
	uint64_t ambient;
};

/* init.c: the program, messages and reports */
_Noreturn void init_main(void);
const void *message_at(const struct message *message, uint32_t offset, uint32_t count, size_t size);
const char *message_string(const struct message *message, uint32_t offset);
const char *message_strings(const struct message *message, uint32_t offset, uint32_t count);
int take_fd(struct message *message, uint32_t index);
/* Until the next call; 0: the socket has ended */
long receive_on(int fd, struct message *message);
long receive_into(int fd, struct message *message, char *buffer); /* of NSB_INLINE_MAX bytes */
void message_release(struct message *message);
long send_long_report(int fd, const void *report, size_t size, int attached_fd, int pid_to_tell);
long send_report(int fd, const struct nsb_report *report, int attached_fd, int pid_to_tell);
void send_failure(int fd, struct outcome outcome);
void send_done(int fd, int attached_fd);
static inline struct outcome failed(enum nsb_step step, long err, uint32_t index)
{
	return (struct outcome){ .step = step, .err = (int32_t)-err, .index = index };
}
static inline struct outcome succeeded(void)
{
	return (struct outcome){ 0 };
}

/* init_keeper.c */
_Noreturn void keep(void);

/* init_setup.c */
struct start;
/* start: of a process that becomes its command; else NULL */
struct outcome set_up(struct message *message, const struct nsb_setup *setup, struct policy *policy,
		      struct start *start);

/* init_become.c */
_Noreturn void become_command(struct message *message, const struct nsb_setup *setup);

/* init_join.c */
long join_namespaces(const int *fds, const uint32_t *types, uint32_t n, uint32_t without,
		     uint32_t *ret_index);

/* init_path.c: names below a directory that an adversary may have filled */
long open_in_root(int root_fd, const char *path, int flags, unsigned mode, bool symlinks);
/* Mode and owner of what is made on the way to a name, and whether symbolic links on that way are
 * resolved. */
struct making {
	uint32_t mode, uid, gid;
	bool symlinks;
	bool dangling; /* what a symbolic link names that leads nowhere is made, inside the root */
	bool dots;     /* ".." is resolved, inside the root; else it is refused */
};
/* Where our own id does not exist, as in an idmapped volume, only its owner can make a file
 * (EOVERFLOW). */
void act_as(uint32_t uid, uint32_t gid);
void act_as_ourselves(void);
void own_device_add(int fd); /* directories may be made on the file system of fd */
void own_devices_end(void);
long open_parent_in_root(int root_fd, const char *path, char *ret_name, bool create,
			 const struct making *making);
long make_directory(int root_fd, const char *path, const struct making *making);
long make_mount_point(int root_fd, const char *path, bool directory, bool symlinks);

/* init_mount.c: the new mount API, or mount(2) where the kernel or an outer filter refuses it */
struct place {
	int root_fd; /* AT_FDCWD_: path is the host's */
	const char *path;
	bool symlinks;
};
long place_open(const struct place *place, int flags);
long source_open(const char *path, bool recursive);
long source_attach(int source_fd, int target_fd, const struct place *place, bool recursive);
struct filesystem {
	const char *type, *source, *options; /* source NULL: none */
	uint64_t attr;
};
long filesystem_attach(const struct filesystem *filesystem, int target_fd,
		       const struct place *place);
long mount_change(int mounted_fd, uint64_t set, uint64_t clear);
long mount_restrict(int root_fd, int mounted_fd, uint64_t attr, bool recursive);

/* init_exec.c */
void command_request(struct message *message, const struct policy *policy);
void commands_reap(void);
int command_pid(uint32_t id);
void command_refused(int pid); /* we killed it in the filter's name */

/* init_bpf.c */
struct seccomp_data;
uint32_t filter_decide(const struct sock_filter *program, uint32_t n,
		       const struct seccomp_data *data, uint32_t *ret_examined);

/* init_audit.c */
struct pollfd;
long audit_install(const struct policy *policy, int to_init); /* in the command */
long audit_follow(int sock, uint32_t command, const struct policy *policy, int reply_fd);
uint64_t audit_end(uint32_t command, int reply_fd);
bool audits_full(void);
uint32_t audits_watch(struct pollfd *fds);
bool audits_hurry(void);
void audits_serve(const struct pollfd *fds, const struct policy *policy);
void denials_request(struct message *message);
void calls_request(struct message *message);

/* init_kill.c */
void kill_request(struct message *message);

/* init_landlock.c: a descriptor of the rules for a command that is handed fds, or a negative errno
 */
long landlock_ruleset(const struct landlock_policy *policy, const int *fds, uint32_t n_fds);

/* init_file.c */
void open_request(struct message *message);

/* init_volume.c */
void volume_add(int fd);
long upper_add(int fd);
long upper_open(void);
long volumes_compact(int first);
bool volume_full(void);

/* init_string.c */
size_t text_length(const char *text);
bool text_equal(const char *a, const char *b);
char *text_append(char *to, const char *end, const char *text);
char *number_append(char *to, const char *end, uint64_t value);
int proc_fd_path(char path[32], int fd);
