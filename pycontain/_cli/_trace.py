# SPDX-License-Identifier: Apache-2.0
"""`pycontain trace`: the system calls of a command, and which kernels have them."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

from pycontain.errors import ConfigError

from ._common import print_json, printable

if TYPE_CHECKING:
    from pycontain.contract import Call, Trace

_EPILOG: Final = """\
The command's output goes where it belongs, the table to standard error. The oldest kernel is the
first that has all calls which were made and not refused; programs often do without some: try it
with --kernel, which refuses what newer ones have."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's options."""
    trace = commands.add_parser(
        "trace",
        help="show the system calls of a command, and which kernels have them",
        usage="%(prog)s [options] IMAGE [PROGRAM [ARGUMENT...]]\n"
        "       %(prog)s [options] [--rootfs DIR] -- PROGRAM [ARGUMENT...]",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = trace.add_argument
    add("--rootfs", metavar="DIR", help="root directory; else the host's user land")
    add("--profile", metavar="NAME", default="default", help="whose filter decides")
    add("--kernel", metavar="RELEASE", help="as if on this kernel, such as 4.19")
    add("--timeout", metavar="SECONDS", type=float, help="kill everything after so long")
    add("--json", action="store_true", help="for programs")
    add("args", metavar="IMAGE", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    trace.set_defaults(call=_trace)


def _trace(args: argparse.Namespace) -> int:
    from pycontain import contract  # noqa: PLC0415 - few commands need it

    image, command = _image(args)
    done = contract.trace(
        command,
        image,
        rootfs=args.rootfs,
        profile=args.profile,
        kernel=args.kernel,
        timeout=args.timeout,
    )
    if args.json:
        print_json(_row(command, done))
    else:
        sys.stdout.write(done.result.stdout)
        sys.stdout.flush()
        sys.stderr.write(done.result.stderr)
        print(*map(printable, _lines(done)), sep="\n", file=sys.stderr)
    status = done.result.returncode
    return status if status >= 0 else 128 - status


def _image(args: argparse.Namespace) -> tuple[Any, list[str]]:
    from ._progress import ready  # noqa: PLC0415 - not every trace has an image

    words, behind = list(args.args), args.behind or []
    if args.rootfs is not None or not words:
        if not words + behind:
            raise ConfigError("nothing to run: pycontain trace IMAGE, or -- PROGRAM")
        return None, words + behind
    root = ready(words[0], platform=None, insecure=False)
    return root, list(root.config.arguments([*words[1:], *behind] or None))


def version(since: tuple[int, int]) -> str:
    """Return a kernel's version as text."""
    return ".".join(map(str, since))


def _lines(done: Trace) -> list[str]:
    width = max((len(str(call)) for call in done.calls), default=4)
    lines = [f"{'LINUX':>6}  {'CALL':{width}}  {'COUNT':>7}  {'REFUSED':>7}"]
    lines += [
        f"{version(call.since):>6}  {call!s:{width}}  {call.count:>7}  {call.denied or '-':>7}"
        f"{'' if call.here else '  not in this kernel'}"
        for call in done.calls
    ]
    lines += [f"refused  {denial}" for denial in done.denials]
    return [*lines, _conclusion(done)]


def _conclusion(done: Trace) -> str:
    names = ", ".join(map(str, done.because))
    if not names:
        return "oldest kernel: any"
    return f"oldest kernel: {version(done.oldest)} (because of {names})"


def _row(command: list[str], done: Trace) -> dict[str, Any]:
    return {
        "args": command,
        "returncode": done.result.returncode,
        "reason": str(done.result.reason),
        "stdout": done.result.stdout,
        "stderr": done.result.stderr,
        "kernel": None if done.kernel is None else version(done.kernel),
        "oldest": version(done.oldest),
        "because": [str(call) for call in done.because],
        "calls": [_call(call) for call in done.calls],
        "refused": [str(denial) for denial in done.denials],
    }


def _call(call: Call) -> dict[str, Any]:
    return {
        "name": call.name,
        "number": call.number,
        "machine": call.machine,
        "count": call.count,
        "since": version(call.since),
        "denied": call.denied,
        "here": call.here,
    }
