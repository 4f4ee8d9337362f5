"""A Dask cluster of this machine's processes, for tests that kill parts of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.crash.children import ROOT

_PATIENCE = 200.0
_LEFT_ALONE = "1 hour"
"""Should the tests be killed themselves, the scheduler ends after so long, and its workers with it."""


class Cluster:
    """A scheduler and workers on loopback, on free ports; all of them end with the `with` block."""

    def __init__(self, folder: Path, workers: int = 2, **environment: str) -> None:
        self.folder = folder
        self.environment = environment
        self.processes: list[subprocess.Popen[bytes]] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        self._wanted = workers
        self.address = ""

    def start_scheduler(self, port: int = 0) -> None:
        """A scheduler, whose address is known when this returns."""
        log = self.folder / f"scheduler-{len(self.processes)}.log"
        self.scheduler = self._start(
            "dask_scheduler",
            "--port",
            str(port),
            "--dashboard-address",
            "127.0.0.1:0",
            "--no-show",
            "--idle-timeout",
            _LEFT_ALONE,
            log=log,
        )
        deadline = time.monotonic() + _PATIENCE
        while "Scheduler at:" not in (text := log.read_text()):
            assert self.scheduler.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.05)
        self.address = text.split("Scheduler at:")[1].split()[0]

    def start_worker(self, *more: str, path: Path = ROOT, **environment: str) -> subprocess.Popen[bytes]:
        """A worker that imports from `path`; it joins when it has started."""
        worker = self._start(
            "dask_worker",
            self.address,
            *(more or ("--nthreads", "1", "--no-nanny")),
            "--no-dashboard",
            "--death-timeout",
            str(_PATIENCE),
            "--local-directory",
            str(self.folder),
            log=self.folder / f"worker-{len(self.processes)}.log",
            path=path,
            **environment,
        )
        self.workers.append(worker)
        return worker

    def _start(
        self, module: str, *arguments: str, log: Path, path: Path = ROOT, **environment: str
    ) -> subprocess.Popen[bytes]:
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *arguments, "--host", "127.0.0.1"],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(path), **self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def __enter__(self) -> Self:
        try:
            self.start_scheduler()
            for _ in range(self._wanted):
                self.start_worker()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        for process in self.processes:
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill -9 a process and all that it has started, and wait for its end."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=_PATIENCE)
