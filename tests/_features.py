# SPDX-License-Identifier: Apache-2.0
"""What this host lets the suite do, probed once: the names that `requires(...)` takes.

Each probe returns "" where the feature is there, else why it is not.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import functools
import importlib.util
import os
import platform
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pycontain._cgroup._systemd import bus_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WHOLE_RANGE = 1 << 16

SYSTEM_CALLS = {
    "open_tree": 428,
    "clone3": 435,
    "openat2": 437,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
}


def maps_all_ids() -> bool:
    """Tell whether we are in the first user namespace, where root is root."""
    return Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


def _root() -> str:
    if os.geteuid() != 0:
        return "the user is not root"
    return "" if maps_all_ids() else "root only in a user namespace"


def _user() -> str:
    return "the user is root" if os.geteuid() == 0 else ""


def _userns_root() -> str:
    return "" if os.geteuid() == 0 and not maps_all_ids() else "not root in a user namespace"


def _first_pid_namespace() -> str:
    first = os.stat("/proc/self/ns/pid").st_ino == 0xEFFFFFFC  # PROC_PID_INIT_INO
    return "" if first else "in a PID namespace, as in a container"


def _output(*command: str) -> str:
    """Return what the command prints, "" if it fails or does not exist."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def _userns() -> str:
    return "" if _output("unshare", "--user", "echo", "made") else "no new user namespaces"


def _rootrange() -> str:
    if not _root():
        return ""
    if not shutil.which("newuidmap"):
        return "no newuidmap"
    maps = _output(
        *("unshare", "--user", "--map-users=auto", "--map-groups=auto"),
        *("cat", "/proc/self/uid_map"),
    )
    lengths = [int(line.split()[2]) for line in maps.splitlines()]
    return "" if sum(lengths) >= WHOLE_RANGE else "fewer than 65536 ids in /etc/subuid"


def _single_id() -> str:
    return "" if _rootrange() else "a range of ids can be mapped"


def _system_call(name: str) -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    # Arguments that no kernel accepts: whatever exists answers something else than ENOSYS.
    libc.syscall(ctypes.c_long(SYSTEM_CALLS[name]), *[ctypes.c_long(-1)] * 5)
    return f"no {name}" if ctypes.get_errno() == errno.ENOSYS else ""


def _idmap() -> str:
    return _root() or _system_call("mount_setattr")


def _tmpfs_binds() -> str:
    """Tell whether directories on tmpfs can be bound: root needs id-mapped mounts for that."""
    return "" if _root() else _linux(6, 3)


def cgroup_homes() -> Iterator[tuple[frozenset[str], Path]]:
    """Yield (controllers, directory) of this process for each mounted cgroup hierarchy.

    The controllers of version 2 are {"v2"} and those that its cgroup.controllers lists.
    """
    own: dict[frozenset[str], str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        own[frozenset(names.split(",")) if names else frozenset({"v2"})] = path
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        mounted_root, mount_point = before.split()[3:5]
        kind, _, options = after.split(" ", 2)
        if kind not in {"cgroup", "cgroup2"}:
            continue
        mounted = {"v2"} if kind == "cgroup2" else set(options.split(","))
        for controllers, path in own.items():
            relative = os.path.relpath(path, mounted_root)
            home = Path(mount_point, relative)
            if controllers <= mounted and home.is_dir() and not relative.startswith(".."):
                yield _controllers(controllers, home), home


def _controllers(names: frozenset[str], home: Path) -> frozenset[str]:
    if names != {"v2"}:
        return names
    return names | frozenset((home / "cgroup.controllers").read_text().split())


def _cgroup(*controllers: str) -> str:
    """Try to make a group in a hierarchy with one of the controllers, or in any."""
    for names, home in cgroup_homes():
        if controllers and not names & set(controllers):
            continue
        probe = home / f"pycontain-probe-{os.getpid()}"
        try:
            probe.mkdir()
        except OSError:
            continue
        probe.rmdir()
        return ""
    return f"no cgroup can be made ({', '.join(controllers) or 'in any hierarchy'})"


def _cgroup_exclusive() -> str:
    """On v1, root of the machine's own cpuset; on v2, a group with the file of Linux 6.7."""
    if os.environ.get("PYCONTAIN_CLONE") == "fork":
        return "the lane root may want the processors at the same time"
    for names, home in cgroup_homes():
        if "cpuset" not in names:
            continue
        if "v2" not in names:
            alone = (home / "cpuset.cpu_exclusive").read_text() == "1\n"
            return _cgroup("cpuset") if alone else "the own cpuset is not exclusive"
        return _root() or _cgroup("cpuset") or _linux(6, 7)
    return "no cpuset controller"


def _linux(*least: int) -> str:
    release = tuple(map(int, re.findall(r"\d+", os.uname().release)[: len(least)]))
    return "" if release >= least else f"before Linux {'.'.join(map(str, least))}"


def _memory_peak() -> str:
    if any("memory" in names and "v2" not in names for names, _ in cgroup_homes()):
        return ""  # v1 always had memory.max_usage_in_bytes
    return _linux(5, 19)


def _memory_4g() -> str:
    rows = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(row.split()[1]) for row in rows if row.startswith("MemAvailable:"))
    return "" if free >= 4 << 20 else "less than 4 GiB of memory are free"


def _systemd() -> str:
    """Tell whether systemd manages a machine with v2 alone, and answers on our manager's bus."""
    if not Path("/run/systemd/system").is_dir():
        return "systemd does not run this machine"
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return "cgroup v2 is not alone"
    return "" if Path(bus_path()).is_socket() else f"no bus at {bus_path()}"


def user_with_manager() -> int:
    """Return the id of an ordinary user whose systemd runs. Raises StopIteration without one."""
    return next(
        int(path.parent.name)
        for path in sorted(Path("/run/user").glob("*/bus"))
        if path.parent.name != "0"
    )


def _systemd_outside() -> str:
    try:
        user_with_manager()
    except StopIteration:
        return "no other user's systemd runs"
    return ""


def _overlay() -> str:
    return "" if "\toverlay\n" in Path("/proc/filesystems").read_text() else "no overlay"


def _route() -> str:
    """Tell whether there is a way to other machines, without a byte on the wire."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737
        except OSError:
            return "no route to other machines"
    return ""


def _erofs() -> str:
    """Tell whether the layers of a store in the directory for temporary files can be archives."""
    if _root() or _native():
        return _root() or _native()
    from pycontain._erofs import problem  # noqa: PLC0415 - it needs the extension

    number = problem(tempfile.gettempdir())
    return f"no file-backed EROFS: {os.strerror(number)}" if number else ""


def _erofs_utils() -> str:
    """Tell whether there are tools of EROFS that can read what we write."""
    import _erofs_utils  # noqa: PLC0415 - from scripts/

    return "" if _erofs_utils.installed() else _tool("mmdebstrap") or _route()


def _fuse() -> str:
    """Tell whether a file server of our own can be mounted, in namespaces of our own."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "no /dev/fuse"
    return "" if "\tfuse\n" in Path("/proc/filesystems").read_text() else "no fuse"


def _apparmor() -> str:
    here = Path("/sys/kernel/security/apparmor/profiles").exists()
    return "" if here else "this kernel uses no AppArmor"


def _selinux() -> str:
    return "" if Path("/sys/fs/selinux/load").exists() else "this kernel uses no SELinux"


def _resctrl() -> bool:
    return " - resctrl " in Path("/proc/self/mountinfo").read_text()


def _tool(name: str) -> str:
    return "" if shutil.which(name) else f"no {name}"


def _library(name: str) -> str:
    return "" if ctypes.util.find_library(name) else f"no lib{name}"


def _native() -> str:
    return "" if importlib.util.find_spec("pycontain._nsbind") else "the extension is not built"


def _faults() -> str:
    return "" if os.environ.get("PYCONTAIN_LANE") == "faults" else "run by `make test-faults`"


def _analysis() -> str:
    return "" if os.environ.get("PYCONTAIN_LANE") == "analyze" else "run by `make analyze`"


def _listener() -> str:
    if _native():
        return _native()
    from pycontain._native import listener_problem  # noqa: PLC0415 - it needs the extension

    problem = listener_problem()
    return f"no seccomp listener: {os.strerror(problem)}" if problem else ""


def _real_cpu() -> str:
    emulated = "QEMU TCG" in Path("/proc/cpuinfo").read_text()
    return "the processor is emulated: starting a program takes long" if emulated else ""


def _x86_64() -> str:
    return "" if platform.machine() == "x86_64" else "another machine"


PROBES: dict[str, Callable[[], str]] = {
    # who runs the suite
    "root": _root,
    "user": _user,
    "userns_root": _userns_root,
    "first_pid_namespace": _first_pid_namespace,
    # ids
    "userns": _userns,
    "rootrange": _rootrange,
    "single_id": _single_id,
    "idmap": _idmap,
    "tmpfs_binds": _tmpfs_binds,
    # system calls
    "clone3": lambda: _system_call("clone3"),
    "openat2": lambda: _system_call("openat2"),
    "mount_api": lambda: _system_call("open_tree") or _system_call("mount_setattr"),
    "landlock": lambda: _system_call("landlock_create_ruleset"),
    "landlock_net": lambda: _linux(6, 7) or _system_call("landlock_create_ruleset"),
    "landlock_scopes": lambda: _linux(6, 12) or _system_call("landlock_create_ruleset"),
    "listener": _listener,
    # cgroups: one can be made in some hierarchy, in version 2, with that controller
    "cgroup": _cgroup,
    "no_cgroup": lambda: "" if _cgroup() else "a cgroup can be made",
    "cgroup_v2": lambda: _cgroup("v2"),
    "cgroup_cpu": lambda: _cgroup("cpu"),
    "cgroup_memory": lambda: _cgroup("memory"),
    "cgroup_pids": lambda: _cgroup("pids"),
    # a group counts the processor time of all its processes
    "cgroup_tracking": lambda: _cgroup("v2") and _cgroup("cpuacct"),
    # and gives processors to one alone
    "cgroup_exclusive": _cgroup_exclusive,
    # and counts the highest use
    "memory_peak": _memory_peak,
    "pids_peak": lambda: _linux(6, 1),
    # systemd: the system's, as root; our own user's; another user's
    "systemd": lambda: _root() or _systemd(),
    "systemd_user": lambda: _user() or _systemd(),
    "systemd_outside": lambda: _root() or _systemd_outside(),
    # security modules that the kernel uses
    "apparmor": _apparmor,
    "no_apparmor": lambda: "" if _apparmor() else "this kernel uses AppArmor",
    "selinux": _selinux,
    "no_selinux": lambda: "" if _selinux() else "this kernel uses SELinux",
    # the machine
    "no_resctrl": lambda: "resctrl is mounted" if _resctrl() else "",
    "processors_2": lambda: "" if len(os.sched_getaffinity(0)) > 1 else "one processor only",
    "memory_4g": _memory_4g,
    "overlay": _overlay,
    # a directory of a layer below can be removed: the writable one is on tmpfs
    "tmpfs_xattrs": lambda: _linux(6, 6),
    "fuse": _fuse,
    "erofs": _erofs,
    "erofs_utils": _erofs_utils,
    "route": _route,
    "real_cpu": _real_cpu,
    "emulation": lambda: _linux(6, 7) or _tool("qemu-aarch64-static"),
    "x86_64": _x86_64,
    # programs and libraries
    "analysis": _analysis,
    "clang": lambda: _tool("clang"),
    "clang_tidy": lambda: _tool("clang-tidy"),
    "cppcheck": lambda: _tool("cppcheck"),
    "faults": _faults,
    "native": _native,
    "apparmor_parser": lambda: _tool("/usr/sbin/apparmor_parser"),
    "buildah": lambda: _tool("buildah"),
    "busybox": lambda: _tool("busybox"),
    "gcc": lambda: _tool("gcc"),
    "ip": lambda: _tool("ip"),
    "git": lambda: _tool("git"),
    "make": lambda: _tool("make"),
    "mmdebstrap": lambda: _tool("mmdebstrap"),
    "nm": lambda: _tool("nm"),
    "podman": lambda: _tool("podman") or _tool("conmon"),
    "containerd": lambda: _tool("containerd") or _tool("ctr"),
    "docker": lambda: _tool("dockerd") or _tool("docker"),
    "umoci": lambda: _tool("umoci"),
    "openssl": lambda: _tool("openssl"),
    "docker_registry": lambda: _tool("docker-registry"),
    "secilc": lambda: _tool("secilc"),
    "skopeo": lambda: _tool("skopeo"),
    "libseccomp": lambda: _library("seccomp"),
    "crun": lambda: _tool("crun"),
    "runc": lambda: _tool("runc"),
}


@functools.cache
def missing(feature: str) -> str:
    """Return why the feature is missing, "" if it is there. Unknown names raise KeyError."""
    return PROBES[feature]()
