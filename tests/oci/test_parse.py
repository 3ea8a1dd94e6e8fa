# SPDX-License-Identifier: Apache-2.0
"""config.json to values: what is right, and which field of what is wrong is named."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _oci_configs import config, with_value
from pycontain import _json
from pycontain._oci import _spec
from pycontain._oci._default_spec import default_config, rootless_config
from pycontain._oci._parse import parse_config, parse_process, parse_resources
from pycontain.errors import ConfigError

UINT32 = (1 << 32) - 1
LONG = "x" * 65
USER_NS = [{"type": "mount"}, {"type": "user"}]
MAPPING = {"containerID": 0, "hostID": 1000, "size": 10}
BIND = {"destination": "/d", "source": "/s", "options": ["bind"]}
DEADLINE = {"policy": "SCHED_DEADLINE", "runtime": 5, "deadline": 10, "period": 10}

# Where, what stands there, and how the message begins.
WRONG: list[tuple[str, Any, str]] = [
    ("ociVersion", None, "ociVersion: is required"),
    ("ociVersion", 1, "ociVersion: 1 is not a string"),
    ("ociVersion", "1.2", "ociVersion: '1.2' is no version"),
    ("ociVersion", "v1.2.0", "ociVersion: 'v1.2.0' is no version"),
    ("ociVersion", "0.9.0", "ociVersion: '0.9.0' is not from 1.0"),
    ("ociVersion", "1.4.0", "ociVersion: '1.4.0' is not from 1.0"),
    ("ociVersion", "1." + "9" * 5000 + ".0", "ociVersion: "),
    ("root", None, "root: is required"),
    ("root", [], "root: a list is not an object"),
    ("root/path", "", "root.path: is required"),
    ("root/path", "a\0b", r"root.path: 'a\x00b' has a NUL"),
    ("root/readonly", "yes", "root.readonly: 'yes' is not a boolean"),
    ("hostname", LONG, "hostname: "),
    ("domainname", LONG, "domainname: "),
    ("annotations", {"": "x"}, "annotations: a name is empty"),
    ("annotations", {"a": 1}, "annotations.a: 1 is not a string"),
    ("annotations", [], "annotations: a list is not an object"),
    ("process", [], "process: a list is not an object"),
    ("process/cwd", None, "process.cwd: is required"),
    ("process/cwd", "relative", "process.cwd: 'relative' is not an absolute path"),
    ("process/args", [], "process.args: "),
    ("process/args", "true", "process.args: 'true' is not a list"),
    ("process/args", ["a", None], "process.args[1]: None is not a string"),
    ("process/args", ["a", "b\0"], "process.args[1]: "),
    ("process/args", ["\ud800"], "process.args[0]: "),
    ("process/env", {"A": "b"}, "process.env: an object is not a list"),
    ("process/env", ["A=b", 3], "process.env[1]: 3 is not a string"),
    ("process/terminal", 1, "process.terminal: 1 is not a boolean"),
    ("process/consoleSize", {"height": -1}, "process.consoleSize.height: -1 is not from 0"),
    ("process/consoleSize", {"width": 65536}, "process.consoleSize.width: 65536 is not from 0"),
    ("process/user/uid", -1, "process.user.uid: -1 is not from 0"),
    ("process/user/uid", UINT32, "process.user.uid: 4294967295 is not from 0"),
    ("process/user/uid", UINT32 + 1, "process.user.uid: 4294967296 is not from 0"),
    ("process/user/uid", 1.5, "process.user.uid: 1.5 is not an integer"),
    ("process/user/uid", True, "process.user.uid: True is not an integer"),
    ("process/user/gid", "0", "process.user.gid: '0' is not an integer"),
    ("process/user/umask", 0o1000, "process.user.umask: 512 is not from 0"),
    ("process/user/additionalGids", [1, 2, -3], "process.user.additionalGids[2]: -3 is not"),
    ("process/user/additionalGids", [1, 1 << 40], "process.user.additionalGids[1]: 109"),
    ("process/user/additionalGids", ["x"], "process.user.additionalGids[0]: 'x' is not"),
    ("process/capabilities", ["CAP_KILL"], "process.capabilities: a list is not an object"),
    ("process/capabilities/bounding", [3], "process.capabilities.bounding[0]: 3 is not"),
    ("process/rlimits/0", {"type": "RLIMIT_X", "soft": 1, "hard": 1}, "process.rlimits[0].type: "),
    ("process/rlimits/0", {"type": "RLIMIT_AS", "soft": 2, "hard": 1}, "process.rlimits[0].soft: "),
    ("process/rlimits/0", {"type": "RLIMIT_AS", "soft": 2}, "process.rlimits[0].hard: is required"),
    ("process/rlimits/0", {"type": "RLIMIT_AS", "soft": -1}, "process.rlimits[0].soft: -1"),
    (
        "process/rlimits",
        [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}] * 2,
        "process.rlimits[1].type: RLIMIT_CPU stands twice",
    ),
    ("process/oomScoreAdj", 1001, "process.oomScoreAdj: 1001 is not from -1000 to 1000"),
    ("process/scheduler", {}, "process.scheduler.policy: is required"),
    ("process/scheduler", {"policy": "SCHED_X"}, "process.scheduler.policy: 'SCHED_X' is not"),
    ("process/scheduler", {"policy": "SCHED_OTHER", "nice": 20}, "process.scheduler.nice: 20"),
    ("process/scheduler", {"policy": "SCHED_FIFO", "nice": 1}, "process.scheduler.nice: only"),
    ("process/scheduler", {"policy": "SCHED_FIFO"}, "process.scheduler.priority: "),
    ("process/scheduler", {"policy": "SCHED_IDLE", "priority": 1}, "process.scheduler.priority: "),
    ("process/scheduler", {"policy": "SCHED_IDLE", "runtime": 1}, "process.scheduler.runtime: "),
    ("process/scheduler", {**DEADLINE, "runtime": 11}, "process.scheduler.runtime: must be"),
    ("process/scheduler", {**DEADLINE, "period": 9}, "process.scheduler.deadline: must be"),
    ("process/scheduler", {**DEADLINE, "flags": ["X"]}, "process.scheduler.flags[0]: 'X'"),
    ("process/ioPriority", {}, "process.ioPriority.class: is required"),
    ("process/ioPriority", {"class": "RT"}, "process.ioPriority.class: 'RT' is not one of"),
    (
        "process/ioPriority",
        {"class": "IOPRIO_CLASS_BE", "priority": 8},
        "process.ioPriority.priority: 8 is not from 0 to 7",
    ),
    ("process/execCPUAffinity", {"initial": "a"}, "process.execCPUAffinity.initial: 'a'"),
    ("process/execCPUAffinity", {"final": "3-1"}, "process.execCPUAffinity.final: '3-1'"),
    ("mounts", {}, "mounts: an object is not a list"),
    ("mounts/0", "x", "mounts[0]: 'x' is not an object"),
    ("mounts/0", {"type": "proc"}, "mounts[0].destination: is required"),
    ("mounts/0", {"destination": "/x"}, "mounts[0].type: is required"),
    ("mounts/0", {"destination": "/x", "type": "bind"}, "mounts[0].source: a bind needs one"),
    ("mounts/0", {**BIND, "options": ["ro", 1]}, "mounts[0].options[1]: 1 is not a string"),
    ("mounts/0", {**BIND, "uidMappings": [MAPPING]}, "mounts[0].gidMappings: "),
    ("mounts/0", {**BIND, "options": ["bind", "idmap"]}, "mounts[0].uidMappings: an idmapped"),
    (
        "mounts/0",
        {
            "destination": "/x",
            "type": "tmpfs",
            "options": ["idmap"],
            "uidMappings": [MAPPING],
            "gidMappings": [MAPPING],
        },
        "mounts[0].uidMappings: only a bind",
    ),
    ("hooks", [], "hooks: a list is not an object"),
    ("hooks/prestart/0", {}, "hooks.prestart[0].path: is required"),
    ("hooks/poststop/0", {"path": "bin/x"}, "hooks.poststop[0].path: 'bin/x' is not"),
    ("hooks/poststart/0", {"path": "/x", "timeout": 0}, "hooks.poststart[0].timeout: 0 is"),
    ("hooks/createRuntime/0", {"path": "/x", "env": [1]}, "hooks.createRuntime[0].env[0]: 1"),
    ("linux/namespaces/0", {}, "linux.namespaces[0].type: is required"),
    ("linux/namespaces/0", {"type": "net"}, "linux.namespaces[0].type: 'net' is not one of"),
    ("linux/namespaces/0", {"type": "pid", "path": "x"}, "linux.namespaces[0].path: 'x' is not"),
    ("linux/namespaces", [{"type": "pid"}] * 2, "linux.namespaces[1].type: the pid namespace"),
    ("linux/uidMappings", [MAPPING], "linux.uidMappings: there is no user namespace"),
    ("linux/namespaces", USER_NS, "linux.uidMappings: a new user namespace needs it"),
    ("linux/timeOffsets", {"monotonic": {"secs": 1}}, "linux.timeOffsets: they need a new time"),
    ("linux/timeOffsets", {"realtime": {}}, "linux.timeOffsets: 'realtime' is not"),
    (
        "linux/timeOffsets",
        {"boottime": {"nanosecs": 10**9}},
        "linux.timeOffsets.boottime.nanosecs: 1000000000 is",
    ),
    ("linux/devices/0", {"path": "/dev/x"}, "linux.devices[0].type: is required"),
    ("linux/devices/0", {"path": "x", "type": "c"}, "linux.devices[0].path: 'x'"),
    ("linux/devices/0", {"path": "/dev/../x", "type": "p"}, "linux.devices[0].path: "),
    ("linux/devices/0", {"path": "/dev/x", "type": "c"}, "linux.devices[0].major: is required"),
    ("linux/devices/0", {"path": "/x", "type": "p", "uid": UINT32}, "linux.devices[0].uid: "),
    ("linux/devices/0", {"path": "/x", "type": "p", "fileMode": 1 << 20}, "linux.devices[0].file"),
    ("linux/netDevices", {"a/b": {}}, "linux.netDevices: 'a/b' is no name"),
    ("linux/netDevices", {"e0": {"name": "x" * 16}}, "linux.netDevices: 'xxxxx"),
    ("linux/netDevices", {"a": {"name": "x"}, "x": {}}, "linux.netDevices.x.name: 'x' stands"),
    ("linux/rootfsPropagation", "bound", "linux.rootfsPropagation: 'bound' is not one of"),
    ("linux/maskedPaths", ["proc/x"], "linux.maskedPaths[0]: 'proc/x' is not"),
    ("linux/readonlyPaths", ["/a", ""], "linux.readonlyPaths[1]: '' is not"),
    ("linux/seccomp", "x", "linux.seccomp: 'x' is not an object"),
    ("linux/seccomp", {"listenerPath": "x"}, "linux.seccomp.listenerPath: 'x' is not"),
    ("linux/sysctl", {"kernel.core_pattern": "x"}, "linux.sysctl.kernel.core_pattern: not of"),
    ("linux/sysctl", {"net.ipv4.x": "1\n2"}, "linux.sysctl.net.ipv4.x: "),
    (
        "linux/sysctl",
        {"kernel.shm_rmid_forced": "1+kernel.core_pattern=x"},
        "linux.sysctl.kernel.s",
    ),
    ("linux/sysctl", {"net..x": "1"}, "linux.sysctl: 'net..x' is no name"),
    ("linux/sysctl", {"../x": "1"}, "linux.sysctl: '../x' is no name"),
    ("linux/sysctl", {"net/ipv4/x": "1", "net.ipv4.x": "1"}, "linux.sysctl: 'net.ipv4.x' stands"),
    ("linux/sysctl", {"net.x": 1}, "linux.sysctl.net.x: 1 is not a string"),
    ("linux/intelRdt", {"closID": "../x"}, "linux.intelRdt.closID: '../x' is no name"),
    ("linux/personality", {"domain": "BSD"}, "linux.personality.domain: 'BSD' is not one of"),
    ("linux/personality", {"domain": "LINUX", "flags": ["x"]}, "linux.personality.flags: none"),
    ("linux/memoryPolicy", {"mode": "MPOL_BIND"}, "linux.memoryPolicy: not supported"),
    ("linux/resources", [], "linux.resources: a list is not an object"),
    ("linux/resources/devices/0", {"type": "p"}, "linux.resources.devices[0].type: 'p' is not"),
    ("linux/resources/devices/0", {"access": "rx"}, "linux.resources.devices[0].access: 'rx'"),
    ("linux/resources/devices/0", {"major": -2}, "linux.resources.devices[0].major: -2"),
    ("linux/resources/memory", {"limit": -2}, "linux.resources.memory.limit: -2 is not from -1"),
    ("linux/resources/memory", {"limit": 1 << 63}, "linux.resources.memory.limit: 922"),
    ("linux/resources/memory", {"limit": 9, "swap": 8}, "linux.resources.memory.swap: memory"),
    ("linux/resources/memory", {"swappiness": 101}, "linux.resources.memory.swappiness: 101"),
    ("linux/resources/cpu", {"shares": -1}, "linux.resources.cpu.shares: -1 is not from 0"),
    ("linux/resources/cpu", {"cpus": "0-"}, "linux.resources.cpu.cpus: '0-' is no list"),
    ("linux/resources/cpu", {"mems": "0\n"}, r"linux.resources.cpu.mems: '0\n' is no list"),
    ("linux/resources/cpu", {"idle": 2}, "linux.resources.cpu.idle: 2 is not from 0 to 1"),
    ("linux/resources/pids", {"limit": "5"}, "linux.resources.pids.limit: '5' is not"),
    ("linux/resources/blockIO", {"weight": 9}, "linux.resources.blockIO.weight: 9 is not from 10"),
    (
        "linux/resources/blockIO/throttleReadBpsDevice/0",
        {"major": 8, "minor": 0},
        "linux.resources.blockIO.throttleReadBpsDevice[0].rate: is required",
    ),
    (
        "linux/resources/hugepageLimits/0",
        {"pageSize": "2Q", "limit": 1},
        "linux.resources.hugepageLimits[0].pageSize: '2Q'",
    ),
    ("linux/resources/network", {"classID": 1 << 32}, "linux.resources.network.classID: 429"),
    (
        "linux/resources/network/priorities/0",
        {"name": "eth0"},
        "linux.resources.network.priorities[0].priority: is required",
    ),
    ("linux/resources/rdma", {"a": {"hcaHandles": -1}}, "linux.resources.rdma.a.hcaHandles: -1"),
    ("linux/resources/unified", {"a/b.c": "1"}, "linux.resources.unified: 'a/b.c' is no file"),
    ("linux/resources/unified", {"memory": "1"}, "linux.resources.unified: 'memory' is no file"),
]


@pytest.mark.parametrize("place, value, message", WRONG, ids=lambda value: str(value)[:40])
def test_wrong_fields_are_named(place: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(with_value(config(), place, value))
    assert str(caught.value).startswith(message)


HOST: dict[
    str, tuple[dict[str, Any], str]
] = {  # fields that would change the host without a namespace
    "hostname": ({"hostname": "x"}, "uts"),
    "domainname": ({"domainname": "x"}, "uts"),
    "linux.maskedPaths": ({"linux": {"maskedPaths": ["/proc/x"]}}, "mount"),
    "linux.readonlyPaths": ({"linux": {"readonlyPaths": ["/proc/x"]}}, "mount"),
    "linux.netDevices": ({"linux": {"netDevices": {"eth0": {}}}}, "network"),
    "linux.sysctl.net.ipv4.ip_forward": (
        {"linux": {"sysctl": {"net.ipv4.ip_forward": "1"}}},
        "network",
    ),
    "linux.sysctl.fs.mqueue.msg_max": ({"linux": {"sysctl": {"fs.mqueue.msg_max": "9"}}}, "ipc"),
    "linux.sysctl.kernel.sem": ({"linux": {"sysctl": {"kernel.sem": "1 2 3 4"}}}, "ipc"),
    "linux.sysctl.kernel.hostname": ({"linux": {"sysctl": {"kernel.hostname": "x"}}}, "uts"),
}


@pytest.mark.parametrize("field", HOST)
@pytest.mark.parametrize("path", ["", "/proc/1/ns/x"], ids=["new", "joined"])
def test_the_host_is_only_changed_in_a_namespace(field: str, path: str) -> None:
    changes, kind = HOST[field]
    document = {**config(), **changes, "linux": changes.get("linux", {})}
    with pytest.raises(ConfigError, match=re.escape(field)):
        parse_config(document)
    row = {"type": kind, "path": path} if path else {"type": kind}
    parse_config({**document, "linux": {**document["linux"], "namespaces": [row]}})


def test_a_sysctl_may_not_contradict_a_field() -> None:
    document = with_value(config(hostname="a"), "linux/sysctl", {"kernel.hostname": "b"})
    with pytest.raises(ConfigError, match=r"^linux\.sysctl\.kernel\.hostname: contradicts"):
        parse_config(document)


@pytest.mark.parametrize(
    "rows, message",
    [
        ([{**MAPPING, "size": 0}], "[0].size: 0"),
        ([{"containerID": 0, "hostID": 0}], "[0].size: is required"),
        ([{**MAPPING, "hostID": UINT32}], "[0].hostID: "),
        ([{**MAPPING, "containerID": -1}], "[0].containerID: -1"),
        ([MAPPING, {**MAPPING, "hostID": 5000}], "[1].containerID: ids that are mapped"),
        ([MAPPING, {**MAPPING, "containerID": 50}], "[1].hostID: ids that are mapped"),
        (
            [{"containerID": n, "hostID": n, "size": 1} for n in range(341)],
            ": the kernel takes at most 340",
        ),
    ],
)
@pytest.mark.parametrize("name", ["uidMappings", "gidMappings"])
def test_wrong_mappings_are_named(name: str, rows: list[dict[str, int]], message: str) -> None:
    linux = {"namespaces": USER_NS, "uidMappings": [MAPPING], "gidMappings": [MAPPING], name: rows}
    with pytest.raises(ConfigError, match=re.escape(f"linux.{name}{message}")):
        parse_config(config(linux=linux))


def test_a_whole_configuration() -> None:
    found = parse_config(json.dumps(default_config()).encode())
    assert found.process is not None
    assert found.process.capabilities is not None
    assert found.process.capabilities.bounding == {
        *("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
    }
    assert found.process.rlimits == (_spec.Rlimit(type="RLIMIT_NOFILE", soft=1024, hard=1024),)
    assert found.mounts[0] == _spec.Mount(destination="/proc", type="proc", source="proc")
    assert found.linux.resources.devices == (_spec.DeviceRule(allow=False),)
    assert [namespace.type for namespace in found.linux.namespaces][:2] == ["pid", "network"]
    assert parse_config(rootless_config(1000, 1000)).linux.uid_mappings == (
        _spec.IDMapping(container_id=0, host_id=1000, size=1),
    )


ACCEPTED: list[tuple[str, Any]] = [
    *(("ociVersion", text) for text in ("1.0.0", "1.0.2-dev", "1.1.0+x", "1.2.1", "1.3.0")),
    ("process", None),
    ("process/env", ["A", "=", "B=1=2", ""]),
    ("process/user/username", "ignored: of Windows"),
    ("process/user/uid", UINT32 - 1),
    ("unknown", {"deeply": [{"wrong": -1}]}),
    ("linux/unknown", 7),
    ("windows", {"cpu": -1}),
    ("process/capabilities", None),
    ("mounts", None),
    ("mounts/0", {"destination": "relative", "type": "tmpfs"}),
    ("linux/resources/devices/0", {"allow": True, "type": "c", "major": -1, "minor": 3}),
    ("linux/resources/blockIO/weight", 0),
    ("linux/resources/memory/swappiness", (1 << 64) - 1),
    ("linux/sysctl", {"net/ipv4/conf/eth0.100/rp_filter": "1"}),
    ("linux/personality", {"domain": "LINUX32"}),
    ("linux/devices/0", {"path": "/dev/p", "type": "p", "fileMode": 0o10644}),
    ("annotations", {"a": "two\nlines"}),
]


@pytest.mark.parametrize("place, value", ACCEPTED, ids=lambda value: str(value)[:40])
def test_what_is_right_or_unknown_is_accepted(place: str, value: object) -> None:
    parse_config(with_value(config(), place, value))


def test_details() -> None:
    found = parse_config(
        config(
            mounts=[{"destination": "relative", "type": "tmpfs"}],
            linux={
                "namespaces": [{"type": "network", "path": "/n"}],
                "sysctl": {"net/ipv4/conf/eth0.100/rp_filter": "1"},
                "devices": [{"path": "/dev/p", "type": "p", "fileMode": 0o10644}],
                "netDevices": {"eth0": {"name": "net0"}, "eth1": {}},
                "resources": {
                    "devices": [{"allow": True, "type": "c", "major": -1, "minor": 3}],
                    "rdma": {"mlx": {"hcaHandles": 3}},
                },
            },
        )
    )
    assert found.mounts[0].destination == "/relative"
    assert found.linux.sysctl == {"net.ipv4.conf.eth0/100.rp_filter": "1"}
    assert found.linux.devices[0].file_mode == 0o644
    assert found.linux.net_devices == {"eth0": "net0", "eth1": "eth1"}
    rule = _spec.DeviceRule(allow=True, type="c", major=None, minor=3)
    assert found.linux.resources.devices == (rule,)
    assert found.linux.resources.rdma == {"mlx": (3, None)}


def test_unknown_capabilities_are_left_out_and_told() -> None:
    names = ["CAP_KILL", "CAP_FLY", "kill"]
    process = parse_process({"args": ["a"], "cwd": "/", "capabilities": {"bounding": names}})
    assert process.capabilities is not None
    assert process.capabilities.bounding == {"CAP_KILL"}
    assert process.capabilities.unknown == ("CAP_FLY", "kill")


def test_resources_alone() -> None:
    found = parse_resources(b'{"memory": {"limit": 5}, "pids": {"limit": -1}}')
    assert found.memory.limit == 5
    assert found.pids_limit == -1


DOCUMENTS = {
    "empty": (b"", "nothing at character 0"),
    "truncated": (b'{"ociVersion": "1.2.0", "root": {', "not valid JSON"),
    "cut in a string": (b'{"ociVersion": "1.2', "not valid JSON"),
    "no object": (b"[]", "not a JSON object"),
    "more behind": (b"{} {}", "more text at character 2"),
    "a name twice": (b'{"a": {"b": 1, "b": 2}}', "the name 'b' stands twice"),
    "no number": (b'{"a": NaN}', "NaN is no number"),
    "infinite": (b'{"a": -Infinity}', "-Infinity is no number"),
    "huge number": (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
    "no UTF-8": (b'{"a": "\xff"}', "not valid JSON"),
    "UTF-16": ("{}".encode("utf-16"), "not valid JSON"),
    "control character": (b'{"a": "\n"}', "not valid JSON"),
    "deep objects": (b'{"a":' * 40 + b"1" + b"}" * 40, "nested deeper than 32"),
    "deep lists": (b'{"a":' + b"[" * 100000 + b"]" * 100000 + b"}", "nested deeper than 32"),
    "huge": (b'{"a": "' + b"x" * _json.LIMIT + b'"}', "bytes are more than the limit"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_that_are_none(name: str) -> None:
    data, message = DOCUMENTS[name]
    with pytest.raises(ConfigError, match=rf"^config\.json: .*{re.escape(message)}"):
        parse_config(data)


def test_large_documents_are_read() -> None:
    env = [f"NAME{number}={'v' * 100}" for number in range(20000)]
    found = parse_config(json.dumps(with_value(config(), "process/env", env)).encode())
    assert found.process is not None
    assert len(found.process.env) == 20000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON)
def test_json_is_written_as_it_is_read(value: object) -> None:
    for indent in (None, 2):
        assert json.loads(_json.dumps(value, indent=indent)) == value
    assert _json.loads(_json.dumps({"v": value}).encode(), "x") == {"v": value}


def places(value: object, at: str = "") -> list[str]:
    """Return every place in a configuration."""
    if isinstance(value, dict):
        rows = [(str(name), inner) for name, inner in value.items()]
    elif isinstance(value, list):
        rows = [(str(place), inner) for place, inner in enumerate(value)]
    else:
        return [at]
    found = [place for name, inner in rows for place in places(inner, f"{at}/{name}".strip("/"))]
    return [at, *found] if at else found


@given(st.sampled_from(places(default_config())), JSON)
def test_any_value_at_any_place_is_taken_or_named(place: str, value: object) -> None:
    document = with_value(default_config(), place, value)
    told = ""
    try:
        parse_config(document)
    except ConfigError as error:
        told = str(error)
    top = place.partition("/")[0]
    assert told.startswith((top, "hostname", "linux", "mounts")) or not told


@given(st.binary(max_size=64) | st.text(max_size=64).map(str.encode))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_config(data)


def test_values_are_frozen_and_compare() -> None:
    mount = _spec.Mount(destination="/a", type="tmpfs")
    assert mount == _spec.Mount(destination="/a", type="tmpfs", source="")
    assert mount != mount.replace(source="x")
    assert hash(mount) == hash(mount.replace())
    assert "destination='/a'" in repr(mount)
    with pytest.raises(AttributeError):
        mount.type = "proc"  # type: ignore[misc]
    with pytest.raises(TypeError, match="needs destination"):
        _spec.Mount()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="has no field x"):
        _spec.Mount(destination="/", x=1)  # type: ignore[call-arg]
