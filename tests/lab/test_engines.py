"""Engines: a width that changes, code that was edited meanwhile, and what is said of a cluster that does not
fit. Real clusters are tried in tests/crash/test_cluster.py."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest
from distributed import KilledWorker
from threadpoolctl import threadpool_info, threadpool_limits

from core.cli import main
from core.lab import cluster, commands, engines
from core.lab.cluster import DaskExecutor, Wanted, dask_engine, describe
from core.lab.engines import InProcess, WorkerDied, compute_by_name
from core.lab.errors import VhatError
from core.lab.owner import _born as born
from core.lab.progress import Quiet
from core.lab.runner import ShardFailed, job_of, run_jobs
from core.lab.store import Store
from tests.lab import bowls

ROOT = Path(__file__).resolve().parents[2]
PLAN = bowls.STUDY.plan("tiny")
WANTED = Wanted.of([bowls.REGISTERED], "cpu")
HERE = describe(WANTED)


def threads_of_linear_algebra() -> set[int]:
    """How many each library of the process may use."""
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_linear_algebra_has_one_thread_while_shards_are_computed() -> None:
    with threadpool_limits(2, user_api="blas"):
        with engines.one_thread():
            assert threads_of_linear_algebra() == {1}
        assert threads_of_linear_algebra() == {2}
        for start in ("spawn", "fork"):
            with engines.processes(1, start=start) as pool:
                assert pool.submit(threads_of_linear_algebra).result() == {1}


def test_only_processors_that_may_be_used_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.os, "sched_getaffinity", lambda pid: {5}, raising=False)
    monkeypatch.setattr(engines.os, "cpu_count", lambda: 64)
    assert engines.cores() == 1
    with engines.engine(None, "cpu") as (executor, width):
        assert (type(executor), width) == (InProcess, 1)
    monkeypatch.delattr(engines.os, "sched_getaffinity")
    assert engines.cores() == 64


PARENT = """
import os, time
from core.lab.engines import processes
if __name__ == "__main__":
    with processes(2) as pool:
        busy = [pool.submit(time.sleep, 1.0) for _ in range(2)]
        print(*pool._processes, flush=True)
        [b.result() for b in busy]
        print("idle", flush=True)
        pool.submit(time.sleep, 3600).result()
"""


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    assert parent.stdout.readline() == "idle\n"
    assert len(workers) == 2
    assert all(map(born, workers))
    parent.kill()
    parent.wait()
    # One of them waits for work, the other is busy for an hour.
    deadline = time.monotonic() + 60
    while any(map(born, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(born, workers))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "s.sqlite")
    yield opened
    opened.close()


def test_a_width_that_changes_is_followed(store: Store) -> None:
    class Later(InProcess):
        """Computes when as many were handed out as there should be under way."""

        def __init__(self) -> None:
            self.open: list[tuple[Future[Any], Callable[[], Any]]] = []
            self.together: list[int] = []

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            self.open.append((future, lambda: fn(*args, **kwargs)))
            if len(self.open) == width() or len(self.together) > 5:
                self.together.append(len(self.open))
                for waiting, call in self.open:
                    waiting.set_result(call())
                self.open.clear()
            return future

    executor = Later()

    def width() -> int:
        return 1 + len(executor.together) % 3

    job = job_of(bowls.REGISTERED, PLAN, store)
    run_jobs([job], executor, width, Quiet())
    assert job.complete()
    assert executor.together[:5] == [1, 2, 3, 1, 2]


def test_a_width_may_say_that_all_is_over(store: Store) -> None:
    def width() -> int:
        if len(store.shards("tiny-bowl")) >= 3:
            raise WorkerDied("gone; run the same command again")
        return 1

    with pytest.raises(WorkerDied, match="gone"):
        run_jobs([job_of(bowls.REGISTERED, PLAN, store)], InProcess(), width, Quiet())
    assert len(store.shards("tiny-bowl")) == 3


def test_a_shard_of_other_code_than_the_run_began_with_is_not_computed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(bowls.REGISTERED, PLAN, store)
    shard = job.experiments[0].pending(job.view)[0]
    done = compute_by_name(bowls.REGISTERED.module, PLAN, "sweep", shard.spec, "cpu", job.view.code)
    assert done.payload is not None
    monkeypatch.setattr("core.lab.engines.code_digest", lambda study, module: "of the edited file")
    with pytest.raises(ShardFailed, match=r"'tiny-bowl' is not what it was where this run began"):
        run_jobs([job], InProcess(), 1, Quiet())
    assert store.shards("tiny-bowl") == []


class Client:
    """What the executor asks of Dask's client, answered from a table."""

    def __init__(self, workers: Mapping[str, int], told: Mapping[str, object] | None = None) -> None:
        self.workers, self.told, self.status = dict(workers), dict(told or {}), "running"
        self.asked: list[str] = []
        self.outcome: Callable[[], object] = CancelledError

    def get_executor(self, *, pure: bool) -> Any:
        assert not pure
        client = self

        class Pool(InProcess):
            def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
                future: Future[Any] = Future()
                outcome = client.outcome()
                if isinstance(outcome, CancelledError):
                    future.cancel()
                    future.set_running_or_notify_cancel()
                elif isinstance(outcome, BaseException):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
                return future

        return Pool()

    def sync(
        self, call: Callable[..., object], *args: object, callback_timeout: float, **more: Any
    ) -> object:
        assert 0 < callback_timeout <= 60
        return call(*args, **more)

    def nthreads(self) -> dict[str, int]:
        return self.workers

    def run(self, function: object, wanted: object, *, workers: list[str], on_error: str) -> dict[str, Any]:
        self.asked += workers
        return {w: self.told.get(w, HERE) for w in workers}


def executor_on(client: Client, notes: list[str] | None = None) -> DaskExecutor:
    found: Any = client
    return DaskExecutor(found, "tcp://there:1", WANTED, (notes if notes is not None else []).append)


def looking(executor: DaskExecutor) -> int:
    executor._looked = -1e9
    return executor.width()


def test_workers_are_asked_once_when_they_come() -> None:
    client = Client({"a": 1, "b": 1})
    executor = executor_on(client)
    assert looking(executor) == 12
    client.workers["c"] = 1
    assert executor.width() == 12, "not yet looked again"
    assert looking(executor) == 14
    assert client.asked == ["a", "b", "c"]
    # One that comes back under its name may be another.
    del client.workers["a"]
    assert looking(executor) == 12
    client.workers["a"] = 1
    assert looking(executor) == 14
    assert client.asked == ["a", "b", "c", "a"]


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (HERE | {"Python": "3.99"}, r"^worker b differs in Python: 3.99 there, .* here; bring its"),
        (HERE | {"the package numpy": "1.0"}, r"^worker b differs in the package numpy: 1.0 there, \d"),
        ({k: v for k, v in HERE.items() if "torch" not in k}, r"^worker b differs in the package torch: N"),
        (HERE | {"the code of study 'tiny-bowl'": "0"}, r"^worker b differs in the code of study 'tiny-"),
        (Exception("ModuleNotFoundError(\"No module named 'core'\")"), r"^worker b cannot compute .*'core'"),
    ],
)
def test_a_worker_that_differs_is_named(told: object, line: str) -> None:
    with pytest.raises(VhatError, match=line):
        looking(executor_on(Client({"a": 1, "b": 1}, {"b": told})))


def test_a_worker_of_many_threads_is_refused() -> None:
    with pytest.raises(VhatError, match=r"worker b has 4 threads.*--nthreads 1"):
        looking(executor_on(Client({"a": 1, "b": 4})))


def test_a_worker_that_has_gone_while_it_was_asked_is_nothing_to_speak_of() -> None:
    notes: list[str] = []
    assert looking(executor_on(Client({"a": 1, "b": 1}, {"b": OSError("gone")}), notes)) == 12
    assert notes == []


def test_another_kind_of_processor_is_said() -> None:
    notes: list[str] = []
    looking(executor_on(Client({"a": 1, "b": 1}, {"b": HERE | {"processor": "abacus"}}), notes))
    (note,) = notes
    assert "b (abacus)" in note
    assert "not the same bits" in note


def test_a_cluster_without_workers_is_said_once_and_waited_for() -> None:
    notes: list[str] = []
    client = Client({})
    executor = executor_on(client, notes)
    assert [looking(executor) for _ in range(3)] == [8, 8, 8]
    client.workers["a"] = 1
    looking(executor)
    client.workers.clear()
    looking(executor)
    assert len(notes) == 2
    assert all(n.startswith("the cluster at tcp://there:1 has no workers: start some") for n in notes)


def test_what_a_lost_cluster_leaves_behind_is_one_line() -> None:
    client = Client({"a": 1})
    executor = executor_on(client)
    lost = "the scheduler at tcp://there:1 is gone: the connection to it was lost; finished shards are kept"
    for outcome, line in (
        (CancelledError(), lost),
        (OSError("reset"), lost),
        (KilledWorker("task", Any, 3), "4 workers died one after the other"),
        (RuntimeError("Error during\n deserialization"), "cannot take the work (RuntimeError: Error during "),
    ):
        client.outcome = lambda outcome=outcome: outcome  # type: ignore[misc]
        error = executor.submit(print).exception(timeout=5)
        assert isinstance(error, VhatError)
        assert line in str(error)
        assert "\n" not in str(error)
    client.outcome = lambda: 7
    assert executor.submit(print).result(timeout=5) == 7
    client.status = "connecting"
    with pytest.raises(WorkerDied, match=lost):
        executor.width()


@pytest.mark.parametrize("error", [asyncio.TimeoutError, OSError, asyncio.CancelledError, RuntimeError])
def test_a_scheduler_that_does_not_answer_is_gone(error: type[BaseException]) -> None:
    class Silent(Client):
        def nthreads(self) -> dict[str, int]:
            raise error

    with pytest.raises(WorkerDied, match=r"the scheduler at tcp://there:1 is gone"):
        looking(executor_on(Silent({})))


@pytest.mark.parametrize(
    "address",
    ["tcp://127.0.0.1:1", "nonsense://x", "", "127.0.0.1:port", "tls://127.0.0.1:1", "tcp://", "http://x"],
)
def test_a_scheduler_that_cannot_be_reached(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "_TO_CONNECT", 0.3)
    with (
        pytest.raises(VhatError, match=r"cannot reach a Dask scheduler at .*; give the address") as caught,
        dask_engine(address, [bowls.REGISTERED], "cpu", lambda _: None),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().err == ""


DASK = ["run", "tiny-bowl", "--tiny", "--engine", "dask"]


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (DASK, "--engine dask needs --scheduler ADDRESS"),
        ([*DASK, "--scheduler", "tcp://127.0.0.1:1", "--workers", "2"], "leave --workers out"),
        (["run", "--tiny", "--scheduler", "tcp://127.0.0.1:1"], "is for --engine dask"),
        (["run", "--engine", "dusk"], "unknown engine 'dusk'; did you mean 'dask'?"),
        ([*DASK, "--scheduler", "tcp://127.0.0.1:1"], "cannot reach a Dask scheduler"),
    ],
)
def test_the_command_line_says_what_is_missing(
    argv: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(commands, "find", lambda name: bowls.REGISTERED)
    monkeypatch.setattr(commands, "studies", lambda: {"tiny-bowl": bowls.REGISTERED})
    monkeypatch.setattr(cluster, "_TO_CONNECT", 0.3)
    assert main([*argv, "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert line in err
    assert len(err.splitlines()) == 1


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(VhatError, match=r"needs the extra 'cluster': pip install -e '\.\[cluster\]'"),
        dask_engine("tcp://127.0.0.1:1", [], "cpu", print),
    ):
        pass


def test_a_worker_finds_domains_that_its_installation_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(__file__).resolve().parents[2])
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in (root, "", ".")])
    assert cluster._describe_worker(WANTED) == HERE
    assert sys.path[-1] == root
