# SPDX-License-Identifier: Apache-2.0
"""The fuzz targets still build, take their seeds, and get further from there (`make fuzz`)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from _fuzz import build
from _fuzz.seeds import seeds_of

RUNS = 3000

pytestmark = pytest.mark.requires("analysis", "clang", "nm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def run(program: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds_of(program.name)):
        (corpus / str(number)).write_bytes(seed)
    options = (f"-runs={RUNS}", "-seed=1", "-max_len=8192", "-timeout=10")
    command = [str(program), *options, str(corpus)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("target", build.TARGETS)
def test_a_target_finds_nothing(target: str, folder: Path, tmp_path: Path) -> None:
    done = run(build.build(target, folder), tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"#{RUNS}\tDONE" in done.stderr


DEFECTS = {
    "no filter": ("init_command.c", "return !program.len ||", "return program.len ||"),
    "a descriptor stays open": ("init_file.c", "\tsys_close((int)found);\n", ""),
    "a descriptor goes in": ("init_command.c", "~0u, CLOSE_RANGE_CLOEXEC_", "0, 0"),
    "a count is believed": ("init.c", "count > (message->size - offset) / size", "count > 1024"),
    "a name is too long": ("init_path.c", "&& n < 255", "&& n < 256"),
}
DEFECTS_OF_AN_INDEX = {
    "attributes that are not aligned": ("\tfill(&inodes, sizeof xattr);\n", ""),
    "a chunk that is not aligned": ("\tfill(&inodes, sizeof chunk);\n", ""),
    "names that do not fit": ("size + more > BLOCK", "size + more > BLOCK + 20"),
    "an inode for each name": ("stat->stx_nlink < 2 ||", "true ||"),
    "an inode that has moved": (
        "\tinode = inode_at(visit->mark);\n\tinode->size = size;",
        "\tinode = inode_at(visit->above);\n\tinode->size = size;",
    ),
}


def check_defect(
    target: str, source: Path, text: str, instead: str, folder: Path, tmp_path: Path
) -> None:
    original = source.read_text()
    assert original.count(text) == 1
    changed = tmp_path / source.name
    changed.write_text(original.replace(text, instead))
    done = run(build.build(target, folder, changed), tmp_path)
    assert done.returncode
    assert re.search("kernel: |program: |ERROR: AddressSanitizer", done.stderr)


@pytest.mark.parametrize("source, text, instead", DEFECTS.values(), ids=DEFECTS)
def test_a_defect_would_be_found(
    source: str, text: str, instead: str, folder: Path, tmp_path: Path
) -> None:
    check_defect("requests", build.CORE / source, text, instead, folder, tmp_path)


@pytest.mark.parametrize("text, instead", DEFECTS_OF_AN_INDEX.values(), ids=DEFECTS_OF_AN_INDEX)
def test_a_defect_of_an_index_would_be_found(
    text: str, instead: str, folder: Path, tmp_path: Path
) -> None:
    check_defect("index", build.LAYER / "index.c", text, instead, folder, tmp_path)
