"""What the studies of learning share: episodes, thresholds, baselines, and where the grids of rates lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.lab.sweep import Objective, SweepResult

EPISODES = 8
"""Whole episodes an update on CartPole-v1 and Acrobot-v1."""
LIMIT = 500.0
"""The longest return of CartPole-v1."""
LEARNED = 100.0
"""A return of CartPole's training episodes that is counted as reached: a random policy has 22."""
UNUSED = {"evaluation_episodes": 1}
"""What is compared are the training episodes."""
BASELINES: Mapping[str, str] = {"none": "no baseline", "loo": "leave-one-out"}
"""The two that are set beside each other, with their words."""

ADAM = "Adam"
DESCENT = "Gradient descent"
DESCENTS = (DESCENT, "Momentum")
RATES: Mapping[str, tuple[float, float]] = {
    DESCENT: (3.16e-4, 3.17e-3),
    "Momentum": (1e-4, 1e-3),
    "RMSProp": (1e-3, 3.17e-2),
    ADAM: (1e-2, 1e-1),
    "AMSGrad": (1e-2, 1e-1),
    "Sign descent": (1e-2, 1e-1),
}
"""Where grids of rates begin and end on CartPole-v1; one is widened where its best rate lies on an edge."""
OBJECTIVE = Objective(
    "field/return", at="mean", higher=True, across="mean", label="mean return over training"
)


def best_of(result: SweepResult, regime: str, names: Sequence[str]) -> str:
    """The best on the tuning seeds, so that the choice does not favour it on the reporting seeds."""
    return max(names, key=lambda name: float(np.max(result.tuned[regime, name].scores)))
