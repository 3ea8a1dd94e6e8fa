# SPDX-License-Identifier: Apache-2.0
"""Runners whose root is an image: the site's root directory, in a store of their own."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING, ClassVar

from benchmarks.runners.base import Runner
from benchmarks.runners.commands import captured
from benchmarks.runners.libraries import Pycontain
from benchmarks.site import MEMORY, PIDS

if TYPE_CHECKING:
    from benchmarks.site import Site

NAME = "localhost/bench:1"


def root_archive(site: Site) -> bytes:
    """Return an archive of the site's root directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add(site.root, ".")
    return out.getvalue()


class PycontainImage(Pycontain):
    """This package, with an image that is in its store, in the form that it prefers."""

    name = "pycontain_image"
    asked = "pycontain.run(image=NAME, memory=..., pids=...): the image is in the store"
    form: ClassVar[str] = ""

    def __init__(self, site: Site) -> None:
        os.environ["PYCONTAIN_STORE"] = f"{site.work}/store-{os.getpid()}"
        os.environ["PYCONTAIN_LAYERS"] = self.form
        super().__init__(site)
        self._package.images.import_rootfs(io.BytesIO(root_archive(site)), NAME)
        self._options = {"image": NAME, "memory": MEMORY, "pids": PIDS, "user": 1000}


class PycontainDirectories(PycontainImage):
    """The same, unpacked."""

    name = "pycontain_image_directory"
    asked = "the same with PYCONTAIN_LAYERS=directory"
    form = "directory"


class Podman(Runner):
    """The daemonless competitor; the image is in a storage of its own."""

    name = "podman"
    program = "podman"
    asked = "podman run --rm --network none --read-only with limits, runc: no user namespace"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        storage = f"{site.work}/podman-{os.getpid()}"
        self._podman = ["podman", "--root", f"{storage}/root", "--runroot", f"{storage}/run"]
        command = [*self._podman, "import", "-q", "-", NAME]
        subprocess.run(command, input=root_archive(site), capture_output=True, check=True)

    def run(self, program: str) -> bytes:
        limits = (f"--memory={MEMORY}", f"--pids-limit={PIDS}")
        # Its defaults are above what root may set in a container of somebody else's.
        ulimits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
        options = ("--rm", "--network=none", "--read-only", *limits, *ulimits)
        start = (*self._podman, "--runtime=runc", "--cgroup-manager=cgroupfs", "run")
        return captured([*start, *options, NAME, f"/bin/{program}"])


IMAGE_RUNNERS: dict[str, type[Runner]] = {
    runner.name: runner for runner in (PycontainImage, PycontainDirectories, Podman)
}
