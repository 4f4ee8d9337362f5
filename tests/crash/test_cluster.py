"""The Dask engine: the same bits as in this process, and a right end whatever part of the cluster dies."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from distributed import Client

from core.lab import cluster as cluster_module
from core.lab.cluster import dask_engine
from core.lab.commands import RESULTS
from core.lab.engines import InProcess
from core.lab.errors import VhatError
from core.lab.progress import Quiet
from core.lab.registry import Registered
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from tests import tally
from tests.crash import slow_draws
from tests.crash.children import ROOT
from tests.crash.dask_cluster import Cluster, kill
from tests.crash.same_bits import SIZES, bits_on, cut, differing
from tests.lab import bowls
from tests.stored_rows import stored_rows

PATIENCE = 200.0
CHILD = """
import sys
from core.lab import commands
from core.cli import main
from tests import tally
from tests.crash import slow_draws
from tests.lab import bowls
commands.find = {"tiny-bowl": bowls.REGISTERED, "slow-draws": slow_draws.REGISTERED}.__getitem__
sys.exit(main(sys.argv[1:]))
"""


class Clocked(Quiet):
    """Progress that adds up what is expected and done."""

    def __init__(self) -> None:
        super().__init__()
        self.expected = self.done = 0.0

    def expect(self, cost: float) -> None:
        self.expected += cost

    def advance(self, cost: float, label: str) -> None:
        self.done += cost


def rows(path: Path, study: str) -> dict[str, bytes]:
    """Every stored row's bits by address; nobody has a claim any more."""
    with contextlib.closing(Store(path)) as store:
        assert store._db.execute("SELECT count(*) FROM claims").fetchone() == (0,)
        return stored_rows(store, study)


def kept(path: Path) -> int:
    """How many shards are stored, asked while a run goes on."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        try:
            return int(db.execute("SELECT count(*) FROM shards").fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # It has only just been made.


def run_there(address: str, registered: Registered, path: Path) -> Clocked:
    """The study's tiny plan on a cluster."""
    progress = Clocked()
    with contextlib.closing(Store(path)) as store:
        job = job_of(registered, registered.study.plan("tiny"), store)
        with dask_engine(address, [registered], "cpu", progress.note) as (executor, width):
            run_jobs([job], executor, width, progress)
    return progress


def run_here(registered: Registered, path: Path) -> dict[str, bytes]:
    """The same in this process."""
    with contextlib.closing(Store(path)) as store:
        run_jobs([job_of(registered, registered.study.plan("tiny"), store)], InProcess(), 1, Quiet())
    return rows(path, registered.study.id)


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, marks: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), 2, **{slow_draws.FOLDER: str(marks)}) as running:
        until(lambda: len(addresses(running)) == 2)
        yield running


@pytest.fixture(autouse=True)
def clean(marks: Path) -> None:
    for mark in marks.iterdir():
        mark.unlink()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return run_here(slow_draws.REGISTERED, tmp_path_factory.mktemp("reference") / "s.sqlite")


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begun(marks: Path) -> list[tuple[int, int]]:
    """Shard and process of each computation that was begun."""
    return [(int(n), int(pid)) for n, pid in (p.name.split("-")[1:] for p in marks.glob("begun-*"))]


def running(marks: Path) -> list[tuple[int, int]]:
    """Those of them whose process is alive."""
    return [(n, pid) for n, pid in begun(marks) if Path(f"/proc/{pid}").exists()]


@contextmanager
def meanwhile(action: Callable[[], None]) -> Iterator[None]:
    """Do something beside the block; what goes wrong there is raised at its end."""
    errors: list[BaseException] = []

    def act() -> None:
        try:
            action()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert errors == []


def test_two_workers_give_the_bits_of_this_process(cluster: Cluster, tmp_path: Path) -> None:
    progress = run_there(cluster.address, bowls.REGISTERED, tmp_path / "there.sqlite")
    found = rows(tmp_path / "there.sqlite", "tiny-bowl")
    assert len(found) > 10
    assert found == run_here(bowls.REGISTERED, tmp_path / "here.sqlite")
    assert progress.notes == []
    assert progress.done == progress.expected > 0


def test_shards_of_three_sizes(cluster: Cluster) -> None:
    plan, found = bowls.STUDY.plan("tiny"), {}
    with dask_engine(cluster.address, [bowls.REGISTERED], "cpu", lambda _: None) as dask:
        for kind, on in (("in process", (InProcess(), 1)), ("Dask", dask)):
            for size in SIZES:
                found[kind, size] = bits_on(bowls.REGISTERED, plan, partial(cut, size=size), *on)
    first = found.pop(("in process", SIZES[0]))
    assert {case: differing(first, other) for case, other in found.items()} == {case: [] for case in found}
    assert len(found) == 5


def test_a_worker_killed_in_the_middle_of_a_shard(
    cluster: Cluster, marks: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    def act() -> None:
        until(lambda: len({pid for _, pid in begun(marks)}) == 2)
        kill(cluster.workers.pop(0))
        (marks / "go").touch()
        cluster.start_worker()

    with meanwhile(act):
        run_there(cluster.address, slow_draws.REGISTERED, tmp_path / RESULTS)
    assert rows(tmp_path / RESULTS, "slow-draws") == reference
    shards = [number for number, _ in begun(marks)]
    assert len(shards) == len(set(shards)) + 1
    tally.kept("workers killed")


def test_ctrl_c_at_the_command_line_and_resume(
    cluster: Cluster, marks: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", CHILD, "run", "slow-draws", "--tiny", "--out", str(tmp_path)]
    command += ["--engine", "dask", "--scheduler", cluster.address]
    (marks / "go-0").touch()
    (marks / "go-1").touch()
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: len(begun(marks)) >= 4 and kept(tmp_path / RESULTS) == 2)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=PATIENCE)
    finally:
        child.kill()
    assert (child.returncode, out) == (130, "")
    assert err == "stopped; finished shards are kept: run the same command again to go on\n"
    before = rows(tmp_path / RESULTS, "slow-draws")
    assert len(before) == 2
    assert before.items() <= reference.items()
    seen = set(begun(marks))
    (marks / "go").touch()
    run_there(cluster.address, slow_draws.REGISTERED, tmp_path / RESULTS)
    assert rows(tmp_path / RESULTS, "slow-draws") == reference
    # What was stored was not begun again.
    assert {n for n, _ in set(begun(marks)) - seen} <= {2, 3, 4, 5}


def test_the_scheduler_is_killed(
    cluster: Cluster, marks: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    """The last test of this cluster."""
    (marks / "go-0").touch()
    (marks / "go-1").touch()

    def act() -> None:
        until(lambda: len(begun(marks)) >= 4 and kept(tmp_path / RESULTS) == 2)
        kill(cluster.scheduler)

    start = time.monotonic()
    with meanwhile(act), pytest.raises(VhatError) as caught:
        run_there(cluster.address, slow_draws.REGISTERED, tmp_path / RESULTS)
    assert str(caught.value) == (
        f"the scheduler at {cluster.address} is gone: the connection to it was lost; finished shards are "
        "kept: run the same command again when it is back, or without --engine dask to go on here"
    )
    assert time.monotonic() - start < PATIENCE
    before = rows(tmp_path / RESULTS, "slow-draws")
    assert len(before) == 2
    assert before.items() <= reference.items()
    assert run_here(slow_draws.REGISTERED, tmp_path / RESULTS) == reference
    tally.kept("schedulers killed or hung")


def addresses(cluster: Cluster) -> set[str]:
    """Of the workers that have joined."""
    with Client(cluster.address, timeout=PATIENCE, set_as_default=False) as client:
        return set(client.nthreads())


@pytest.fixture
def empty(tmp_path: Path, marks: Path) -> Iterator[Cluster]:
    """A scheduler alone."""
    (tmp_path / "cluster").mkdir()
    with Cluster(tmp_path / "cluster", 0, **{slow_draws.FOLDER: str(marks)}) as running:
        yield running


WITHOUT_VHAT = """
import pathlib, sys
# An editable installation puts its checkout on the path of every process.
sys.path[:] = [folder for folder in sys.path if not (pathlib.Path(folder) / "core" / "lab").is_dir()]
"""


@pytest.mark.soak
def test_workers_that_do_not_fit_are_named(empty: Cluster, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for folder in ("core", "tests/lab"):
        shutil.copytree(ROOT / folder, other / folder, ignore=shutil.ignore_patterns("__pycache__"))
    train = other / "core/lab/train.py"
    train.write_text(train.read_text().replace("before = params.clone()", "before = 1.0 * params.clone()"))
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "sitecustomize.py").write_text(WITHOUT_VHAT)
    for start, line in (
        (lambda: empty.start_worker(path=other), "differs in the code of study 'tiny-bowl'"),
        (lambda: empty.start_worker("--nthreads", "2", "--no-nanny"), "has 2 threads"),
        (lambda: empty.start_worker(path=tmp_path / "bare"), "No module named 'core'"),
    ):
        worker = start()
        until(lambda: len(addresses(empty)) == 1)
        (address,) = addresses(empty)
        with pytest.raises(VhatError) as caught:
            run_there(empty.address, bowls.REGISTERED, tmp_path / "s.sqlite")
        assert str(caught.value).startswith(f"worker {address} ")
        assert line in str(caught.value)
        kill(worker)
        until(lambda: not addresses(empty))
    assert rows(tmp_path / "s.sqlite", "tiny-bowl") == {}


@pytest.mark.soak
def test_workers_that_come_late_and_one_after_another(
    empty: Cluster, marks: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    """None at first; then each computes one shard and is killed in its next, under a nanny that brings
    another."""

    def act() -> None:
        time.sleep(3)
        nanny = empty.start_worker("--nthreads", "1", "--nanny")
        done: set[int] = set()
        victims: set[int] = set()
        while len(done) < len(slow_draws.CELLS):
            until(lambda: any(n not in done for n, _ in running(marks)))
            number, pid = next((n, pid) for n, pid in running(marks) if n not in done)
            if len(victims) < 2 and number not in victims and done:
                victims.add(number)
                os.kill(pid, signal.SIGKILL)
                until(lambda pid=pid: pid not in {p for _, p in running(marks)})  # type: ignore[misc]
            else:
                (marks / f"go-{number}").touch()
                done.add(number)
        assert nanny.poll() is None
        assert len(victims) == 2

    with meanwhile(act):
        progress = run_there(empty.address, slow_draws.REGISTERED, tmp_path / RESULTS)
    assert rows(tmp_path / RESULTS, "slow-draws") == reference
    # At first, and perhaps each time until the nanny has brought another.
    (note,) = set(progress.notes)
    assert "has no workers: start some" in note
    tally.kept("workers killed", 2)


@pytest.mark.soak
def test_a_shard_that_kills_all_its_workers_is_one_line(empty: Cluster, marks: Path, tmp_path: Path) -> None:
    def act() -> None:
        for count in range(1, 5):
            worker = empty.start_worker()
            until(lambda count=count: len(begun(marks)) == count)  # type: ignore[misc]
            kill(worker)

    with meanwhile(act), pytest.raises(VhatError, match=r"^4 workers died one after the other.*are kept"):
        run_there(empty.address, slow_draws.REGISTERED, tmp_path / RESULTS)
    tally.kept("workers killed", 4)


@pytest.mark.soak
def test_a_scheduler_that_hangs_is_left_and_a_new_one_goes_on(
    empty: Cluster, marks: Path, reference: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty.start_worker()
    (marks / "go-0").touch()

    def act() -> None:
        until(lambda: len({n for n, _ in begun(marks)}) == 2 and kept(tmp_path / RESULTS) == 1)
        monkeypatch.setattr(cluster_module, "_TO_ANSWER", 2.0)
        os.kill(empty.scheduler.pid, signal.SIGSTOP)

    with meanwhile(act), pytest.raises(VhatError, match=r"is gone: it has not answered for 2 s"):
        run_there(empty.address, slow_draws.REGISTERED, tmp_path / RESULTS)
    monkeypatch.setattr(cluster_module, "_TO_ANSWER", PATIENCE)
    assert len(rows(tmp_path / RESULTS, "slow-draws")) == 1
    kill(empty.scheduler)
    (marks / "go").touch()
    empty.start_scheduler()
    empty.start_worker()
    run_there(empty.address, slow_draws.REGISTERED, tmp_path / RESULTS)
    assert rows(tmp_path / RESULTS, "slow-draws") == reference
    tally.kept("schedulers killed or hung")


@pytest.mark.soak
def test_who_asked_is_killed_and_asks_again(
    empty: Cluster, marks: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    empty.start_worker()
    command = [sys.executable, "-c", CHILD, "run", "slow-draws", "--tiny", "--out", str(tmp_path)]
    command += ["--engine", "dask", "--scheduler", empty.address]
    (marks / "go-0").touch()
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until(lambda: len({n for n, _ in begun(marks)}) == 2)
    child.kill()
    child.wait()
    (marks / "go").touch()
    run_there(empty.address, slow_draws.REGISTERED, tmp_path / RESULTS)
    assert rows(tmp_path / RESULTS, "slow-draws") == reference
    tally.kept("askers killed")
