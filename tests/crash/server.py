"""Imports once and forks children that run, report or cache, and kill themselves where they are asked to.

A request is a line of JSON, a list of tasks that run at once; the answer is the list of exit statuses.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import core.lab.report
from core.lab import commands, runner
from core.lab import store as store_module
from core.lab.engines import InProcess
from core.lab.progress import Quiet
from core.lab.store import Store, canonical
from finance.cache import Entry, PriceCache
from tests.lab import bowls

torch.set_num_threads(1)
assert core.lab.report.build_report
FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def counted(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The function, whose call number `count` is the end of the process."""
    calls = 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            die()
        return function(*args, **kwargs)

    return call


def arm(where: str, count: int, folder: Path) -> None:
    """Get ready to die at the `count`-th event of a kind."""
    if where == "statement":
        execute = counted(sqlite3.Connection.execute, count)

        class Deadly(sqlite3.Connection):
            def execute(self, *args: Any) -> Any:
                return execute(self, *args)

        store_module.sqlite3.connect = partial(sqlite3.connect, factory=Deadly)  # type: ignore[assignment]
    elif where == "opcode":
        # sqlite calls this every few of its own instructions, also within a commit.
        tick, open_ = counted(lambda: 0, count), Store._open

        def opened(self: Store) -> None:
            open_(self)
            self._db.set_progress_handler(tick, 20)

        Store._open = opened  # type: ignore[method-assign]
    elif where == "byte":
        # The write that would take any file beyond this size is cut there, and the next one is fatal.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (count, count))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    elif where == "field":
        bowls.Bowl.field = counted(bowls.Bowl.field, count)  # type: ignore[method-assign]
    elif where == "fsync":
        os.fsync = counted(os.fsync, count)
    elif where in ("system", "torn"):
        # SQLite's own calls, which are made in C: see `deadly.c`.
        ctypes.CDLL(None).deadly_arm(ctypes.c_long(count), int(where == "torn"))
    elif where == "file":
        tick = counted(lambda: None, count)

        def hook(event: str, args: tuple[Any, ...]) -> None:
            if event in FILE_EVENTS and str(folder) in str(args[0]) and (event != "open" or args[1] != "r"):
                tick()

        sys.addaudithook(hook)


def run(folder: Path, log: Path, slow: float) -> None:
    """The study, with a line in `log` for each shard that is begun."""
    compute = runner.compute_by_name

    def logged(*args: Any) -> Any:
        with log.open("a") as file:
            file.write(f"{os.getpid()} {canonical(args[3])}\n")
        time.sleep(slow)
        return compute(*args)

    runner.compute_by_name = logged  # type: ignore[assignment]
    store = Store(folder / commands.RESULTS)
    jobs = [runner.job_of(bowls.REGISTERED, bowls.STUDY.plan("tiny"), store)]
    runner.run_jobs(jobs, InProcess(), 1, Quiet())
    store.close()


def report(folder: Path) -> None:
    """The report of what is stored there."""
    commands.studies = lambda: {"tiny-bowl": bowls.REGISTERED}
    commands.write_report("tiny", None, "cpu", folder)


def cache(folder: Path) -> None:
    """Three price series, each written twice."""
    days = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]")
    for number, name in enumerate(["AAA", "BBB", "CCC"] * 2):
        entry = Entry(name, "2020-01-01", "2020-03-01", "none")
        series = (days, 1.0 + np.arange(len(days)) * (number % 3 + 1))
        PriceCache(folder / "prices").store(entry, series, "2020-03-01")


def child(task: dict[str, Any]) -> None:
    """One task, from its beginning to its end or its death."""
    folder = Path(task["folder"])
    arm(task.get("where", ""), task.get("count", 0), folder)
    if task["do"] == "run":
        run(folder, Path(task["log"]), task.get("slow", 0.0))
    elif task["do"] == "report":
        report(folder)
    else:
        cache(folder)


def start(task: dict[str, Any]) -> int:
    """Fork a child; its process id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            sys.stdout = sys.stderr
            child(task)
            code = 0
        except BaseException as error:
            sys.stderr.write(f"{task}: {error!r}\n")
        finally:
            os._exit(code)
    return pid


def warm_up() -> None:
    """What a first run pays for once, such as digests of the code, so that not every child does."""
    store = Store(Path(":memory:"))
    runner.run_jobs(
        [runner.job_of(bowls.REGISTERED, bowls.STUDY.plan("tiny"), store)], InProcess(), 1, Quiet()
    )
    store.close()


def main() -> None:
    """Answer requests until there are no more."""
    warm_up()
    for line in sys.stdin:
        tasks = json.loads(line)
        begun = time.monotonic()
        children = [start(task) for task in tasks]
        for task, pid in sorted(zip(tasks, children, strict=True), key=lambda x: x[0].get("after", 0.0)):
            if "after" in task:
                time.sleep(max(0.0, begun + task["after"] - time.monotonic()))
                os.kill(pid, signal.SIGKILL)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        sys.stdout.write(json.dumps(codes) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
