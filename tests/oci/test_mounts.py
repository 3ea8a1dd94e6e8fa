# SPDX-License-Identifier: Apache-2.0
"""Mounts and their options, devices, masks, what is read-only, and what the host sees of it."""

from __future__ import annotations

import os
import stat
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from _oci_command import PROGRAM
from pycontain._oci._options import ATTRIBUTES, PROPAGATIONS, parse_options
from pycontain.errors import ConfigError, SpawnError

if TYPE_CHECKING:
    from _containers import Containers, Edit

pytestmark = pytest.mark.requires("root", "busybox")


def mounts(*rows: dict[str, Any]) -> Edit:
    """Return an edit that adds mounts."""
    return lambda config: config["mounts"].extend(rows)


def bind(source: Path | str, target: str, *options: str) -> dict[str, Any]:
    """Return a bind mount."""
    return {
        "destination": target,
        "type": "bind",
        "source": str(source),
        "options": ["rbind", *options],
    }


def tmpfs(target: str, *options: str) -> dict[str, Any]:
    """Return a new tmpfs."""
    return {"destination": target, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


def options_of(mountinfo: str, target: str) -> set[str]:
    """Return the options of the topmost mount on a target, and its propagation."""
    rows = [line.split() for line in mountinfo.splitlines()]
    row = [row for row in rows if len(row) > 6 and row[4] == target][-1]
    tags = row[6 : row.index("-")]
    return {*row[5].split(","), *(tag.partition(":")[0] for tag in tags)}


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Return a directory of the host with a file."""
    path = tmp_path / "volume"
    path.mkdir()
    (path / "file").write_text("host\n")
    return path


@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
@pytest.mark.parametrize("word", sorted(set(ATTRIBUTES) - {"rw", "norelatime", "nostrictatime"}))
def test_an_attribute(containers: Containers, volume: Path, kind: str, word: str) -> None:
    mount = bind(volume, "/m", word) if kind == "bind" else tmpfs("/m", word)
    found = options_of(containers.sh("cat /proc/self/mountinfo", mounts(mount)), "/m")
    negated = {"suid": "nosuid", "dev": "nodev", "exec": "noexec", "diratime": "nodiratime"}
    if word in negated:
        assert negated[word] not in found
    elif word in ("symfollow", "atime"):
        assert not found & {"nosymfollow", "noatime"}
    elif word == "strictatime":
        assert not found & {"noatime", "relatime"}
    else:
        assert word in found


def test_later_words_win() -> None:
    options = parse_options(("ro", "noexec", "rw", "exec", "noatime", "relatime"), "tmpfs")
    assert (options.attr, options.attr_clear & 1) == (0, 1)


@pytest.mark.parametrize("word, below", [("ro", False), ("rro", True)])
def test_only_the_recursive_form_reaches_what_is_below(
    containers: Containers, tmp_path: Path, word: str, below: bool
) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tree / "sub"], check=True)
    try:
        text = containers.sh("cat /proc/self/mountinfo", mounts(bind(tree, "/m", word)))
    finally:
        subprocess.run(["umount", tree / "sub"], check=True)
    assert "ro" in options_of(text, "/m")
    assert ("ro" in options_of(text, "/m/sub")) == below


@pytest.mark.parametrize("word", sorted(PROPAGATIONS))
def test_a_propagation(containers: Containers, volume: Path, word: str) -> None:
    found = options_of(
        containers.sh("cat /proc/self/mountinfo", mounts(bind(volume, "/m", word))), "/m"
    )
    tags = {"shared", "master", "unbindable"} & found
    kind = word.removeprefix("r")
    # Where the host's own mounts are shared, a copy of one is its slave, whatever it is besides.
    assert tags - {"master"} == {"shared", "unbindable"} & {kind}
    if kind in {"private", "unbindable"}:
        assert "master" not in tags


def test_a_file_on_a_missing_target(containers: Containers, volume: Path) -> None:
    script = "cat /new/place/file; echo inside >/new/place/file"
    output = containers.sh(script, mounts(bind(volume / "file", "/new/place/file")))
    assert output == "host\n"
    assert (volume / "file").read_text() == "inside\n"


@pytest.mark.parametrize("target", ["relative/place", "/a/../relative/place", "/relative//place/"])
def test_where_a_destination_is(containers: Containers, volume: Path, target: str) -> None:
    assert containers.sh("cat /relative/place/file", mounts(bind(volume, target))) == "host\n"


# Where a link in the root leads that leads nowhere, and what is made there.
DANGLING = {
    "relative": ({"a": "b/c"}, "b/c"),
    "absolute": ({"a": "/b/c"}, "b/c"),
    "upwards": ({"d/a": "../b/c"}, "b/c"),
    "out of the root": ({"a": "../../../../b/c"}, "b/c"),
    "through another link": ({"l": "b", "a": "l/c"}, "b/c"),
    "to a link": ({"a": "l", "l": "b/c"}, "b/c"),
    "upwards from behind a link": ({"l": "b/deep", "a": "l/../c"}, "b/c"),
    "above the destination": ({"d": "b"}, "b/a"),
}


@pytest.mark.requires("openat2")  # else every link is refused
@pytest.mark.parametrize("kind", ["file", "directory"])
@pytest.mark.parametrize("name", DANGLING)
def test_a_destination_that_is_a_link_to_nowhere(
    containers: Containers, volume: Path, name: str, kind: str
) -> None:
    links, made = DANGLING[name]
    destination = "d/a" if any(link.startswith("d") for link in links) else "a"
    source, file = (volume / "file", "") if kind == "file" else (volume, "/file")
    script = f"test -e /{made} && cat /{destination}{file}"
    bundle = containers.bundle("sh", "-c", script, edit=mounts(bind(source, f"/{destination}")))
    root = bundle / "rootfs"
    for link, target in links.items():
        (root / link).parent.mkdir(exist_ok=True)
        (root / link).symlink_to(target)
    outcome = containers.run_bundle(bundle)
    assert outcome.status == 0
    assert outcome.output == (volume / "file").read_text()
    assert (root / made).exists()
    assert (root / made).is_file() == (kind == "file")


@pytest.mark.requires("openat2")
def test_a_destination_that_is_a_link_to_itself(containers: Containers, volume: Path) -> None:
    bundle = containers.bundle("true", edit=mounts(bind(volume, "/a")))
    (bundle / "rootfs/a").symlink_to("a")
    with pytest.raises(SpawnError, match="Too many levels of symbolic links"):
        containers.run_bundle(bundle)


def test_a_source_relative_to_the_bundle(containers: Containers) -> None:
    bundle = containers.bundle("cat", "/m/file", edit=mounts(bind("data", "/m")))
    (bundle / "data").mkdir()
    (bundle / "data/file").write_text("beside\n")
    assert containers.run_bundle(bundle).output == "beside\n"


def test_a_source_that_does_not_exist(containers: Containers) -> None:
    with pytest.raises(ConfigError, match=r"mounts\[5\].*/no/where"):
        containers.create(containers.bundle("true", edit=mounts(bind("/no/where", "/m"))))


def test_a_file_system_that_does_not_exist(containers: Containers) -> None:
    mount = {"destination": "/m", "type": "nosuchfs", "source": "x"}
    with pytest.raises(SpawnError, match=r"MOUNT failed.*nosuchfs on /m.*No such device"):
        containers.create(containers.bundle("true", edit=mounts(mount)))


def test_an_option_that_does_not_exist(containers: Containers) -> None:
    with pytest.raises(SpawnError, match=r"MOUNT failed.*tmpfs on /m.*Invalid argument"):
        containers.create(containers.bundle("true", edit=mounts(tmpfs("/m", "nonsense"))))


def test_a_tmpfs_takes_over_the_mode(containers: Containers) -> None:
    script = "stat -c %a /tmp /private"
    output = containers.sh(script, mounts(tmpfs("/tmp"), tmpfs("/private", "mode=711")))
    assert output.split() == ["1777", "711"]


def test_a_tmpfs_with_a_copy_of_what_it_covers(containers: Containers) -> None:
    script = "cd /full; find . | sort; cat sub/file; stat -c %a:%u:%g sub/file; echo >sub/new"
    bundle = containers.bundle("sh", "-c", script, edit=mounts(tmpfs("/full", "tmpcopyup")))
    full = bundle / "rootfs/full"
    (full / "sub").mkdir(parents=True)
    (full / "sub/file").write_text("copied\n")
    os.chown(full / "sub/file", 5, 6)
    (full / "sub/file").chmod(0o604)
    (full / "link").symlink_to("/etc/shadow")
    os.mkfifo(full / "fifo")
    output = containers.run_bundle(bundle).output
    assert output.split() == [".", "./link", "./sub", "./sub/file", "copied", "604:5:6"]
    assert not (full / "sub/new").exists()


def test_a_copy_that_does_not_fit(containers: Containers) -> None:
    bundle = containers.bundle("true", edit=mounts(tmpfs("/full", "tmpcopyup", "size=4096")))
    (bundle / "rootfs/full").mkdir()
    (bundle / "rootfs/full/large").write_bytes(b"x" * 100_000)
    with pytest.raises(SpawnError, match="No space left on device"):
        containers.create(bundle)


def test_a_read_only_tmpfs_still_gets_its_mounts(containers: Containers, volume: Path) -> None:
    edit = mounts(tmpfs("/ro", "ro"), bind(volume, "/ro/below"))
    assert containers.sh("cat /ro/below/file; ! touch /ro/x 2>&1", edit).startswith("host\n")


def test_queues_and_shared_memory(containers: Containers) -> None:
    mqueue = {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"}
    output = containers.sh(
        "touch /dev/mqueue/q /dev/shm/s; stat -f -c %T /dev/mqueue", mounts(mqueue)
    )
    assert "UNKNOWN" in output or "mqueue" in output


def test_what_is_mounted_inside_does_not_show_outside(containers: Containers) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    container = containers.start("sleep", "1000", edit=mounts(tmpfs("/m")))
    assert Path("/proc/self/mountinfo").read_text() == before
    container.delete(force=True)


def test_a_remount(containers: Containers, volume: Path) -> None:
    again = {**bind(volume, "/m"), "options": ["bind", "remount", "ro", "nosuid"]}
    text = containers.sh("cat /proc/self/mountinfo", mounts(bind(volume, "/m"), again))
    assert options_of(text, "/m") >= {"ro", "nosuid"}


@pytest.mark.requires("idmap")
def test_an_idmapped_mount(containers: Containers, volume: Path) -> None:
    os.chown(volume / "file", 1000, 1001)
    rows = [{"containerID": 1000, "hostID": 5, "size": 10}]
    mount = {**bind(volume, "/m", "idmap"), "uidMappings": rows, "gidMappings": rows}
    assert containers.sh("stat -c %u:%g /m/file", mounts(mount)).strip() == "5:6"


def cgroups(config: dict[str, Any]) -> None:
    """Show the control groups, read-only."""
    row = {
        "destination": "/sys/fs/cgroup",
        "type": "cgroup",
        "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
    }
    config["mounts"].append(row)


def test_the_control_groups_are_its_own_and_read_only(containers: Containers) -> None:
    script = """
        found=$(find /sys/fs/cgroup -name cgroup.procs | head -n 1)
        grep -x $$ $found >/dev/null && echo own
        echo 1 2>/dev/null >$found || echo refused
    """
    assert containers.sh(script, cgroups).split() == ["own", "refused"]


def test_default_devices(containers: Containers) -> None:
    script = "for name in null zero full random urandom tty; do stat -c %t:%T:%a /dev/$name; done"
    expected = ["1:3:666", "1:5:666", "1:7:666", "1:8:666", "1:9:666", "5:0:666"]
    assert containers.sh(script).split() == expected


def test_links_in_dev(containers: Containers) -> None:
    script = "for name in fd stdin stdout stderr ptmx; do readlink /dev/$name; done"
    assert containers.sh(script).split() == [
        *("/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "pts/ptmx"),
    ]


def test_devices_of_the_configuration(containers: Containers) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["linux"]["devices"] = [
            {"path": "/dev/mine", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640,
             "uid": 5, "gid": 6},
            {"path": "/dev/deep/pipe", "type": "p"},
            {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600},
        ]  # fmt: skip

    script = "stat -c %t:%T:%a:%u:%g /dev/mine /dev/null; stat -c %F:%a /dev/deep/pipe"
    assert containers.sh(script, edit).split() == [
        *("a:e5:640:5:6", "1:3:600:0:0", "fifo:666"),
    ]


def test_the_host_s_dev_is_not_touched(containers: Containers, tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()

    def edit(config: dict[str, Any]) -> None:
        config["mounts"] = [config["mounts"][0], bind(tmp_path / "dev", "/dev")]

    containers.sh("ls /dev", edit)
    assert list((tmp_path / "dev").iterdir()) == []


def test_masked_and_read_only_paths(containers: Containers) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["linux"]["maskedPaths"] = [
            "/etc/secret",
            "/hidden",
            "/absent",
            "/hidden",
            "/proc/keys",
        ]
        config["linux"]["readonlyPaths"] = ["/fixed", "/absent", "/proc/sys"]

    script = """
        cat /etc/secret; ls -A /hidden
        for target in /hidden/x /fixed/x; do touch $target 2>/dev/null || echo refused; done
        echo 1 2>/dev/null >/proc/sys/kernel/sysrq || echo refused
        stat -c %t:%T /etc/secret
    """
    bundle = containers.bundle("sh", "-c", script, edit=edit)
    (bundle / "rootfs/etc/secret").write_text("secret\n")
    for name in ("hidden", "fixed"):
        (bundle / "rootfs" / name).mkdir()
        (bundle / "rootfs" / name / "content").write_text("secret\n")
    outcome = containers.run_bundle(bundle)
    assert outcome.output.split() == ["refused", "refused", "refused", "1:3"]


def test_a_read_only_root_with_a_writable_mount(containers: Containers, volume: Path) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["root"]["readonly"] = True
        config["mounts"].append(bind(volume, "/m"))

    script = "touch /x 2>/dev/null || echo refused; touch /m/x; touch /dev/shm/x"
    assert containers.sh(script, edit).split() == ["refused"]
    assert (volume / "x").exists()


ROOT_PROPAGATIONS: dict[str, set[str]] = {
    "": set(), "private": set(), "slave": set(), "shared": {"shared"}, "unbindable": {"unbindable"},
}  # fmt: skip


@pytest.mark.parametrize("word, tags", ROOT_PROPAGATIONS.items(), ids=str)
def test_the_propagation_of_the_root(containers: Containers, word: str, tags: set[str]) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["linux"]["rootfsPropagation"] = word

    before = Path("/proc/self/mountinfo").read_text()
    found = options_of(containers.sh("cat /proc/self/mountinfo", edit), "/")
    assert {"shared", "unbindable"} & found == tags
    assert Path("/proc/self/mountinfo").read_text() == before


ON_A_SHARED_HOST = """
mount --make-rshared /
cat /proc/self/mountinfo
"$@" create --bundle "$BUNDLE" "$NAME" >/dev/null </dev/null
cat /proc/self/mountinfo
"$@" start "$NAME"
"$@" delete --force "$NAME"
cat /proc/self/mountinfo
"""


@pytest.mark.parametrize("word", ROOT_PROPAGATIONS)
def test_a_host_with_shared_mounts_sees_nothing_of_a_container(
    containers: Containers, word: str
) -> None:
    """Neither what it mounts, nor that it takes the host's mounts out of its own view."""

    def edit(config: dict[str, Any]) -> None:
        config["linux"]["rootfsPropagation"] = word

    bundle = containers.bundle("sleep", "1000", edit=edit)
    done = subprocess.run(
        [
            *("unshare", "--mount", "sh", "-ec", ON_A_SHARED_HOST, "sh"),
            *(PROGRAM, "--root", containers.state),
        ],
        env={**os.environ, "BUNDLE": str(bundle), "NAME": f"pycontain-test-{uuid.uuid4().hex}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    third = len(lines) // 3
    assert lines[:third] == lines[third : 2 * third] == lines[2 * third :]
    assert third > 1


SYSCTLS: dict[str, str] = {
    "net.ipv4.ip_forward": "1",
    "net/ipv4/conf/lo/rp_filter": "2",
    "kernel.shm_rmid_forced": "1",
    "kernel.msgmax": "4096",
}


def test_sysctls(containers: Containers) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["linux"]["sysctl"] = SYSCTLS

    paths = " ".join(f"/proc/sys/{name.replace('.', '/')}" for name in SYSCTLS)
    host = [Path("/proc/sys", name.replace(".", "/")).read_text() for name in SYSCTLS]
    assert containers.sh(f"cat {paths}", edit).split() == list(SYSCTLS.values())
    assert [Path("/proc/sys", name.replace(".", "/")).read_text() for name in SYSCTLS] == host


def test_sysctls_need_no_procfs_inside(containers: Containers) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["linux"]["sysctl"] = {"kernel.msgmax": "5000"}
        config["mounts"] = config["mounts"][1:]

    bundle = containers.bundle("sh", "-c", "ls -A /proc", edit=edit)
    assert containers.run_bundle(bundle).output == ""


def test_no_pivot(containers: Containers) -> None:
    outcome = containers.run("sh", "-c", "pwd; ls /bin/busybox", no_pivot=True)
    assert outcome.output.split() == ["/", "/bin/busybox"]


def test_mount_points_stay_in_the_caller_s_root(containers: Containers) -> None:
    bundle = containers.bundle("true", edit=mounts(tmpfs("/made/here")))
    containers.run_bundle(bundle)
    made = bundle / "rootfs/made/here"
    assert stat.S_ISDIR(made.stat().st_mode)
    assert list(made.iterdir()) == []
