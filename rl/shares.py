"""Shares of a gain: how much of what one variant gains over another a third one gains too."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


Trio = tuple[Array, Array, Array]
"""Returns `[seeds]` of a control, of the base and of the full variant."""


def change_of_share(less: Sequence[Trio], more: Trio) -> stats.Interval:
    """The share of a gain (see `share_of_gain`), mean over some settings, less that in another, over paired
    seeds, with a percentile-bootstrap interval.

    Returns:
        NaN where in one of the settings the whole interval of what `full` gains over `base` does not lie
        above 0: of nothing there is no share.
    """
    trios = [*less, more]
    if any(stats.paired_difference(full, base, "mean")[1] <= 0.0 for _, base, full in trios):
        return math.nan, math.nan, math.nan
    values = np.array(trios, dtype=np.float64)  # [settings, 3, seeds]

    def change(means: Array) -> Array:
        control, base, full = means[:, 0], means[:, 1], means[:, 2]
        shares = (control - base) / (full - base)
        return np.asarray(shares[:-1].mean(axis=0) - shares[-1])

    drawn = np.random.default_rng(7).integers(0, values.shape[2], (stats.RESAMPLES, values.shape[2]))
    samples = change(values[:, :, drawn].mean(axis=-1))
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(change(values.mean(axis=-1))), float(low), float(high)


def logit(returns: Array, limit: float) -> Array:
    """The logit of return / limit `[...]`, clipped to [0.001, 0.999]: a scale without a ceiling, on which a
    gain near the limit counts as much as one at the start.
    """
    share = np.clip(returns / limit, 1e-3, 1 - 1e-3)
    return np.asarray(np.log(share / (1 - share)))
