"""What a plan will take: replicas, shards, processor time from one measured shard, memory."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from core.lab.engines import Done, compute_by_name, one_process_a_shard
from core.lab.errors import VhatError
from core.lab.experiment import Experiment, Shard, Spec
from core.lab.registry import Registered
from core.lab.runner import Job, ShardFailed, job_of
from core.lab.store import Store
from core.lab.study import Plan, Table
from core.lab.tables import number

_RSS = 1 if sys.platform == "darwin" else 1024
"""Bytes in the unit of `ru_maxrss`."""


@dataclass(frozen=True)
class Estimate:
    """An experiment's next stage.

    Attributes:
        experiment: its name.
        shards, replicas: that are not stored.
        seconds: of processor time for all of them, by the cost of the one that was measured.
        memory: bytes at the peak of a process of its own that computed that shard.
    """

    experiment: str
    shards: int
    replicas: int
    seconds: float = 0.0
    memory: float = 0.0


def measured(module: str, plan: Plan, experiment: str, spec: Spec, device: str) -> tuple[Done, float]:
    """A shard's result, and the peak of this process's memory in bytes."""
    done = compute_by_name(module, plan, experiment, spec, device)
    return done, float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * _RSS


def estimates(registered: Registered, plan: Plan, store: Store, *, device: str = "cpu") -> list[Estimate]:
    """Measure one shard of each experiment, the cheapest that is pending, and keep its result.

    Raises:
        ShardFailed: if it fails.
    """
    job = job_of(registered, plan, store, device=device)
    return [_estimate(registered, plan, job, experiment, device) for experiment in job.experiments]


def _estimate(registered: Registered, plan: Plan, job: Job, experiment: Experiment, device: str) -> Estimate:
    waiting = experiment.pending(job.view)
    replicas = sum(_replicas(s) for s in waiting)
    if not waiting:
        return Estimate(experiment.name, 0, 0)
    shard = min(waiting, key=lambda s: s.cost)
    with one_process_a_shard() as executor:
        done, memory = executor.submit(
            measured, registered.module, plan, experiment.name, shard.spec, device
        ).result()
    if done.payload is None:
        raise ShardFailed(f"{job.study_id} ({shard.label}): {done.error}", done.trace)
    job.view.put(shard.spec, done)
    seconds = done.seconds * sum(s.cost for s in waiting) / shard.cost
    return Estimate(experiment.name, len(waiting), replicas, seconds, memory)


def _replicas(shard: Shard) -> int:
    """Rows that are trained or measured at once: seeds, times settings where a shard has several."""
    rows = shard.spec.get("rows") or shard.spec.get("points") or [None]
    return int(shard.spec.get("seeds", 1)) * len(rows)


def plan_table(registered: Registered, plan: Plan, out: Path, found: list[Estimate]) -> Table:
    """For a terminal.

    Raises:
        VhatError: if nothing is pending.
    """
    if not any(e.shards for e in found):
        raise VhatError(
            f"nothing is pending: the {plan.name} plan of {registered.study.id!r} is complete in {out}; "
            f"vhat show {registered.study.id}"
        )
    rows = [
        (
            e.experiment,
            str(e.replicas),
            str(e.shards),
            number(e.seconds / 3600, 2) if e.shards else "done",
            f"{e.memory / 2**20:.0f} MiB" if e.shards else "",
        )
        for e in found
    ]
    total = sum(e.seconds for e in found) / 3600
    rows.append(
        ("all", str(sum(e.replicas for e in found)), str(sum(e.shards for e in found)), number(total, 2), "")
    )
    return Table(
        f"{registered.study.id}, {plan.name} plan: what is pending now, from one measured shard each (its "
        "result is kept). What follows from tuning, wider grids and reporting seeds, comes to this.",
        ("experiment", "replicas", "shards", "CPU hours", "memory a process"),
        tuple(rows),
    )
