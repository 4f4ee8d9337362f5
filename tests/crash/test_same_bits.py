"""A study's results are the same bits for any size of its shards, order of its variants, and engine.

The size of a shard is part of the plan and of the address of what is stored, so that results of one size
are never mixed with another's; this shows that they could be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.lab.engines import InProcess, engine
from core.lab.experiment import Experiment
from core.lab.progress import Quiet
from core.lab.registry import Registered, studies
from core.lab.runner import Job, job_of, local_job, run_jobs
from core.lab.store import Store
from core.lab.study import Plan
from core.lab.sweep import Sweep
from tests.lab import bowls

SIZES = (2, 3, 1000)
ALL = studies()


def small(registered: Registered) -> Plan:
    """The tiny plan with numbers of seeds that the sizes cut differently."""
    plan = registered.study.plan("tiny")
    return dataclasses.replace(plan, tuning_seeds=plan.tuning_seeds and 4, reporting_seeds=7)


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


def bits(job: Job, executor: Executor, width: int) -> dict[str, bytes]:
    """A job's results, run to its end."""
    run_jobs([job], executor, width, Quiet())
    found: dict[str, bytes] = {}
    for experiment in job.experiments:
        found |= dict(arrays(experiment.result(job.view), experiment.name))
    return found


def local_bits(registered: Registered, experiments: tuple[Experiment, ...]) -> dict[str, bytes]:
    store = Store(Path(":memory:"))
    found = bits(local_job("same", small(registered), experiments, store), InProcess(), 1)
    store.close()
    return found


def differing(a: dict[str, bytes], b: dict[str, bytes]) -> list[str]:
    assert a.keys() == b.keys()
    assert len(a) > 3
    return [path for path in a if a[path] != b[path]]


def cut(experiment: Any, size: int) -> Experiment:
    changed: Experiment = dataclasses.replace(experiment, seeds_per_shard=size)
    return changed


def turned(experiment: Any) -> Experiment:
    """A sweep with its variants the other way round."""
    if not isinstance(experiment, Sweep):
        return experiment  # type: ignore[no-any-return]
    return dataclasses.replace(experiment, variants=experiment.variants[::-1])


def compared(registered: Registered) -> None:
    """Three sizes, and another order of variants."""
    experiments = registered.study.experiments(small(registered))
    first, *others = (local_bits(registered, tuple(cut(e, size) for e in experiments)) for size in SIZES)
    for size, other in zip(SIZES[1:], others, strict=True):
        assert differing(first, other) == [], size
    if any(isinstance(e, Sweep) for e in experiments):
        assert differing(first, local_bits(registered, tuple(map(turned, experiments)))) == []


def test_a_sweep_and_a_measurement() -> None:
    compared(bowls.REGISTERED)


@pytest.mark.parametrize("name", ["first-step", "canyon"])
def test_two_studies(name: str) -> None:
    compared(ALL[name])


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(ALL))
def test_every_study(name: str) -> None:
    compared(ALL[name])


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(ALL))
def test_every_study_in_this_process_and_in_two_others(name: str, tmp_path: Path) -> None:
    registered = ALL[name]
    plan = small(registered)
    here, there = (Store(tmp_path / f"{place}.sqlite") for place in ("here", "there"))
    alone = bits(job_of(registered, plan, here), InProcess(), 1)
    with engine(2, "cpu") as (executor, width):
        together = bits(job_of(registered, plan, there), executor, width)
    assert differing(alone, together) == []
    here.close()
    there.close()
