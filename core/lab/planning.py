"""What a plan will take: replicas, shards, processor time from measured shards, memory.

Shards of one label are of a kind: one of each is measured, as long as there is patience for it. Those that
are pending are kept, so that measuring is work done. What follows from them (`core.lab.experiment.Outlook`)
is measured on stand-ins, whose results are thrown away.
"""

from __future__ import annotations

import importlib
import resource
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core.lab.engines import Done, WorkerDied, compute_by_name, processes
from core.lab.errors import VhatError
from core.lab.experiment import Experiment, Outlook, Shard, Spec, Staged
from core.lab.fingerprint import code_digest
from core.lab.registry import Registered
from core.lab.runner import Job, ShardFailed, job_of
from core.lab.store import Store, encode
from core.lab.study import Plan, Table
from core.lab.tables import number

PATIENCE = 60.0
"""Seconds after which no further kind of shard is measured; one of each experiment is in any case."""
_RSS = 1 if sys.platform == "darwin" else 1024
"""Bytes in the unit of `ru_maxrss`."""


@dataclass(frozen=True)
class Estimate:
    """What an experiment takes from now on.

    Attributes:
        experiment: its name.
        shards, replicas: pending, and sure to follow.
        seconds: of processor time for these.
        wider: seconds that growing grids may add, at most.
        longest: seconds of the longest shard: no number of workers is faster.
        memory: bytes at the peak of the process that computed what was measured, this experiment's and those
            before it: a worker takes shards of all.
        measured: how many kinds of shard were measured, of how many.
    """

    experiment: str
    shards: int
    replicas: int
    seconds: float = 0.0
    wider: float = 0.0
    longest: float = 0.0
    memory: float = 0.0
    measured: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Measured:
    """A shard's result; what it took of the processor (on an accelerator: of time), in seconds; and the peak
    of its process's memory until then, in bytes."""

    done: Done
    seconds: float
    memory: float


def measured(module: str, plan: Plan, experiment: str, spec: Spec, device: str, code: str) -> Measured:
    """Compute a shard and see what it takes: of the processor, since other processes may use it too."""
    # The first shard of a process is not to pay for imports.
    code_digest(importlib.import_module(module).STUDY, module)
    start = time.process_time()
    done = compute_by_name(module, plan, experiment, spec, device, code)
    seconds = time.process_time() - start if device == "cpu" else done.seconds
    return Measured(done, seconds, float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * _RSS)


Measure = Callable[[Shard], Measured]


def estimates(
    registered: Registered, plan: Plan, store: Store, *, device: str = "cpu", patience: float = PATIENCE
) -> list[Estimate]:
    """Measure shards of each experiment, and keep the results of those that are pending.

    Raises:
        ShardFailed: if one fails.
        WorkerDied: if its process dies.
    """
    job = job_of(registered, plan, store, device=device)
    code = code_digest(registered.study, registered.module)
    deadline = time.monotonic() + patience
    with processes(1) as executor:

        def measure(name: str, shard: Shard) -> Measured:
            call = executor.submit(measured, registered.module, plan, name, shard.spec, device, code)
            return _checked(call.result, job, shard)

        return [_estimate(job, e, partial(measure, e.name), deadline) for e in job.experiments]


def _checked(result: Callable[[], Measured], job: Job, shard: Shard) -> Measured:
    try:
        found = result()
    except BrokenExecutor as error:
        raise WorkerDied(
            f"{job.study_id} ({shard.label}): the process that measured it died, perhaps for want of memory"
        ) from error
    if found.done.payload is None:
        raise ShardFailed(f"{job.study_id} ({shard.label}): {found.done.error}", found.done.trace)
    return found


def _estimate(job: Job, experiment: Experiment, measure: Measure, deadline: float) -> Estimate:
    waiting = experiment.pending(job.view)
    ahead = experiment.outlook(job.view) if isinstance(experiment, Staged) else Outlook()
    known = [*waiting, *ahead.sure]
    if not known:
        return Estimate(experiment.name, 0, 0)
    kinds = _cheapest_first(waiting) | _cheapest_first(ahead.sure)
    rates: dict[str, float] = {}
    memory = 0.0
    for label, shard in kinds.items():
        if rates and time.monotonic() > deadline:
            break
        found = measure(shard)
        memory = found.memory
        start = time.process_time()
        if shard in waiting:
            job.view.put(shard.spec, found.done)
        elif found.done.payload is not None:
            encode(found.done.payload)
        # Small shards take less than it takes to keep them.
        rates[label] = (found.seconds + time.process_time() - start) / shard.cost
    mean = sum(rates.values()) / len(rates)

    def seconds(shard: Shard) -> float:
        return rates.get(shard.label, mean) * shard.cost

    return Estimate(
        experiment.name,
        len(known),
        sum(map(_replicas, known)),
        sum(map(seconds, known)),
        sum(map(seconds, ahead.possible)),
        max(map(seconds, known)),
        memory,
        (len(rates), len(kinds)),
    )


def _cheapest_first(shards: Iterable[Shard]) -> dict[str, Shard]:
    """The cheapest shard of each kind; first those kinds of which there is most."""
    total: dict[str, float] = {}
    cheapest: dict[str, Shard] = {}
    for shard in shards:
        total[shard.label] = total.get(shard.label, 0.0) + shard.cost
        if shard.label not in cheapest or shard.cost < cheapest[shard.label].cost:
            cheapest[shard.label] = shard
    return {label: cheapest[label] for label in sorted(total, key=lambda k: -total[k])}


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
    rows: list[tuple[str, ...]] = [
        (
            e.experiment,
            str(e.replicas),
            str(e.shards),
            *((_time(e.seconds), _time(e.wider), _time(e.longest)) if e.shards else ("done", "", "")),
            f"{e.memory / 2**20:.0f} MiB" if e.shards else "",
        )
        for e in found
    ]
    times = [_time(sum(values)) for values in ([e.seconds for e in found], [e.wider for e in found])]
    rows.append(
        (
            "all",
            str(sum(e.replicas for e in found)),
            str(sum(e.shards for e in found)),
            *times,
            _time(max(e.longest for e in found)),
            f"{max(e.memory for e in found) / 2**20:.0f} MiB",
        )
    )
    kinds = [sum(e.measured[i] for e in found) for i in (0, 1)]
    return Table(
        f"{registered.study.id}, {plan.name} plan: what is not stored yet, tuning and reports. Time is of "
        f"one core, from one shard of {kinds[0]} of {kinds[1]} kinds, measured now (results that are needed "
        "are kept). Where a best learning rate lies on the edge of its grid the grid grows: that may add "
        "what the fifth column says, at most. No cluster is faster than the longest shard of each stage.",
        (
            "experiment",
            "replicas",
            "shards",
            "CPU time",
            "wider grids, at most",
            "longest shard",
            "memory a process",
        ),
        tuple(rows),
    )


def _time(seconds: float) -> str:
    length, unit = next((x for x in ((3600.0, "h"), (60.0, "min")) if seconds >= 1.5 * x[0]), (1.0, "s"))
    value = seconds / length
    return f"{value:.0f} {unit}" if value >= 10 else f"{number(value, 2)} {unit}"
