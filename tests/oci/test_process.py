# SPDX-License-Identifier: Apache-2.0
"""The process: who it is, what it may do, where it begins and what it is given."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycontain import _capabilities
from pycontain.errors import ConfigError, ContainerError, SpawnError

if TYPE_CHECKING:
    from _containers import Containers, Edit

pytestmark = pytest.mark.requires("root", "busybox")


def process(**fields: Any) -> Edit:
    """Return an edit of the process."""
    return lambda config: config["process"].update(fields)


def capability_sets(text: str) -> dict[str, int]:
    """Return the sets of /proc/self/status."""
    return {name: int(bits, 16) for name, bits in re.findall(r"(Cap\w+):\s*([0-9a-f]+)", text)}


STATUS = "grep Cap /proc/self/status"


def test_user_groups_and_umask(containers: Containers) -> None:
    user = {"uid": 1000, "gid": 1001, "umask": 0o027, "additionalGids": [5, 1002]}
    output = containers.sh("id -u; id -g; id -G; umask", process(user=user))
    assert output.split() == ["1000", "1001", "1001", "5", "1002", "0027"]


def test_no_group_of_the_caller_s(containers: Containers) -> None:
    assert containers.sh("grep Groups /proc/self/status").split() == ["Groups:"]


@pytest.mark.parametrize(
    "home, env, uid",
    [("/root", [], 0), ("/home", [], 1000), ("/", [], 4242), ("/given", ["HOME=/given"], 0)],
)
def test_home(containers: Containers, home: str, env: list[str], uid: int) -> None:
    edit = process(user={"uid": uid, "gid": 0}, env=["PATH=/bin", *env])
    assert containers.sh("echo $HOME", edit).strip() == home


def test_the_environment_is_what_is_given(containers: Containers) -> None:
    edit = process(env=["PATH=/bin", "A=1", "B=x=y z", "HOME=/", "EMPTY="], args=["env"])
    output = containers.run("env", edit=edit).output
    assert output.splitlines() == ["PATH=/bin", "A=1", "B=x=y z", "HOME=/", "EMPTY="]


def test_a_program_is_found_in_path(containers: Containers) -> None:
    bundle = containers.bundle("mine", edit=process(env=["PATH=/nowhere:/opt/bin:/bin"]))
    (bundle / "rootfs/opt/bin").mkdir(parents=True)
    (bundle / "rootfs/opt/bin/mine").symlink_to("/bin/pwd")
    (bundle / "rootfs/opt/bin/mine").unlink()
    script = bundle / "rootfs/opt/bin/mine"
    script.write_text("#!/bin/sh\necho mine\n")
    script.chmod(0o755)
    assert containers.run_bundle(bundle).output == "mine\n"


def test_a_program_relative_to_its_directory(containers: Containers) -> None:
    assert containers.run("./pwd", edit=process(cwd="/bin")).output == "/bin\n"


def test_a_missing_directory_is_made(containers: Containers) -> None:
    assert containers.sh("pwd; stat -c %a .", process(cwd="/made/here")).split() == [
        "/made/here",
        "755",
    ]


def test_a_directory_that_the_user_may_not_enter(containers: Containers) -> None:
    bundle = containers.bundle("true", edit=process(cwd="/closed", user={"uid": 5, "gid": 5}))
    (bundle / "rootfs/closed").mkdir(mode=0o700)
    with pytest.raises(SpawnError, match=r"CWD failed.*Permission denied"):
        containers.create(bundle)


def test_a_directory_that_is_a_file(containers: Containers) -> None:
    with pytest.raises(SpawnError, match=r"CWD failed.*Not a directory"):
        containers.create(containers.bundle("true", edit=process(cwd="/etc/passwd")))


def test_no_capabilities_without_a_word_of_them(containers: Containers) -> None:
    def edit(config: dict[str, Any]) -> None:
        del config["process"]["capabilities"]

    assert set(capability_sets(containers.sh(STATUS, edit)).values()) == {0}


def test_the_five_sets(containers: Containers) -> None:
    names = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_FOWNER"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
        "inheritable": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_CHOWN"],
        "ambient": ["CAP_KILL"],
    }
    found = capability_sets(
        containers.sh(STATUS, process(capabilities=names, user={"uid": 5, "gid": 5}))
    )
    assert found["CapBnd"] == _capabilities.mask(names["bounding"])
    assert found["CapInh"] == _capabilities.mask(names["inheritable"])
    # After the exec of one who is not root: what is ambient (capabilities(7)).
    assert (
        found["CapPrm"]
        == found["CapEff"]
        == found["CapAmb"]
        == _capabilities.mask(names["ambient"])
    )


def test_ambient_ones_that_cannot_be_are_left_out(containers: Containers) -> None:
    names = {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
    assert capability_sets(containers.sh(STATUS, process(capabilities=names)))["CapAmb"] == 0


@pytest.mark.parametrize("value", [True, False])
def test_no_new_privileges(containers: Containers, value: bool) -> None:
    output = containers.sh("grep NoNewPrivs /proc/self/status", process(noNewPrivileges=value))
    assert output.split() == ["NoNewPrivs:", str(int(value))]


def test_rlimits(containers: Containers) -> None:
    rows = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]
    output = containers.sh("ulimit -Sn; ulimit -Hn; ulimit -c", process(rlimits=rows))
    assert output.split() == ["100", "200", "0"]


def test_few_descriptors_do_not_hinder_the_start(containers: Containers) -> None:
    rows = [{"type": "RLIMIT_NOFILE", "soft": 3, "hard": 3}]
    assert containers.run("true", edit=process(rlimits=rows)).status == 0


def test_the_score_for_who_is_killed_first(containers: Containers) -> None:
    assert containers.sh("cat /proc/self/oom_score_adj", process(oomScoreAdj=321)).strip() == "321"


def test_scheduling(containers: Containers) -> None:
    edit = process(
        scheduler={"policy": "SCHED_BATCH", "nice": 7},
        ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 0},
    )
    fields = containers.sh("cat /proc/self/stat; ionice -p $$", edit)
    stat, _, class_ = fields.partition("\n")
    assert (stat.split()[18], stat.split()[40], class_.split()[0]) == ("7", "3", "idle")


def test_a_policy_that_the_kernel_refuses(containers: Containers) -> None:
    edit = process(scheduler={"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3})
    with pytest.raises(SpawnError, match=r"ATTRIBUTES failed \('process.scheduler'\)"):
        containers.create(containers.bundle("true", edit=edit))


@pytest.mark.requires("x86_64")
def test_the_execution_domain(containers: Containers) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["linux"]["personality"] = {"domain": "LINUX32"}

    assert containers.sh("uname -m", edit).strip() == "i686"


def test_descriptors_are_the_standard_ones(containers: Containers) -> None:
    with open("/etc/hostname") as file:
        os.set_inheritable(file.fileno(), True)
        script = "for fd in /proc/$$/fd/*; do readlink $fd || echo gone; done"
        found = containers.sh(script).split()
        assert len(found) == 4
        assert found[3] == "gone"  # the shell's own, of the directory


def test_preserved_descriptors(containers: Containers, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept\n")
    fd = os.open(tmp_path / "kept", os.O_RDONLY)
    before = os.dup(3) if _is_open(3) else -1
    os.dup2(fd, 3)
    try:
        assert containers.run("cat", "/proc/self/fd/3", preserve_fds=1).output == "kept\n"
    finally:
        os.close(fd)
        os.close(3) if before < 0 else os.dup2(before, 3, inheritable=False)
        if before >= 0:
            os.close(before)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_a_preserved_descriptor_that_is_not_open(containers: Containers) -> None:
    with pytest.raises(ConfigError, match=r"preserve_fds: descriptor \d+ is not open"):
        containers.create(containers.bundle("true"), preserve_fds=998)


def test_a_pipe_belongs_to_the_user_and_a_file_does_not(
    containers: Containers, tmp_path: Path
) -> None:
    receiver, sender = os.pipe()
    try:
        with open(tmp_path / "file", "wb") as file:
            edit = process(user={"uid": 1000, "gid": 1000})
            bundle = containers.bundle("sh", "-c", "echo again >/dev/stdout", edit=edit)
            made = containers.create(bundle, stdout=sender, stderr=file.fileno())
            made.start()
            assert made.wait() == 0
        assert os.read(receiver, 100) == b"again\n"
        assert (tmp_path / "file").stat().st_uid == os.geteuid()
    finally:
        os.close(receiver)
        os.close(sender)


def test_the_host_s_null_is_not_given_away(containers: Containers) -> None:
    before = Path(os.devnull).stat().st_uid
    with open(os.devnull, "r+b") as null:
        edit = process(user={"uid": 1000, "gid": 1000})
        bundle = containers.bundle("true", edit=edit)
        made = containers.create(
            bundle, stdin=null.fileno(), stdout=null.fileno(), stderr=null.fileno()
        )
        made.start()
        made.wait()
    assert Path(os.devnull).stat().st_uid == before


def _terminal(containers: Containers, bundle: Path, tmp_path: Path) -> str:
    path = tmp_path / "console"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        made = containers.create(bundle, console_socket=str(path))
        with listener.accept()[0] as connection:
            _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
    text = b""
    try:
        made.start()
        made.wait()
        while chunk := os.read(fds[0], 4096):
            text += chunk
    except OSError:  # EIO: the other side is closed
        pass
    finally:
        os.close(fds[0])
    return text.decode().replace("\r\n", "\n")


def test_a_terminal(containers: Containers, tmp_path: Path) -> None:
    edit = process(
        terminal=True, consoleSize={"height": 31, "width": 97}, user={"uid": 7, "gid": 8}
    )
    script = """
        tty; stty size; stat -c %u /dev/console
        test /dev/console -ef $(tty) && echo same; echo >/dev/tty
    """
    bundle = containers.bundle("sh", "-c", script, edit=edit)
    output = _terminal(containers, bundle, tmp_path)
    assert output.split() == ["/dev/pts/0", "31", "97", "7", "same"]


def test_a_terminal_that_nobody_takes(containers: Containers, tmp_path: Path) -> None:
    bundle = containers.bundle("true", edit=process(terminal=True))
    with pytest.raises(ContainerError, match=r"console socket .*No such file"):
        containers.create(bundle, console_socket=str(tmp_path / "nobody"))


def seccomp(action: str, **more: Any) -> Edit:
    """Return an edit that filters mkdir."""

    def edit(config: dict[str, Any]) -> None:
        rule = {"names": ["mkdir", "mkdirat"], "action": action}
        config["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], **more.pop("seccomp", {}),
        }  # fmt: skip
        config["process"].update(more)

    return edit


@pytest.mark.parametrize("locked", [True, False])
def test_a_filter(containers: Containers, locked: bool) -> None:
    script = "mkdir /x 2>&1; grep Seccomp: /proc/self/status"
    output = containers.sh(script, seccomp("SCMP_ACT_ERRNO", noNewPrivileges=locked))
    assert "Operation not permitted" in output
    assert output.split()[-1] == "2"


@pytest.mark.parametrize("locked", [True, False])
def test_a_filter_that_allows_little(containers: Containers, locked: bool) -> None:
    """What we do on the way is not filtered, where the kernel lets us load it last."""
    names = ["execve", "brk", "mmap", "munmap", "mprotect", "arch_prctl", "set_tid_address",
             "exit_group", "exit", "getuid", "geteuid", "getgid", "getegid", "prctl",
             "readlink", "set_robust_list", "rseq", "prlimit64", "getrandom", "uname",
             "newfstatat"]  # fmt: skip

    def edit(config: dict[str, Any]) -> None:
        rule = {"names": names, "action": "SCMP_ACT_ALLOW"}
        config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}
        config["process"]["noNewPrivileges"] = locked

    # Without no_new_privs it is loaded before the change of ids, which it does not allow.
    assert containers.run("true", edit=edit).status == (0 if locked else 127)


@pytest.mark.requires("listener")
def test_the_listener_of_a_filter(containers: Containers, tmp_path: Path) -> None:
    path = tmp_path / "agent"
    got: list[tuple[bytes, list[int]]] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def take() -> None:
            with listener.accept()[0] as connection:
                data, fds, _, _ = socket.recv_fds(connection, 65536, 4)
                got.append((data, fds))
                for fd in fds:  # so what waits for an answer gets ENOSYS
                    os.close(fd)

        agent = threading.Thread(target=take)
        agent.start()
        more = {"listenerPath": str(path), "listenerMetadata": "said"}
        output = containers.sh("mkdir /x 2>&1; true", seccomp("SCMP_ACT_NOTIFY", seccomp=more))
        agent.join()
    ((data, fds),) = got
    message = json.loads(data)
    assert len(fds) == 1
    assert (message["fds"], message["metadata"]) == (["seccompFd"], "said")
    assert message["pid"] == message["state"]["pid"]
    assert "Function not implemented" in output


@pytest.mark.parametrize("shared", [False, True])
def test_the_keyring(containers: Containers, shared: bool) -> None:
    if not Path("/proc/keys").exists():
        pytest.skip("this kernel has no /proc/keys")
    name = f"pycontain-test-{os.getpid()}-keyring-{shared}"
    output = containers.sh("cat /proc/keys", no_new_keyring=shared, name=name)
    assert (f"_ses.{name}" not in output) == shared
