"""Runs studies: asks experiments what is pending, has it computed, stores it, until nothing is pending."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field

from core.lab.engines import Done, compute, compute_by_name
from core.lab.errors import VhatError
from core.lab.experiment import Experiment, Payload, Shard, Spec
from core.lab.fingerprint import code_digest
from core.lab.progress import Progress
from core.lab.registry import Registered
from core.lab.store import Store, address_of
from core.lab.study import Plan, Results


class ShardFailed(VhatError):
    """A shard could not be computed. `trace` is the traceback of the worker, for developers."""

    def __init__(self, message: str, trace: str) -> None:
        super().__init__(message)
        self.trace = trace


class WorkerDied(VhatError):
    """A worker process is gone."""


@dataclass
class StoredView:
    """The store as one study sees it, each row read once."""

    store: Store
    study: str
    code: str
    _read: dict[str, Payload] = field(default_factory=dict)

    def __call__(self, spec: Spec) -> Payload | None:
        address = address_of(self.study, spec, self.code)
        if address not in self._read:
            payload = self.store.get(self.study, spec, self.code)
            if payload is None:
                return None
            self._read[address] = payload
        return self._read[address]

    def put(self, spec: Spec, done: Done) -> None:
        """Keep a shard's result."""
        assert done.payload is not None
        self.store.put(self.study, spec, self.code, done.payload, done.seconds)

    @property
    def addresses(self) -> frozenset[str]:
        """Addresses of all rows that were read."""
        return frozenset(self._read)


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
        return Results(self.plan, {e.name: e.result(self.view) for e in self.experiments})

    def complete(self) -> bool:
        """Whether nothing is pending."""
        return all(not e.pending(self.view) for e in self.experiments)


def job_of(registered: Registered, plan: Plan, store: Store, *, device: str = "cpu") -> Job:
    """The job of a registered study: any process can find it by its module's name."""
    study, module = registered.study, registered.module
    # Results on another kind of device are close, not the same bits: they are kept apart.
    code = code_digest(study, module) + ("" if device == "cpu" else f"@{device}")

    def send(executor: Executor, experiment: Experiment, spec: Spec) -> Future[Done]:
        return executor.submit(compute_by_name, module, plan, experiment.name, spec, device)

    return Job(study.id, plan, study.experiments(plan), StoredView(store, study.id, code), send)


def local_job(
    study_id: str, plan: Plan, experiments: tuple[Experiment, ...], store: Store, *, device: str = "cpu"
) -> Job:
    """The job of experiments that exist in this process only (a problem of one's own): needs `InProcess`."""

    def send(executor: Executor, experiment: Experiment, spec: Spec) -> Future[Done]:
        return executor.submit(compute, experiment, spec, device)

    return Job(study_id, plan, experiments, StoredView(store, study_id, "local"), send)


@dataclass
class _Stage:
    """One experiment on its way through its stages."""

    job: Job
    experiment: Experiment
    waiting: list[Shard] = field(default_factory=list)
    in_flight: int = 0
    complete: bool = False

    def look(self) -> float:
        """Find out what is needed next, when nothing is under way; the cost of what has become known."""
        if self.complete or self.waiting or self.in_flight:
            return 0.0
        self.waiting = self.experiment.pending(self.job.view)
        self.complete = not self.waiting
        return sum(s.cost for s in self.waiting)


def run_jobs(jobs: Sequence[Job], executor: Executor, width: int, progress: Progress) -> None:
    """Compute everything that is pending, `width` shards at a time, storing each as it is done.

    All studies run side by side, so that one study's last shard does not keep the other workers waiting.

    Raises:
        ShardFailed: when a shard fails; what was stored before is kept.
        WorkerDied: when a worker process dies; the same.
    """
    stages = [_Stage(job, e) for job in jobs for e in job.experiments]
    running: dict[Future[Done], tuple[_Stage, Shard]] = {}
    while True:
        for stage in stages:
            progress.expect(stage.look())
        while len(running) < width and (ready := _next(stages)) is not None:
            shard = ready.waiting.pop(0)
            ready.in_flight += 1
            try:
                running[ready.job.send(executor, ready.experiment, shard.spec)] = ready, shard
            except BrokenExecutor as error:
                raise _dead_worker(ready.job) from error
        if not running:
            return
        failures: list[VhatError] = []
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            stage, shard = running.pop(future)
            stage.in_flight -= 1
            try:
                _keep(future, stage.job, shard)
            except (ShardFailed, WorkerDied) as failure:
                # What was finished beside it is kept first.
                failures.append(failure)
                continue
            progress.advance(shard.cost, f"{stage.job.study_id}: {shard.label}")
        if failures:
            raise failures[0]


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
