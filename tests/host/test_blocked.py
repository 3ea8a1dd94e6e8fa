# SPDX-License-Identifier: Apache-2.0
"""Each thing that can stand in the way, forced for real: who it is is told, and what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import pycontain
from _circumstances import DOCTOR, Report, ask, in_namespaces
from pycontain.host import BlockedBy

pytestmark = pytest.mark.requires("userns")
REPOSITORY = Path(__file__).parents[2]
KINDS = {
    "user": "user namespace",
    "mnt": "mount namespace",
    "pid": "pid namespace",
    "net": "network namespace",
    "ipc": "ipc namespace",
    "uts": "uts namespace",
    "cgroup": "cgroup namespace",
}
MASKED = "mount -t tmpfs none /proc/tty"
CHROOTED = 'mount --rbind / /mnt; set -- chroot /mnt "$@"'
NO_PROC = "mount -t tmpfs none /proc"
NO_MEMFD = "echo 2 >/proc/sys/vm/memfd_noexec"


def expect(report: Report, name: str, blocked_by: BlockedBy, why: str, remedy: str) -> None:
    """See that a needed thing is blocked by what was put in the way."""
    finding = report["findings"][name]
    cause = finding["cause"]
    assert cause is not None
    assert (finding["ok"], cause["blocked_by"]) == (False, blocked_by), cause
    assert why in cause["why"]
    assert remedy in cause["remedy"]
    assert (report["ok"], report["status"]) == (False, 1)
    assert report["findings"]["a sandbox"]["cause"] == cause


@pytest.mark.parametrize("kind, name", KINDS.items(), ids=KINDS)
def test_a_limit_of_namespaces(kind: str, name: str) -> None:
    sysctl = f"user.max_{kind}_namespaces"
    report = ask(in_namespaces(f"echo 0 >/proc/sys/user/max_{kind}_namespaces"))
    failed = report["findings"][name]
    assert (failed["errno"], failed["call"]) == (28, failed["call"])
    expect(report, name, BlockedBy.LIMITS, f"{sysctl} is 0", f"sysctl -w {sysctl}=")


@pytest.mark.parametrize(
    "names, finding",
    [
        ("memfd_create", "sealed program"),
        ("execveat", "sealed program"),
        ("pivot_root", "pivot_root"),
        ("seccomp", "seccomp filter"),
    ],
)
def test_a_filter_that_says_that_calls_do_not_exist(
    names: str, finding: str, without: Callable[[str], list[str]]
) -> None:
    report = ask(without(names))
    expect(report, finding, BlockedBy.OUTER_SECCOMP, names, "seccomp")


@pytest.mark.parametrize("profile", ["default", "compat", "judge"])
def test_a_filter_that_refuses_or_kills(profile: str) -> None:
    """A sandbox is a host too: what is around it has a filter such as Docker's."""
    mount = pycontain.Bind(REPOSITORY, REPOSITORY)
    done = pycontain.run(DOCTOR, mounts=[mount], cwd=REPOSITORY, profile=profile, text=True)
    report = json.loads(done.stdout)
    found = {finding["name"]: finding for finding in report["findings"]}
    assert (done.returncode, report["ok"]) == (1, False)
    cause = found["user namespace"]["cause"]
    assert cause["blocked_by"] == BlockedBy.OUTER_SECCOMP
    assert "clone" in cause["why"]
    assert "seccomp" in cause["remedy"]


@pytest.mark.requires("root")
def test_a_root_that_may_not_map_itself() -> None:
    dropped = ["setpriv", "--bounding-set=-setfcap,-sys_admin", "--inh-caps=-setfcap,-sys_admin"]
    expect(
        ask(dropped),
        "user namespace",
        BlockedBy.OUTER_CAPABILITIES,
        "CAP_SETFCAP",
        "--cap-add SETFCAP",
    )


@pytest.mark.requires("root")
def test_a_root_without_the_capabilities_for_a_range_of_ids() -> None:
    report = ask(["setpriv", "--bounding-set=-setuid", "--inh-caps=-setuid"])
    finding = report["findings"]["range of ids"]
    assert finding["cause"]["blocked_by"] == BlockedBy.OUTER_CAPABILITIES
    assert "CAP_SETUID" in finding["cause"]["why"]
    assert "SETUID" in finding["cause"]["remedy"]
    assert finding["instead"] == "one id, the caller's own"
    assert report["ok"]


def test_a_proc_that_is_covered() -> None:
    report = ask(in_namespaces(MASKED, "--mount"))
    expect(report, "procfs", BlockedBy.MASKED_PROC, "/proc/tty", "")
    assert "systempaths=unconfined" in report["findings"]["procfs"]["cause"]["remedy"]


@pytest.mark.requires("root")
def test_a_proc_that_is_read_only() -> None:
    read_only = ["unshare", "--mount", "sh", "-ec", 'mount -o remount,bind,ro /proc\n"$@"', "sh"]
    report = ask(read_only)
    cause = report["findings"]["user namespace"]["cause"]
    assert (report["status"], cause["blocked_by"]) == (1, BlockedBy.MASKED_PROC)
    assert "read-only" in cause["why"]
    assert report["findings"]["range of ids"]["cause"] == cause


def test_no_proc_at_all() -> None:
    report = ask(in_namespaces(NO_PROC, "--mount"))
    cause = report["findings"]["user namespace"]["cause"]
    assert (report["status"], cause["blocked_by"]) == (1, BlockedBy.MASKED_PROC)
    assert "mount -t proc" in cause["remedy"]


def test_a_chroot() -> None:
    report = ask(in_namespaces(CHROOTED, "--mount"))
    expect(report, "user namespace", BlockedBy.CHROOT, "chroot(2)", "pivot_root")


def test_a_user_namespace_that_does_not_know_the_user() -> None:
    report = ask(["unshare", "--user"])
    expect(report, "user namespace", BlockedBy.OUTER_NAMESPACE, "/proc/self/uid_map", "map it")


@pytest.mark.requires("root")
def test_a_sysctl_against_programs_in_memory() -> None:
    if not Path("/proc/sys/vm/memfd_noexec").exists():
        pytest.skip("before Linux 6.3, memory can always be executed")
    report = ask(in_namespaces(NO_MEMFD, "--pid", "--fork", "--mount-proc"))
    expect(report, "sealed program", BlockedBy.SYSCTL, "is 2", "sysctl -w vm.memfd_noexec=0")


@pytest.mark.requires("user")
def test_a_limit_of_processes() -> None:
    """Of each user, a user namespace counts its own; root's are not limited."""
    limited = [*in_namespaces(""), "prlimit", "--nproc=1"]
    done = subprocess.run([*limited, *DOCTOR], capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert "RLIMIT_NPROC" in done.stderr


READ_ONLY = """
for directory in /run /tmp /var/tmp; do
    mount --bind $directory $directory
    mount -o remount,bind,ro $directory
done
unset TMPDIR
cd /tmp
"""


@pytest.mark.requires("root")
def test_a_host_on_which_nothing_can_be_written() -> None:
    """Where its ids come from ranges, a sandbox says in a file which are taken."""
    private = ["unshare", "--mount", "sh", "-ec", f'{READ_ONLY}\n"$@"', "sh"]
    cause = ask(private)["findings"]["a sandbox"]["cause"]
    assert "no directory for state files" in cause["why"]
    assert "docker run --tmpfs /run" in cause["why"]


FAILS = """
import pickle, sys, pycontain
from pycontain import host
try:
    pycontain.run(["true"])
except pycontain.SpawnError as error:
    again = pickle.loads(pickle.dumps(error))
    print(error.step, error.cause == host.probe()[sys.argv[1]].cause == again.cause)
    print(error)
"""


@pytest.mark.parametrize(
    "prefix, step, name",
    [
        (in_namespaces("echo 0 >/proc/sys/user/max_net_namespaces"), "CLONE", "network namespace"),
        (in_namespaces(MASKED, "--mount"), "PROC", "procfs"),
    ],
)
def test_the_error_of_a_start_has_the_same_cause(
    prefix: Sequence[str], step: str, name: str
) -> None:
    command = [*prefix, sys.executable, "-c", FAILS, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, _, message = done.stdout.partition("\n")
    assert first == f"{step} True"
    assert "It is blocked by " in message
