"""What the study `equilibrium` compares, where, and how a learning rate is chosen; plain data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.lab import stats
from core.lab.experiment import Array
from core.lab.study import Results
from core.lab.sweep import Regime
from core.lab.variant import Grid, Variant
from core.optim.play import Alternating, Extragradient, Optimistic
from core.optim.schedules import InverseSquareRoot
from games.joint import Joint
from games.simplex import MatrixGame
from games.studies.method_map import FLOOR

_SOFT = {"parametrisation": "softmax"}
_RANDOM = {"payoff": "random", "actions": (5, 5), "seed": 3}
REGIMES = (
    Regime("rock-paper-scissors, projection", MatrixGame, {}),
    Regime("rock-paper-scissors, softmax", MatrixGame, _SOFT),
    Regime("random 5 x 5, projection", MatrixGame, _RANDOM),
    Regime("random 5 x 5, softmax", MatrixGame, {**_RANDOM, **_SOFT}),
    Regime(
        "random 5 x 5, projection, noise", MatrixGame, {**_RANDOM, "noise": "additive", "noise_scale": 0.3}
    ),
)
RATES = Grid.between(3.1e-4, 32.0).values()
ITERATES = ("last", "average")
METHODS = (
    Variant("GDA", "sgd"),
    Variant("Adam", "adam"),
    Variant("Adam, beta1 = 0", "adam", {"beta1": 0.0}, control=True, note="removes momentum"),
    Variant("Adam, alternating", "adam", play=Alternating()),
    Variant("Adam with lr decay", "adam", schedule=InverseSquareRoot()),
    Variant("GDA with lr decay", "sgd", schedule=InverseSquareRoot(), control=True, note="lr decay alone"),
    Variant("RMSProp", "rmsprop", control=True, note="no momentum, shorter memory"),
    Variant("AMSGrad", "amsgrad", control=True, note="v cannot fall"),
    Variant("Adam, shared v", "adam_shared_v", play=Joint(), control=True, note="one v: no scaling"),
    Variant(
        "Adam, beta1 = 0, shared v",
        "adam_shared_v",
        {"beta1": 0.0},
        play=Joint(),
        control=True,
        note="one v, no momentum",
    ),
    Variant("Sign descent", "signsgd", control=True, note="removes memory"),
    Variant(
        "Normalised descent", "normalized_sgd", play=Joint(), control=True, note="only the field's length"
    ),
    Variant("GDA, alternating", "sgd", play=Alternating()),
    Variant("Optimistic GDA", "sgd", play=Optimistic()),
    Variant("Extragradient", "sgd", play=Extragradient()),
    Variant("Adam, beta1 = 0, optimistic", "adam", {"beta1": 0.0}, play=Optimistic()),
)
BY_NAME = {v.name: v for v in METHODS}
REGIME = {r.name: r for r in REGIMES}


@dataclass(frozen=True)
class Tuned:
    """A method at the rate that was best for one kind of iterate on the tuning seeds, on the other seeds.

    Attributes:
        lr: the rate.
        edge: True where it lies on the edge of the grid.
        lowest: True where it is the lowest of the grid.
        final: exploitability at the end, `[S]`.
        distance: to the equilibrium at the end, `[S]`.
        curve: exploitability `[S, T]`, at `steps`.
        steps: `[T]`, training steps.
        tuning: exploitability at the end on the tuning seeds, `[L, S]`, at every rate.
    """

    lr: float
    edge: bool
    lowest: bool
    final: Array
    distance: Array
    curve: Array
    steps: Array
    tuning: Array


def tuned(results: Results, regime: str, method: str, iterate: str) -> Tuned:
    """Choose the rate by the interquartile mean on the first seeds, report on those that follow."""
    arrays = results.measurement("exploitability").only(regime=regime, method=method)
    first = results.plan.tuning_seeds
    # A run that diverged is the worst.
    gaps = np.nan_to_num(arrays[f"{iterate} exploitability"], nan=np.inf)
    best = int(np.argmin([stats.centre(gaps[:first, i, -1]) for i in range(len(RATES))]))
    distances = np.nan_to_num(arrays[f"{iterate} distance"], nan=np.inf)
    return Tuned(
        RATES[best],
        best in (0, len(RATES) - 1),
        best == 0,
        np.maximum(gaps[first:, best, -1], FLOOR),
        distances[first:, best, -1],
        np.maximum(gaps[first:, best], FLOOR),
        arrays["step"][0],
        np.maximum(gaps[:first, :, -1].T, FLOOR),
    )
