# SPDX-License-Identifier: Apache-2.0
"""Profiles as values, and what each must allow and deny, call by call."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

import _bpf
from pycontain import _capabilities, _seccomp, _syscalls, profile
from pycontain._seccomp import ALLOW, Filter
from pycontain.errors import ConfigError

MACHINES = ("x86_64", "aarch64")
EPERM, ENOSYS, EAFNOSUPPORT, EPROTONOSUPPORT, ENOLCK = (
    _bpf.ERRNO | number for number in (1, 38, 97, 93, 37)
)
CONFINED = ("default", "judge", "build")  # neither nested nor compat

# What must never reach the kernel in the confined profiles.
_DANGEROUS = """
    acct add_key bpf clone3 delete_module fanotify_init finit_module fsconfig fsmount fsopen
    fspick init_module io_uring_enter io_uring_register io_uring_setup kcmp kexec_file_load
    kexec_load keyctl lookup_dcookie lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount
    mount_setattr move_mount move_pages nfsservctl open_by_handle_at open_tree open_tree_attr
    perf_event_open pidfd_getfd pivot_root process_madvise quotactl quotactl_fd reboot request_key
    setdomainname sethostname setns settimeofday swapoff swapon syslog umount2 unshare userfaultfd
    vhangup clock_settime modify_ldt iopl ioperm
"""
# What interpreters, compilers, version control and package managers cannot do without.
_NEEDED = """
    read write openat close mmap munmap mprotect brk execve execveat exit_group wait4 waitid futex
    rseq set_robust_list getrandom newfstatat statx pread64 pwrite64 lseek fcntl ioctl pipe2 dup3
    epoll_create1 epoll_ctl epoll_pwait eventfd2 timerfd_create inotify_init1 memfd_create
    copy_file_range sendfile splice getdents64 mkdirat unlinkat renameat2 symlinkat linkat
    fchmodat fchownat utimensat ftruncate fallocate fsync clock_gettime clock_nanosleep
    sched_yield sched_getaffinity prlimit64 prctl rt_sigaction rt_sigprocmask rt_sigreturn
    sigaltstack kill tgkill madvise mremap getuid setuid umask chdir getcwd faccessat2 sysinfo
    uname io_setup io_submit shmget semget membarrier close_range pidfd_open pidfd_send_signal
    capget
"""
DANGEROUS, NEEDED = _DANGEROUS.split(), _NEEDED.split()


def verdict(name: str, machine: str, call: str, *args: int) -> int:
    table = _syscalls.table(machine)
    program = _bpf.parse(_seccomp.compile(profile.get(name).seccomp, machine))
    row = (*args, *(0,) * (6 - len(args)))
    return _bpf.run(program, _bpf.NATIVE[machine], table.numbers[call], row)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", CONFINED)
def test_dangerous_calls_are_denied(name: str, machine: str) -> None:
    known = _syscalls.table(machine).numbers
    found = {call: verdict(name, machine, call) for call in DANGEROUS if call in known}
    assert {call for call, result in found.items() if result == _bpf.ALLOW} == set()


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", profile.names())
def test_needed_calls_are_allowed(name: str, machine: str) -> None:
    found = {call: verdict(name, machine, call) for call in NEEDED}
    denied = {call for call, result in found.items() if result != _bpf.ALLOW}
    assert denied == ({"inotify_init1"} if name == "judge" else set())


AF_INET, AF_INET6, AF_NETLINK = 2, 10, 16


@pytest.mark.parametrize("call", ["socket", "socketpair"])
@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32], ids=hex)
def test_socket_families_of_the_default(call: str, high: int) -> None:
    found = {
        family: verdict("default", "x86_64", call, family | high, 1, 0) for family in range(65)
    }
    allowed = {1, AF_INET, AF_INET6, AF_NETLINK} if call == "socket" else {1}
    assert {family for family, result in found.items() if result == _bpf.ALLOW} == allowed
    assert set(found.values()) == {_bpf.ALLOW, EAFNOSUPPORT}


@pytest.mark.parametrize("high", [0, 1 << 32], ids=hex)
def test_netlink_is_routes_only(high: int) -> None:
    found = [verdict("default", "x86_64", "socket", AF_NETLINK, 3, n | high) for n in range(32)]
    assert found == [_bpf.ALLOW] + [EAFNOSUPPORT] * 31


@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
@pytest.mark.parametrize(
    "protocol, expected",
    [
        *((protocol, _bpf.ALLOW) for protocol in (0, 1, 6, 17, 58, 136)),
        *((protocol, EPROTONOSUPPORT) for protocol in (33, 115, 132, 255, 262)),
    ],
)
def test_ip_protocols_that_would_load_modules(family: int, protocol: int, expected: int) -> None:
    assert verdict("default", "x86_64", "socket", family, 1, protocol) == expected


@pytest.mark.parametrize("kind", [10, 10 | 0o2000000, 10 | 0o4000])
def test_packet_sockets_by_the_old_door(kind: int) -> None:
    assert verdict("default", "x86_64", "socket", AF_INET, kind, 0) == EAFNOSUPPORT
    assert verdict("compat", "x86_64", "socket", AF_INET, kind, 0) == _bpf.ALLOW


def test_judge_has_stream_pairs_and_no_other_sockets() -> None:
    stream, datagram = 1 | 0o2000000, 2
    for family in range(65):
        expected = _bpf.ALLOW if family == 1 else EAFNOSUPPORT
        assert verdict("judge", "x86_64", "socketpair", family, stream, 0) == expected
        assert verdict("judge", "x86_64", "socketpair", family, datagram, 0) == EAFNOSUPPORT
        assert verdict("judge", "x86_64", "socket", family, stream, 0) == EAFNOSUPPORT


@pytest.mark.parametrize(
    "name, call, args, expected",
    [
        ("default", "ioctl", (0, 0x5412), EPERM),
        ("default", "ioctl", (0, 0x541C), EPERM),
        ("default", "ioctl", (0, 0x5423), EPERM),
        ("default", "ioctl", (0, 0x5412 | 1 << 32), EPERM),
        ("default", "ioctl", (0, 0x5413), _bpf.ALLOW),
        ("judge", "ioctl", (0, 0x5412), _bpf.KILL_PROCESS),
        ("default", "prctl", (35,), EPERM),
        ("default", "prctl", (35 | 1 << 63,), EPERM),
        ("default", "prctl", (15,), _bpf.ALLOW),
        ("judge", "prctl", (35,), _bpf.KILL_PROCESS),
        ("default", "prlimit64", (0, 7, 1), _bpf.ALLOW),
        ("default", "prlimit64", (1, 7, 0), _bpf.ALLOW),
        ("default", "prlimit64", (1, 7, 0x7FFF00000000), EPERM),
        ("default", "prlimit64", (1 << 32, 7, 1), _bpf.ALLOW),
        ("compat", "prlimit64", (1, 7, 1), EPERM),
        *(("default", "clone", (1 << bit,), EPERM) for bit in (17, 25, 26, 27, 28, 29, 30)),
        ("default", "clone", (0x3D0F00,), _bpf.ALLOW),
        ("default", "clone", (0x3D0F00 | 1 << 60,), _bpf.ALLOW),
        ("judge", "clone", (1 << 28,), _bpf.KILL_PROCESS),
        ("nested", "clone", (1 << 28,), _bpf.ALLOW),
        ("nested", "unshare", (), _bpf.ALLOW),
        ("nested", "mount", (), _bpf.ALLOW),
        ("nested", "bpf", (), EPERM),
        ("nested", "keyctl", (), ENOSYS),
        *(("default", "personality", (v,), _bpf.ALLOW) for v in (0, 8, 0x20000, 0x20008)),
        ("default", "personality", (0xFFFFFFFF,), _bpf.ALLOW),
        ("default", "personality", ((1 << 64) - 1,), _bpf.ALLOW),
        ("default", "personality", (0x40000,), EPERM),
        ("judge", "personality", (0x40000,), EPERM),
        ("default", "ptrace", (), _bpf.ALLOW),
        ("judge", "ptrace", (), _bpf.KILL_PROCESS),
        ("judge", "process_vm_writev", (), _bpf.KILL_PROCESS),
        ("default", "flock", (), _bpf.ALLOW),
        ("judge", "flock", (), ENOLCK),
        ("judge", "fcntl", (0, 6), ENOLCK),
        ("judge", "fcntl", (0, 1024), ENOLCK),
        ("judge", "fcntl", (0, 3), _bpf.ALLOW),
        ("default", "chroot", (), EPERM),
        ("build", "chroot", (), _bpf.ALLOW),
        *((name, "clone3", (), ENOSYS) for name in ("default", "judge", "build", "compat")),
        ("nested", "clone3", (), _bpf.ALLOW),
        *(("default", call, (), ENOSYS) for call in ("io_uring_setup", "keyctl", "userfaultfd")),
        ("judge", "mount", (), _bpf.KILL_PROCESS),
        ("judge", "mbind", (), EPERM),
        ("compat", "socket", (38,), EPERM),
        ("compat", "socket", (40,), EPERM),
        ("compat", "socket", (40 | 1 << 32,), EPERM),
        ("compat", "socket", (17,), _bpf.ALLOW),
        ("compat", "keyctl", (), EPERM),
        ("compat", "mount", (), EPERM),
        ("compat", "rseq_slice_yield", (), ENOSYS),
    ],
)
def test_what_a_profile_says(name: str, call: str, args: tuple[int, ...], expected: int) -> None:
    for machine in MACHINES:
        assert verdict(name, machine, call, *args) == expected


@pytest.mark.parametrize(
    "name, foreign",
    [("default", ENOSYS), ("build", ENOSYS), ("compat", ENOSYS), ("judge", _bpf.KILL_PROCESS)],
)
def test_other_abis_have_nothing(name: str, foreign: int) -> None:
    program = _bpf.parse(_seccomp.compile(profile.get(name).seccomp, "x86_64"))
    for number in (20, 102, 120):  # i386: getpid, socketcall, clone
        assert _bpf.run(program, _bpf.I386, number) == foreign
    assert _bpf.run(program, _bpf.X86_64, _bpf.X32_BIT | 39) == foreign


@pytest.mark.parametrize("name", profile.names())
def test_numbers_newer_than_the_table_are_not_implemented(name: str) -> None:
    for machine in MACHINES:
        newest = _syscalls.table(machine).newest
        program = _bpf.parse(_seccomp.compile(profile.get(name).seccomp, machine))
        assert _bpf.run(program, _bpf.NATIVE[machine], newest + 1) == ENOSYS


def test_every_name_in_a_policy_exists() -> None:
    for name in profile.names():
        rules = profile.get(name).seccomp.rules
        assert [call for rule in rules for call in rule.names if not _syscalls.exists(call)] == []


@pytest.mark.parametrize("name", CONFINED)
def test_confined_profiles_keep_no_dangerous_capability(name: str) -> None:
    kept = set(profile.get(name).capabilities)
    harmless = {
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_SETFCAP",
    }
    harmless |= {"CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID", "CAP_SYS_CHROOT"}
    assert kept <= (harmless if name == "build" else set())


def test_docker_keeps_fourteen_capabilities() -> None:
    assert len(profile.compat.capabilities) == 14


def test_names_and_get() -> None:
    assert profile.names() == ("default", "judge", "build", "nested", "compat")
    assert profile.get("judge") is profile.judge


@pytest.mark.parametrize("name", ["", "Default", "none"])
def test_an_unknown_profile_names_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="none of default, judge, build, nested, compat"):
        profile.get(name)


@pytest.mark.parametrize("name", profile.names())
def test_profiles_are_values(name: str) -> None:
    value = profile.get(name)
    assert copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value
    assert hash(copy.copy(value)) == hash(value)
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.umask = 0  # type: ignore[misc]
    with pytest.raises(TypeError):
        value.rlimits["NOFILE"] = (0, 0)  # type: ignore[index]


def test_replace_derives_a_profile() -> None:
    mine = profile.default.replace(
        name="mine", rlimits={"NOFILE": (64, 64)}, capabilities=["CAP_KILL"], umask=0o077
    )
    assert mine.rlimits == {"NOFILE": (64, 64)}
    assert _capabilities.mask(mine.capabilities) == 1 << 5
    assert mine.seccomp is profile.default.seccomp
    assert profile.default.umask == 0o022


@pytest.mark.parametrize(
    "change",
    [
        {"capabilities": ("CAP_FLY",)},
        {"rlimits": {"RLIMIT_NOFILE": (1, 1)}},
        {"rlimits": {"NOFILE": (2, 1)}},
        {"rlimits": {"NOFILE": (-1, -1)}},
        {"masked_paths": ("proc/keys",)},
        {"readonly_paths": ("/proc/../etc",)},
        {"masked_paths": ("/proc/\0",)},
        {"user": -1},
        {"user": 2**32 - 1},
        {"umask": 0o1000},
    ],
)
def test_fields_that_cannot_be_right(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        profile.default.replace(**change)


def test_a_field_that_does_not_exist() -> None:
    with pytest.raises(TypeError):
        profile.default.replace(colour="red")


def test_a_filter_can_be_replaced_whole() -> None:
    assert profile.default.replace(seccomp=Filter(default=ALLOW)).seccomp.default == ALLOW
