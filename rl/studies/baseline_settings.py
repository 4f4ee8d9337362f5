"""What is compared in the study of baselines, and how a gap is measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from core.lab.experiment import Array
from core.lab.study import Results
from core.lab.sweep import Regime
from core.lab.variant import Grid, Variant
from rl import outcomes
from rl.problems import cartpole
from rl.shares import Trio, logit
from rl.studies.settings import ADAM, DESCENTS, EPISODES, LEARNED, LIMIT, RATES, UNUSED, best_of

WITHOUT = "no baseline"
BASELINES: Mapping[str, str] = {
    WITHOUT: "none",
    "running mean": "running",
    "leave-one-out": "loo",
    "value function": "value",
    "optimal constant": "optimal",
}
NORMALIZED = "leave-one-out, normalised"
"""Advantages divided by their standard deviation: biased, and it hides the gradient's size from the rule."""
BATCHES = (2, 8, 32, 128)
"""Episodes an update, without a baseline: the dial of the noise, whose variance falls as 1 / episodes."""
SPENT = (2, 8)
"""Batches that get more updates too, until they have had as many episodes as `EQUAL` has."""
EQUAL = 32

_RULES = {"Gradient descent": "sgd", "Momentum": "momentum", ADAM: "adam"}
_NORMALIZED_RATES = {**RATES, "Gradient descent": (1e-2, 1e-1), "Momentum": (3.16e-3, 3.17e-2)}

Cell = tuple[str, str]
"""A sweep and one of its regimes."""


def batch_name(episodes: int) -> str:
    """The regime's name."""
    return f"{episodes} episodes"


def spent_name(episodes: int) -> str:
    """The name of a sweep, and of its regime, with as many episodes in all as `EQUAL` has."""
    return f"{episodes} episodes, more updates"


def spent_updates(episodes: int, updates: int) -> int:
    """The updates after which a batch has had the episodes that `EQUAL` has in `updates`."""
    return updates * EQUAL // episodes


def _regime(name: str, **settings: object) -> Regime:
    return Regime(name, cartpole, {**settings, **UNUSED})


REGIMES = tuple(_regime(words, episodes=EPISODES, baseline=name) for words, name in BASELINES.items())
NORMALIZED_REGIME = _regime(NORMALIZED, episodes=EPISODES, baseline="loo", normalized=True)
DIAL = tuple(_regime(batch_name(e), episodes=e, baseline="none") for e in BATCHES)
MORE_UPDATES = tuple(_regime(spent_name(e), episodes=e, baseline="none") for e in SPENT)
CELLS: tuple[Cell, ...] = (
    *(("baselines", regime.name) for regime in REGIMES),
    ("normalised", NORMALIZED),
    *(("episodes", regime.name) for regime in DIAL),
    *((regime.name, regime.name) for regime in MORE_UPDATES),
)
"""All in which Adam and descent are compared."""


def variants(per_decade: int, *, normalized: bool = False) -> tuple[Variant, ...]:
    """Adam and both descents."""
    rates = _NORMALIZED_RATES if normalized else RATES
    return tuple(
        Variant(name, rule, lr=Grid.between(*rates[name], per_decade=per_decade))
        for name, rule in _RULES.items()
    )


def rival_of(results: Results, cell: Cell) -> str:
    """The better of gradient descent and momentum on the tuning seeds."""
    return best_of(results.sweep(cell[0]), cell[1], DESCENTS)


def speed(results: Results, cell: Cell, variant: str) -> Array:
    """`[seeds]`: how fast training episodes came to return `LEARNED`, see `rl.outcomes.speed`."""
    return outcomes.speed(results.sweep(cell[0]).run(cell[1], variant), LEARNED)


def gap(results: Results, cell: Cell, scale: str) -> Array:
    """`[seeds]`: Adam less the better descent, both tuned, on a scale: `return`, `logit` or `speed`."""
    names = ADAM, rival_of(results, cell)
    if scale == "speed":
        adam, other = (speed(results, cell, name) for name in names)
        return adam - other
    adam, other = (outcomes.returns(results.sweep(cell[0]), cell[1], name) for name in names)
    return logit(adam, LIMIT) - logit(other, LIMIT) if scale == "logit" else adam - other


def gaps_of(results: Results, cells: tuple[Cell, ...], scale: str) -> Array:
    """`[seeds]`: the gap (see `gap`), mean over cells."""
    return np.asarray(np.mean([gap(results, cell, scale) for cell in cells], axis=0))


def trio(results: Results, cell: Cell) -> Trio:
    """`[seeds]` each: the mean return of the better descent, of an untrained policy, and of Adam."""
    sweep, regime = results.sweep(cell[0]), cell[1]
    descent, adam = (outcomes.returns(sweep, regime, name) for name in (rival_of(results, cell), ADAM))
    return descent, outcomes.untrained(sweep.run(regime, ADAM)), adam
