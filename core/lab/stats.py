"""Statistics of replicas: centres, bootstrap intervals, paired differences, probability of improvement.

After Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice":
interquartile means with stratified bootstrap intervals, and comparisons that survive outliers. Built on
`scipy.stats`. A replica that failed carries an infinite value; every function says what it makes of one.
Intervals are deterministic: the resampling is seeded by the data's own length, never by global state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, cast

import numpy as np
from scipy import stats as scipy_stats

from core.lab.experiment import Array

Centre = Literal["iqm", "median", "mean"]
Interval = tuple[float, float, float]
"""(estimate, low, high)"""

RESAMPLES = 2000
CURVE_RESAMPLES = 500
"""Of a curve, whose band is only drawn."""
LEVEL = 0.95
_IN_CACHE = 30_000
"""Resampled values that a processor keeps at hand."""
_AT_ONCE = 1_000_000
"""Resampled values in memory, where a test takes many rows at once."""


def _centres(samples: Array, how: Centre) -> Array:
    """The centres `[...]` of samples `[..., n]`, whose values are put in order where they lie: a copy of many
    resamples takes as long as to sort them."""
    if how == "mean":
        return cast("Array", samples.mean(axis=-1))
    samples.sort(axis=-1)
    n = samples.shape[-1]
    # An infinite value counts only if it lies inside the middle half.
    cut = int(0.25 * n) if how == "iqm" else (n - 1) // 2
    return cast("Array", samples[..., cut : n - cut].mean(axis=-1))


def centre(values: Array, how: Centre = "iqm") -> float:
    """The interquartile mean, median or mean of finite or infinite values `[n]`.

    Raises:
        ValueError: without values, or with one that is not a number.
    """
    if len(values) == 0 or np.isnan(values).any():
        raise ValueError("a centre needs at least one value, and no NaN")
    with np.errstate(invalid="ignore", over="ignore"):
        result = float(_centres(np.array(values, dtype=np.float64), how))
    # inf - inf in a median or mean of values of both signs: nothing can be said, so the worst is.
    return float("inf") if np.isnan(result) else result


def _generator(*sizes: int) -> np.random.Generator:
    return np.random.default_rng([7, *sizes])


def _resampled(strata: Sequence[Array], resamples: int) -> Array:
    """`[resamples, n]`: each stratum resampled by itself, laid side by side."""
    drawn = _draws(tuple(len(s) for s in strata), resamples)
    parts = [s[index] for s, index in zip(strata, drawn, strict=True)]
    # To copy one part would take longer than to draw it.
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


@lru_cache(maxsize=64)
def _draws(sizes: tuple[int, ...], resamples: int) -> tuple[Array, ...]:
    """Indices `[resamples, n]` into strata of these sizes; they depend on nothing else."""
    rng = _generator(*sizes)
    return tuple(rng.integers(0, n, (resamples, n)) for n in sizes)


def _percentiles(samples: Array, level: float) -> tuple[Array, Array]:
    """Both ends `[...]` of samples `[..., n]`, not interpolated: between a finite and an infinite value there
    is nothing."""
    tail, last = (1.0 - level) / 2.0, samples.shape[-1] - 1
    # What numpy's `quantile` gives by the methods `lower` and `higher`, at a fifth of its time.
    ordered = np.sort(samples, axis=-1)
    return ordered[..., math.floor(last * tail)], ordered[..., math.ceil(last * (1.0 - tail))]


def _with_ends(estimate: float, samples: Array, level: float) -> Interval:
    low, high = _percentiles(samples, level)
    return estimate, float(low), float(high)


def interval(
    values: Array | Sequence[Array], how: Centre = "iqm", *, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """A centre with its stratified percentile-bootstrap interval.

    Args:
        values: one sample `[n]`, or a sequence of samples (strata: tasks, regimes) that are resampled each by
            itself.
        how: `iqm`, `median` or `mean`.

    A constant sample has an interval of no width. Infinite values are resampled like others, so an interval
    reaches infinity when the share of failures makes that plausible.

    Raises:
        ValueError: with fewer than two values in a stratum, or with NaN.
    """
    strata = [np.asarray(values)] if isinstance(values, np.ndarray) else [np.asarray(v) for v in values]
    strata = [s.astype(np.float64) for s in strata]
    if any(len(s) < 2 for s in strata):
        raise ValueError("an interval needs at least two values in each stratum")
    estimate = centre(np.concatenate(strata), how)
    samples = _resampled(strata, resamples)
    with np.errstate(invalid="ignore", over="ignore"):
        centres = _centres(samples, how)
    centres = np.where(np.isnan(centres), np.inf, centres)
    return _with_ends(estimate, centres, level)


def differences(a: Array, b: Array) -> Array:
    """a - b pair by pair, each `[n]`; 0 where both failed alike, plus or minus infinity where one failed.

    Raises:
        ValueError: if the samples are not paired.
    """
    if a.shape != b.shape:
        raise ValueError(f"paired samples have one length, got {a.shape} and {b.shape}")
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(a == b, 0.0, a - b)


def paired_difference(
    a: Array, b: Array, how: Centre = "iqm", *, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """The centre of a - b over pairs (`[n]` each; same seed, same randomness), with its bootstrap interval.

    A pair in which both failed differs by nothing; a pair in which one failed differs by plus or minus
    infinity.

    Raises:
        ValueError: if the samples are not paired.
    """
    return interval(differences(a, b), how, level=level, resamples=resamples)


def ratio(a: Array, b: Array, how: Centre = "iqm", *, level: float = LEVEL) -> Interval:
    """The centre of a / b over pairs (`[n]` each), taken in logarithms, with its interval; failures
    (infinite) lose to all others.

    A pair in which both failed has ratio 1.
    """
    with np.errstate(divide="ignore"):
        logs = paired_difference(np.log10(a), np.log10(b), how, level=level)
    low, mid, high = (float(np.power(10.0, x)) for x in (logs[1], logs[0], logs[2]))
    return mid, low, high


def probability_of_improvement(
    a: Array, b: Array, *, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """P(a < b) + P(a = b) / 2 for independent draws of a `[n]` and b `[m]` (lower is better), with its
    bootstrap interval.

    Defined also when replicas failed: an infinite value loses to every finite one and ties with another.

    Raises:
        ValueError: without values on a side, or with NaN.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if min(len(a), len(b)) == 0 or np.isnan(a).any() or np.isnan(b).any():
        raise ValueError("a probability of improvement needs at least one value on each side, and no NaN")
    wins = (a[:, None] < b[None, :]) + 0.5 * (a[:, None] == b[None, :])
    rows, columns = _shares(len(a), len(b), resamples)
    # Mean over resampled rows and columns, as counts: one product instead of `resamples` gathers.
    samples = np.einsum("ri,ij,rj->r", rows, wins, columns, optimize=True)
    return _with_ends(float(wins.mean()), samples, level)


def paired_probability(a: Array, b: Array, *, level: float = LEVEL, resamples: int = RESAMPLES) -> Interval:
    """P(a < b) + P(a = b) / 2 within pairs (`[n]` each; same seed, same start; lower is better), with its
    bootstrap interval over pairs.

    A pair in which both failed is a tie.

    Raises:
        ValueError: if the samples are not paired, or with NaN.
    """
    difference = differences(a, b)
    if np.isnan(difference).any():
        raise ValueError("a probability over pairs needs values that are numbers")
    return interval(0.5 - 0.5 * np.sign(difference), "mean", level=level, resamples=resamples)


@lru_cache(maxsize=16)
def _shares(rows: int, columns: int, resamples: int) -> tuple[Array, Array]:
    """How often each of so many rows and columns is drawn in each of the resamples, as shares: `[resamples,
    rows]` and `[resamples, columns]`."""
    rng = _generator(rows, columns)

    def drawn(size: int) -> Array:
        index = rng.integers(0, size, (resamples, size)) + size * np.arange(resamples)[:, None]
        counts = np.bincount(index.ravel(), minlength=resamples * size)
        return cast("Array", counts.reshape(resamples, size) / size)

    return drawn(rows), drawn(columns)


def proportion(events: Array, *, level: float = LEVEL) -> Interval:
    """The share of true `events` `[n]` with its Wilson (1927) interval, which is right also at 0 and 1."""
    count, total = int(np.sum(events)), len(events)
    return (count / total, *_wilson(count, total, level))


@lru_cache(maxsize=1024)
def _wilson(count: int, total: int, level: float) -> tuple[float, float]:
    ci = scipy_stats.binomtest(count, total).proportion_ci(level, method="wilson")
    return float(ci.low), float(ci.high)


def curve_interval(curves: Array, how: Centre = "iqm", *, level: float = LEVEL) -> tuple[Array, Array, Array]:
    """Centre and interval at each recorded step of `[R, T]`; a replica that diverged (NaN) counts as the
    worst: +inf."""
    values = np.where(np.isnan(curves), np.inf, np.asarray(curves, dtype=np.float64))
    (index,) = _draws((len(values),), CURVE_RESAMPLES)
    columns = np.ascontiguousarray(values.T)
    centres = np.empty((len(columns), CURVE_RESAMPLES))
    with np.errstate(invalid="ignore", over="ignore"):
        estimate = _centres(columns.copy(), how)
        # Some steps at once: memory for all would have to be found anew, one a step takes much of the time.
        for first in range(0, len(columns), step := max(1, _IN_CACHE // index.size)):
            some = slice(first, first + step)
            centres[some] = _centres(np.take(columns[some], index, axis=1), how)
    estimate, centres = (np.where(np.isnan(x), np.inf, x) for x in (estimate, centres))
    return (estimate, *_percentiles(centres, level))


def spearman(a: Array, b: Array) -> Array:
    """Spearman's rank correlation along the last axis, row by row: `[..., n]` and `[..., n]` to `[...]`.

    0 where one side is constant: ranks that do not differ order nothing.
    """
    ranks = [scipy_stats.rankdata(np.asarray(x, dtype=np.float64), axis=-1) for x in (a, b)]
    x, y = (r - r.mean(axis=-1, keepdims=True) for r in ranks)
    scale = np.sqrt((x**2).sum(axis=-1) * (y**2).sum(axis=-1))
    result: Array = np.divide((x * y).sum(axis=-1), scale, out=np.zeros_like(scale), where=scale > 0)
    return result


def adjusted(p_values: Array, *, method: Literal["bh", "by"] = "by") -> Array:
    """P-values `[n]` with false discovery controlled (Benjamini and Yekutieli 2001: any dependence), by
    scipy."""
    return np.asarray(scipy_stats.false_discovery_control(np.asarray(p_values), method=method))


def sign_flip_p(differences: Array, *, resamples: int = 9999) -> Array:
    """Two-sided p-values `[...]` of paired differences `[..., n]` by random sign flips of their signed ranks
    (scipy's permutation test), for many comparisons: each row by itself, and all by the same flips."""
    values = np.asarray(differences, dtype=np.float64)
    result = scipy_stats.permutation_test(
        (np.sign(values) * scipy_stats.rankdata(np.abs(values), axis=-1),),
        np.mean,
        permutation_type="samples",
        n_resamples=resamples,
        batch=max(1, _AT_ONCE // max(1, values.size)),
        rng=_generator(values.shape[-1]),
        axis=-1,
    )
    return np.asarray(result.pvalue)
