"""Defects planted at random in good prices, several at once, are each found by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.lab.errors import VhatError
from finance.prices import Prices, Source
from finance.quality import check_quality, require_quality
from tests import tally

T, TICKERS = 150, ("A", "B", "C", "D")


def good(seed: int) -> Prices:
    """Geometric random walks of 1 % a day, on weekdays."""
    rng = np.random.default_rng(seed)
    dates = np.busday_offset("2021-01-04", np.arange(T), roll="forward")
    # No day's own move passes `Limits.split_tolerance`: nobody could tell a split on such a day from a move.
    moves = 0.01 * np.clip(rng.standard_normal((T, len(TICKERS))), -2.5, 2.5)
    close = 50.0 * np.exp(moves.cumsum(axis=0))
    return Prices(dates, TICKERS, close, Source("planted", "not adjusted"))


def put(prices: Prices, rows: slice, column: int, value: float) -> Prices:
    close = prices.close.copy()
    close[rows, column] = value
    return replace(prices, close=close)


def missing(prices: Prices, day: int, column: int) -> Prices:
    return put(prices, slice(day, day + 2), column, np.nan)


def non_positive(prices: Prices, day: int, column: int) -> Prices:
    return put(prices, slice(day, day + 1), column, -0.0 if day % 2 else -1.5)


def stale(prices: Prices, day: int, column: int) -> Prices:
    return put(prices, slice(day, day + 15), column, float(prices.close[day, column]))


def jump(prices: Prices, day: int, column: int) -> Prices:
    close = prices.close.copy()
    close[day:, column] *= (2.0, 0.5, 100.0, 0.01, 8.0)[day % 5]
    return replace(prices, close=close)


def duplicate(prices: Prices, day: int, column: int) -> Prices:
    rows = np.r_[0 : day + 1, day : len(prices.dates)]
    return replace(prices, dates=prices.dates[rows], close=prices.close[rows])


def gap(prices: Prices, day: int, column: int) -> Prices:
    rows = np.r_[0:day, day + 8 : len(prices.dates)]
    return replace(prices, dates=prices.dates[rows], close=prices.close[rows])


ONE_TICKER: dict[str, Callable[[Prices, int, int], Prices]] = {
    "missing": missing,
    "non-positive": non_positive,
    "stale": stale,
    "jump": jump,
}
ALL_TICKERS: dict[str, Callable[[Prices, int, int], Prices]] = {"duplicate": duplicate, "gap": gap}
KINDS = st.dictionaries(
    st.integers(0, len(TICKERS) - 1), st.tuples(st.sampled_from(sorted(ONE_TICKER)), st.integers(5, 110))
)
WHOLE = st.sets(st.sampled_from(sorted(ALL_TICKERS)))


def each_is_found(seed: int, by_ticker: dict[int, tuple[str, int]], whole: set[str]) -> None:
    prices, planted = good(seed), set()
    for column, (kind, day) in by_ticker.items():
        prices = ONE_TICKER[kind](prices, day, column)
        planted.add(f"{kind}:{TICKERS[column]}")
    # Beyond the days on which single tickers were changed.
    for kind, day in zip(sorted(whole), (128, 134), strict=False):
        prices = ALL_TICKERS[kind](prices, day, 0)
        planted.add(kind)
    found = {d.name for d in check_quality(prices)}
    assert planted <= found, planted - found
    if planted:
        with pytest.raises(VhatError) as caught:
            require_quality(prices)
        assert str(caught.value).isprintable()
    tally.kept("planted defects in prices", len(planted))


@given(seed=st.integers(0, 2**32), by_ticker=KINDS, whole=WHOLE)
@settings(max_examples=40)
def test_planted_defects_are_found(seed: int, by_ticker: dict[int, tuple[str, int]], whole: set[str]) -> None:
    each_is_found(seed, by_ticker, whole)


@pytest.mark.soak
@given(seed=st.integers(0, 2**32), by_ticker=KINDS, whole=WHOLE)
@settings(max_examples=2000)
def test_many_planted_defects_are_found(
    seed: int, by_ticker: dict[int, tuple[str, int]], whole: set[str]
) -> None:
    each_is_found(seed, by_ticker, whole)
