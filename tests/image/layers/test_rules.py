# SPDX-License-Identifier: Apache-2.0
"""How layers are applied: the rules of the image specification and of those who came before, by
number. (Rule 1, digests and their order, is not the program's.)"""

from __future__ import annotations

import base64
import itertools
import os
import stat
from typing import TYPE_CHECKING

import pytest

from _archives import (
    BLOCK,
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    END,
    FIFO,
    FILE,
    GNU,
    HARDLINK,
    SYMLINK,
    V7,
    archive,
    directory,
    entry,
    extended,
    hardlink,
    header,
    octal,
    old_sparse,
    pax_sparse,
    records,
    symlink,
)
from _stack import Stack
from pycontain.errors import LayerError, UnsafeLayerError

if TYPE_CHECKING:
    from pathlib import Path

OPAQUE = "user.overlay.opaque"


def is_whiteout(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def is_opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, OPAQUE) == b"y"
    except OSError:
        return False


def same_owner(path: Path, like: Path) -> bool:
    return (path.lstat().st_uid, path.lstat().st_gid) == (like.lstat().st_uid, like.lstat().st_gid)


class TestRule2Replacement:
    """A directory keeps its children and takes the new attributes; all else makes room."""

    def test_directory_over_directory(self, stack: Stack) -> None:
        stack(
            archive(
                entry("d", DIRECTORY, mode=0o700, pax={"SCHILY.xattr.user.old": "1"}),
                entry("d/f"),
                entry("d", DIRECTORY, mode=0o751, mtime=7, pax={"SCHILY.xattr.user.new": "2"}),
            )
        )
        assert (stack.top / "d/f").is_file()
        node = stack.nodes()["d"]
        assert (node.mode, node.mtime_ns) == (0o751, 7 * 10**9)
        assert node.xattrs == (("user.new", b"2"),)

    @pytest.mark.parametrize(
        "new", [entry("x", FILE, b"new"), symlink("x", "t"), hardlink("x", "t")]
    )
    @pytest.mark.parametrize(
        "old",
        [
            entry("x", FILE, b"old"),
            symlink("x", "elsewhere"),
            directory("x") + entry("x/y/z"),
            entry("x", FIFO),
        ],
    )
    def test_other_combinations(self, stack: Stack, old: bytes, new: bytes) -> None:
        stack(archive(entry("t", FILE, b"target"), old, new))
        expected = {"t", "x"}
        assert set(stack.nodes()) == expected

    def test_directory_over_file(self, stack: Stack) -> None:
        stack(archive(entry("x", FILE, b"old"), directory("x"), entry("x/y")))
        assert stack.kinds() == {"x": "directory", "x/y": "file"}

    def test_never_through_a_hard_link(self, stack: Stack) -> None:
        stack(archive(entry("a", FILE, b"first"), hardlink("b", "a"), entry("b", FILE, b"second")))
        assert (stack.top / "a").read_bytes() == b"first"
        assert (stack.top / "b").read_bytes() == b"second"

    def test_never_through_a_symbolic_link(self, stack: Stack) -> None:
        stack(archive(entry("a", FILE, b"first"), symlink("b", "a"), entry("b", FILE, b"second")))
        assert (stack.top / "a").read_bytes() == b"first"
        assert not (stack.top / "b").is_symlink()


class TestRule3Whiteouts:
    @pytest.mark.parametrize("kind", [FILE, SYMLINK, DIRECTORY, HARDLINK, FIFO, CHARACTER])
    def test_the_name_alone_counts(self, stack: Stack, kind: str) -> None:
        report = stack(archive(directory("d"), entry("d/.wh.gone", kind, link="x")))
        assert is_whiteout(stack.top / "d/gone")
        assert (report.whiteouts, set(stack.nodes())) == (1, {"d", "d/gone"})

    def test_a_payload_is_ignored(self, stack: Stack) -> None:
        stack(archive(entry(".wh.gone", FILE, b"payload"), entry("after")))
        assert is_whiteout(stack.top / "gone")
        assert (stack.top / "after").is_file()

    @pytest.mark.parametrize("name", [".wh.", "d/.wh.", ".wh..", ".wh...", ".wh.a/b"])
    def test_no_name(self, stack: Stack, name: str) -> None:
        with pytest.raises(UnsafeLayerError, match="invalid whiteout"):
            stack(archive(entry(name)))

    @pytest.mark.parametrize("name", [".wh..wh.plnk", ".wh..wh.plnk/x.1", ".wh..wh.aufs"])
    def test_metadata_of_aufs_is_skipped(self, stack: Stack, name: str) -> None:
        stack(archive(entry(name, FILE, b"data"), entry("after")))
        assert set(stack.nodes()) == {"after"}


class TestRule4LowerLayersOnly:
    @pytest.mark.parametrize("kind", [FILE, SYMLINK, FIFO])
    def test_an_entry_before_its_whiteout_stays(self, stack: Stack, kind: str) -> None:
        stack(archive(entry("x", kind, link="t"), entry(".wh.x")))
        assert stack.kinds() == {"x": {FILE: "file", SYMLINK: "symlink", FIFO: "fifo"}[kind]}

    def test_a_directory_before_its_whiteout_stays_and_hides_what_is_below(
        self, stack: Stack
    ) -> None:
        stack(archive(directory("x"), entry("x/y"), entry(".wh.x")))
        assert stack.kinds() == {"x": "directory", "x/y": "file"}
        assert is_opaque(stack.top / "x")

    @pytest.mark.parametrize("late", [False, True])
    def test_children_of_an_opaque_directory_stay(self, stack: Stack, late: bool) -> None:
        parts = [entry("d/.wh..wh..opq"), entry("d/a")]
        stack(archive(directory("d"), *(reversed(parts) if late else parts)))
        assert stack.kinds() == {"d": "directory", "d/a": "file"}
        assert is_opaque(stack.top / "d")


class TestRule5WhiteoutAndDirectory:
    def test_becomes_opaque(self, stack: Stack) -> None:
        stack(archive(entry(".wh.d"), directory("d"), entry("d/a")))
        assert stack.kinds() == {"d": "directory", "d/a": "file"}
        assert is_opaque(stack.top / "d")

    def test_without_an_entry_of_its_own(self, stack: Stack) -> None:
        stack(archive(directory("d", mode=0o700)))
        report = stack(archive(entry(".wh.d"), entry("d/a")))
        assert is_opaque(stack.top / "d")
        assert report.implicit == (b"/d",)
        assert stack.nodes()["d"].mode == 0o755  # not that of what is deleted

    @pytest.mark.parametrize("kind", [FILE, SYMLINK, FIFO])
    def test_a_file_takes_its_place(self, stack: Stack, kind: str) -> None:
        stack(archive(entry(".wh.x"), entry("x", kind, link="t")))
        assert stack.kinds()["x"] != "character"

    @pytest.mark.parametrize("marker", ["d/.wh..wh..opq", ".wh.d"])
    @pytest.mark.parametrize("late", [False, True])
    @pytest.mark.parametrize("gone", ["d/.wh.a", "d/e/.wh.a"])
    def test_whiteouts_in_it_are_dropped(
        self, stack: Stack, marker: str, late: bool, gone: str
    ) -> None:
        parts = [entry(marker), directory("d"), directory("d/e"), entry(gone)]
        stack(archive(*(parts[1:] + parts[:1] if late else parts)))
        assert stack.kinds() == {"d": "directory", "d/e": "directory"}

    def test_others_are_kept(self, stack: Stack) -> None:
        stack(archive(entry("d/.wh..wh..opq"), entry("e/.wh.a"), entry("e/f/.wh.a")))
        assert is_whiteout(stack.top / "e/a")
        assert is_whiteout(stack.top / "e/f/a")


class TestRule6NothingToDelete:
    def test_whiteout(self, stack: Stack) -> None:
        stack(archive(entry(".wh.never")))
        assert is_whiteout(stack.top / "never")

    def test_opaque_root(self, stack: Stack) -> None:
        report = stack(archive(entry(".wh..wh..opq"), entry("a")))
        assert is_opaque(stack.top)
        assert report.opaque == 1


class TestRule7ImplicitParents:
    def test_look_like_those_of_the_lower_layers(self, stack: Stack) -> None:
        stack(archive(directory("a", mode=0o700), directory("a/b", mode=0o1777, mtime=5)))
        stack(archive(entry("a", DIRECTORY, mode=0o750, mtime=9, pax={"SCHILY.xattr.user.k": "v"})))
        report = stack(archive(entry("a/b/c")))
        nodes = stack.nodes()
        assert (nodes["a"].mode, nodes["a"].mtime_ns) == (0o750, 9 * 10**9)
        assert nodes["a"].xattrs == (("user.k", b"v"),)
        assert (nodes["a/b"].mode, nodes["a/b"].mtime_ns) == (0o1777, 5 * 10**9)
        assert report.implicit == (b"/a", b"/a/b")
        assert not report.independent

    def test_are_plain_where_there_is_none(self, stack: Stack) -> None:
        report = stack(archive(entry("a/b/c", mtime=3)))
        nodes = stack.nodes()
        assert (nodes["a"].mode, nodes["a/b"].mode, nodes["a"].mtime_ns) == (
            0o755,
            0o755,
            3 * 10**9,
        )
        assert report.implicit == (b"/a", b"/a/b")

    @pytest.mark.parametrize(
        "between",
        [
            entry(".wh.a"),
            entry(".wh..wh..opq"),
            entry("a", FILE),
            symlink("a", "z"),
            entry(".wh.a") + directory("a") + entry("a/.wh.b"),
            directory("a") + entry("a/.wh..wh..opq"),
        ],
    )
    def test_deleted_ones_are_not_copied(self, stack: Stack, between: bytes) -> None:
        stack(archive(directory("a", mode=0o700), directory("a/b", mode=0o711)))
        stack(archive(between))
        stack(archive(entry("a/b/c")))
        assert stack.nodes()["a/b"].mode == 0o755

    def test_below_an_opaque_directory_nothing_is_copied(self, stack: Stack) -> None:
        stack(archive(directory("a", mode=0o700), directory("a/b", mode=0o711)))
        stack(archive(directory("a"), entry("a/.wh..wh..opq"), entry("a/b/c")))
        assert stack.nodes()["a/b"].mode == 0o755

    def test_none_means_independent(self, stack: Stack) -> None:
        assert stack(archive(directory("a"), entry("a/b"))).independent

    @pytest.mark.requires("root")
    def test_owners_are_copied(self, stack: Stack) -> None:
        stack(archive(directory("a", uid=7, gid=8)))
        stack(archive(entry("a/b", uid=9)))
        assert stack.nodes()["a"].owner == (7, 8)


class TestRule8ParentsThatAreNoDirectories:
    def test_a_link_is_resolved_in_the_root(self, stack: Stack) -> None:
        stack(archive(directory("real"), symlink("link", "/real"), entry("link/x")))
        assert (stack.top / "real/x").is_file()

    def test_a_dangling_link_gets_its_target(self, stack: Stack) -> None:
        report = stack(archive(symlink("link", "not/../there/yet"), entry("link/x")))
        assert (stack.top / "there/yet/x").is_file()
        assert report.implicit[-2:] == (b"/there", b"/there/yet")

    def test_a_chain_of_links(self, stack: Stack) -> None:
        stack(archive(symlink("a", "b"), symlink("b", "/c/d"), symlink("c", "e"), entry("a/x")))
        assert (stack.top / "e/d/x").is_file()

    def test_a_file_gives_way(self, stack: Stack) -> None:
        stack(archive(entry("a", FILE, b"data"), entry("a/b/c")))
        assert stack.kinds() == {"a": "directory", "a/b": "directory", "a/b/c": "file"}

    def test_a_circle_of_links(self, stack: Stack) -> None:
        with pytest.raises(LayerError, match=r"entry 3 'a/x'.*symbolic links"):
            stack(archive(symlink("a", "b"), symlink("b", "a"), entry("a/x")))

    def test_links_of_lower_layers_are_replaced_as_overlayfs_would(self, stack: Stack) -> None:
        stack(archive(directory("usr/bin"), symlink("bin", "usr/bin")))
        stack(archive(entry("bin/x")))
        assert stack.kinds() == {"bin": "directory", "bin/x": "file"}


class TestRule9Root:
    @pytest.mark.parametrize("name", [".", "./", "/", "a/.."])
    def test_attributes_only(self, stack: Stack, name: str) -> None:
        report = stack(archive(directory(name, mode=0o711, mtime=5), entry("a")))
        assert report.has_root
        assert stat.S_IMODE(stack.top.stat().st_mode) == 0o711
        assert stack.top.stat().st_mtime_ns == 5 * 10**9

    def test_without_an_entry(self, stack: Stack) -> None:
        report = stack(archive(entry("a")))
        assert not report.has_root
        assert stat.S_IMODE(stack.top.stat().st_mode) == 0o755

    @pytest.mark.parametrize(
        "name, kind",
        [
            *itertools.product((".", "./", "/", ".."), (SYMLINK, HARDLINK, FIFO, CHARACTER)),
            *itertools.product((".", "..", "a/.."), (FILE,)),
        ],
    )
    def test_no_other_type(self, stack: Stack, name: str, kind: str) -> None:
        with pytest.raises(UnsafeLayerError, match="refusing to change type of root"):
            stack(archive(entry(name, kind, link="/etc")))


class TestRule10HardLinks:
    def test_target_is_a_path_of_the_archive(self, stack: Stack) -> None:
        stack(archive(directory("d"), entry("d/a", FILE, b"x"), hardlink("b", "/d/a")))
        assert stack.nodes()["b"].links == ("b", "d/a")

    def test_to_a_symbolic_link(self, stack: Stack) -> None:
        stack(archive(symlink("a", "nowhere"), hardlink("b", "a")))
        assert stack.nodes()["b"].links == ("a", "b")
        assert (stack.top / "b").is_symlink()

    @pytest.mark.parametrize("make", [entry("a", FILE, b"data", mode=0o4755), symlink("a", "to")])
    def test_target_in_a_lower_layer_is_copied(self, stack: Stack, make: bytes) -> None:
        stack(archive(directory("d", mode=0o711), make))
        report = stack(archive(hardlink("b", "a")))
        assert stack.nodes()["b"].links == ("a", "b")
        lower, upper = stack.layers[0] / "a", stack.top / "a"
        assert upper.lstat().st_mode == lower.lstat().st_mode
        assert upper.lstat().st_mtime_ns == lower.lstat().st_mtime_ns
        assert upper.lstat().st_ino != lower.lstat().st_ino
        assert report.copied == (b"/a",)
        assert not report.independent

    def test_a_copy_has_contents_and_attributes(self, stack: Stack) -> None:
        big = os.urandom(200_000)
        stack(
            archive(
                directory("d", mode=0o711),
                entry("d/a", FILE, big, pax={"SCHILY.xattr.user.k": b"v\0"}),
            )
        )
        stack(archive(hardlink("b", "d/a")))
        assert (stack.top / "b").read_bytes() == big
        assert os.getxattr(stack.top / "d/a", "user.k") == b"v\0"
        assert stack.nodes()["d"].mode == 0o711

    @pytest.mark.parametrize(
        "between", [entry(".wh.a"), entry(".wh..wh..opq"), entry("a", DIRECTORY)]
    )
    def test_a_deleted_target_is_missing(self, stack: Stack, between: bytes) -> None:
        stack(archive(entry("a", FILE, b"data")))
        stack(archive(between))
        with pytest.raises(UnsafeLayerError, match="hardlink target"):
            stack(archive(hardlink("b", "a")))

    @pytest.mark.parametrize("gone", ["d/.wh.a", ".wh.d", "d/.wh..wh..opq", ".wh..wh..opq"])
    def test_a_target_that_this_layer_deletes_is_missing(self, stack: Stack, gone: str) -> None:
        stack(archive(directory("d"), entry("d/a", FILE, b"data")))
        with pytest.raises(UnsafeLayerError, match="hardlink target not found"):
            stack(archive(entry(gone), hardlink("b", "d/a")))

    def test_data_of_the_header_is_skipped(self, stack: Stack) -> None:
        stack(
            archive(
                entry("a", FILE, b"data"),
                entry("b", HARDLINK, b"payload" * 100, link="a"),
                entry("c", FILE, b"after"),
            )
        )
        assert (stack.top / "b").read_bytes() == b"data"
        assert (stack.top / "c").read_bytes() == b"after"

    def test_a_size_without_data(self, stack: Stack) -> None:
        stack(archive(entry("a"), entry("b", HARDLINK, link="a", size=4000), entry("c")))
        assert set(stack.nodes()) == {"a", "b", "c"}

    def test_twice(self, stack: Stack) -> None:
        stack(archive(entry("a"), hardlink("b", "a"), hardlink("b", "a")))
        assert stack.nodes()["b"].links == ("a", "b")


class TestRule11Order:
    def test_times_of_directories_are_last(self, stack: Stack) -> None:
        stack(
            archive(
                directory("d", mtime=5), entry("d/a"), directory("d/e", mtime=6), entry("d/e/b")
            )
        )
        nodes = stack.nodes()
        assert (nodes["d"].mtime_ns, nodes["d/e"].mtime_ns) == (5 * 10**9, 6 * 10**9)

    @pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6711, 0o1777, 0o000])
    @pytest.mark.parametrize("kind", [FILE, DIRECTORY, FIFO])
    def test_modes(self, stack: Stack, kind: str, mode: int) -> None:
        stack(archive(entry("x", kind, mode=mode)))
        assert stat.S_IMODE((stack.top / "x").stat().st_mode) == mode

    @pytest.mark.requires("root")
    def test_set_id_bits_and_capabilities_outlive_the_change_of_owner(self, stack: Stack) -> None:
        value = bytes.fromhex("0100000200040000000000000000000000000000")
        pax = {"SCHILY.xattr.security.capability": value}
        stack(archive(entry("x", FILE, b"#!", mode=0o6755, uid=5, gid=6, pax=pax)))
        node = stack.nodes()["x"]
        assert (node.mode, node.owner) == (0o6755, (5, 6))
        assert node.xattrs == (("security.capability", value),)

    def test_entries_below_a_directory_that_nobody_may_enter(self, stack: Stack) -> None:
        stack(archive(directory("d", mode=0), directory("d/e", mode=0), entry("d/e/f", mode=0)))
        assert stat.S_IMODE((stack.top / "d").stat().st_mode) == 0


class TestRule12ExtendedHeaders:
    def test_skips_the_header_of_a_long_name(self, stack: Stack) -> None:
        """`x` with a size, then `L`: the size is the file's, not the long name's."""
        long = b"n" * 150
        stack(
            archive(
                extended(records({"size": "600"})),
                extended(long + b"\0", "L", magic=GNU),
                header("short", size=0) + bytes([7]) * 600 + bytes(424),
                entry("after"),
            )
        )
        assert set(stack.nodes()) == {long.decode(), "after"}
        assert (stack.top / long.decode()).read_bytes() == bytes([7]) * 600

    def test_size_overrides_the_header(self, stack: Stack) -> None:
        smuggled = entry("smuggled", FILE, b"x")
        stack(
            archive(
                extended(records({"size": str(len(smuggled))})),
                header("outer", size=0) + smuggled,
                entry("after"),
            )
        )
        assert set(stack.nodes()) == {"outer", "after"}

    def test_global_header_is_ignored(self, stack: Stack) -> None:
        stack(archive(extended(records({"comment": "c", "path": "evil"}), "g"), entry("a")))
        assert set(stack.nodes()) == {"a"}

    def test_names(self, stack: Stack) -> None:
        name, link = "d/" + "n" * 200, "t" * 300
        stack(archive(entry("x", SYMLINK, pax={"path": name, "linkpath": link}), entry("y")))
        assert os.readlink(stack.top / name) == link

    def test_gnu_names(self, stack: Stack) -> None:
        name, link = b"d/" + b"n" * 200, b"t" * 300
        parts = extended(link + b"\0", "K", magic=GNU), extended(name + b"\0", "L", magic=GNU)
        stack(archive(*parts, symlink("x", "y"), entry("z")))
        assert os.readlink(os.fsencode(stack.top) + b"/" + name) == link
        assert (stack.top / "z").is_file()

    def test_prefix(self, stack: Stack) -> None:
        stack(archive(entry("n" * 100, prefix=b"p" * 155)))
        assert (stack.top / ("p" * 155) / ("n" * 100)).is_file()

    def test_gnu_headers_have_no_prefix(self, stack: Stack) -> None:
        stack(archive(entry("n", prefix=b"12345", magic=GNU)))
        assert set(stack.nodes()) == {"n"}

    @pytest.mark.parametrize("mtime", [-1, -86400 * 365 * 20, 0, 1 << 33])
    def test_times_in_base_256(self, stack: Stack, mtime: int) -> None:
        stack(archive(entry("x", mtime=octal(mtime, 12))))
        assert stack.nodes()["x"].mtime_ns == mtime * 10**9

    @pytest.mark.parametrize(
        "text, ns",
        [
            ("1.5", 1_500_000_000),
            ("-1.25", -1_250_000_000),
            ("7", 7 * 10**9),
            ("0.1234567899", 123456789),
        ],
    )
    def test_fractions(self, stack: Stack, text: str, ns: int) -> None:
        stack(archive(entry("x", pax={"mtime": text})))
        assert stack.nodes()["x"].mtime_ns == ns

    @pytest.mark.parametrize("name", [b"\xff\xfe", b"new\nline", b"\xc3\xa9", b"back\\slash", b" "])
    @pytest.mark.parametrize("pax", [False, True])
    def test_any_bytes(self, stack: Stack, name: bytes, pax: bool) -> None:
        part = entry("x", pax={"path": name, "hdrcharset": "BINARY"}) if pax else entry(name)
        stack(archive(part))
        assert os.listdir(os.fsencode(stack.top)) == [name]

    @pytest.mark.parametrize("kind", ["SCHILY", "LIBARCHIVE"])
    def test_extended_attributes(self, stack: Stack, kind: str) -> None:
        value = b"v\0\n=" + bytes(range(256))
        pax: dict[str, bytes | str] = {"SCHILY.xattr.user.a=b": value}
        name = "user.a=b"
        if kind == "LIBARCHIVE":
            name = "user.a b"
            pax = {"LIBARCHIVE.xattr.user.a%20b": base64.b64encode(value).rstrip(b"=")}
        elif kind == "SCHILY":
            name, pax = "user.a", {"SCHILY.xattr.user.a": value}
        stack(archive(entry("x", pax=pax)))
        assert stack.nodes()["x"].xattrs == ((name, value),)

    @pytest.mark.requires("root")
    def test_ids(self, stack: Stack) -> None:
        stack(archive(entry("x", uid=octal(60000, 8), gid=0, pax={"gid": "65535"})))
        assert stack.nodes()["x"].owner == (60000, 65535)


SPARSE = [(0, b"head"), (100_000, b"x" * 5000), (300_000, b"tail")]
MANY = [(at * 8192, bytes([at]) * 10) for at in range(60)]


class TestRule13Sparse:
    @pytest.mark.parametrize("parts", [SPARSE, MANY, []], ids=["few", "many", "none"])
    @pytest.mark.parametrize("version", ["old", "0.0", "0.1", "1.0"])
    def test_all_formats(self, stack: Stack, version: str, parts: list[tuple[int, bytes]]) -> None:
        size = 600_000
        part = (
            old_sparse("x", size, parts)
            if version == "old"
            else pax_sparse("x", size, parts, version)
        )
        report = stack(archive(part, entry("after")))
        expected = bytearray(size)
        for at, data in parts:
            expected[at : at + len(data)] = data
        assert (stack.top / "x").read_bytes() == expected
        assert (stack.top / "x").stat().st_blocks * 512 < size
        assert report.size == size
        assert (stack.top / "after").is_file()


class TestRule14Duplicates:
    KINDS = (entry("x", FILE, b"1"), directory("x"), symlink("x", "t"), entry("x", FIFO))

    @pytest.mark.parametrize("first", KINDS)
    @pytest.mark.parametrize("last", KINDS)
    def test_the_last_wins(self, stack: Stack, first: bytes, last: bytes) -> None:
        stack(archive(last, first, last))
        alone = stack.nodes()["x"]
        stack(archive(last))
        assert alone == stack.nodes()["x"]

    @pytest.mark.parametrize("first", KINDS)
    @pytest.mark.parametrize("last", KINDS)
    def test_strict(self, stack: Stack, first: bytes, last: bytes) -> None:
        with pytest.raises(LayerError, match=r"duplicate entry 'x' \(entry 2\)"):
            stack(archive(first, last), strict=True)

    def test_strict_takes_what_is_implied(self, stack: Stack) -> None:
        stack(archive(entry("d/a"), directory("d"), entry(".wh.x"), entry("x")), strict=True)


class TestRule15Types:
    @pytest.mark.parametrize("kind", ["\0", "7"])
    def test_regular(self, stack: Stack, kind: str) -> None:
        stack(archive(entry("x", kind, b"data")))
        assert (stack.top / "x").read_bytes() == b"data"

    @pytest.mark.parametrize("magic", [V7, GNU])
    def test_a_directory_by_its_name(self, stack: Stack, magic: bytes) -> None:
        stack(archive(entry("x/", "\0", magic=magic, mode=0o755), entry("x/y")))
        assert stack.kinds()["x"] == "directory"

    @pytest.mark.parametrize("name", ["x/", "x/."])
    def test_a_name_with_a_slash_makes_no_directory(self, stack: Stack, name: str) -> None:
        """Nor to Docker: only that of a header without a type does."""
        stack(archive(entry(name, FILE, b"data"), entry("y")))
        assert (stack.top / "x").read_bytes() == b"data"

    @pytest.mark.parametrize("kind", ["8", "V", "M", "D", "X", "Z", "\xff"])
    def test_unknown(self, stack: Stack, kind: str) -> None:
        with pytest.raises(LayerError, match=r"unknown type flag .* \(entry 1 'x'\)"):
            stack(archive(entry("x", kind)))


class TestRule16Xattrs:
    @pytest.mark.parametrize(
        "name",
        [
            "security.selinux",
            "security.ima",
            "system.nfs4_acl",
            "trusted.x",
            "trusted.overlay.redirect",
        ],
    )
    def test_ignored(self, stack: Stack, name: str) -> None:
        report = stack(
            archive(
                entry("x", pax={f"SCHILY.xattr.{name}": "v"}),
                entry("y", pax={f"SCHILY.xattr.{name}": "v"}),
            )
        )
        assert "v" not in [value.decode() for _, value in stack.nodes()["x"].xattrs]
        assert [(w.code, w.count, w.name) for w in report.warnings] == [("xattr-ignored", 2, b"x")]

    @pytest.mark.parametrize(
        "name", ["opaque", "redirect", "metacopy", "whiteout", "overlay.opaque"]
    )
    def test_those_of_overlayfs_are_escaped(self, stack: Stack, name: str) -> None:
        report = stack(
            archive(entry("d", DIRECTORY, pax={f"SCHILY.xattr.user.overlay.{name}": "y"}))
        )
        assert stack.nodes()["d"].xattrs == ((f"user.overlay.overlay.{name}", b"y"),)
        assert [w.code for w in report.warnings] == ["xattr-escaped"]

    @pytest.mark.parametrize("kind", [SYMLINK, FIFO])
    def test_not_for_links_and_fifos(self, stack: Stack, kind: str) -> None:
        stack(archive(entry("x", kind, link="t", pax={"SCHILY.xattr.user.k": "v"})))
        assert stack.nodes()["x"].xattrs == ()


class TestRule18Devices:
    @pytest.mark.parametrize("kind", [CHARACTER, BLOCK_DEVICE])
    def test_are_skipped_with_a_warning(self, stack: Stack, kind: str) -> None:
        report = stack(archive(entry("dev/x", kind, major=1, minor=3), entry("dev/y")))
        assert stack.kinds() == {"dev": "directory", "dev/y": "file"}
        assert [(w.code, w.entry, w.name) for w in report.warnings] == [("device", 1, b"dev/x")]

    def test_a_whiteout_by_another_name(self, stack: Stack) -> None:
        with pytest.raises(UnsafeLayerError, match="reserved overlay whiteout device"):
            stack(archive(entry("x", CHARACTER)))

    @pytest.mark.parametrize("number", [1 << 33, -1])
    def test_numbers_out_of_range(self, stack: Stack, number: int) -> None:
        with pytest.raises(UnsafeLayerError, match="device number out of range"):
            stack(archive(entry("x", CHARACTER, major=octal(number, 8))))


class TestRule20Owners:
    @pytest.mark.requires("single_id")
    @pytest.mark.parametrize("stack", [Stack], indirect=True)  # an index is for root, with all ids
    def test_one_id_takes_all(self, stack: Stack) -> None:
        report = stack(archive(entry("a", uid=5), entry("b", gid=70000), entry("c")))
        owners = {node.owner for node in stack.nodes().values()}
        assert owners == {(os.geteuid(), os.getegid())}
        assert [(w.code, w.count) for w in report.warnings] == [("squashed", 2)]

    @pytest.mark.requires("rootrange")
    def test_ids_that_do_not_exist(self, stack: Stack) -> None:
        with pytest.raises(LayerError, match=r"entry 1 'a'.*(subordinate|65535)"):
            stack(archive(entry("a", uid=65536)))


class TestRule21End:
    @pytest.mark.parametrize("rest", [b"", b"\0" * 9728, b"garbage" * 300_000])
    def test_reads_on(self, stack: Stack, rest: bytes) -> None:
        report = stack(archive(entry("a")) + rest)
        assert report.trailing == len(rest)

    @pytest.mark.parametrize("end", [b"", bytes(BLOCK), END])
    def test_blocks_at_the_end(self, stack: Stack, end: bytes) -> None:
        stack(entry("a", FILE, b"data") + end)
        assert (stack.top / "a").read_bytes() == b"data"

    def test_an_empty_stream(self, stack: Stack) -> None:
        assert stack(b"").entries == 0
