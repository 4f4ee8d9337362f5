"""A study's results are the same bits for any size of its shards, order of its variants, and engine.

The size of a shard is part of the plan and of the address of what is stored, so that results of one size
are never mixed with another's; this shows that they could be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pytest

from core.lab.cluster import dask_engine
from core.lab.engines import InProcess, engine
from core.lab.experiment import Experiment
from core.lab.registry import Registered, studies
from core.lab.runner import local_job
from core.lab.store import Store
from core.lab.study import Plan
from core.lab.sweep import Sweep
from tests import tally
from tests.crash.dask_cluster import Cluster
from tests.crash.same_bits import SIZES, bits, bits_on, cut, differing
from tests.lab import bowls

ALL = studies()
Engines = dict[str, tuple[Executor, int | Callable[[], int]]]


def small(registered: Registered) -> Plan:
    """The tiny plan with numbers of seeds that the sizes cut differently."""
    plan = registered.study.plan("tiny")
    return dataclasses.replace(plan, tuning_seeds=plan.tuning_seeds and 4, reporting_seeds=7)


def local_bits(registered: Registered, experiments: tuple[Experiment, ...]) -> dict[str, bytes]:
    store = Store(Path(":memory:"))
    found = bits(local_job("same", small(registered), experiments, store), InProcess(), 1)
    store.close()
    return found


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
    tally.kept("studies in shards of three sizes")


def test_a_sweep_and_a_measurement() -> None:
    compared(bowls.REGISTERED)


@pytest.mark.parametrize("name", ["first-step", "canyon"])
def test_two_studies(name: str) -> None:
    compared(ALL[name])


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(ALL))
def test_every_study(name: str) -> None:
    compared(ALL[name])


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """This process, two others, and a cluster of two workers."""
    with (
        Cluster(tmp_path_factory.mktemp("cluster"), 2) as cluster,
        dask_engine(cluster.address, list(ALL.values()), "cpu", lambda _: None) as dask,
        engine(2, "cpu") as processes,
    ):
        yield {"in process": (InProcess(), 1), "two processes": processes, "Dask": dask}


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(ALL))
def test_every_study_on_three_engines(name: str, engines: Engines) -> None:
    """Each engine with each size of shard."""
    plan = small(ALL[name])
    first = bits_on(ALL[name], plan, SIZES[0], *engines["in process"])
    for kind in ("two processes", "Dask"):
        for size in SIZES:
            assert differing(first, bits_on(ALL[name], plan, size, *engines[kind])) == [], (kind, size)
    tally.kept("studies in two other processes")
    tally.kept("studies on a Dask cluster")


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(ALL))
def test_every_quick_plan_on_three_engines(name: str, engines: Engines) -> None:
    """Each engine with a size of its own: nine runs would take hours."""
    plan = ALL[name].study.plan("quick")
    first, *others = (
        bits_on(ALL[name], plan, size, *on) for size, on in zip((5, 32, 1000), engines.values(), strict=True)
    )
    for other in others:
        assert differing(first, other) == []
    tally.kept("quick plans on three engines")
