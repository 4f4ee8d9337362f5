"""What a plan will take: replicas, shards, processor time from measured shards, memory.

Shards of one label are of a kind: the largest of each is measured, as long as there is patience for it, and
the kind with the most replicas in a shard first, since it needs the most memory. Those that are pending are
kept, so that measuring is work done; those that another process computes just then are left to it. What
follows from them (`core.lab.experiment.Outlook`) is measured on stand-ins, whose results are thrown away.
"""

from __future__ import annotations

import importlib
import math
import resource
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from core.lab.engines import Done, WorkerDied, compute_by_name, processes
from core.lab.errors import VhatError
from core.lab.experiment import Experiment, Outlook, Shard, Spec, Staged
from core.lab.fingerprint import code_digest
from core.lab.registry import Registered
from core.lab.runner import Job, ShardFailed, job_of, released
from core.lab.store import Store, encode
from core.lab.study import Plan, Table
from core.lab.tables import number

PATIENCE = 60.0
"""Seconds after which no further kind of shard is measured; one of each experiment is in any case."""
_RSS = 1 if sys.platform == "darwin" else 1024
"""Bytes in the unit of `ru_maxrss`."""
_STATUS = Path("/proc/self/status")
UNKNOWN = float("nan")
"""In place of seconds and bytes where another process computes all that could be measured."""


@dataclass(frozen=True)
class Estimate:
    """What an experiment takes from now on.

    Attributes:
        experiment: its name.
        shards, replicas: pending, and sure to follow.
        seconds: of processor time for these; like all that is measured `UNKNOWN` where nothing could be.
        wider: seconds that growing grids may add, at most.
        longest: seconds of the longest shard: no number of workers is faster.
        memory: bytes at the peak of the process that computed the largest shard of each kind, this
            experiment's and those before it: a worker takes shards of all.
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
    """A shard's result, and what it took.

    Attributes:
        done: the result.
        seconds: of the processor; on an accelerator, of time.
        memory: bytes at the peak of its process until then.
    """

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
    return Measured(done, seconds, _peak_memory())


def _peak_memory() -> float:
    """Of this process, in bytes."""
    try:
        # Linux counts in `ru_maxrss` also what the process held that started this one.
        line = next(x for x in _STATUS.read_text("ascii").splitlines() if x.startswith("VmHWM:"))
        return 1024.0 * int(line.split()[1])
    except (OSError, StopIteration):
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * _RSS


Measure = Callable[[Shard], Measured]


def estimates(
    registered: Registered, plan: Plan, store: Store, *, device: str = "cpu", patience: float = PATIENCE
) -> list[Estimate]:
    """Measure shards of each experiment, and keep the results of those that are pending; what another process
    computes meanwhile is not computed here.

    Raises:
        ShardFailed: if one fails.
        WorkerDied: if its process dies.
    """
    job = job_of(registered, plan, store, device=device)
    code = code_digest(registered.study, registered.module)
    deadline = time.monotonic() + patience
    with released([job]), processes(1) as executor:

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
    kinds = _largest_first(known)
    wanted = {id(s) for s in waiting}
    rates: dict[str, float] = {}
    memory = UNKNOWN
    for label, shards in kinds.items():
        if rates and time.monotonic() > deadline:
            break
        shard = next((s for s in shards if id(s) not in wanted or _is_free(job, s)), None)
        if shard is None:
            continue
        found = measure(shard)
        memory = found.memory
        start = time.process_time()
        if id(shard) in wanted:
            job.view.put(shard.spec, found.done)
        elif found.done.payload is not None:
            encode(found.done.payload)
        # Small shards take less than it takes to keep them.
        rates[label] = (found.seconds + time.process_time() - start) / shard.cost
    mean = sum(rates.values()) / len(rates) if rates else UNKNOWN

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


def _is_free(job: Job, shard: Shard) -> bool:
    """Whether this process may compute a pending shard; others then leave it alone."""
    return job.view.claim(shard.spec).state == "ours"


def _largest_first(shards: Iterable[Shard]) -> dict[str, list[Shard]]:
    """The shards of each kind, the largest first. The kind that holds the largest of all comes first, and
    then those kinds of which there is most."""
    kinds: dict[str, list[Shard]] = {}
    for shard in shards:
        kinds.setdefault(shard.label, []).append(shard)
    for alike in kinds.values():
        alike.sort(key=_size, reverse=True)
    largest = max(kinds, key=lambda k: _size(kinds[k][0]))
    order = sorted(kinds, key=lambda k: (k != largest, -sum(s.cost for s in kinds[k])))
    return {label: kinds[label] for label in order}


def _size(shard: Shard) -> tuple[int, float]:
    """What memory grows with: rows that are trained at once, and how much there is of each."""
    return _replicas(shard), shard.cost


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
            _memory(e.memory) if e.shards else "",
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
            _time(float(np.max([e.longest for e in found]))),
            _memory(float(np.max([e.memory for e in found]))),
        )
    )
    kinds = [sum(e.measured[i] for e in found) for i in (0, 1)]
    return Table(
        f"{registered.study.id}, {plan.name} plan: what is not stored yet, tuning and reports. Time is of "
        f"one core, from one shard of {kinds[0]} of {kinds[1]} kinds, measured now (results that are needed "
        "are kept; what another process computes just now is left to it). Memory is the peak of one process "
        "that computed the largest shard of each of these kinds. Where a best learning rate lies on the edge "
        "of its grid the grid grows: that may add what the fifth column says, at most. No cluster is faster "
        "than the longest shard of each stage.",
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


def _memory(size: float) -> str:
    return "not known" if math.isnan(size) else f"{size / 2**20:.0f} MiB"


def _time(seconds: float) -> str:
    if math.isnan(seconds):
        return "not known"
    length, unit = next((x for x in ((3600.0, "h"), (60.0, "min")) if seconds >= 1.5 * x[0]), (1.0, "s"))
    value = seconds / length
    return f"{value:.0f} {unit}" if value >= 10 else f"{number(value, 2)} {unit}"
