"""Shares of a gain: how much of what one variant gains over another a third one gains too."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats as scipy_stats

from core.lab import stats
from core.lab.experiment import Array


def share_of_gain(control: Array, base: Array, full: Array) -> stats.Interval:
    """(mean control - mean base) / (mean full - mean base) over paired seeds, with a percentile-bootstrap
    interval: 1 for a control that is as good as `full`, 0 for one that is no better than `base`.

    Args:
        control, base, full: `[seeds]`, finite. Whether more is better plays no part.

    Returns:
        The share and the ends of its interval; NaN where `full` gains nothing that could be shared.
    """
    if full.mean() == base.mean():
        return math.nan, math.nan, math.nan

    def share(control: Array, base: Array, full: Array, axis: int = -1) -> Array:
        gain = np.asarray(control.mean(axis=axis) - base.mean(axis=axis))
        return np.asarray(gain / (full.mean(axis=axis) - base.mean(axis=axis)))

    with np.errstate(divide="ignore", invalid="ignore"):
        samples = scipy_stats.bootstrap(
            (control, base, full),
            share,
            paired=True,
            vectorized=True,
            n_resamples=stats.RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(7),
        )
        estimate = float(share(control, base, full))
    return estimate, float(samples.confidence_interval.low), float(samples.confidence_interval.high)


def logit(returns: Array, limit: float) -> Array:
    """The logit of return / limit `[...]`, clipped to [0.001, 0.999]: a scale without a ceiling, on which a
    gain near the limit counts as much as one at the start.
    """
    share = np.clip(returns / limit, 1e-3, 1 - 1e-3)
    return np.asarray(np.log(share / (1 - share)))
