"""Moments of thousands of overlapping windows at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.lab.errors import VhatError
from finance.prices import Floats


@dataclass(frozen=True, eq=False)
class RollingMoments:
    """Moments of W windows.

    Attributes:
        ends: `[W]`, how many days of returns lie before the end of each window (its last day is `ends - 1`).
        mean: `[W, N]`, per day.
        covariance: `[W, N, N]`, unbiased, per day.
    """

    ends: np.ndarray[tuple[int, ...], np.dtype[np.intp]]
    mean: Floats
    covariance: Floats


def rolling_moments(returns: Floats, window: int, step: int = 1) -> RollingMoments:
    """Sample mean and covariance of every window of `window` days that begins at day 0, step, 2 step ...

    Days are summed in blocks of g = gcd(window, step) days; a window is the end of one run of window/g blocks
    and the beginning of the next, whose cumulative sums are taken from the run's end backwards and from its
    beginning on (van Herk 1992; Gil and Werman 1993, there for maxima). So the cost of a window does not
    depend on its length, and nothing is subtracted: a crash outside a window leaves no rounding inside it.
    Returns are centred first, so that a mean far from zero costs no digits. Memory: T/g + 2W matrices.

    Args:
        returns: `[T, N]`, finite.
        window: days of a window, at least two.
        step: days between two windows.

    Raises:
        VhatError: for a window or a step that does not fit.
    """
    returns = np.asarray(returns, dtype=np.float64)
    days, assets = returns.shape
    if not 2 <= window <= days or step < 1:
        raise VhatError(
            f"a window of {window} days in steps of {step} does not fit {days} days of returns "
            "(two days at least, a step of one day at least)"
        )
    block = math.gcd(window, step)
    centre = returns.mean(axis=0)
    used = days // block * block
    blocks = (returns[:used] - centre).reshape(-1, block, assets)
    starts = np.arange(0, days - window + 1, step)
    length = window // block
    sums = _sliding(blocks.sum(axis=1), starts // block, length)
    mean = sums / window
    # The upper triangle only: half the work, and exactly symmetric.
    row, column = np.triu_indices(assets)
    if block == 1:
        products = _pairs(blocks[:, 0], blocks[:, 0])
    else:
        products = (blocks.transpose(0, 2, 1) @ blocks)[:, row, column]
    upper = _sliding(products, starts // block, length)
    upper -= _pairs(sums, mean)
    upper /= window - 1
    place = np.empty((assets, assets), dtype=np.intp)
    place[row, column] = place[column, row] = np.arange(len(row))
    covariance = np.take(upper, place.ravel(), axis=1).reshape(-1, assets, assets)
    return RollingMoments(starts + window, mean + centre, covariance)


def _pairs(a: Floats, b: Floats) -> Floats:
    """Products a_i b_j `[W, N (N + 1) / 2]` for i <= j, in the order of numpy's `triu_indices`."""
    count, assets = a.shape
    out = np.empty((count, assets * (assets + 1) // 2))
    begin = 0
    for i in range(assets):
        np.multiply(a[:, i : i + 1], b[:, i:], out=out[:, begin : begin + assets - i])
        begin += assets - i
    return out


def _sliding(values: Floats, starts: np.ndarray[tuple[int, ...], np.dtype[np.intp]], length: int) -> Floats:
    """Sums `[W, C]` of `length` rows of `[B, C]` from each start on."""
    if length == 1:
        return values[starts]
    runs = -(-len(values) // length)
    padded = np.zeros((runs * length, values.shape[1]))
    padded[: len(values)] = values
    head = padded.copy()
    forwards, backwards = (array.reshape(runs, length, -1) for array in (head, padded))
    for i in range(1, length):  # numpy's own cumulative sum along a middle axis is many times slower
        forwards[:, i] += forwards[:, i - 1]
        backwards[:, length - 1 - i] += backwards[:, length - i]
    # The first row of a run is the whole run, to which nothing comes from the next.
    head[length - 1 :: length] = 0.0
    if len(starts) > 1 and starts[1] - starts[0] > 1:
        out: Floats = padded[starts] + head[starts + length - 1]
        return out
    return padded[starts[0] : starts[-1] + 1] + head[length - 1 : starts[-1] + length]
