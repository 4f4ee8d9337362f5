"""What the study of learning curves, its verdict and its figures share."""

from __future__ import annotations

import numpy as np

from core.lab.experiment import Array
from core.lab.study import Results

EPISODES = 8
LIMIT = 500.0
"""The longest return of CartPole-v1."""


def returns(results: Results, regime: str, variant: str) -> Array:
    """`[seeds]`: mean return over training; a diverged replica counts as a return of nothing."""
    values = results.sweep("training").values(regime, variant)
    return np.where(np.isfinite(values), values, 0.0)
