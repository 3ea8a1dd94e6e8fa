# SPDX-License-Identifier: Apache-2.0
"""`pycontain pull`, `push`, `images`, `inspect`, `load`, `save`, `import`, `rmi`, `prune`, `df`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from pycontain.errors import ConfigError

from . import _host
from ._common import print_json, printable
from ._progress import shown

if TYPE_CHECKING:
    from pycontain.images import Image, Swept

Call: TypeAlias = Callable[[argparse.Namespace], int]


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    pull = _command(commands, "pull", "fetch an image from its registry", _pull)
    pull.add_argument("image", metavar="IMAGE", help="such as python:3.12-slim")
    push = _command(commands, "push", "send an image to a registry", _push)
    push.add_argument("image", metavar="IMAGE", help="a name or an id")
    push.add_argument("to", metavar="TO", nargs="?", help="registry, repository and tag")
    load = _command(commands, "load", "take images from a layout or an archive", _load)
    load.add_argument("source", metavar="FROM", help="a path, oci:DIR, docker-archive:FILE or -")
    load.add_argument("--name", help="what to call the image")
    save = _command(commands, "save", "write images to a layout or an archive", _save)
    save.add_argument("images", metavar="IMAGE", nargs="+", help="names or ids")
    save.add_argument(
        "-o", "--output", metavar="TO", required=True, help="a path, oci:DIR, docker-archive:FILE"
    )
    rootfs = _command(commands, "import", "make an image of a root directory's tar", _import)
    rootfs.add_argument("source", metavar="FILE", help="perhaps compressed, or -")
    rootfs.add_argument("name", metavar="NAME", help="what to call the image")
    rootfs.add_argument("--cmd", metavar="WORD", nargs="+", help="what it runs", default=())
    listing = _command(commands, "images", "list the images", _list)
    listing.add_argument("-q", "--quiet", action="store_true", help="ids only")
    inspect = _command(commands, "inspect", "show an image's configuration as JSON", _inspect)
    inspect.add_argument("image", metavar="IMAGE", help="a name or an id")
    _host.add_options(inspect)
    remove = _command(commands, "rmi", "remove images", _remove)
    remove.add_argument("images", metavar="IMAGE", nargs="+", help="names or ids")
    prune = _command(commands, "prune", "remove what no image and no sandbox needs", _prune)
    prune.add_argument(
        "-a", "--all", action="store_true", help="and the images that no sandbox stands on"
    )
    _command(commands, "df", "show what the images cost", _df)
    for command in (pull, save, rootfs, inspect):
        command.add_argument("--platform", metavar="OS/ARCH", help="default: this machine's")
    for command in (pull, push):
        command.add_argument(
            "--insecure", action="store_true", help="plain http, or any certificate"
        )


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, call: Call
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=f"{text.capitalize()}.")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(call=call)
    return command


def _pull(args: argparse.Namespace) -> int:
    from pycontain import images  # noqa: PLC0415 - most commands have no image

    with shown() as shower:
        found = images.pull(
            args.image, platform=args.platform, insecure=args.insecure, progress=shower.tell
        )
    return _told(args, _row(found), found.id)


def _push(args: argparse.Namespace) -> int:
    from pycontain import images  # noqa: PLC0415 - see above

    with shown() as shower:
        digest = images.push(args.image, args.to, insecure=args.insecure, progress=shower.tell)
    return _told(args, {"digest": digest}, digest)


def _load(args: argparse.Namespace) -> int:
    from pycontain import images  # noqa: PLC0415 - see above

    source = sys.stdin.buffer if args.source == "-" else args.source
    found = images.load(source, name=args.name)
    if args.json:
        print_json([_row(image) for image in found])
    else:
        print(*(printable(image.name) for image in found), sep="\n")
    return 0


def _save(args: argparse.Namespace) -> int:
    from pycontain import images  # noqa: PLC0415 - see above

    if args.output == "-" and os.isatty(1):
        raise ConfigError("--output: an archive is nothing for a terminal")
    to = sys.stdout.buffer if args.output == "-" else args.output
    images.save(args.images, to, platform=args.platform)
    return 0


def _import(args: argparse.Namespace) -> int:
    from pycontain import images  # noqa: PLC0415 - see above

    source = sys.stdin.buffer if args.source == "-" else args.source
    found = images.import_rootfs(source, args.name, platform=args.platform, cmd=tuple(args.cmd))
    return _told(args, _row(found), found.id)


def _list(args: argparse.Namespace) -> int:
    from pycontain import images  # noqa: PLC0415 - see above

    found = images.list()
    if args.json:
        print_json([_row(image) for image in found])
    elif args.quiet:
        print(*(image.id for image in found), sep="\n")
    else:
        width = max((len(image.name) for image in found), default=4)
        print(f"{'NAME':{width}}  {'ID':12}  {'PLATFORM':14}  {'SIZE':>9}")
        for image in found:
            short = image.id.partition(":")[2][:12]
            name, platform = map(printable, (image.name, str(image.config.platform)))
            print(f"{name:{width}}  {short}  {platform:14}  {_size(image.size):>9}")
    return 0


def _inspect(args: argparse.Namespace) -> int:
    import json  # noqa: PLC0415 - see above

    from pycontain import images  # noqa: PLC0415 - see above

    found = images.inspect(args.image, platform=args.platform)
    if args.host:
        return _host.tell(args, found)
    print_json({**_row(found), "config": json.loads(found.config.raw)})
    return 0


def _remove(args: argparse.Namespace) -> int:
    from pycontain import images  # noqa: PLC0415 - see above

    swept = [images.remove(image) for image in args.images]
    return _swept(args, *swept)


def _prune(args: argparse.Namespace) -> int:
    from pycontain import images  # noqa: PLC0415 - see above

    return _swept(args, images.prune(unused=args.all))


def _swept(args: argparse.Namespace, *swept: Swept) -> int:
    names = [field.name for field in dataclasses.fields(swept[0])]
    total = {name: sum(getattr(each, name) for each in swept) for name in names}
    text = f"removed: {total['blobs']} blobs, {total['layers']} layers, {_size(total['size'])}"
    return _told(args, total, text)


def _df(args: argparse.Namespace) -> int:
    from pycontain import images  # noqa: PLC0415 - see above

    usage = dataclasses.asdict(images.df())
    lines = [
        f"{name:14} {_size(value) if name.endswith('size') else value:>9}"
        for name, value in usage.items()
    ]
    return _told(args, usage, *lines)


def _told(args: argparse.Namespace, value: dict[str, Any], *lines: str) -> int:
    if args.json:
        print_json(value)
    else:
        print(*map(printable, lines), sep="\n")
    return 0


def _row(image: Image) -> dict[str, Any]:
    return {
        "name": image.name,
        "id": image.id,
        "digest": image.digest,
        "platform": str(image.config.platform),
        "size": image.size,
    }


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
