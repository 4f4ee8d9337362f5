"""Runs whose shards come back in any order or not at all, and claims of processes that live and die."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.lab import runner
from core.lab import store as store_module
from core.lab.engines import InProcess, WorkerDied
from core.lab.progress import Quiet
from core.lab.runner import Job, local_job, run_jobs
from core.lab.store import Store
from tests.crash.same_bits import bits, differing
from tests.lab import bowls

PLAN = bowls.STUDY.plan("tiny")


class AnyOrder(Executor):
    """Computes what it was given when it likes, in any order; now and then it is lost with all it holds."""

    def __init__(self, rng: random.Random, lost: float) -> None:
        self.rng, self.lost = rng, lost
        self.held: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.computed = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.held.append((future, lambda: fn(*args, **kwargs)))
        return future

    def width(self) -> int:
        """How many shards it takes; asked before any is handed out, which is when it goes on."""
        for _ in range(self.rng.randrange(1, 4) if self.held else 0):
            if self.held:
                future, work = self.held.pop(self.rng.randrange(len(self.held)))
                if self.rng.random() < self.lost:
                    future.set_exception(BrokenExecutor("lost"))
                else:
                    self.computed += 1
                    future.set_result(work())
        return self.rng.randrange(1, 6)


def job(store: Store) -> Job:
    return local_job("tiny-bowl", PLAN, bowls.experiments(PLAN), store)


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    with contextlib.closing(Store(Path(":memory:"))) as store:
        return bits(job(store), InProcess(), 1)


def ends_the_same(whole: dict[str, bytes], seed: int, lost: float) -> int:
    """How often all was lost before the run came to its end, on one store throughout."""
    rng = random.Random(seed)
    deaths = computed = 0
    with contextlib.closing(Store(Path(":memory:"))) as store, mock.patch.object(runner, "_LOOK", 0.001):
        while True:
            executor = AnyOrder(rng, lost)
            try:
                run_jobs([job(store)], executor, executor.width, Quiet())
                break
            except WorkerDied:
                deaths += 1
            finally:
                computed += executor.computed
        shards = len(store.shards("tiny-bowl"))
        assert differing(whole, bits(job(store), InProcess(), 1)) == []
        # Whatever came back beside what was lost has been kept.
        assert computed == shards
    return deaths


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_any_order_of_shards_gives_the_same_result(whole: dict[str, bytes], seed: int) -> None:
    assert ends_the_same(whole, seed, lost=0.0) == 0


def test_lost_shards_are_computed_again(whole: dict[str, bytes]) -> None:
    assert sum(ends_the_same(whole, seed, lost=0.1) for seed in range(4)) > 2


@pytest.mark.soak
def test_any_order_and_any_loss(whole: dict[str, bytes]) -> None:
    assert sum(ends_the_same(whole, seed, lost=0.15) for seed in range(100, 160)) > 60


ACTORS = st.sampled_from(["a", "b", "c"])
SHARDS = st.integers(0, 3)


class Claims(RuleBasedStateMachine):
    """Three processes on one store: who holds a shard, who may compute it, what outlives a death."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="vhat-claims-"))
        self.lives = dict.fromkeys("abc", 0)
        self.held: dict[int, str] = {}
        self.stored: dict[int, int] = {}
        self.stores = {name: Store(self.folder / "s.sqlite") for name in "abc"}

    def owner(self, name: str) -> str:
        return f"{name}/{self.lives[name]}"

    def alive(self, owner: str) -> bool:
        return owner in {self.owner(name) for name in self.lives}

    @contextmanager
    def process(self, name: str) -> Iterator[Store]:
        """The store as that process sees it."""
        with (
            mock.patch.object(store_module, "this_process", return_value=self.owner(name)),
            mock.patch.object(store_module, "is_alive", self.alive),
        ):
            yield self.stores[name]

    @rule(name=ACTORS, shard=SHARDS)
    def claim(self, name: str, shard: int) -> None:
        with self.process(name) as store:
            state = store.claim("s", {"i": shard}, "c").state
        holder = self.held.get(shard)
        if shard in self.stored:
            assert state == "stored"
        elif holder is None or holder == self.owner(name) or not self.alive(holder):
            assert state == "ours"
            self.held[shard] = self.owner(name)
        else:
            assert state == "elsewhere"

    @rule(name=ACTORS)
    def put_all(self, name: str) -> None:
        """What it holds is done."""
        for shard in [s for s, holder in self.held.items() if holder == self.owner(name)]:
            with self.process(name) as store:
                store.put("s", {"i": shard}, "c", {"v": np.array(shard)}, 1.0)
            self.stored[shard] = shard
            del self.held[shard]

    @rule(name=ACTORS)
    def die(self, name: str) -> None:
        """By kill -9: nothing is given up."""
        self.lives[name] += 1

    @rule(name=ACTORS)
    def release(self, name: str) -> None:
        with self.process(name) as store:
            store.release()
        me = self.owner(name)
        self.held = {s: h for s, h in self.held.items() if h != me and self.alive(h)}

    @invariant()
    def what_is_stored_is_seen_by_all(self) -> None:
        for store in self.stores.values():
            for shard in range(4):
                found = store.get("s", {"i": shard}, "c")
                assert (found is not None) == (shard in self.stored)
                assert found is None or int(found["v"]) == shard

    def teardown(self) -> None:
        for store in self.stores.values():
            store.close()
        shutil.rmtree(self.folder)


TestClaims = Claims.TestCase
TestClaims.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)


@pytest.mark.soak
class TestClaimsAtLength(Claims.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
