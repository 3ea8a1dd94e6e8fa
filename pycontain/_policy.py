# SPDX-License-Identifier: Apache-2.0
"""What the profiles grant: system calls, capabilities, paths and limits, with the reasons.

The default's list is Docker's without what has been a way out of sandboxes or into the kernel:
io_uring, userfaultfd, keyrings, bpf, perf, handles, the mount calls, namespaces, other processes'
descriptors.
"""

from __future__ import annotations

import errno
import stat

from ._seccomp import ALLOW, KILL_PROCESS, Arg, Filter, Rule, deny


def _calls(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FILES = _calls(
    """
    access cachestat chdir chmod chown chown32 close close_range copy_file_range creat dup dup2
    dup3 faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr file_getattr file_setattr
    flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync
    ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat ioctl lchown
    lchown32 lgetxattr link linkat listxattr listxattrat llistxattr lremovexattr lseek lsetxattr
    lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat _llseek open openat
    openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat
    readv removexattr removexattrat rename renameat renameat2 rmdir sendfile sendfile64 setxattr
    setxattrat splice stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range
    sync_file_range2 syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat
    utimensat_time64 utimes vmsplice write writev arm_fadvise64_64 arm_sync_file_range
    """
)
EVENTS = _calls(
    """
    epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2
    inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy
    io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit pipe pipe2 poll ppoll
    ppoll_time64 pselect6 pselect6_time64 select _newselect signalfd signalfd4 timerfd_create
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
    """
)
MEMORY = _calls(
    """
    brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2
    mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free
    pkey_mprotect remap_file_pages
    """
)
PROCESSES = _calls(
    """
    arch_prctl capget capset execve execveat exit exit_group fork futex futex_requeue futex_time64
    futex_wait futex_waitv futex_wake get_robust_list get_thread_area getcpu getegid getegid32
    geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid
    getpriority getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid gettid
    getuid getuid32 ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self pause pidfd_open pidfd_send_signal process_mrelease restart_syscall
    rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler sched_yield seccomp set_robust_list set_thread_area
    set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32
    setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid
    setreuid32 setrlimit setsid setuid setuid32 sigaltstack sigprocmask sigreturn tgkill tkill
    ugetrlimit uprobe uretprobe vfork wait4 waitid waitpid breakpoint cacheflush set_tls
    """
)
SYSTEM = _calls(
    """
    adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer getrandom gettimeofday
    listmount nanosleep setitimer statmount sysinfo time timer_create timer_delete
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 times uname
    """
)
IPC = _calls(
    """
    ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop
    semtimedop_time64 shmat shmctl shmdt shmget
    """
)
SOCKETS = _calls(
    """
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
    recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall
    """
)
TRACING = _calls("process_vm_readv process_vm_writev ptrace")
MOUNTS = _calls(
    """
    fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree open_tree_attr
    pivot_root umount umount2
    """
)
NAMESPACES = _calls("setdomainname sethostname setns unshare")

# Calls that programs try and do without: for them this is a kernel that was built without.
ABSENT = _calls(
    """
    add_key clone3 io_uring_enter io_uring_register io_uring_setup keyctl listns lsm_get_self_attr
    lsm_list_modules lsm_set_self_attr request_key rseq_slice_yield userfaultfd
    """
)
# Numbers without an implementation, or removed from the kernel years ago.
RETIRED = _calls(
    """
    _sysctl afs_syscall create_module epoll_ctl_old epoll_wait_old get_kernel_syms getpmsg
    lookup_dcookie nfsservctl putpmsg query_module security tuxcall uselib vserver
    """
)
# Denied everywhere, but tried by libraries that are no attack (NUMA, profilers, drivers).
PROBED = _calls(
    """
    get_mempolicy kcmp mbind migrate_pages move_pages perf_event_open process_madvise
    set_mempolicy set_mempolicy_home_node
    """
)

# CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET. CLONE_NEWTIME is not a flag of clone (clone(2)).
CLONE_NEW = 0x7E020000
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
NETLINK_ROUTE, NETLINK_NETFILTER, NETLINK_GENERIC = 0, 12, 16
SOCK_STREAM, SOCK_PACKET, SOCK_TYPE_MASK = 1, 10, 0xF
# IP, ICMP, TCP, UDP, ICMPv6, UDP-Lite. Others would have the kernel load modules: SCTP, DCCP.
IP_PROTOCOLS = (0, 1, 6, 17, 58, 136)
# Typing into the caller's terminal, selecting and pasting on it, another line discipline.
TIOCSTI, TIOCLINUX, TIOCSETD = 0x5412, 0x541C, 0x5423
PR_SET_MM = 35
# PER_LINUX, PER_LINUX32, both with UNAME26, and 0xffffffff, which asks.
PERSONALITIES = (0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW, F_SETLEASE = 6, 7, 37, 38, 1024

# SOCK_PACKET turns an AF_INET socket into an AF_PACKET one inside the kernel (net/socket.c).
NO_PACKET_SOCKETS = Rule(
    ("socket", "socketpair"),
    deny(errno.EAFNOSUPPORT),
    (Arg(0, "==", AF_INET), Arg(1, "&==", SOCK_PACKET, mask=SOCK_TYPE_MASK)),
)
UNIX_SOCKETS = Rule(("socket", "socketpair"), ALLOW, (Arg(0, "==", AF_UNIX),))
IP_SOCKETS = Rule(
    ("socket",), ALLOW, (Arg(0, "in", (AF_INET, AF_INET6)), Arg(2, "in", IP_PROTOCOLS))
)
NO_OTHER_IP = Rule(("socket",), deny(errno.EPROTONOSUPPORT), (Arg(0, "in", (AF_INET, AF_INET6)),))
NO_OTHER_SOCKETS = Rule(("socket", "socketpair"), deny(errno.EAFNOSUPPORT))


def netlink(*protocols: int) -> Rule:
    """Return the rule that admits netlink sockets of some protocols."""
    return Rule(("socket",), ALLOW, (Arg(0, "==", AF_NETLINK), Arg(2, "in", protocols)))


NO_TERMINAL_INJECTION = Rule(("ioctl",), deny(), (Arg(1, "in", (TIOCSTI, TIOCLINUX, TIOCSETD)),))
NO_MEMORY_MAP_CHANGE = Rule(("prctl",), deny(), (Arg(0, "==", PR_SET_MM),))
# Limits are a process's own affair: not those of PID 1, or of a sibling with the same user.
NO_LIMITS_OF_OTHERS = Rule(("prlimit64",), deny(), (Arg(0, "!=", 0), Arg(2, "!=", 0)))
# An error from a program's own filter would come before the audit's question and hide what ends it.
SECCOMP_SET_MODE_FILTER, SECCOMP_MODE_FILTER, PR_SET_SECCOMP = 1, 2, 22
NO_OTHER_FILTERS = (
    Rule(("seccomp",), deny(errno.EACCES), (Arg(0, "==", SECCOMP_SET_MODE_FILTER),)),
    Rule(
        ("prctl",),
        deny(errno.EACCES),
        (Arg(0, "==", PR_SET_SECCOMP), Arg(1, "==", SECCOMP_MODE_FILTER)),
    ),
)
# Where the processors are a limit. The mask is behind a pointer, so none can be allowed.
NO_OTHER_PROCESSORS = Rule(("sched_setaffinity",), deny())
PLAIN_CLONE = Rule(("clone",), ALLOW, (Arg(0, "&==", 0, mask=CLONE_NEW),))
KNOWN_PERSONALITIES = Rule(("personality",), ALLOW, (Arg(0, "in", PERSONALITIES),))
NO_LOCKS = (
    Rule(("flock",), deny(errno.ENOLCK)),
    Rule(
        ("fcntl", "fcntl64"),
        deny(errno.ENOLCK),
        (Arg(1, "in", (F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW, F_SETLEASE)),),
    ),
)


def _set_id(names: tuple[str, ...], index: int) -> tuple[Rule, ...]:
    bits = (stat.S_ISUID, stat.S_ISGID)
    return tuple(Rule(names, deny(), (Arg(index, "&==", bit, mask=bit),)) for bit in bits)


# Where files that are made inside belong to the host's root (a writable Bind of root's): a set-id
# file would be a way to root for whoever runs it outside.
NO_SET_ID = (
    *_set_id(("chmod", "fchmod", "creat", "mknod"), 1),
    *_set_id(("fchmodat", "fchmodat2", "open", "mknodat"), 2),
    *_set_id(("openat",), 3),
    # Its mode is behind a pointer; libraries fall back to openat.
    Rule(("openat2",), deny(errno.ENOSYS)),
)

PLAIN = (*FILES, *EVENTS, *MEMORY, *PROCESSES, *SYSTEM, *IPC, *SOCKETS, "prctl", "prlimit64")
NOT_THERE = Rule((*ABSENT, *RETIRED), deny(errno.ENOSYS))

DEFAULT = Filter(
    default=deny(),
    rules=(
        NO_TERMINAL_INJECTION,
        NO_MEMORY_MAP_CHANGE,
        NO_LIMITS_OF_OTHERS,
        NO_PACKET_SOCKETS,
        UNIX_SOCKETS,
        IP_SOCKETS,
        netlink(NETLINK_ROUTE),
        NO_OTHER_IP,
        NO_OTHER_SOCKETS,
        PLAIN_CLONE,
        KNOWN_PERSONALITIES,
        NOT_THERE,
        Rule((*PLAIN, *TRACING), ALLOW),
    ),
)

# What no library does by accident ends the program, so that the result can say so.
JUDGE = Filter(
    default=KILL_PROCESS,
    foreign=KILL_PROCESS,
    rules=(
        *NO_LOCKS,
        Rule(NO_TERMINAL_INJECTION.names, KILL_PROCESS, NO_TERMINAL_INJECTION.args),
        Rule(NO_MEMORY_MAP_CHANGE.names, KILL_PROCESS, NO_MEMORY_MAP_CHANGE.args),
        NO_LIMITS_OF_OTHERS,
        Rule(
            ("socketpair",),
            ALLOW,
            (Arg(0, "==", AF_UNIX), Arg(1, "&==", SOCK_STREAM, mask=SOCK_TYPE_MASK)),
        ),
        NO_OTHER_SOCKETS,
        PLAIN_CLONE,
        KNOWN_PERSONALITIES,
        Rule(("personality", *PROBED), deny()),
        # Without /proc/sys nothing bounds what is taken from the caller's user.
        Rule(("inotify_init", "inotify_init1"), deny(errno.EMFILE)),
        NOT_THERE,
        Rule(PLAIN, ALLOW),
    ),
)

BUILD = DEFAULT.first(Rule(("chroot",), ALLOW))

NESTED = DEFAULT.first(
    Rule(("chroot", "clone", "clone3", *MOUNTS, *NAMESPACES), ALLOW),
    netlink(NETLINK_ROUTE, NETLINK_NETFILTER, NETLINK_GENERIC),
)

# Docker's profile (moby/profiles, seccomp/default.json, 2026) with the capabilities below, but for
# 32-bit calls. Families 12, 19, 20, 23, 25, 34, 37, 38 (AF_ALG), 40 (AF_VSOCK) and those above 45
# are not in its list.
COMPAT_FAMILIES = (
    *range(12),
    *range(13, 19),
    21,
    22,
    24,
    *range(26, 34),
    35,
    36,
    39,
    *range(41, 46),
)
_NOT_DOCKERS = {"file_getattr", "file_setattr", "uprobe"}
COMPAT = Filter(
    default=deny(),
    known="rules",
    rules=(
        NO_LIMITS_OF_OTHERS,  # Docker's PID 1 is the payload, ours is not
        Rule(("socket",), ALLOW, (Arg(0, "in", COMPAT_FAMILIES),)),
        PLAIN_CLONE,
        KNOWN_PERSONALITIES,
        Rule(("clone3",), deny(errno.ENOSYS)),
        Rule(
            (
                *(name for name in PLAIN if name not in _NOT_DOCKERS),
                *TRACING,
                *(
                    "chroot",
                    "epoll_ctl_old",
                    "epoll_wait_old",
                    "fanotify_mark",
                    "modify_ldt",
                    "socketpair",
                ),
            ),
            ALLOW,
        ),
    ),
)

DOCKER_CAPABILITIES = _calls(
    """
    CAP_AUDIT_WRITE CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_MKNOD
    CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SETFCAP CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_CHROOT
    """
)
BUILD_CAPABILITIES = tuple(
    name
    for name in DOCKER_CAPABILITIES
    if name not in {"CAP_AUDIT_WRITE", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETPCAP"}
)

DOCKER_MASKED = _calls(
    """
    /proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats
    /proc/sched_debug /proc/scsi /proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap
    /sys/firmware
    """
)
MASKED = (
    *DOCKER_MASKED,
    *_calls(
        """
        /proc/cmdline /proc/config.gz /proc/kallsyms /proc/key-users /proc/kpagecgroup
        /proc/kpagecount /proc/kpageflags /proc/locks /proc/modules /proc/pagetypeinfo
        /proc/slabinfo /proc/sysrq-trigger /proc/vmallocinfo
        """
    ),
)
READ_ONLY = _calls("/proc/bus /proc/fs /proc/irq /proc/sys")
DOCKER_READ_ONLY = (*READ_ONLY, "/proc/sysrq-trigger")

_KIB, _MIB = 1 << 10, 1 << 20
LIMITS = {
    # 0 would still start a core handler that core_pattern pipes to; 1 the kernel takes as none
    # (fs/coredump.c).
    "CORE": (1, 1),
    "MEMLOCK": (64 * _KIB, 64 * _KIB),
    # Counted against the caller's user too, who has 800 KiB.
    "MSGQUEUE": (200 * _KIB, 200 * _KIB),
    "NICE": (0, 0),
    "NOFILE": (1024, 1024),
    # A bound for fork bombs where no cgroup counts; per id of the user namespace (Linux 5.14).
    "NPROC": (4096, 4096),
    "RTPRIO": (0, 0),
    "SIGPENDING": (256, 256),
    "STACK": (8 * _MIB, 8 * _MIB),
}
BUILD_LIMITS = {**LIMITS, "NOFILE": (1024, 65536), "SIGPENDING": (4096, 4096)}

# NOROOT and NO_CAP_AMBIENT_RAISE, both locked (capabilities(7)): an id of 0 is no privilege.
NO_ROOT = 0x1 | 0x2 | 0x40 | 0x80
