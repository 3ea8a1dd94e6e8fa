# SPDX-License-Identifier: Apache-2.0
"""The command `pycontain`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, Final

import pycontain

from . import profile as profiles
from .config import check_positive
from .enforcement import Control
from .errors import (
    ConfigError,
    ProgramNotExecutableError,
    ProgramNotFoundError,
    PycontainError,
)
from .profile import Profile

# As in docker run(1) and timeout(1).
TIMED_OUT: Final = 124
FAILED: Final = 125
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
SIGNALED: Final = 128
_EPILOG: Final = f"""\
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pycontain", description="Sandboxes on Linux, without a daemon.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"pycontain {pycontain.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    profile = commands.add_parser("profile", help="show the security profiles")
    actions = profile.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="their names")
    show = actions.add_parser("show", help="what one of them grants")
    known = ", ".join(profiles.names())
    show.add_argument("name", metavar="NAME", choices=profiles.names(), help=known)
    for entry in (listing, show):
        entry.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(call=_list_profiles)
    show.set_defaults(call=_show_profile)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser(
        "run",
        help="run one command in a sandbox of its own",
        usage="%(prog)s [options] [--] PROGRAM [ARGUMENT...]",
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
    add("--hostname", metavar="NAME", default="sandbox")
    add("--profile", metavar="NAME", default="default", help=", ".join(profiles.names()))
    add("--timeout", metavar="SECONDS", type=float, help="kill everything after so long")
    add("--memory", metavar="SIZE", help="limit of memory and swap, such as 512M")
    add("--pids", metavar="N", type=int, help="limit of processes and threads at once")
    add("--cpus", metavar="N", type=float, help="limit of processor time, such as 1.5")
    add(
        "--accept-missing",
        metavar="CONTROL",
        action="append",
        default=[],
        help="go on where the host cannot enforce this, such as memory",
    )
    add("--disk", metavar="SIZE", default="64M", help="room for what is written; default: 64M")
    add("--json", action="store_true", help="print output, verdict, usage and controls as JSON")
    add("-i", "--interactive", action="store_true", help="hand standard input on; else it is empty")
    add("-t", "--tty", action="store_true", help="give the command a terminal of its own")
    add("args", metavar="PROGRAM", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
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
        "memory": args.memory,
        "pids": args.pids,
        "cpus": args.cpus,
        "accept_missing": args.accept_missing,
    }


def _run(args: argparse.Namespace) -> int:
    check_positive(args.timeout, "--timeout")
    command = args.args[1:] if args.args[:1] == ["--"] else args.args
    if not command:
        raise ConfigError("no program given: pycontain run [options] -- PROGRAM [ARGUMENT...]")
    if not args.json:
        return _run_attached(args, command)
    if args.tty or (args.interactive and sys.stdin.isatty()):
        raise ConfigError("--json goes without a terminal: leave out -t; -i needs a file or pipe")
    with pycontain.Sandbox(wall_limit=args.timeout, **_options(args)) as sandbox:
        result = sandbox.run(command, stdin=0 if args.interactive else None, text=True)
        enforcement = dict(sandbox.enforcement)
    _print_json({
        "args": command,
        "returncode": result.returncode,
        "reason": str(result.reason),
        "stdout": result.stdout,
        "stderr": result.stderr,
        "truncated": sorted(result.truncated),
        "usage": _usage(result.usage),
        "enforcement": {name: _control(row) for name, row in enforcement.items()},
    })  # fmt: skip
    return TIMED_OUT if result.reason == pycontain.Reason.WALL_LIMIT else _status(result.returncode)


def _control(control: Control) -> dict[str, Any]:
    return {name: value for name, value in control._asdict().items() if value != ""}


def _usage(usage: pycontain.Usage) -> dict[str, Any]:
    names = ("wall_s", "user_s", "system_s", "memory_peak", "pids_peak", "io_read", "io_write")
    return {**{name: getattr(usage, name) for name in names}, "sources": dict(usage.sources)}


def _run_attached(args: argparse.Namespace, command: list[str]) -> int:
    from ._relay import Relay, caught_signals, raw_terminal, window_size  # noqa: PLC0415 - termios, signal

    stream = None if args.tty else pycontain.PIPE
    with (
        pycontain.Sandbox(**_options(args)) as sandbox,
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
        if not ended:
            _complain(f"not done after {args.timeout:g} s: killed")
            return TIMED_OUT
        return _status(process.wait())


def _status(returncode: int) -> int:
    return returncode if returncode >= 0 else SIGNALED - returncode


def _list_profiles(args: argparse.Namespace) -> int:
    names = profiles.names()
    if args.json:
        _print_json(list(names))
    else:
        print(*names, sep="\n")
    return 0


def _describe(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "user": profile.user,
        "umask": f"{profile.umask:03o}",
        "capabilities": list(profile.capabilities),
        "no_new_privileges": profile.no_new_privileges,
        "nested": profile.nested,
        "rlimits": {name: list(pair) for name, pair in profile.rlimits.items()},
        "masked_paths": list(profile.masked_paths),
        "readonly_paths": list(profile.readonly_paths),
        "seccomp": {
            "default": str(profile.seccomp.default),
            "rules": [
                {
                    "action": str(rule.action),
                    "calls": list(rule.names),
                    "when": [str(arg) for arg in rule.args],
                }
                for rule in profile.seccomp.rules
            ],
        },
    }


def _show_profile(args: argparse.Namespace) -> int:
    facts = _describe(profiles.get(args.name))
    if args.json:
        _print_json(facts)
        return 0
    seccomp = facts.pop("seccomp")
    for name, value in facts.items():
        print(f"{name:18} {_words(value)}")
    print(f"seccomp            the first rule that applies; else {seccomp['default']}")
    for rule in seccomp["rules"]:
        when = f" if {' and '.join(rule['when'])}" if rule["when"] else ""
        calls = rule["calls"]
        shown = " ".join(calls[:6]) + (f" and {len(calls) - 6} more" if len(calls) > 6 else "")
        print(f"  {rule['action']:16} {shown}{when}")
    return 0


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {soft}:{hard}" for name, (soft, hard) in value.items()) or "none"
    if isinstance(value, list):
        return " ".join(value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def _complain(text: str) -> None:
    print(f"pycontain: {text}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    args = _parser().parse_args(argv)
    try:
        status: int = args.call(args)
    except ProgramNotFoundError as error:
        _complain(f"{error.filename}: {error.strerror}")
        return NOT_FOUND
    except ProgramNotExecutableError as error:
        _complain(f"{error.filename}: {error.strerror}")
        return NOT_EXECUTABLE
    except PycontainError as error:
        _complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        return SIGNALED + signal.SIGINT
    return status
