"""How cautious a portfolio is: its volatility, over how many assets its money is spread, and its risk."""

from __future__ import annotations

import numpy as np

from finance.moments import TRADING_DAYS
from finance.prices import Floats


def portfolio_volatility(weights: Floats, covariance: Floats) -> Floats:
    """sqrt(w·Cw), a year, `[...]` of weights `[..., N]` and a daily covariance `[N, N]`."""
    out: Floats = np.sqrt((weights * (weights @ covariance)).sum(axis=-1) * TRADING_DAYS)
    return out


def effective_number(shares: Floats) -> Floats:
    """1 / Σ s², `[...]` of shares `[..., N]` that sum to 1 (Herfindahl 1950): N where all are equal, 1 where
    one is all. Of weights it is the effective number of assets."""
    out: Floats = 1.0 / np.square(shares).sum(axis=-1)
    return out


def effective_bets(weights: Floats, covariance: Floats) -> Floats:
    """`effective_number` of the shares w_i (Cw)_i / w·Cw of the portfolio's variance, `[..., N]` to
    `[...]`."""
    each = weights * (weights @ covariance)
    return effective_number(each / each.sum(axis=-1, keepdims=True))


def at_levels(levels: Floats, gap: Floats, values: Floats) -> Floats:
    """What a falling path had at each level: values `[T]` where gap `[T]` first comes down to levels `[L]`,
    linear between recorded points; NaN where it never does."""
    below = gap <= levels[:, None]
    after = below.argmax(axis=1)
    before = np.maximum(after - 1, 0)
    fall = gap[before] - gap[after]
    share = np.divide(gap[before] - levels, fall, out=np.zeros(len(levels)), where=after > 0)
    found: Floats = (1.0 - share) * values[before] + share * values[after]
    return np.where(below.any(axis=1), found, np.nan)
