"""Whole commands with two workers: killed at random instants, and two at once on one study."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from core.lab.commands import RESULTS
from core.lab.engines import InProcess
from core.lab.progress import Quiet
from core.lab.registry import Registered
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from tests import tally
from tests.crash import slow_draws
from tests.crash.children import claims, command, rows
from tests.lab import bowls

SEEDS = 40
PATIENCE = 300.0


def run_here(folder: Path, registered: Registered, seeds: int | None = None) -> dict[str, bytes]:
    """The study's tiny plan to its end, in this process."""
    plan = registered.study.plan("tiny").with_seeds(seeds)
    with contextlib.closing(Store(folder / RESULTS)) as store:
        run_jobs([job_of(registered, plan, store)], InProcess(), 1, Quiet())
    return rows(folder, registered.study.id)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return run_here(tmp_path_factory.mktemp("whole"), bowls.REGISTERED, SEEDS)


def stored(folder: Path) -> int:
    """Rows that can be seen while a run goes on; looking makes no file."""
    there = f"{(folder / RESULTS).resolve().as_uri()}?mode=ro"
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(there, uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM shards").fetchone()[0])
    return 0


def end(process: subprocess.Popen[str]) -> None:
    """Kill what is left of a command and of its workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)


def killed_and_resumed(
    folder: Path, whole: dict[str, bytes], *, after: int, later: float, alone: bool
) -> bool:
    """Whether a command was killed on its way, `later` seconds after so many rows; `alone` spares workers."""
    process = command(
        "run", "tiny-bowl", "--tiny", "--seeds", str(SEEDS), "--workers", "2", "--out", str(folder)
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and (not folder.exists() or stored(folder) < after):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(later)
        on_its_way = process.poll() is None
        (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
        assert process.wait(PATIENCE) in (0, -signal.SIGKILL)
        kept = rows(folder) if (folder / RESULTS).exists() else {}
        assert kept.items() <= whole.items()
        # Workers that outlive their command hold nothing up and write nothing.
        assert run_here(folder, bowls.REGISTERED, SEEDS) == whole
        assert claims(folder) == 0
        assert [p.name for p in folder.iterdir()] == [RESULTS]
    finally:
        end(process)
    assert rows(folder) == whole
    tally.kept("killed commands with two workers", int(on_its_way))
    return on_its_way


def test_a_command_with_two_workers_is_killed(whole: dict[str, bytes], tmp_path: Path) -> None:
    assert killed_and_resumed(tmp_path / "out", whole, after=3, later=0.0, alone=True)


@pytest.mark.soak
def test_commands_with_two_workers_are_killed_at_random_instants(
    whole: dict[str, bytes], tmp_path: Path
) -> None:
    rng = random.Random(11)
    died = 0
    for number in range(16):
        folder, after = tmp_path / f"out-{number}", rng.choice((0, 1, 10, 25, 50))
        died += killed_and_resumed(
            folder, whole, after=after, later=rng.uniform(0.0, 0.15), alone=bool(number % 2)
        )
    assert died >= 10


def begun(marks: Path) -> list[int]:
    """The shards whose computation was begun, as often as it was."""
    return sorted(int(p.name.split("-")[1]) for p in marks.glob("begun-*"))


@pytest.mark.soak
def test_two_commands_at_once_share_one_study(tmp_path: Path) -> None:
    marks, folder = tmp_path / "marks", tmp_path / "out"
    marks.mkdir()
    words = ("run", "slow-draws", "--tiny", "--workers", "2", "--out", str(folder))
    processes = [command(*words, **{slow_draws.FOLDER: str(marks)}) for _ in range(2)]
    try:
        deadline = time.monotonic() + PATIENCE
        while len(begun(marks)) < 4:
            assert time.monotonic() < deadline
            assert all(p.poll() is None for p in processes)
            time.sleep(0.02)
        # Each has handed out two shards, to its two workers, and waits for them.
        assert len(set(begun(marks))) == 4
        (marks / "go").touch()
        done = [p.communicate(timeout=PATIENCE) for p in processes]
    finally:
        for process in processes:
            end(process)
    assert [p.returncode for p in processes] == [0, 0], done
    assert begun(marks) == list(range(len(slow_draws.CELLS)))
    assert rows(folder, "slow-draws") == run_here(tmp_path / "here", slow_draws.REGISTERED)
    assert claims(folder) == 0
    tally.kept("commands with two workers at once", 2)
