# SPDX-License-Identifier: Apache-2.0
"""Runners that are imported: ours, Python alone, and the competitors from PyPI."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import threading
from typing import TYPE_CHECKING, Any

from benchmarks.pure_python import PurePython
from benchmarks.runners.base import ENVIRONMENT, Runner
from benchmarks.site import MEMORY, PIDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.site import Site


def why_not(module: str) -> str | None:
    """Return why a module cannot be imported, or None."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        return f"{module} cannot be imported: {error}"
    return None


class Pycontain(Runner):
    """This package."""

    name = "pycontain"
    asked = "pycontain.run(rootfs=ROOT, memory=..., pids=...): the default profile"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._package = importlib.import_module("pycontain")
        self._options: dict[str, Any] = {"rootfs": site.root, "memory": MEMORY, "pids": PIDS}

    def limited_to(self, limits: dict[str, int]) -> Runner:
        runner = Pycontain(self.site)
        none = {"memory": "max", "pids": "max"}  # else the profile's
        runner._options = {"rootfs": self.site.root, **none, **limits}
        return runner

    @classmethod
    def missing(cls) -> str | None:
        reason = why_not("pycontain")
        if reason:
            return reason
        package = importlib.import_module("pycontain")
        return None if hasattr(package, "run") else "pycontain has no run yet"

    @classmethod
    def version(cls) -> str:
        return str(importlib.import_module("pycontain").__version__)

    @staticmethod
    def _output(result: Any) -> bytes:
        if result.returncode:
            raise RuntimeError(f"{result.reason} {result.returncode}: {result.stderr!r}")
        output = result.stdout
        return output.encode() if isinstance(output, str) else bytes(output)

    def run(self, program: str) -> bytes:
        return self._output(self._package.run([f"/bin/{program}"], **self._options))

    @contextlib.contextmanager
    def living(self) -> Iterator[Callable[[str], bytes]]:
        with self._package.Sandbox(**self._options) as sandbox:
            yield lambda program: self._output(sandbox.run([f"/bin/{program}"]))

    def hold(self) -> contextlib.AbstractContextManager[object]:
        sandbox: contextlib.AbstractContextManager[object] = self._package.Sandbox(**self._options)
        return sandbox


class Ctypes(Runner):
    """Python with ctypes, see pure_python.py."""

    name = "ctypes_pure"
    asked = "os.fork and ctypes: the floor's own calls, no PID 1 of its own program"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._sandboxes = PurePython(site)

    def run(self, program: str) -> bytes:
        return self._sandboxes.run(f"/bin/{program}")

    @contextlib.contextmanager
    def living(self) -> Iterator[Callable[[str], bytes]]:
        with self._sandboxes.living() as run:
            yield lambda program: run(f"/bin/{program}")

    def hold(self) -> contextlib.AbstractContextManager[object]:
        return self._sandboxes.living()


class Sandlock(Runner):
    """Landlock and seccomp from PyPI."""

    name = "sandlock"
    asked = (
        "Sandbox(chroot=ROOT, fs_readable, fs_writable=/tmp, max_memory, max_processes, uid=1000): "
        "Landlock and a seccomp supervisor; has no mount, pid, net, ipc, uts or cgroup namespace"
    )

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._module = importlib.import_module("sandlock")
        self._local = threading.local()

    @classmethod
    def missing(cls) -> str | None:
        return why_not("sandlock")

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version("sandlock")

    def _sandbox(self) -> Any:
        return self._module.Sandbox(
            chroot=self.site.root,
            fs_readable=["/"],
            fs_writable=["/tmp"],
            fs_mount_ro={"/proc": "/proc"},
            max_memory=MEMORY,
            max_processes=PIDS,
            uid=1000,
            gid=1000,
            clean_env=True,
        )

    def run(self, program: str) -> bytes:
        sandbox = getattr(self._local, "sandbox", None)  # one policy serves one run at a time
        if sandbox is None:
            sandbox = self._local.sandbox = self._sandbox()
        result = sandbox.run([f"/bin/{program}"])
        if not result.success:
            raise RuntimeError(f"{result!r}")
        return bytes(result.stdout)

    @contextlib.contextmanager
    def hold(self) -> Iterator[object]:
        process = self._sandbox().popen(["/bin/hold"])
        try:
            yield process
        finally:
            process.kill()
            with contextlib.suppress(Exception):
                process.wait()


def benchexec_options() -> dict[str, Any]:
    """Return what both executors are asked for."""
    container = importlib.import_module("benchexec.container")
    # Loaded now: after its own chroot BenchExec would not find the library.
    importlib.import_module("benchexec.seccomp").is_available()
    return {
        "uid": 1000,
        "gid": 1000,
        "dir_modes": {"/": container.DIR_READ_ONLY, "/tmp": container.DIR_HIDDEN},
        "container_system_config": False,
    }


class BenchExec(Runner):
    """BenchExec's containers without its measurements."""

    name = "benchexec"
    asked = (
        "ContainerExecutor(read-only /, hidden /tmp, uid=1000).execute_run(rootDir=ROOT): "
        "its own small filter; maps one id, no cgroup namespace, no limits"
    )

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        module = importlib.import_module("benchexec.containerexecutor")
        self._executor = module.ContainerExecutor(**benchexec_options())
        self._lock = threading.Lock()
        self._read = 0

    @classmethod
    def missing(cls) -> str | None:
        return why_not("benchexec.containerexecutor")

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version("benchexec")

    def run(self, program: str) -> bytes:
        """Run it; its standard output is this process's, which the worker made a file."""
        result = self._executor.execute_run(
            [f"/bin/{program}"], rootDir=self.site.root, environ=ENVIRONMENT, workingDir="/"
        )
        if result.raw:
            raise RuntimeError(f"{result}")
        with self._lock:  # threads share the file, but each has written as much as it takes
            output = os.pread(1, 65536 if program == "probe" else 3, self._read)
            self._read += len(output)
        return output


class RunExec(Runner):
    """BenchExec as its users run it: measured and limited."""

    name = "runexec"
    asked = "RunExecutor.execute_run(memlimit): as benchexec, with a memory limit and measurements"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        module = importlib.import_module("benchexec.runexecutor")
        self._executor = module.RunExecutor(use_namespaces=True, **benchexec_options())
        self._log = f"{site.work}/runexec-{os.getpid()}"

    missing = BenchExec.missing
    version = BenchExec.version

    def run(self, program: str) -> bytes:
        result = self._executor.execute_run(
            [f"/bin/{program}"],
            self._log,
            memlimit=MEMORY,
            environments={"newEnv": ENVIRONMENT},
            workingDir="/",
            root_dir=self.site.root,
            write_header=False,
        )
        with open(self._log, "rb") as log:
            output = log.read()
        if "exitcode" not in result or result["exitcode"].raw:
            raise RuntimeError(f"{result} {output!r}")
        return output
