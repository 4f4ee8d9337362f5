"""Studies run to their end in any engine and order, with the same bits; failures are one line and lose
nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.lab.engines import Done, InProcess, engine
from core.lab.errors import VhatError
from core.lab.experiment import Lookup, Payload, Shard, Spec
from core.lab.measurement import Measurement
from core.lab.progress import Quiet
from core.lab.runner import Job, ShardFailed, job_of, local_job, run_jobs
from core.lab.store import Store
from core.lab.study import Plan
from tests.lab import bowls
from tests.stored_rows import stored_rows

PLAN = bowls.STUDY.plan("tiny")


class Counting(InProcess):
    """In this process, counting what is computed."""

    def __init__(self) -> None:
        self.count = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.count += 1
        return super().submit(fn, *args, **kwargs)


def run_study(store: Store, executor: Executor, width: int) -> Job:
    job = job_of(bowls.REGISTERED, PLAN, store)
    run_jobs([job], executor, width, Quiet())
    assert job.complete()
    return job


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    store = Store(tmp_path_factory.mktemp("reference") / "s.sqlite")
    run_study(store, InProcess(), 1)
    found = stored_rows(store)
    store.close()
    return found


def test_two_worker_processes_give_the_same_bits(reference: dict[str, bytes], tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    with engine(2, "cpu") as (executor, width):
        assert isinstance(executor, ProcessPoolExecutor)
        assert width == 2
        run_study(store, executor, width)
    assert stored_rows(store) == reference
    store.close()


def test_another_order_of_shards_gives_the_same_bits(
    reference: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = Measurement.pending
    monkeypatch.setattr(Measurement, "pending", lambda self, stored: pending(self, stored)[::-1])
    store = Store(tmp_path / "s.sqlite")
    run_study(store, InProcess(), 7)
    assert stored_rows(store) == reference
    store.close()


def test_what_is_stored_is_not_computed_again_and_what_is_forgotten_is(
    reference: dict[str, bytes], tmp_path: Path
) -> None:
    store = Store(tmp_path / "s.sqlite")
    first, second, third, fourth = Counting(), Counting(), Counting(), Counting()
    run_study(store, first, 1)
    assert first.count == len(reference)
    run_study(store, second, 1)
    assert second.count == 0
    victim = store.shards(bowls.STUDY.id)[3]
    store._db.execute("DELETE FROM shards WHERE address = ?", (victim.address,))
    run_study(store, third, 1)
    assert third.count == 1
    store.forget(bowls.STUDY.id)
    run_study(store, fourth, 1)
    assert fourth.count == len(reference)
    assert stored_rows(store) == reference
    store.close()


def test_a_damaged_row_is_computed_again_to_the_same_bits(
    reference: dict[str, bytes], tmp_path: Path
) -> None:
    said: list[str] = []
    store = Store(tmp_path / "s.sqlite", notify=said.append)
    run_study(store, InProcess(), 1)
    store._db.execute("UPDATE shards SET payload = zeroblob(100) WHERE address = ?", (min(reference),))
    again = Counting()
    run_study(store, again, 1)
    assert again.count == 1
    assert said == ["tiny-bowl: a stored result was damaged and is computed again"]
    assert stored_rows(store) == reference
    store.close()


def test_results_are_kept_apart_by_device_and_code(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    run_study(store, InProcess(), 1)
    assert not job_of(bowls.REGISTERED, PLAN, store, device="cuda").complete()
    assert not job_of(bowls.REGISTERED, bowls.STUDY.plan("quick"), store).complete()
    assert job_of(bowls.REGISTERED, PLAN, store).complete()
    with pytest.raises(VhatError, match="run the study first"):
        job_of(bowls.REGISTERED, bowls.STUDY.plan("quick"), store).results()
    store.close()


@dataclass(frozen=True)
class Steps:
    """Four shards; one of them may go wrong in a way of its own."""

    wrong: str = ""
    at: int = 2
    name: str = "steps"

    def pending(self, stored: Lookup) -> list[Shard]:
        specs = [{"shard": i} for i in range(4)]
        return [Shard(s, f"shard {s['shard']}", 1.0) for s in specs if stored(s) is None]

    def run(self, spec: Spec, *, device: str) -> Payload:
        if spec["shard"] == self.at:
            if self.wrong == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.wrong == "vhat":
                raise VhatError("the data are missing; fetch them")
            if self.wrong == "raise":
                raise ZeroDivisionError("first line\nsecond line")
            if self.wrong == "silent":
                raise AssertionError
        return {"v": np.array([spec["shard"]])}

    def result(self, stored: Lookup) -> object:
        return None


def stored_steps(store: Store) -> list[int]:
    return sorted(s.spec["shard"] for s in store.shards("steps"))


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ("vhat", "steps (shard 2): the data are missing; fetch them"),
        ("raise", "steps (shard 2): ZeroDivisionError: first line second line"),
        ("silent", "steps (shard 2): AssertionError: no message"),
    ],
)
def test_a_failing_shard_is_one_line_and_keeps_the_rest(wrong: str, line: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    job = local_job("steps", PLAN, (Steps(wrong),), store)
    with pytest.raises(ShardFailed) as caught:
        run_jobs([job], InProcess(), 1, Quiet())
    assert str(caught.value) == line
    assert "Traceback" in caught.value.trace
    assert stored_steps(store) == [0, 1]
    run_jobs([local_job("steps", PLAN, (Steps(),), store)], InProcess(), 1, Quiet())
    assert stored_steps(store) == [0, 1, 2, 3]
    store.close()


def test_what_was_finished_beside_a_failing_shard_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    job = local_job("steps", PLAN, (Steps("raise", at=1),), store)
    with pytest.raises(ShardFailed):
        run_jobs([job], InProcess(), 4, Quiet())
    assert stored_steps(store) == [0, 2, 3]
    store.close()


def test_a_worker_that_dies_is_one_line_and_what_is_stored_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    job = local_job("steps", PLAN, (Steps("kill"),), store)
    with (
        pytest.raises(VhatError, match=r"a worker process died.*finished shards are kept") as caught,
        engine(2, "cpu") as (executor, _),
    ):
        run_jobs([job], executor, 1, Quiet())
    assert "\n" not in str(caught.value)
    assert stored_steps(store) == [0, 1]
    run_jobs([local_job("steps", PLAN, (Steps(),), store)], InProcess(), 1, Quiet())
    assert stored_steps(store) == [0, 1, 2, 3]
    store.close()


def test_a_pool_that_is_already_broken_is_the_same_line(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    job = local_job("steps", PLAN, (Steps(),), store)
    with engine(2, "cpu") as (executor, width):
        lost = executor.submit(os._exit, 1)
        assert isinstance(lost.exception(timeout=60), BrokenExecutor)
        with pytest.raises(VhatError, match="a worker process died"):
            run_jobs([job], executor, width, Quiet())
    store.close()


def test_a_complete_experiment_is_not_asked_again(tmp_path: Path) -> None:
    asked: list[str] = []

    class Asked(Steps):
        def pending(self, stored: Lookup) -> list[Shard]:
            asked.append(self.name)
            return super().pending(stored)

    store = Store(tmp_path / "s.sqlite")
    slow = Asked(name="slow")
    run_jobs([local_job("steps", PLAN, (Asked(name="quick"), slow), store)], InProcess(), 1, Quiet())
    assert asked.count("quick") <= 2
    assert asked.count("slow") <= 2
    store.close()


@pytest.mark.parametrize("workers", [0, -3])
def test_no_workers_are_refused(workers: int) -> None:
    with pytest.raises(VhatError, match="--workers needs at least 1"), engine(workers, "cpu"):
        pass


def test_one_worker_and_accelerators_stay_in_this_process() -> None:
    for workers, device in ((1, "cpu"), (8, "cuda"), (None, "cuda:1")):
        with engine(workers, device) as (executor, width):
            assert isinstance(executor, InProcess)
            assert width == 1


def test_progress_adds_up(tmp_path: Path) -> None:
    class Adding(Quiet):
        expected = done = 0.0

        def expect(self, cost: float) -> None:
            self.expected += cost

        def advance(self, cost: float, label: str) -> None:
            self.done += cost
            assert label.startswith("tiny-bowl: ")

    progress = Adding()
    store = Store(tmp_path / "s.sqlite")
    run_jobs([job_of(bowls.REGISTERED, PLAN, store)], InProcess(), 1, progress)
    assert progress.done == progress.expected > 0
    store.close()


def test_errors_are_values_that_cross_borders() -> None:
    done = Done(None, 0.1, "line", "trace")
    assert (done.payload, done.error, done.trace) == (None, "line", "trace")


def test_plans_take_another_number_of_seeds() -> None:
    plan = Plan("quick", 5, 2, 10)
    assert plan.with_seeds(None) is plan
    assert plan.with_seeds(3) == Plan("quick", 5, 2, 3)
    with pytest.raises(VhatError, match="at least 2"):
        plan.with_seeds(1)
