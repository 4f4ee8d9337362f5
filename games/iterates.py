"""Averages of a path's iterates."""

from __future__ import annotations

import numpy as np

from core.lab.experiment import Array


def average_iterates(points: Array) -> Array:
    """Of points `[R, T, D]`, start first: the mean over all iterates after the start up to each time (at time
    0: the start)."""
    means = np.cumsum(points, axis=1)
    means[:, 1:] = (means[:, 1:] - points[:, :1]) / np.arange(1, points.shape[1])[:, None]
    return means
