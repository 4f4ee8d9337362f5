"""Runs studies: asks experiments what is pending, has it computed, stores it, until nothing is pending."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

from core.lab.engines import Done, WorkerDied, compute, compute_by_name
from core.lab.errors import StoreError, VhatError
from core.lab.experiment import Experiment, Payload, Shard, Spec
from core.lab.fingerprint import code_digest
from core.lab.owner import pid_of
from core.lab.progress import Progress
from core.lab.registry import Registered
from core.lab.store import Claim, Store, address_of
from core.lab.study import Plan, Results

_POLL = 0.2
"""Seconds between two looks at what another process computes."""
_LOOK = 1.0
"""Seconds between two looks at how wide the engine is."""
_KEPT = 64 * 2**20
"""Bytes of arrays of a study that are kept between two looks at what is stored."""


class ShardFailed(VhatError):
    """A shard could not be computed. `trace` is the traceback of the worker, for developers."""

    def __init__(self, message: str, trace: str) -> None:
        super().__init__(message)
        self.trace = trace


@dataclass
class StoredView:
    """The store as one study sees it.

    Attributes:
        store: where results lie.
        study: the study's id.
        code: digest of the code that computes it.
        keep: bytes of arrays that stay in memory, those of the rows that were read last.
    """

    store: Store
    study: str
    code: str
    keep: int = _KEPT
    _kept: OrderedDict[str, Payload] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _read: set[str] = field(default_factory=set)

    def __call__(self, spec: Spec) -> Payload | None:
        address = address_of(self.study, spec, self.code)
        if address in self._kept:
            self._kept.move_to_end(address)
            return self._kept[address]
        payload = self.store.get(self.study, spec, self.code)
        if payload is None:
            return None
        self._read.add(address)
        self._kept[address] = payload
        self._bytes += _size(payload)
        while self._bytes > self.keep:
            self._bytes -= _size(self._kept.popitem(last=False)[1])
        return payload

    def drop(self) -> None:
        """Keep no arrays any more: what is asked for is read again."""
        self._kept.clear()
        self._bytes = 0

    def put(self, spec: Spec, done: Done) -> None:
        """Keep a shard's result."""
        assert done.payload is not None
        self.store.put(self.study, spec, self.code, done.payload, done.seconds)

    def claim(self, spec: Spec) -> Claim:
        """Say that this process computes a shard, if no other does."""
        return self.store.claim(self.study, spec, self.code)

    @property
    def addresses(self) -> frozenset[str]:
        """Addresses of all rows that were read."""
        return frozenset(self._read)


def _size(payload: Payload) -> int:
    return sum(array.nbytes for array in payload.values())


@dataclass(frozen=True)
class Job:
    """A study in its plan, ready to run.

    Attributes:
        study_id: for messages.
        experiments: of the plan.
        view: where results lie.
        send: how a shard is handed to an executor.
    """

    study_id: str
    plan: Plan
    experiments: tuple[Experiment, ...]
    view: StoredView
    send: Callable[[Executor, Experiment, Spec], Future[Done]]

    def results(self) -> Results:
        """All results, from the store alone.

        Raises:
            VhatError: if the study has not been run in this plan.
        """
        try:
            return Results(self.plan, {e.name: e.result(self.view) for e in self.experiments})
        finally:
            self.view.drop()

    def complete(self) -> bool:
        """Whether nothing is pending."""
        return all(not e.pending(self.view) for e in self.experiments)

    def forget(self) -> int:
        """Remove what is stored of this plan, and nothing of others; how many shards it was."""
        for experiment in self.experiments:
            # Looks for every shard of each stage that has been reached.
            experiment.pending(self.view)
        self.view.drop()
        return self.view.store.forget_rows(self.view.addresses)


def job_of(registered: Registered, plan: Plan, store: Store, *, device: str = "cpu") -> Job:
    """The job of a registered study: any process can find it by its module's name."""
    study, module = registered.study, registered.module
    # Results on another kind of device are close, not the same bits: they are kept apart.
    digest = code_digest(study, module)
    code = digest + ("" if device == "cpu" else f"@{device}")

    def send(executor: Executor, experiment: Experiment, spec: Spec) -> Future[Done]:
        return executor.submit(compute_by_name, module, plan, experiment.name, spec, device, digest)

    return Job(study.id, plan, study.experiments(plan), StoredView(store, study.id, code), send)


def local_job(
    study_id: str,
    plan: Plan,
    experiments: tuple[Experiment, ...],
    store: Store,
    *,
    device: str = "cpu",
    code: str = "local",
) -> Job:
    """The job of experiments that exist in this process only (a problem of one's own): needs `InProcess`.

    Nothing tells one such problem from another, so in a file that others use too `code` must be a word that
    nobody else takes.
    """

    def send(executor: Executor, experiment: Experiment, spec: Spec) -> Future[Done]:
        return executor.submit(compute, experiment, spec, device)

    return Job(study_id, plan, experiments, StoredView(store, study_id, code), send)


@dataclass
class _Stage:
    """One experiment on its way through its stages."""

    job: Job
    experiment: Experiment
    waiting: list[Shard] = field(default_factory=list)
    elsewhere: list[Shard] = field(default_factory=list)
    in_flight: int = 0
    complete: bool = False

    def look(self) -> float:
        """Find out what is needed next, when nothing is under way; the cost of what has become known."""
        # What another process computes is asked for again after all the rest: it may be stored by then, or
        # that process may have ended.
        self.waiting += self.elsewhere
        self.elsewhere = []
        if self.complete or self.waiting or self.in_flight:
            return 0.0
        self.waiting = self.experiment.pending(self.job.view)
        self.complete = not self.waiting
        if self.complete:
            self.job.view.drop()
        return sum(s.cost for s in self.waiting)


def run_jobs(
    jobs: Sequence[Job], executor: Executor, width: int | Callable[[], int], progress: Progress
) -> None:
    """Compute everything that is pending, `width` shards at a time, storing each as it is done.

    Where the width changes while the run goes on it is a function, asked now and then.

    All studies run side by side, so that one study's last shard does not keep the other workers waiting.
    Other processes may do the same on the same store: each shard is computed by one of them, and all of them
    come to the same end.

    Raises:
        ShardFailed: when a shard fails; what was stored before is kept.
        WorkerDied: when a worker process dies, or a cluster is lost; the same.
    """
    stages = [_Stage(job, e) for job in jobs for e in job.experiments]
    with released(jobs):
        _Run(stages, executor, width if callable(width) else lambda: width, progress).to_its_end()


@contextmanager
def released(jobs: Sequence[Job]) -> Iterator[None]:
    """At the end give up what this process has claimed of these jobs and not stored, whatever ended it."""
    try:
        yield
    finally:
        for store in {id(job.view.store): job.view.store for job in jobs}.values():
            # If even that fails, the end of this process says the same.
            with contextlib.suppress(StoreError):
                store.release()


@dataclass
class _Run:
    """Stages on an executor, until nothing is pending."""

    stages: list[_Stage]
    executor: Executor
    width: Callable[[], int]
    progress: Progress
    running: dict[Future[Done], tuple[_Stage, Shard]] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)

    def to_its_end(self) -> None:
        """Hand out, wait, keep, and ask again."""
        while True:
            for stage in self.stages:
                self.progress.expect(stage.look())
            width = self.width()
            while len(self.running) < width and (ready := _next(self.stages)) is not None:
                self._hand_out(ready)
            polling = any(s.elsewhere for s in self.stages)
            if self.running:
                patience = _POLL if polling else _LOOK
                done = wait(self.running, patience, return_when=FIRST_COMPLETED).done
                self._keep_all(done)
            elif polling:
                time.sleep(_POLL)
            elif all(s.complete for s in self.stages):
                return

    def _hand_out(self, stage: _Stage) -> None:
        shard = stage.waiting.pop(0)
        claim = stage.job.view.claim(shard.spec)
        if claim.state == "stored":
            self._advance(stage, shard)
        elif claim.state == "elsewhere":
            stage.elsewhere.append(shard)
            if claim.owner not in self.named:
                self.named.add(claim.owner)
                self.progress.note(
                    f"process {pid_of(claim.owner)} computes shards of the same studies: the work is shared, "
                    "and each waits for what the other has begun"
                )
        else:
            stage.in_flight += 1
            try:
                self.running[stage.job.send(self.executor, stage.experiment, shard.spec)] = stage, shard
            except BrokenExecutor as error:
                raise _dead_worker(stage.job) from error

    def _keep_all(self, done: set[Future[Done]]) -> None:
        failures: list[VhatError] = []
        for future in done:
            stage, shard = self.running.pop(future)
            stage.in_flight -= 1
            try:
                _keep(future, stage.job, shard)
            except StoreError:
                raise
            except VhatError as failure:
                # What was finished beside it is kept first.
                failures.append(failure)
                continue
            self._advance(stage, shard)
        if failures:
            raise failures[0]

    def _advance(self, stage: _Stage, shard: Shard) -> None:
        self.progress.advance(shard.cost, f"{stage.job.study_id}: {shard.label}")


def _next(stages: list[_Stage]) -> _Stage | None:
    """The stage with the most work in sight goes first: the longest chain decides when all is done."""
    ready = [s for s in stages if s.waiting]
    return max(ready, key=lambda s: sum(x.cost for x in s.waiting), default=None)


def _dead_worker(job: Job) -> WorkerDied:
    return WorkerDied(
        f"{job.study_id}: a worker process died, perhaps for want of memory; finished shards are kept: "
        "run the same command again, with --workers 1 if it happens twice"
    )


def _keep(future: Future[Done], job: Job, shard: Shard) -> None:
    try:
        done = future.result()
    except BrokenExecutor as error:
        raise _dead_worker(job) from error
    if done.payload is None:
        raise ShardFailed(f"{job.study_id} ({shard.label}): {done.error}", done.trace)
    job.view.put(shard.spec, done)
