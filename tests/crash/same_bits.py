"""Every array and number of a result, to be compared with another's to the bit."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from core.lab.experiment import Experiment, seed_blocks
from core.lab.measurement import Measurement, MeasurementResult
from core.lab.meta_sweep import MetaSweep
from core.lab.progress import Quiet
from core.lab.registry import Registered
from core.lab.runner import Job, job_of, run_jobs
from core.lab.store import Store, canonical
from core.lab.study import Plan
from core.lab.sweep import Sweep
from tests import tally

SIZES = (2, 3, 1000)
"""Seeds a shard of a small plan."""
PARTS = (1, 2, 3)
"""Into how many shards the seeds of a plan of any size are cut."""


def arrays(value: object, path: str = "") -> Iterator[tuple[str, bytes]]:
    """Every array and number in a result, with its place; what was asked for is left out."""
    if isinstance(value, np.ndarray):
        yield path, f"{value.dtype}{value.shape}".encode() + value.tobytes()
    elif isinstance(value, MeasurementResult):
        # By cell, in whatever order they were measured.
        cells = {canonical(cell): payload for cell, payload in value}
        assert len(cells) == len(value.cells)
        yield from arrays(cells, path)
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            yield from arrays(value[key], f"{path}/{key}")
    elif isinstance(value, tuple | list):
        for number, item in enumerate(value):
            yield from arrays(item, f"{path}/{number}")
    elif dataclasses.is_dataclass(value) and not hasattr(value, "seeds_per_shard"):
        for field in dataclasses.fields(value):
            yield from arrays(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, int | float | str):
        yield path, repr(value).encode()


def bits(job: Job, executor: Executor, width: int | Callable[[], int]) -> dict[str, bytes]:
    """A job's results, run to its end."""
    run_jobs([job], executor, width, Quiet())
    found: dict[str, bytes] = {}
    for experiment in job.experiments:
        found |= dict(arrays(experiment.result(job.view), experiment.name))
    return found


def differing(a: dict[str, bytes], b: dict[str, bytes]) -> list[str]:
    assert a.keys() == b.keys()
    assert len(a) > 3
    found = [path for path in a if a[path] != b[path]]
    tally.kept("arrays compared", len(a) - len(found))
    return found


def cut(experiment: Any, size: int) -> Experiment:
    changed: Experiment = dataclasses.replace(experiment, seeds_per_shard=size)
    return changed


def seed_counts(experiment: Any) -> tuple[int, ...]:
    """How many seeds an experiment has, of each kind."""
    if isinstance(experiment, Measurement):
        return (experiment.seeds,)
    assert isinstance(experiment, Sweep | MetaSweep), experiment
    return experiment.tuning_seeds, experiment.reporting_seeds


def cut_into(experiment: Any, parts: int) -> Experiment:
    """In shards of a half or a third of the seeds that it has most of; shards of one seed there are none."""
    return cut(experiment, max(2, -(-max(seed_counts(experiment)) // parts)))


def cuts(experiment: Any, sizes: tuple[int, ...]) -> int:
    """How many ways to cut the seeds of an experiment these sizes really are."""
    counts = seed_counts(experiment)
    return len({tuple(tuple(seed_blocks(n, size)) for n in counts) for size in sizes})


def turned(experiment: Any) -> Experiment:
    """The variants of a sweep, or the cells of a measurement, the other way round."""
    name = "cells" if isinstance(experiment, Measurement) else "variants"
    changed: Experiment = dataclasses.replace(experiment, **{name: getattr(experiment, name)[::-1]})
    return changed


def bits_on(
    registered: Registered,
    plan: Plan,
    change: Callable[[Experiment], Experiment],
    executor: Executor,
    width: int | Callable[[], int],
) -> dict[str, bytes]:
    """A study's results on an engine, its experiments cut or turned."""
    with contextlib.closing(Store(Path(":memory:"))) as store:
        job = job_of(registered, plan, store)
        # An executor finds an experiment by its name, and what to compute in the spec.
        job = dataclasses.replace(job, experiments=tuple(map(change, job.experiments)))
        return bits(job, executor, width)
