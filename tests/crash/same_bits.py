"""Every array and number of a result, to be compared with another's to the bit."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from core.lab.experiment import Experiment
from core.lab.progress import Quiet
from core.lab.registry import Registered
from core.lab.runner import Job, job_of, run_jobs
from core.lab.store import Store
from core.lab.study import Plan
from tests import tally

SIZES = (2, 3, 1000)
"""Seeds a shard."""


def arrays(value: object, path: str = "") -> Iterator[tuple[str, bytes]]:
    """Every array and number in a result, with its place; what was asked for is left out."""
    if isinstance(value, np.ndarray):
        yield path, f"{value.dtype}{value.shape}".encode() + value.tobytes()
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


def bits_on(
    registered: Registered, plan: Plan, size: int, executor: Executor, width: int | Callable[[], int]
) -> dict[str, bytes]:
    """A study's results on an engine, in shards of that many seeds."""
    with contextlib.closing(Store(Path(":memory:"))) as store:
        job = job_of(registered, plan, store)
        # An executor finds an experiment by its name, and what to compute in the spec.
        job = dataclasses.replace(job, experiments=tuple(cut(e, size) for e in job.experiments))
        return bits(job, executor, width)
