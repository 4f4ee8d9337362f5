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
from rl.shares import logit

EPISODES = 8
LIMIT = 500.0
"""The longest return of CartPole-v1."""
LEARNED = 100.0
"""A return of the training episodes that is counted as reached: a random policy has 22."""

WITHOUT = "no baseline"
BASELINES: Mapping[str, str] = {
    WITHOUT: "none",
    "running mean": "running",
    "leave-one-out": "loo",
    "value function": "value",
    "optimal constant": "optimal",
}
BATCHES = (2, 8, 32, 128)
"""Episodes an update, without a baseline: the dial of the noise, whose variance falls as 1 / episodes."""

ADAM = "Adam"
DESCENTS = ("Gradient descent", "Momentum")
_RULES = {"Gradient descent": "sgd", "Momentum": "momentum", ADAM: "adam"}
_RATES = {"Gradient descent": (3.16e-4, 3.17e-3), "Momentum": (1e-4, 1e-3), ADAM: (1e-2, 1e-1)}
"""Where each variant's grid begins and ends; it is widened where the best rate lies on an edge."""


def batch_name(episodes: int) -> str:
    """The regime's name."""
    return f"{episodes} episodes"


UNUSED = {"evaluation_episodes": 2}
"""What is compared are the training episodes."""
REGIMES = tuple(
    Regime(words, cartpole, {"episodes": EPISODES, "baseline": name, **UNUSED})
    for words, name in BASELINES.items()
)
DIAL = tuple(
    Regime(batch_name(episodes), cartpole, {"episodes": episodes, "baseline": "none", **UNUSED})
    for episodes in BATCHES
)


def variants(per_decade: int) -> tuple[Variant, ...]:
    """Adam and both descents."""
    return tuple(
        Variant(name, rule, lr=Grid.between(*_RATES[name], per_decade=per_decade))
        for name, rule in _RULES.items()
    )


def returns(results: Results, sweep: str, regime: str, variant: str) -> Array:
    """`[seeds]`: mean return over training; a diverged replica counts as a return of nothing."""
    values = results.sweep(sweep).values(regime, variant)
    return np.where(np.isfinite(values), values, 0.0)


def gaps_of(results: Results, sweep: str, regimes: tuple[str, ...], scale: str) -> Array:
    """`[seeds]`: the gap (see `gap`), mean over regimes."""
    return np.asarray(np.mean([gap(results, sweep, regime, scale) for regime in regimes], axis=0))


def best_descent(results: Results, sweep: str, regime: str) -> str:
    """The better of gradient descent and momentum on the tuning seeds."""
    tuned = results.sweep(sweep).tuned
    return max(DESCENTS, key=lambda name: float(np.max(tuned[regime, name].scores)))


def speed(results: Results, sweep: str, regime: str, variant: str) -> Array:
    """`[seeds]`: how fast training episodes came to return `LEARNED`, see `rl.outcomes.speed`."""
    return outcomes.speed(results.sweep(sweep).run(regime, variant), LEARNED)


def gap(results: Results, sweep: str, regime: str, scale: str) -> Array:
    """`[seeds]`: Adam less the better descent, both tuned, on a scale: `return`, `logit` or `speed`."""
    rival = best_descent(results, sweep, regime)
    if scale == "speed":
        adam, other = (speed(results, sweep, regime, name) for name in (ADAM, rival))
        return adam - other
    adam, other = (returns(results, sweep, regime, name) for name in (ADAM, rival))
    return logit(adam, LIMIT) - logit(other, LIMIT) if scale == "logit" else adam - other
