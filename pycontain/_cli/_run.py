# SPDX-License-Identifier: Apache-2.0
"""`pycontain run`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import pycontain
from pycontain import profile as profiles
from pycontain.config import check_positive
from pycontain.enforcement import Control
from pycontain.errors import ConfigError

from ._common import (
    FAILED,
    NOT_EXECUTABLE,
    NOT_FOUND,
    SIGNALED,
    TIMED_OUT,
    complain,
    print_json,
)
from ._progress import ready

if TYPE_CHECKING:
    from pycontain._image._root import ImageRoot

_EPILOG: Final = f"""\
IMAGE is pulled if it is not here; without a PROGRAM it runs what it is made for. Without an image
the root is the host's user land, or DIR. All is gone at the end, as with docker run --rm.

The exit status is the command's own, or {SIGNALED} + N if signal N ended it; {TIMED_OUT} after
--timeout, {FAILED} if no sandbox could be made, {NOT_EXECUTABLE} and {NOT_FOUND} for a program that
cannot be executed or does not exist inside."""


def _bind(text: str) -> pycontain.Bind:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not (source and target) or mode not in ("", "ro", "rw"):
        raise ConfigError(f"--bind: {text!r} is not SRC:DST, SRC:DST:ro or SRC:DST:rw")
    return pycontain.Bind(source, target, read_only=mode != "rw")


def _tmpfs(text: str) -> pycontain.Tmpfs:
    target, _, size = text.partition(":")
    return pycontain.Tmpfs(target, size=size) if size else pycontain.Tmpfs(target)


_OWN_ENDS: Final = (pycontain.Reason.EXITED, pycontain.Reason.SIGNALED, pycontain.Reason.KILLED)
_IO_KEYS: Final = {
    "rbps": "read_bytes",
    "wbps": "write_bytes",
    "riops": "read_ops",
    "wiops": "write_ops",
}


def _io(text: str) -> pycontain.IoLimit:
    """Read a limit in the words of cgroup v2's io.max."""
    device, _, pairs = text.rpartition(":")
    limits: dict[str, Any] = {}
    for pair in pairs.split(","):
        key, _, value = pair.partition("=")
        if not device or key not in _IO_KEYS or not value:
            known = ", ".join(_IO_KEYS)
            raise ConfigError(f"--io: {text!r} is not DISK:KEY=N with keys of {known}")
        limits[_IO_KEYS[key]] = value if key.endswith("bps") else _whole(value, text)
    return pycontain.IoLimit(device, **limits)


def _whole(value: str, text: str) -> int:
    if not (value.isascii() and value.isdecimal()):
        raise ConfigError(f"--io: {text!r}: {value!r} is not a number")
    return int(value)


def _environment(items: Sequence[str]) -> dict[str, str]:
    env = {}
    for item in items:
        name, equals, value = item.partition("=")
        if equals:
            env[name] = value
        elif name in os.environ:
            env[name] = os.environ[name]
        else:
            raise ConfigError(f"--env: {name!r} is not set here; give {name}=VALUE")
    return env


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's options."""
    run = commands.add_parser(
        "run",
        help="run one command in a sandbox of its own",
        usage="%(prog)s [options] IMAGE [PROGRAM [ARGUMENT...]]\n"
        "       %(prog)s [options] [--rootfs DIR] -- PROGRAM [ARGUMENT...]",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = run.add_argument
    add("--rootfs", metavar="DIR", help="root directory, never changed; else the host's user land")
    add(
        "--bind",
        metavar="SRC:DST[:rw]",
        action="append",
        default=[],
        help="show a path of the host",
    )
    add(
        "--tmpfs", metavar="DST[:SIZE]", action="append", default=[], help="private files in memory"
    )
    add("--network", choices=("none", "host"), default="none", help="default: none, loopback only")
    add(
        "-e",
        "--env",
        metavar="NAME[=VALUE]",
        action="append",
        default=[],
        help="set or take over a variable",
    )
    add("-w", "--cwd", metavar="DIR", help="working directory inside")
    add("-u", "--user", metavar="USER[:GROUP]", help="numbers, or names of the root")
    add("--entrypoint", metavar="PROGRAM", help="run this instead of what the image is made for")
    add("--platform", metavar="OS/ARCH", help="which of the image's platforms; default: this one")
    add("--emulate", action="store_true", help="run other platforms through QEMU, if it must be")
    add("--insecure", action="store_true", help="pull by plain http, or with any certificate")
    add("--hostname", metavar="NAME", default="sandbox")
    add("--profile", metavar="NAME", default="default", help=", ".join(profiles.names()))
    add("--timeout", metavar="SECONDS", type=float, help="kill everything after so long")
    add("--memory", metavar="SIZE", help="limit of memory and swap, such as 512M")
    add("--pids", metavar="N", type=int, help="limit of processes and threads at once")
    add("--cpus", metavar="N", type=float, help="limit of processor time, such as 1.5")
    add("--cpuset", metavar="LIST", help="processors to run on, such as 0-2,5")
    add("--cpuset-exclusive", action="store_true", help="and nobody else's: see the enforcement")
    add("--cpu-limit", metavar="SECONDS", type=float, help="processor time of all its processes")
    add(
        "--io",
        metavar="DISK:KEY=N[,...]",
        action="append",
        default=[],
        help="rates of a disk or of a path on it: rbps, wbps, riops, wiops",
    )
    add("--cgroup", metavar="DIR", action="append", default=[], help="make control groups there")
    add(
        "--accept-missing",
        metavar="CONTROL",
        action="append",
        default=[],
        help="go on where the host cannot enforce this, such as memory",
    )
    add("--disk", metavar="SIZE", default="64M", help="room for what is written; default: 64M")
    add("--inodes", metavar="N", type=int, default=16384, help="files written; default: 16384")
    add(
        "--commit",
        metavar="NAME",
        help="make an image of what it leaves behind, if its status is 0 or it had a terminal",
    )
    add("--audit", action="store_true", help="say which system calls the filter refused, and why")
    add("--json", action="store_true", help="print output, verdict, usage and controls as JSON")
    add("-i", "--interactive", action="store_true", help="hand standard input on; else it is empty")
    add("-t", "--tty", action="store_true", help="give the command a terminal of its own")
    add("args", metavar="IMAGE", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    run.set_defaults(call=_run)


def _options(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "rootfs": args.rootfs,
        "mounts": [*map(_tmpfs, args.tmpfs), *map(_bind, args.bind)],
        "network": args.network,
        "env": _environment(args.env),
        "cwd": args.cwd,
        "user": args.user,
        "hostname": args.hostname,
        "profile": args.profile,
        "disk": args.disk,
        "inodes": args.inodes,
        "cpu_limit": args.cpu_limit,
        "io": [*map(_io, args.io)],
        "cgroup": args.cgroup,
        "memory": args.memory,
        "pids": args.pids,
        "cpus": args.cpus,
        "cpuset": args.cpuset,
        "cpuset_exclusive": args.cpuset_exclusive,
        "accept_missing": args.accept_missing,
        "audit": args.audit,
        **({"platform": args.platform, "emulate": True} if args.emulate else {}),
    }


def _run(args: argparse.Namespace) -> int:
    check_positive(args.timeout, "--timeout")
    options = _options(args)
    image, command = _image(args)
    if args.commit is not None:
        _check_name(args.commit, image)
    if image is not None:
        command = list(image.config.arguments(command or None, entrypoint=_entrypoint(args)))
    if not args.json:
        return _run_attached(args, command, {"image": image, **options})
    if args.tty or (args.interactive and sys.stdin.isatty()):
        raise ConfigError("--json goes without a terminal: leave out -t; -i needs a file or pipe")
    with pycontain.Sandbox(image, wall_limit=args.timeout, **options) as sandbox:
        result = sandbox.run(command, stdin=0 if args.interactive else None, text=True)
        enforcement = dict(sandbox.enforcement)
        committed = None
        if args.commit is not None and result.returncode == 0:
            committed = sandbox.commit(args.commit)
    print_json({
        "args": command,
        "returncode": result.returncode,
        "reason": str(result.reason),
        "stdout": result.stdout,
        "stderr": result.stderr,
        "truncated": sorted(result.truncated),
        "usage": _usage(result.usage),
        "enforcement": {name: _control(row) for name, row in enforcement.items()},
        **({"audit": _audit(result.denials)} if args.audit else {}),
        **({"committed": committed.digest} if committed is not None else {}),
        **({"explanation": result.explanation} if result.explanation else {}),
    })  # fmt: skip
    return TIMED_OUT if result.reason == pycontain.Reason.WALL_LIMIT else _status(result.returncode)


def _control(control: Control) -> dict[str, Any]:
    return {name: value for name, value in control._asdict().items() if value != ""}


def _usage(usage: pycontain.Usage) -> dict[str, Any]:
    names = ("wall_s", "user_s", "system_s", "memory_peak", "pids_peak", "io_read", "io_write")
    return {**{name: getattr(usage, name) for name in names}, "sources": dict(usage.sources)}


def _audit(denials: pycontain.Denials | None) -> dict[str, Any] | None:
    if denials is None:
        return None
    rows = []
    for denial in denials:
        row = dataclasses.asdict(denial)
        row["args"] = [argument._asdict() for argument in denial.args]
        rows.append({**row, "call": denial.call, "outcome": denial.outcome})
    return {"total": denials.total, "denials": rows}


def _print_denials(denials: pycontain.Denials | None) -> None:
    """Say what was refused, to stderr."""
    if denials is None:
        complain("the audit is not in force, or its sandbox ended too early to tell")
        return
    complain(f"system calls refused: {denials.total}")
    width = max((len(denial.call) for denial in denials), default=0)
    for denial in denials:
        count, call = f"{denial.count:>7}", f"{denial.call:<{width}}"
        who = f"{denial.comm}[{denial.pid}]"
        print(f"{count}  {call}  {denial.outcome}  {who}  {denial.rule}", file=sys.stderr)
    if denials.untold:
        print(f"{denials.untold:>7}  of other kinds", file=sys.stderr)


def _image(args: argparse.Namespace) -> tuple[ImageRoot | None, list[str]]:
    """Return the image, if one is named, and what follows."""
    words = list(args.args)
    if args.rootfs is None and words:
        rest = [*words[1:], *([] if args.behind is None else ["--", *args.behind])]
        return ready(words[0], platform=args.platform, insecure=args.insecure), rest
    words += args.behind or []
    if not words:
        raise ConfigError("nothing to run: pycontain run IMAGE, or pycontain run -- PROGRAM")
    return None, words


def _check_name(name: str, image: ImageRoot | None) -> None:
    """See that there can be an image of that name, before anything is run for it."""
    from pycontain._image._reference import Reference  # noqa: PLC0415 - few need it

    if image is None:
        raise ConfigError("--commit: of which image? Name one: pycontain run --commit NAME IMAGE")
    if Reference.parse(name).digest is not None:
        raise ConfigError(f"--commit: {name!r}: the digest of a new image cannot be chosen")


def _entrypoint(args: argparse.Namespace) -> tuple[str, ...] | None:
    return None if args.entrypoint is None else tuple(filter(None, (args.entrypoint,)))


def _run_attached(args: argparse.Namespace, command: list[str], options: dict[str, Any]) -> int:
    from pycontain._terminal import (  # noqa: PLC0415 - termios, signal
        caught_signals,
        raw_terminal,
        window_size,
    )

    from ._relay import Relay  # noqa: PLC0415 - the same

    stream = None if args.tty else pycontain.PIPE
    with (
        pycontain.Sandbox(**options) as sandbox,
        caught_signals() as signals,
        sandbox.popen(
            command,
            stdin=stream if args.interactive else None,
            stdout=stream,
            stderr=stream,
            pty=args.tty,
            size=window_size(0),
            bufsize=0,
            env={"TERM": os.environ.get("TERM", "linux")} if args.tty else None,
        ) as process,
    ):
        relay = Relay(process, forward_input=args.interactive, pty=args.tty, signals=signals)
        with raw_terminal(0 if args.tty and args.interactive else -1):
            ended = relay.run(args.timeout)
            if not ended:
                process.kill_all()
            relay.drain()
        if args.audit:
            process.wait()
            _print_denials(process.denials)
        if not ended:
            complain(f"not done after {args.timeout:g} s: killed")
            return TIMED_OUT
        status = _status(process.wait())
        if args.commit is not None:
            if status == 0 or args.tty:
                sandbox.commit(args.commit)
            else:
                complain(f"not committed: the command ended with status {status}")
        if process.reason not in _OWN_ENDS:
            complain(f"ended by {process.reason}")
        if process.explanation is not None:
            complain(process.explanation)
        return status


def _status(returncode: int) -> int:
    return returncode if returncode >= 0 else SIGNALED - returncode
