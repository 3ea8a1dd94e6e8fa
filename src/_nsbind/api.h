/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole interface between Python, the C core and PID 1. This file is the cffi definition, read
 * verbatim, so it holds only what cffi parses: enums, structs of fixed-width integers, prototypes.
 *
 * Life of a sandbox: Python packs a set-up message (struct nsb_setup and its ops) and passes it to
 * nsb_spawn(). The message and its descriptors are queued in a SOCK_SEQPACKET socket, then PID 1 is
 * cloned and executed; it reads the message, builds the sandbox, answers with one struct nsb_report
 * and serves further requests from the same socket. Requests name strings and arrays by their
 * offset from the start of the message; offset 0 means absent. Since PID 1 waits for its message,
 * it can as well be cloned while that is still being made (struct nsb_spawning).
 */

enum nsb_constants {
	NSB_API_VERSION = 1,
	NSB_KEEP_ID = -1,       /* an id that is not to be changed */
	NSB_INLINE_MAX = 65536, /* longer messages travel in a sealed memfd */
	NSB_FDS_MAX = 250,      /* SCM_MAX_FD is 253 */
	NSB_CONTROL_FD = 3,     /* PID 1's end of the control socket */
	NSB_CPU_WORDS = 128,    /* of 64 processors; no kernel knows more than 8192 */
	NSB_DENIALS_MAX = 64,   /* different ones that are told apart */
	NSB_CALLS_MAX = 1024,   /* the same of calls in a trace */
	NSB_JOINS_MAX = 8       /* namespaces of a process */
};

/* Which step failed. Python builds its Step enum from these names. */
enum nsb_step {
	NSB_STEP_NONE,
	/* parent */
	NSB_STEP_STACK,
	NSB_STEP_SOCKETPAIR,
	NSB_STEP_OPEN_TREE,
	NSB_STEP_IDMAP,
	NSB_STEP_SEND,
	NSB_STEP_KEEPER,
	NSB_STEP_CLONE,
	/* child, before the execution of PID 1 */
	NSB_STEP_JOIN_USER_NAMESPACE,
	NSB_STEP_CLONE_NAMESPACES,
	NSB_STEP_JOIN_CGROUP,
	NSB_STEP_AFFINITY,
	NSB_STEP_STDIO,
	NSB_STEP_AMBIENT,
	NSB_STEP_EXEC_INIT,
	NSB_STEP_JOIN_NAMESPACE,
	/* PID 1: set-up */
	NSB_STEP_RECEIVE,
	NSB_STEP_ID_MAP,
	NSB_STEP_TIME_NAMESPACE,
	NSB_STEP_PROPAGATION,
	NSB_STEP_SOURCE,
	NSB_STEP_SET_ID,
	NSB_STEP_ROOT,
	NSB_STEP_LOWER,
	NSB_STEP_OVERLAY,
	NSB_STEP_MKDIR,
	NSB_STEP_SYMLINK,
	NSB_STEP_FILE,
	NSB_STEP_BIND,
	NSB_STEP_DEVICE,
	NSB_STEP_TMPFS,
	NSB_STEP_PROC,
	NSB_STEP_DEVPTS,
	NSB_STEP_MQUEUE,
	NSB_STEP_BINFMT,
	NSB_STEP_MASK,
	NSB_STEP_READ_ONLY,
	NSB_STEP_SYSCTL,
	NSB_STEP_HOSTNAME,
	NSB_STEP_LOOPBACK,
	NSB_STEP_KEYRING,
	NSB_STEP_PIVOT_ROOT,
	NSB_STEP_MOUNT,
	NSB_STEP_ATTRIBUTES,
	NSB_STEP_LABEL,
	NSB_STEP_COPY_UP,
	NSB_STEP_NODE,
	NSB_STEP_CONSOLE,
	NSB_STEP_PERSONALITY,
	NSB_STEP_SYNC,
	NSB_STEP_BOUNDING_SET,
	/* PID 1: a command */
	NSB_STEP_REQUEST,
	NSB_STEP_PTY,
	NSB_STEP_START,
	NSB_STEP_TASKS,
	NSB_STEP_FDS,
	NSB_STEP_SESSION,
	NSB_STEP_RLIMIT,
	NSB_STEP_USER,
	NSB_STEP_CAPABILITIES,
	NSB_STEP_CWD,
	NSB_STEP_NO_NEW_PRIVS,
	NSB_STEP_LANDLOCK,
	NSB_STEP_SECCOMP,
	NSB_STEP_LISTENER,
	NSB_STEP_PROGRAM,
	NSB_STEP_WAIT,
	NSB_STEP_HOOK,
	NSB_STEP_EXEC,
	/* PID 1: other requests */
	NSB_STEP_OPEN,
	NSB_STEP_KILL
};

enum nsb_event {
	NSB_EVENT_READY = 1, /* set-up is complete */
	NSB_EVENT_FAILED,    /* step, err, index */
	NSB_EVENT_STARTED,   /* pid inside; SCM_CREDENTIALS carries the caller's view; with a pty,
				SCM_RIGHTS its master */
	NSB_EVENT_EXITED,    /* status, user_us, system_us; index 1: it failed, and a file system of
				the sandbox is full */
	NSB_EVENT_DONE,      /* a request without a life of its own is complete */
	NSB_EVENT_LISTENER,  /* SCM_RIGHTS carries the command's listener; before STARTED */
	NSB_EVENT_DENIALS,   /* index: how many struct nsb_denial follow in this message; before
				EXITED, or as the answer to NSB_REQUEST_DENIALS */
	NSB_EVENT_CALLS,     /* the same of struct nsb_call; the answer to NSB_REQUEST_CALLS */
	NSB_EVENT_SYNC       /* the set-up waits for NSB_REQUEST_GO; index: at which op */
};

/* The only thing PID 1 ever sends, on the control socket (set-up) or on a request's own reply
 * socket. */
struct nsb_report {
	uint32_t event;
	uint32_t step;
	int32_t err;    /* positive errno */
	uint32_t index; /* which op, descriptor, rlimit or path */
	int32_t pid;
	int32_t status;   /* as wait(2) gives it */
	uint64_t user_us; /* processor time of the command and the descendants that it waited for */
	uint64_t system_us;
	uint64_t read_blocks; /* of 512 bytes, from and to block devices, by the same processes */
	uint64_t written_blocks;
	uint64_t denied; /* calls that the audit saw refused, told apart or not */
};

/* A system call that the filter refused, as its first caller made it. Pointers in it are numbers
 * and nothing else. */
struct nsb_denial {
	uint64_t args[6];
	uint64_t count; /* of calls that differ in nothing that the filter looked at */
	uint32_t number;
	uint32_t arch;     /* AUDIT_ARCH_* */
	uint32_t verdict;  /* SECCOMP_RET_* and its data */
	uint32_t examined; /* the arguments that the filter looked at, a bit each */
	int32_t pid;       /* inside, of the first caller */
	uint32_t reserved;
	uint8_t name[16]; /* of the first caller, which it chose itself; padded with NULs */
};

/* A system call of a traced sandbox. */
struct nsb_call {
	uint32_t number;
	uint32_t arch; /* AUDIT_ARCH_* */
	uint64_t count;
};

/* What failed before PID 1 could speak. err is a positive errno. */
struct nsb_failure {
	uint32_t step;
	int32_t err;
	uint32_t index;
};

enum nsb_op_kind {
	NSB_OP_ROOT_TMPFS = 1, /* options: source */
	NSB_OP_ROOT_BIND,      /* descriptor or source */
	NSB_OP_STAGE,          /* tmpfs that holds upper and work; options: source */
	NSB_OP_LOWER,          /* a lower layer, topmost first; descriptor or source */
	NSB_OP_LAYERS,         /* a directory of layers, for LAYER ops; descriptor or source */
	NSB_OP_LAYER,          /* the same as LOWER; source is its path in the last LAYERS */
	NSB_OP_ROOT_OVERLAY,
	NSB_OP_MKDIR,   /* target mode uid gid; an existing directory is kept as it is */
	NSB_OP_SYMLINK, /* target -> source */
	NSB_OP_FILE,    /* target with the bytes source..source+length, mode uid gid */
	NSB_OP_BIND,    /* descriptor or source -> target, attr */
	NSB_OP_DEVICE,  /* source must be the character device major:minor in mode */
	NSB_OP_TMPFS,   /* target, options in source, attr */
	NSB_OP_OVERLAY, /* target; the LOWER ops before it are its layers */
	NSB_OP_PROC,    /* target, options in source */
	NSB_OP_DEVPTS,  /* target, options in source */
	NSB_OP_MQUEUE,  /* target */
	NSB_OP_BINFMT,  /* source is an entry for the sandbox's own binfmt_misc, which is mounted on
			     target; something else is to cover it */
	NSB_OP_MASK, /* target, absent is fine; further options of an empty directory in source */
	NSB_OP_READ_ONLY, /* target made read-only, recursively; absent is fine; target "" is the
			     root, alone */
	NSB_OP_SYSCTL,    /* target below /proc, source is the text to write */
	NSB_OP_HOSTNAME,
	NSB_OP_DOMAINNAME,
	NSB_OP_LOOPBACK, /* bring lo up */
	NSB_OP_KEYRING,  /* a new anonymous session keyring */
	NSB_OP_PIVOT_ROOT,
	NSB_OP_CHROOT,     /* instead, where PIVOT_ROOT cannot be */
	NSB_OP_MOUNT,      /* a new file system of type; target; in source its source, a NUL, and
			     options */
	NSB_OP_ATTRIBUTES, /* of the mount at target; "" is the root */
	NSB_OP_LABEL,      /* target, SELinux label in source */
	NSB_OP_NODE,    /* target mode (with its type) uid gid, device in length; one that is there
			     already must be the same */
	NSB_OP_CONSOLE, /* a new pty of the root's devpts, the slave on target if there is one */
	NSB_OP_SYNC     /* report NSB_EVENT_SYNC and serve hooks until NSB_REQUEST_GO */
};

enum nsb_op_flag {
	NSB_OP_RECURSIVE = 1,
	NSB_OP_NO_SYMLINKS = 2,   /* target must have no symbolic link in any component */
	NSB_OP_OPTIONAL = 4,      /* a source that does not exist skips the op, as a link does that
				   does */
	NSB_OP_REPLACE = 8,       /* a file takes the place of one, or of a link */
	NSB_OP_FOLLOW = 16,       /* MASK and READ_ONLY: resolve symbolic links, inside the root */
	NSB_OP_COPY_UP = 32,      /* a new file system begins with a copy of what it covers */
	NSB_OP_INHERIT_MODE = 64, /* it has the mode of what it covers */
	NSB_OP_TOP = 128          /* attr is for the mount alone, also with NSB_OP_RECURSIVE */
};

struct nsb_op {
	uint32_t kind;
	uint32_t flags;
	uint32_t target;
	uint32_t source;
	uint32_t length;
	int32_t fd; /* index among the message's descriptors, or -1 */
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t type; /* of a new file system */
	uint64_t attr; /* MOUNT_ATTR_* to set */
	uint64_t attr_clear;
	uint64_t tree_attr; /* the same of a mount and of all below it */
	uint64_t tree_attr_clear;
	uint32_t propagation[2]; /* MS_*, with MS_REC, one after the other; 0: as it is */
};

struct nsb_rlimit {
	uint32_t resource;
	uint32_t reserved;
	uint64_t soft;
	uint64_t hard;
};

enum nsb_request_kind {
	NSB_REQUEST_SETUP = 1,
	NSB_REQUEST_EXEC,
	NSB_REQUEST_KILL,
	NSB_REQUEST_OPEN,
	NSB_REQUEST_KEEP, /* instead of a set-up: be a keeper */
	NSB_REQUEST_CLONE,
	NSB_REQUEST_DENIALS,
	NSB_REQUEST_CALLS, /* the same message as for denials, of the whole sandbox */
	NSB_REQUEST_HOOK,  /* of a process that becomes its command, while it waits */
	NSB_REQUEST_GO     /* the end of such a wait: a header, nothing else */
};

/* Every message starts so. payload_fd: the message is in the first descriptor, a memfd of size
 * bytes. */
struct nsb_header {
	uint32_t kind;
	uint32_t size;
	uint32_t payload_fd;
	uint32_t id; /* of the command that a request is about */
};

enum nsb_setup_flag {
	NSB_SETUP_BECOME = 1,   /* PID 1 becomes its command, whose request follows at once
				   (init_become.c) */
	NSB_SETUP_OPEN_ROOT = 2 /* mount points are made on every file system below the root, also
				   through symbolic links that lead nowhere */
};

struct nsb_setup {
	struct nsb_header header;
	uint32_t flags;
	uint32_t propagation; /* MS_* of all mounts at first, before sources are opened; 0: as they
				 are */
	uint32_t n_ops;
	uint32_t ops;
	uint32_t attach_at; /* an existing directory of the host: where the new root is attached
			       until pivot_root */
	uint32_t uid_map; /* text for /proc/self/uid_map; absent: the namespace is already mapped */
	uint32_t gid_map;
	uint32_t uid; /* PID 1's own ids inside, NSB_KEEP_ID to keep them */
	uint32_t gid;
	uint32_t time_namespace; /* 1: new, with the offsets in timens_offsets (absent: none) */
	uint32_t timens_offsets;
	uint32_t n_rlimits;
	uint32_t rlimits;
	uint32_t n_seccomp;     /* instructions */
	uint32_t seccomp;       /* struct sock_filter[] */
	uint32_t seccomp_flags; /* SECCOMP_FILTER_FLAG_* */
	uint32_t n_audit;
	uint32_t audit; /* struct sock_filter[]: the filter that asks PID 1 where the one above
			   refuses; PID 1 answers as that one does, and keeps account */
	uint32_t no_new_privs;
	uint32_t n_landlock_paths;
	uint32_t landlock_paths; /* consecutive NUL-terminated strings */
	uint32_t hand_listener;  /* 1: audit is the filter itself, and who answers is the caller */
	uint32_t trace; /* 1: audit asks about every call; those that seccomp permits go on */
	uint32_t landlock_net; /* LANDLOCK_ACCESS_NET_*: denied */
	uint32_t personality;  /* of personality(2) */
	uint32_t reserved;
	uint64_t landlock_handled; /* LANDLOCK_ACCESS_FS_*; 0: no Landlock */
	uint64_t landlock_scoped;  /* LANDLOCK_SCOPE_* */
	uint64_t landlock_below_root;
	uint64_t landlock_below_paths;
	uint32_t securebits;
	uint32_t drop_groups; /* 1: setgroups(0) for PID 1 and commands; 0 where setgroups is denied
			       */
	uint64_t bounding;
	uint64_t effective; /* a command's capability sets */
	uint64_t permitted;
	uint64_t inheritable;
	uint64_t ambient;
};

enum nsb_exec_flag {
	NSB_EXEC_ONLY = 1, /* PID 1 ends with this command */
	NSB_EXEC_PTY = 2,  /* stdin, stdout and stderr are a new pty of the sandbox's own devpts */
	NSB_EXEC_TELL_START = 4, /* send NSB_EVENT_STARTED */
	NSB_EXEC_CGROUP = 8,     /* a cgroup v2 directory is attached: CLONE_INTO_CGROUP */
	NSB_EXEC_MARK = 16, /* a cgroup namespace of its own, which hides its group's path, and by
				 which NSB_REQUEST_KILL finds its processes */
	NSB_EXEC_SESSION = 32, /* setsid(2); else setpgid(0, process_group) */
	NSB_EXEC_WAIT = 64,    /* of a process that becomes its command: the first descriptor is a
				  listening socket, and a NSB_REQUEST_GO from there starts it */
	NSB_EXEC_MAKE_CWD = 128,
	NSB_EXEC_OWN_STDIO = 256 /* the user owns its standard pipes and sockets */
};

/* Descriptors, in order: reply socket, [cgroup directory], n_tasks v1 `tasks` files, then one for
 * each of fds. */
struct nsb_exec {
	struct nsb_header header;
	uint32_t flags;
	uint32_t uid;
	uint32_t gid;
	uint32_t n_groups;
	uint32_t groups;  /* uint32_t[] */
	uint32_t n_paths; /* programs to try, in order */
	uint32_t paths;   /* consecutive NUL-terminated strings, as argv and env */
	uint32_t n_argv;
	uint32_t argv;
	uint32_t n_env;
	uint32_t env;
	uint32_t cwd;
	uint32_t umask;
	uint32_t process_group;
	uint32_t n_tasks;
	uint32_t n_fds;
	uint32_t fds; /* uint32_t[]: the number that each descriptor has inside */
	uint32_t rows;
	uint32_t columns;
	uint32_t reserved;
};

/*
 * A program that is run while a process waits that is to become its command. It has that one's
 * privileges, and its path is resolved where that one is by then.
 *
 * Descriptors: standard input, and where the output and the errors go. The reply is
 * NSB_EVENT_EXITED, or NSB_EVENT_FAILED: ETIMEDOUT when it was killed.
 */
struct nsb_hook {
	struct nsb_header header;
	uint32_t path;
	uint32_t n_argv;
	uint32_t argv;
	uint32_t n_env;
	uint32_t env;
	uint32_t timeout_ms; /* 0: none */
};

/* Descriptors: reply socket. Signal 0 with everything set asks whether anything is left. */
struct nsb_kill {
	struct nsb_header header;
	uint32_t signal;
	uint32_t everything; /* 1: all processes of the command; 2: all of the sandbox but PID 1 */
};

/* Descriptors: reply socket. id 0: of the whole sandbox so far. */
struct nsb_denials {
	struct nsb_header header;
};

enum nsb_open_flag {
	NSB_OPEN_FOLLOW = 1,  /* resolve symbolic links inside the root; else any link is ELOOP */
	NSB_OPEN_MKDIR = 2,   /* make a directory and its parents */
	NSB_OPEN_PARENTS = 4, /* make missing parents */
	NSB_OPEN_DIRECTORY = 8,
	NSB_OPEN_UNLINK = 16, /* remove the file, link or empty directory */
	NSB_OPEN_UPPER = 32   /* the writable layer of the root, whatever the path */
};

/* Descriptors: reply socket, on which the opened regular file or directory is sent. */
struct nsb_open {
	struct nsb_header header;
	uint32_t flags;
	uint32_t open_flags; /* O_* */
	uint32_t mode;
	uint32_t uid; /* owner of what is made */
	uint32_t gid;
	uint32_t path;
};

/*
 * A keeper is PID 1's program in no namespace of its own. It lives in a subtree of control groups,
 * which keeps a systemd scope alive, and clones PID 1s there for a caller that lives outside and so
 * may not clone into it (cgroup-v2.rst, "Delegation Containment"). They become the caller's
 * children. EOF on its control socket is its end.
 *
 * With namespaces to join it serves one request: it stays there, and is to be ended.
 *
 * Descriptors: reply socket, program, /dev/null, control socket, [cgroup directory], [user
 * namespace], namespaces to join. The reply has the pidfd, in pid the new process and in status the helper that joined
 * the user namespace; the caller reaps both, on failure too.
 */
struct nsb_clone {
	struct nsb_header header;
	uint64_t namespaces;
	uint32_t flags; /* of nsb_spawn_flag */
	uint32_t has_cgroup;
	uint32_t has_userns;
	uint32_t n_affinity;
	uint64_t affinity[NSB_CPU_WORDS];
	uint32_t n_joins;
	uint32_t joins[NSB_JOINS_MAX]; /* CLONE_NEW* of each */
};

/* Whose user namespace maps the ids of a tree. */
enum nsb_idmap {
	NSB_IDMAP_NONE, /* the tree is shown as it is */
	NSB_IDMAP_ROOT, /* the sandbox's own */
	NSB_IDMAP_BIND, /* bind_userns_fd */
	NSB_IDMAP_OWN   /* the tree's own */
};

/* A detached copy of a directory tree, made by the parent. */
struct nsb_tree {
	const char *path;
	uint32_t idmap;
	uint32_t recursive;
	uint32_t map_all; /* 1: with NSB_IDMAP_OWN, also what is mounted below */
	int32_t userns_fd;
};

enum nsb_spawn_flag {
	NSB_SPAWN_FORK = 1,   /* a fork-like clone: memory is copied, not shared */
	NSB_SPAWN_CLONE2 = 2, /* clone(2) instead of clone3(2) */
	NSB_SPAWN_EARLY = 4 /* the clone begins with nsb_spawn_begin(), not with nsb_spawn_end() */
};

/* How PID 1 is cloned. */
struct nsb_spawn_args {
	uint64_t namespaces; /* CLONE_NEW* */
	uint32_t flags;
	int32_t userns_fd; /* join this user namespace; -1: CLONE_NEWUSER is in namespaces */
	int32_t init_fd;   /* the program of PID 1 */
	int32_t null_fd;   /* /dev/null */
	int32_t cgroup_fd; /* -1: the caller's cgroup */
	int32_t keeper_fd; /* control socket of a keeper that is to clone; -1: the caller is */
	const int32_t *join_fds; /* namespaces that the keeper enters first */
	const uint32_t *joins;   /* CLONE_NEW* of each */
	uint32_t n_joins;
	const int32_t *tasks_fds; /* v1 `tasks` files that PID 1 joins */
	uint32_t n_tasks;
	const uint64_t *affinity; /* processors of PID 1 and of all that it starts, a bit each;
				     NULL: the caller's */
	uint32_t n_affinity;      /* words */
};

/* What PID 1 reads first. */
struct nsb_spawn_messages {
	int32_t bind_userns_fd;       /* of NSB_IDMAP_BIND */
	const struct nsb_tree *trees; /* appended to the set-up message's descriptors, in order */
	uint32_t n_trees;
	const void *setup;
	size_t setup_size;
	const void *command; /* first command; NULL: none */
	size_t command_size;
	const int32_t *command_fds;
	uint32_t n_command_fds;
};

/* Owned by the caller: pid and pidfd of PID 1, control socket. */
struct nsb_sandbox {
	int32_t pid;
	int32_t pidfd;
	int32_t control_fd;
	uint32_t used_clone2; /* 1: clone3 was refused and clone(2) took its place */
};

/* A spawn that has begun. What its arguments point to, and their descriptors, have to stay until
 * its end. */
struct nsb_spawning {
	struct nsb_spawn_args args;
	int32_t control_fd;
	int32_t init_control_fd;
	int32_t reply_fd; /* where a keeper answers, -1: nobody has asked it */
	uint32_t queued;  /* 1: PID 1 has its messages */
	uint32_t has_thread;
	uint64_t thread; /* pthread_t: all that follows is its own while it runs */
	struct nsb_sandbox sandbox;
	struct nsb_failure failure;
};

/* A process that keeps a new user namespace alive while its maps are written. Free with
 * nsb_userns_release(). */
struct nsb_userns_holder {
	int32_t pid;
	int32_t pidfd;
	int32_t lifeline_fd;
	void *stack;
};

/* Each returns 0, or -1 with *reterr filled. */
int nsb_spawn(const struct nsb_spawn_args *args, const struct nsb_spawn_messages *messages,
	      struct nsb_sandbox *ret, struct nsb_failure *reterr);
/* The same in three steps. Whatever becomes of the second, what has begun is to be ended; if nothing
 * was queued, nothing is left of it, which is a failure. To end it twice does no harm. */
int nsb_spawn_begin(const struct nsb_spawn_args *args, struct nsb_spawning *ret,
		    struct nsb_failure *reterr);
int nsb_spawn_queue(struct nsb_spawning *spawning, const struct nsb_spawn_messages *messages,
		    struct nsb_failure *reterr);
int nsb_spawn_end(struct nsb_spawning *spawning, struct nsb_sandbox *ret,
		  struct nsb_failure *reterr);
int nsb_userns_hold(uint32_t spawn_flags, struct nsb_userns_holder *ret,
		    struct nsb_failure *reterr);
/* The process ends, and nobody waits: that is left to nsb_userns_release(). */
void nsb_userns_end(struct nsb_userns_holder *holder);
void nsb_userns_release(struct nsb_userns_holder *holder);

/* Whether path can be shown through an idmapped mount. Returns 0 or a negative errno. */
int nsb_can_idmap(const char *path, int userns_fd);

/* A read-only mount, in no namespace, of an archive by its index. Returns its descriptor or a
 * negative errno. */
int nsb_mount_index(int index_fd, int archive_fd);

/* The disk begins to write what a file has so far, and nobody waits. */
void nsb_write_back(int fd);

/* One message with its descriptors. Returns 0 or a negative errno. */
int nsb_send(int control_fd, const void *message, size_t size, const int32_t *fds, uint32_t n_fds);

/* A socket of messages at a path, which listens or is connected. Each returns a descriptor, of which
 * that which listens does not block, or a negative errno. */
int nsb_listen(const char *path);
int nsb_connect(const char *path);

/* The next message, cut to size, and a descriptor that came along, or -1; more of these are closed.
 * Returns its length, 0 at the end, or a negative errno; EINTR is the caller's. */
int64_t nsb_receive(int socket_fd, void *buffer, size_t size, int32_t *ret_fd);

/* A descriptor that is waited for; as struct pollfd (poll(2)). */
struct nsb_waiting {
	int32_t fd;
	int16_t events;
	int16_t revents;
};

/* Wait until something has come for one of them, without end if the time is negative. Returns for how
 * many, or a negative errno; EINTR is the caller's. */
int nsb_wait(struct nsb_waiting *waiting, uint32_t n, int timeout_ms);

/* What sched_setattr(2) takes, but for its size. */
struct nsb_scheduler {
	uint32_t policy;
	int32_t nice;
	uint64_t flags;
	uint32_t priority;
	uint64_t runtime; /* nanoseconds */
	uint64_t deadline;
	uint64_t period;
};

/* A socket of the network namespace that netns_fd refers to. Returns a descriptor or a negative
 * errno. */
int nsb_socket_in(int netns_fd, int domain, int type, int protocol);

/* Set the scheduling, and the I/O priority (ioprio_set(2)), of a process. Each returns 0 or a
 * negative errno. */
int nsb_set_scheduler(int pid, const struct nsb_scheduler *scheduler);
int nsb_set_io_priority(int pid, int priority);

/* SIGKILL by pidfd. Returns 0 or a negative errno. */
int nsb_kill(int pidfd, int signal);

/* Wait at most timeout_ms (-1: for ever) for the process and reap it. Returns its exit status as
 * wait(2) gives it, -EAGAIN when the time is over, -ECHILD when it is dead and somebody else reaped
 * it (SIGCHLD is ignored, or another part of the program waits for any child), or another negative
 * errno. */
int nsb_reap(int pidfd, int timeout_ms);

/* Errno of each system call that the core has a fallback for, called with harmless arguments:
 * -ENOSYS, -EPERM or what the arguments deserve. */
enum nsb_probe {
	NSB_PROBE_CLONE3,
	NSB_PROBE_OPENAT2,
	NSB_PROBE_OPEN_TREE,
	NSB_PROBE_FSOPEN,
	NSB_PROBE_MOVE_MOUNT,
	NSB_PROBE_MOUNT_SETATTR,
	NSB_PROBE_CLOSE_RANGE,
	NSB_PROBE_PIDFD_OPEN,
	NSB_PROBE_LANDLOCK, /* the version of its ABI */
	NSB_PROBE_LISTENER, /* tried by a process of its own, which has ended */
	NSB_PROBE_COUNT
};
int nsb_probe(uint32_t which);

/* Let a BPF program of n instructions decide about device nodes in a v2 group and below, beside any
 * that is there. Lives as long as the group. Returns 0 or a negative errno. */
int nsb_cgroup_device(int cgroup_fd, const void *instructions, uint32_t n);
