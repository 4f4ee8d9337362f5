"""A study's results are the same bits for any size of its shards, order of its variants, and engine.

The size of a shard is part of the plan and of the address of what is stored, so that results of one size
are never mixed with another's; this shows that they could be.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

import pytest

from core.lab.cluster import dask_engine
from core.lab.engines import InProcess, engine
from core.lab.experiment import Experiment
from core.lab.registry import Registered, studies
from core.lab.runner import local_job
from core.lab.store import Store
from core.lab.study import Plan
from tests import tally
from tests.crash.dask_cluster import Cluster
from tests.crash.same_bits import PARTS, SIZES, bits, bits_on, cut, cut_into, cuts, differing, turned
from tests.lab import bowls

ALL = studies()
ENGINES = ("in process", "two processes", "Dask")
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


def compared(registered: Registered) -> None:
    """Three sizes, and another order of variants and cells."""
    experiments = registered.study.experiments(small(registered))
    first, *others = (local_bits(registered, tuple(cut(e, size) for e in experiments)) for size in SIZES)
    for size, other in zip(SIZES[1:], others, strict=True):
        assert differing(first, other) == [], size
    tally.kept("studies in shards of three sizes")
    assert differing(first, local_bits(registered, tuple(map(turned, experiments)))) == []
    tally.kept("studies the other way round")


def test_a_sweep_and_a_measurement() -> None:
    compared(bowls.REGISTERED)


def test_another_order_is_another_order_and_a_cut_another_cut() -> None:
    sweep, draws = bowls.REGISTERED.study.experiments(small(bowls.REGISTERED))
    asked = [
        [s.spec for s in e.pending(lambda _: None)] for e in (sweep, turned(sweep), draws, turned(draws))
    ]
    rows = [[row["variant"] for row in spec["rows"]] for spec in (asked[0][0], asked[1][0])]
    assert rows[0] != rows[1]
    assert sorted(rows[0]) == sorted(rows[1])
    assert asked[2] != asked[3]
    assert len(asked[2]) == len(asked[3])
    assert [cuts(draws, s) for s in ((7, 100), (7, 4), (2, 3, 1000), PARTS[1:])] == [1, 2, 3, 2]


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
        yield dict(zip(ENGINES, ((InProcess(), 1), processes, dask), strict=True))


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(ALL))
def test_every_study_on_three_engines(name: str, engines: Engines) -> None:
    """Each other engine with each size of shard; `test_every_study` has tried them in this process."""
    plan = small(ALL[name])
    first = bits_on(ALL[name], plan, partial(cut, size=SIZES[0]), *engines[ENGINES[0]])
    for kind in ENGINES[1:]:
        for size in SIZES:
            other = bits_on(ALL[name], plan, partial(cut, size=size), *engines[kind])
            assert differing(first, other) == [], (kind, size)
    tally.kept("studies in two other processes")
    tally.kept("studies on a Dask cluster")


def pairing(number: int) -> tuple[tuple[str, int, bool], ...]:
    """Engine, parts into which seeds are cut, and whether variants and cells are turned, of three runs.

    Nine runs of a quick plan would take hours: study `number` tries three of the nine pairs.
    """
    shift, other_way = number % 3, number // 3 % 3
    return tuple((kind, PARTS[(i + shift) % 3], i == other_way) for i, kind in enumerate(ENGINES))


def test_nine_studies_try_all_pairs_and_orders() -> None:
    seen = Counter(run for number in range(9) for run in pairing(number))
    assert len({(kind, parts) for kind, parts, _ in seen}) == 9
    assert {run: n for run, n in seen.items() if run[2]}.keys() == {
        (kind, parts, True) for kind in ENGINES for parts in PARTS
    }
    for number in range(9):
        kinds, parts, other_way = zip(*pairing(number), strict=True)
        assert (set(kinds), set(parts), sum(other_way)) == (set(ENGINES), set(PARTS), 1)


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(ALL))
def test_every_quick_plan_on_three_engines(name: str, engines: Engines) -> None:
    """Each engine with a cut of its own, one of them the other way round."""
    plan = ALL[name].study.plan("quick")

    def changed(experiment: Experiment, parts: int, other_way: bool) -> Experiment:
        return cut_into(turned(experiment) if other_way else experiment, parts)

    runs = pairing(sorted(ALL).index(name))
    first, *others = (
        bits_on(ALL[name], plan, partial(changed, parts=parts, other_way=other_way), *engines[kind])
        for kind, parts, other_way in runs
    )
    for run, other in zip(runs[1:], others, strict=True):
        assert differing(first, other) == [], run
    tally.kept("quick plans on three engines, one the other way round")
    for experiment in ALL[name].study.experiments(plan):
        sizes = tuple(cut_into(experiment, parts).seeds_per_shard for parts in PARTS)  # type: ignore[attr-defined]
        number = cuts(experiment, sizes)
        tally.kept(f"experiments of quick plans in {('one cut', 'two cuts', 'three cuts')[number - 1]}")
