"""What the study of hypergradients trains, tunes and asks: problems, settings, plans and thresholds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch import nn

from core.lab.experiment import Array
from core.lab.modules import ModuleProblem, problem_from
from core.lab.problem import Problem
from core.lab.random import Keys
from core.lab.study import Plan, Results
from core.lab.tune import METHODS
from core.lab.tuning.space import Space
from core.optim.hypergradient import Mode
from core.optim.rules import RULES
from core.problems.regression import Regression

NAME = "hypergradient"
ADAM = RULES["adam"]
OVER = ("lr", "beta1", "beta2")
SPACE = Space.of(ADAM, OVER)
DEFAULT = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999}
MODES: tuple[Mode, ...] = ("reverse", "segments", "forward")
SAMPLES, BATCH, WIDTH, NOISE = 64, 16, 8, 0.1


@cache
def network(device: str) -> ModuleProblem:
    """A network 1-8-8-1 with tanh that is to learn a noisy sine from 64 points, in batches of 16, float64."""
    keys = Keys.of([0], study=f"{NAME} data")
    x = 2.0 * keys.uniform(SAMPLES, 1, dtype=torch.float64)[0] - 1.0
    y = torch.sin(5.0 * x) + NOISE * keys.fold("noise").normal(SAMPLES, 1, dtype=torch.float64)[0]
    module = nn.Sequential(
        nn.Linear(1, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1)
    )
    return problem_from(module.double(), nn.functional.mse_loss, (x, y), batch_size=BATCH, device=device)


@cache
def ridge(device: str) -> Regression:
    """Ridge regression with correlated features, in batches of 10; each seed has its own data."""
    return Regression(10, 100, correlation=0.9, ridge=0.03, batch=10, device=device)


PROBLEMS: Mapping[str, tuple[Callable[[str], Problem], str, str]] = {
    "ridge": (ridge, "gap", "gap / starting gap"),
    "network": (network, "loss", "training loss"),
}
"""Each with the measure that is tuned and reported."""

SHIFT = 0.25
"""Each search's bounds are moved by up to half of that share of their range, so that neither a grid's points
nor a descent's starts are lucky once and for all."""
STARTS, RATE = 2, 0.5
SEARCH_MODE: Mode = "reverse"
KNOWN = "best known"
TRIED = (*METHODS, "default", KNOWN)

CHECKED = {"lr": 0.02, "beta1": 0.8, "beta2": 0.99}
"""Where derivatives are compared with differences."""
WIDTHS = (2e-3, 1e-3)
"""Of the differences, in logarithms and logits."""
EXACT = 1e-7

RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
JUDGED_RATES = (3e-3, 3e-2, 3e-1)
BETAS = {"beta1": 0.9, "beta2": 0.999}
STEP = 1.1
"""Does the loss rise or fall when the rate is divided and multiplied by it?"""
TELLS = 0.9

LONGER = (1, 4, 16)


def _grid(beta1: tuple[float, ...], beta2: tuple[float, ...]) -> tuple[dict[str, float], ...]:
    """Rates from 1e-3 to 1, four a decade, with each pair of decays."""
    rates = [10.0 ** (exponent / 4) for exponent in range(-12, 1)]
    return tuple(dict(zip(OVER, point, strict=True)) for point in itertools.product(rates, beta1, beta2))


GRIDS = {
    "transfer": _grid((0.5, 0.9), (0.95, 0.999)),
    "reference": _grid((0.5, 0.7, 0.8, 0.9, 0.95), (0.95, 0.99, 0.999)),
}
"""For the transfer between horizons, and for the best known setting at a horizon."""


def edges(grid: str, setting: Mapping[str, float]) -> tuple[str, ...]:
    """The hyperparameters whose value is the lowest or highest of a dense grid that has three or more."""
    values = {name: sorted({s[name] for s in GRIDS[grid]}) for name in OVER}
    return tuple(n for n, v in values.items() if len(v) > 2 and setting[n] in (v[0], v[-1]))


PLANS = {
    "tiny": Plan(
        "tiny",
        8,
        2,
        4,
        {
            "ridge": 2,
            "network": 2,
            "fresh": 4,
            "probes": 4,
            "grid": 4,
            "reference": 4,
            "small": 12,
            "large": 24,
        },
    ),
    "quick": Plan(
        "quick",
        50,
        8,
        16,
        {
            "ridge": 4,
            "network": 1,
            "fresh": 24,
            "probes": 40,
            "grid": 24,
            "reference": 32,
            "small": 24,
            "large": 96,
        },
    ),
    "full": Plan(
        "full",
        50,
        16,
        60,
        {
            "ridge": 16,
            "network": 4,
            "fresh": 64,
            "probes": 100,
            "grid": 100,
            "reference": 200,
            "small": 24,
            "large": 384,
        },
    ),
}
"""`steps` is the shorter horizon, `tuning_seeds` are those of each search, `reporting_seeds` the searches;
a problem's size is its longer horizon over the shorter one; `probes` and `grid` are seeds of the probed
hypergradients and of the grid over horizons, `reference` those that choose the best known setting, `small`
and `large` are budgets."""


def horizons(plan: Plan, problem: str) -> tuple[int, ...]:
    """The unrolls that are searched, each once."""
    return tuple(sorted({plan.steps, plan.steps * plan.sizes[problem]}))


def probed(plan: Plan) -> tuple[int, ...]:
    """The unrolls whose hypergradients are probed."""
    return tuple(plan.steps * k // 2 for k in (1, 2, 4, 8))


def budgets(plan: Plan) -> tuple[int, ...]:
    """In plain trainings of one setting on all tuning seeds."""
    small, large = plan.sizes["small"], plan.sizes["large"]
    return tuple(b for b in (small * 2**k for k in range(10)) if b <= large)


def cases(plan: Plan) -> tuple[tuple[str, int], ...]:
    """(problem, horizon) of each search."""
    return tuple((problem, steps) for problem in PROBLEMS for steps in horizons(plan, problem))


def searched(results: Results, problem: str, horizon: int, method: str, what: str = "fresh") -> Array:
    """`[searches, budgets]`: the loss of the best setting so far, on fresh or on `tuning` seeds."""
    cell = results.measurement("search").only(problem=problem, horizon=horizon, method=method)
    found: Array = cell[what]
    return found


def dense(results: Results, problem: str, horizon: int) -> Array:
    """`[seeds, settings]`: the loss of every setting of the grid over horizons."""
    found: Array = results.measurement("transfer").only(problem=problem, horizon=horizon)["loss"]
    return found


def chosen(results: Results, problem: str, horizon: int) -> int:
    """The setting of the grid over horizons with the lowest mean loss on the first half of its seeds."""
    losses = dense(results, problem, horizon)
    return int(losses[: len(losses) // 2].mean(axis=0).argmin())


def reported(results: Results, problem: str, horizon: int, setting: int) -> Array:
    """`[half the seeds]`: the losses of a setting of that grid on the seeds that did not choose."""
    losses = dense(results, problem, horizon)
    found: Array = losses[len(losses) // 2 :, setting]
    return found
