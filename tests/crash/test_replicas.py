"""A fault in one replica changes no bit of any other, in all problems of all studies."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.lab.experiment import Experiment, Payload, Shard
from core.lab.modules import problem_from
from core.lab.problem import Problem
from core.lab.random import Keys
from core.lab.registry import Registered, domains, studies
from core.lab.sweep import Sweep
from core.optim.rules import RULES
from finance.parametrisation import CHARTS, Chart
from finance.walking import descended_windows
from games.dirac import DiracGAN
from games.own import game_from, game_of
from rl.classic import CLASSIC
from rl.problems import reinforce
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
    problem_classes,
    takes_any_rows,
    trained,
)

ALL = studies()
ELSEWHERE = {"_Bowl"}
"""Classes that are tried by other means: the doctor's, whose bits are compared with known ones."""
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


SLOW = frozenset(
    ("memory", "rare-spike", "baseline", "learning-curves", "variance-is-seen", "variance-reduction")
)
"""Their shards take long even in the tiny plan; `test_every_fault_in_every_problem` tries them too."""


@pytest.mark.parametrize("name", sorted(ALL.keys() - SLOW))
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
    broken_everywhere(problems.values())
    tally.kept("studies with a broken replica")


def broken_everywhere(problems: Iterable[Problem]) -> None:
    """Every fault in the first, a middle and the last row of each."""
    for problem in filter(takes_any_rows, problems):
        rows_stay_apart(problem, list(FAULTS), (0, ROWS // 2 - 1, ROWS - 1))
        tally.kept("problems")


def modules_game() -> Problem:
    """Two modules with a loss each."""
    soft = nn.functional.softplus
    critic = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    return game_from(
        (nn.Linear(2, 2), critic),
        (lambda g, d, z, x: soft(-d(g(z))).mean(), lambda g, d, z, x: (soft(-d(x)) + soft(d(g(z)))).mean()),
        lambda keys: (keys.fold("z").normal(8, 2), 3.0 + keys.fold("x").normal(8, 2)),
    )


def module_problem(module: nn.Module, *shape: int) -> Problem:
    """A module of one's own on random data, in batches."""
    data = torch.randn(20, *shape, generator=torch.Generator().manual_seed(0))
    return problem_from(module, nn.functional.mse_loss, (data, data.flatten(1)[:, :1]), batch_size=5)


OWN: dict[str, Callable[[], Problem]] = {
    "modules that play": modules_game,
    "a field that is given": lambda: game_of(lambda z: torch.stack([z[1], -z[0]]), sizes=(1, 1)),
    "a perceptron": lambda: module_problem(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), 3),
    "a convolution": lambda: module_problem(
        nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(8, 1)), 1, 6
    ),
    "a Dirac-GAN": DiracGAN,
    **{
        f"{name}, any policy": partial(reinforce, name, episodes=2, horizon=12)
        for name in (*CLASSIC, "CartPole-v1")
    },
}
"""Problems that people make themselves, which no study need hold."""


@pytest.mark.parametrize("name", OWN)
def test_not_a_number_in_a_problem_of_ones_own(name: str) -> None:
    rows_stay_apart(OWN[name](), ["NaN"], (ROWS - 2,))


@pytest.mark.soak
def test_every_fault_in_problems_of_ones_own() -> None:
    broken_everywhere(make() for make in OWN.values())


@pytest.mark.soak
def test_every_class_that_is_a_problem_is_met() -> None:
    """By the studies' own shards or among those that people make: a new class has to be tried as well."""
    for package in ("core", *(package for _, package in domains())):
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(found.name)
    problems: dict[object, Problem] = {}
    for registered in ALL.values():
        with met(problems):
            for experiment, shard in first_shards(registered, 1):
                computed(experiment, shard)
    seen = {type(p) for p in problems.values()} | {type(make()) for make in OWN.values()}
    assert {cls.__qualname__ for cls in problem_classes() - seen} == ELSEWHERE
    tally.kept("whole lists of classes of problems")
    tally.kept("classes of problems", len(seen))


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
