"""A fault in one replica changes no bit of any other, in all problems of all studies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from core.lab.experiment import Experiment, Payload, Shard
from core.lab.problem import Problem
from core.lab.random import Keys
from core.lab.registry import Registered, studies
from core.lab.sweep import Sweep
from core.optim.rules import RULES
from finance.parametrisation import CHARTS, Chart
from finance.walking import descended_windows
from tests import tally
from tests.crash.faults import (
    EDGES,
    FAULTS,
    OTHER_ROWS,
    ROWS,
    Stained,
    broken_steps,
    by_seed,
    changed_rows,
    changed_seeds,
    first_shards,
    met,
    takes_any_rows,
    trained,
)

ALL = studies()
ADAM = RULES["adam"]


def computed(experiment: Experiment, shard: Shard) -> Payload:
    # What numpy says of the broken row is no harm to the others.
    with np.errstate(all="ignore"):
        return experiment.run(shard.spec, device="cpu")


def faults_stay_inside(
    registered: Registered, problems: dict[object, Problem], faults: list[str], most: int
) -> None:
    """Shards of a study with a broken replica, against the same without; its problems are collected."""
    for number, (experiment, shard) in enumerate(first_shards(registered, most)):
        with met(problems):
            sound = by_seed(experiment, shard, computed(experiment, shard))
        for fault in faults if (registered.study.id, experiment.name) not in OTHER_ROWS else ():
            row = EDGES[number % 2]
            with tally.trial("faults in shards"), broken_steps(row, fault) as steps:
                broken = by_seed(experiment, shard, computed(experiment, shard))
                changed = changed_seeds(sound, broken)
                own = row % int(shard.spec["seeds"])
                assert changed <= {own}, (experiment.name, shard.spec, fault, changed)
                # Where rules step, the fault is felt: otherwise nothing has been tried.
                assert changed or not steps[0] or not isinstance(experiment, Sweep), (experiment.name, fault)


def rows_stay_apart(problem: Problem, faults: list[str], rows: tuple[int, ...]) -> None:
    """The same in one problem, in any row, and nothing else is different but the broken row itself."""
    sound = trained(problem)
    for fault in faults:
        for row in rows:
            with tally.trial("faults in problems"):
                broken = trained(Stained(problem, row, fault))  # type: ignore[arg-type]
                assert changed_rows(sound, broken) == {row}, (problem, fault, row)
                # A projection takes what is infinite back into its set, and what is no number nowhere.
                if fault == "NaN":
                    assert broken.diverged_at[row] == 1


@pytest.mark.parametrize("name", sorted(ALL))
def test_not_a_number(name: str) -> None:
    problems: dict[object, Problem] = {}
    faults_stay_inside(ALL[name], problems, ["NaN"], most=1)
    for problem in filter(takes_any_rows, problems.values()):
        rows_stay_apart(problem, ["NaN"], (ROWS - 2,))


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(ALL))
def test_every_fault_in_every_problem(name: str) -> None:
    problems: dict[object, Problem] = {}
    faults_stay_inside(ALL[name], problems, list(FAULTS), most=12)
    for problem in filter(takes_any_rows, problems.values()):
        rows_stay_apart(problem, list(FAULTS), (0, ROWS // 2 - 1, ROWS - 1))
        tally.kept("problems")


def test_a_fault_in_one_window_of_a_walk_stays_there() -> None:
    keys = Keys.of(range(3), study="faults")
    windows = 0.01 * Keys.of(range(4), study="windows").normal(30, 5, dtype=torch.float64)
    for name, chart in CHARTS.items():

        def walk(chart: Chart = chart) -> Tensor:
            return descended_windows(
                windows,
                keys,
                rule=ADAM,
                chart=chart,
                lr=0.01,
                risk_aversion=3.0,
                batch=6,
                steps=3,
            )

        sound = walk()
        for row in (0, -1):
            with tally.trial("faults in shards"), broken_steps(row, "NaN"):
                broken = walk()
                same = (broken == sound).all(dim=2).flatten()
                assert bool(same[1:].all() if row == 0 else same[:-1].all()), name
