"""What can be wrong with daily prices, found by name, so that nothing bad goes on silently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from core.lab.errors import VhatError, nearest
from finance.prices import Days, Floats, Prices

Kind = Literal[
    "missing", "span", "gap", "sparse", "duplicate", "zone", "non-positive", "stale", "jump", "short"
]


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong.

    Attributes:
        kind: which check found it.
        ticker: the ticker concerned; None when all are.
        day: where it (first) shows, ISO; None when it has no day.
        detail: what was seen.
    """

    kind: Kind
    ticker: str | None
    day: str | None
    detail: str

    @property
    def name(self) -> str:
        """What a person writes to accept it: `jump:RRC`, or `gap` when it concerns all tickers."""
        return self.kind if self.ticker is None else f"{self.kind}:{self.ticker}"

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


@dataclass(frozen=True)
class Limits:
    """From where on something counts as a defect.

    Attributes:
        gap_days: calendar days between two neighbouring days, or between the day asked for and the first or
            last one there; the longest closure of New York's exchange since 1990 took seven (September 2001).
        absent_share: share of a week's trading days without any price. Holidays are 4 in 100 in New York, 7
            in Tokyo; a week of four days lacks 20, weekly prices lack 80, and neither are daily returns.
        stale_days: days in a row on which a price does not move at all.
        split_factors: a one-day factor this near (see `split_tolerance`), up or down, looks like a split that
            was not adjusted for. Real days come close: AAPL fell to 0.4815 of its price on 2000-09-29. Splits
            of 3 to 2 are not looked for: three real days of the embedded companies look like one.
        split_tolerance: the market's own move on that day, as a difference of logarithms.
        extreme_factor: a one-day factor from here on is taken for a split or a change of unit, whatever it
            is.
        weekend_share: from this share of days on a Sunday and hardly any on a Friday (or on a Saturday and
            hardly any on a Monday), days look shifted by a time zone: a midnight of Tokyo, written in
            universal time, falls on the day before.
        min_days: fewer days are too short a history; more than twice as many days as tickers are needed as
            well.
    """

    gap_days: int = 7
    absent_share: float = 0.1
    stale_days: int = 10
    split_factors: tuple[float, ...] = (2.0, 3.0, 4.0, 5.0)
    split_tolerance: float = 0.03
    extreme_factor: float = 6.0
    weekend_share: float = 0.1
    min_days: int = 60


DEFAULT_LIMITS = Limits()


def check_quality(prices: Prices, limits: Limits = DEFAULT_LIMITS) -> tuple[Defect, ...]:
    """All defects of the prices, in the order of `Kind`."""
    return (
        *_missing(prices),
        *_spans(prices, limits),
        *_gaps(prices, limits),
        *_sparse(prices, limits),
        *_duplicates(prices),
        *_zones(prices, limits),
        *_non_positive(prices),
        *_stale(prices, limits),
        *_jumps(prices, limits),
        *_short(prices, limits),
    )


def require_quality(prices: Prices, allow: Sequence[str] = (), limits: Limits = DEFAULT_LIMITS) -> Prices:
    """The prices to go on with, when they have no defect but accepted ones.

    `allow` names what is accepted: a kind (`"jump"`) or one ticker's (`"jump:RRC"`). Accepting has a defined
    effect: of a duplicate day the last line is kept; a day on which a price is missing or not positive is
    left out for all tickers; all else goes on as it is. What is left is checked again: days left out can make
    a gap, and what moved in it a jump. The result's source says what was accepted.

    Raises:
        VhatError: for a defect that is not accepted, naming it and how to accept it, whether it was there or
            came by leaving out days; for an unknown name in `allow`; when fewer than two days are left.
    """
    for name in allow:
        kind, _, ticker = name.partition(":")
        if kind not in get_args(Kind):
            raise VhatError(nearest(kind, get_args(Kind), kind="defect"))
        if ticker and ticker not in prices.tickers:
            raise VhatError(nearest(ticker, prices.tickers, kind="ticker"))
    found = check_quality(prices, limits)
    _refuse(prices, found, allow)
    if not found:
        return prices
    accepted = _named(allow, found)
    keep = np.append(prices.dates[1:] != prices.dates[:-1], True) & _usable(prices.close).all(axis=1)
    if keep.sum() < 2:
        raise VhatError(
            f"{prices.source.name}: with {', '.join(accepted)} accepted, fewer than two days are left"
        )
    kept = replace(
        prices,
        dates=prices.dates[keep],
        close=prices.close[keep],
    )
    left = check_quality(kept, limits)
    _refuse(kept, left, allow, f"with {', '.join(accepted)} accepted and such days left out, ")
    return replace(kept, source=replace(prices.source, accepted=_named(allow, (*found, *left))))


def _named(allow: Sequence[str], found: Sequence[Defect]) -> tuple[str, ...]:
    """Those of the accepted names that stand for a defect that is there."""
    return tuple(name for name in allow if any(name in (d.kind, d.name) for d in found))


def _refuse(prices: Prices, found: Sequence[Defect], allow: Sequence[str], after: str = "") -> None:
    defects = [d for d in found if d.kind not in allow and d.name not in allow]
    if defects:
        more = f" (and {len(defects) - 1} more)" if len(defects) > 1 else ""
        names = " ".join(dict.fromkeys(d.name for d in defects))
        raise VhatError(f"{prices.source.name}: {after}{defects[0]}{more}; to accept: --allow {names}")


def _usable(close: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.isfinite(close) & (close > 0)


def _columns(prices: Prices) -> Iterator[tuple[str, Days, Floats]]:
    """Each ticker with the days that have a usable price, and those prices."""
    for column, ticker in enumerate(prices.tickers):
        there = _usable(prices.close[:, column])
        yield ticker, prices.dates[there], prices.close[there, column]


def _missing(prices: Prices) -> Iterator[Defect]:
    # The second line of a duplicate day is that defect's matter: here a day counts as priced if one line has
    # a price.
    days, row = np.unique(prices.dates, return_inverse=True)
    for column, ticker in enumerate(prices.tickers):
        priced = np.zeros(len(days), dtype=bool)
        np.logical_or.at(priced, row, np.isfinite(prices.close[:, column]))
        absent = np.flatnonzero(~priced)
        if len(absent):
            day = str(days[absent[0]])
            detail = f"no price on {len(absent)} of {len(days)} days, first on {day}"
            if priced.any() and (late := int(np.argmax(priced))):
                detail += f" (its first price is of {days[late]})"
            yield Defect("missing", ticker, day, detail)


def _spans(prices: Prices, limits: Limits) -> Iterator[Defect]:
    (first, last), (start, end) = prices.asked, prices.span
    if not start:
        return
    lacks = []
    if first and (prices.dates[0] - np.datetime64(first, "D")).astype(int) > limits.gap_days:
        lacks.append(f"asked for from {first}, prices begin on {start}")
    if last and (np.datetime64(last, "D") - prices.dates[-1]).astype(int) > limits.gap_days:
        lacks.append(f"asked for up to {last}, prices end on {end}")
    if lacks:
        yield Defect("span", None, start if "begin" in lacks[0] else end, "; ".join(lacks))


def _gaps(prices: Prices, limits: Limits) -> Iterator[Defect]:
    wide = np.diff(prices.dates).astype(np.int64)
    for i in np.flatnonzero(wide > limits.gap_days):
        before, after = prices.dates[i], prices.dates[i + 1]
        yield Defect(
            "gap", None, str(before), f"no day at all between {before} and {after} ({wide[i]} days apart)"
        )


def _sparse(prices: Prices, limits: Limits) -> Iterator[Defect]:
    # The ticker with most days stands for all: what others lack beside it is missing.
    days = max((np.unique(days) for _, days, _ in _columns(prices)), key=len)
    if not len(days):
        return
    span = np.arange(days[0], days[-1] + 1)
    there, could = (np.bincount(_weekday(some), minlength=7) for some in (days, span))
    # The five days in a row on which most prices fall are the trading week (Sunday to Thursday in the Gulf);
    # all seven where other days are as usual.
    weeks = [np.roll(np.arange(7) < 5, shift) for shift in range(7)]
    week = max(weeks, key=lambda some: int(there[some].sum()))
    if bool((2 * there[~week] > could[~week]).any()):
        week = np.ones(7, dtype=bool)
    absent, expected = int((could - there)[week].sum()), int(could[week].sum())
    if absent > limits.absent_share * expected:
        detail = (
            f"no price on {absent} of {expected} trading days ({100 * absent / expected:.0f}%): "
            "not daily prices, but they would be read as daily"
        )
        yield Defect("sparse", None, str(days[0]), detail)


def _weekday(days: Days) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """0 for Monday to 6 for Sunday; 1970-01-01 was a Thursday."""
    out: np.ndarray[tuple[int, ...], np.dtype[np.int64]] = (days.astype(np.int64) + 3) % 7
    return out


def _duplicates(prices: Prices) -> Iterator[Defect]:
    days, counts = np.unique(prices.dates, return_counts=True)
    twice = days[counts > 1]
    if len(twice):
        yield Defect(
            "duplicate", None, str(twice[0]), f"{len(twice)} day(s) stand more than once, first {twice[0]}"
        )


def _zones(prices: Prices, limits: Limits) -> Iterator[Defect]:
    for ticker, days, _ in _columns(prices):
        if len(days) < 10:
            continue
        share = np.bincount(_weekday(days), minlength=7) / len(days)
        monday, friday, saturday, sunday = share[[0, 4, 5, 6]]
        few = 0.2 * limits.weekend_share
        if sunday >= limits.weekend_share and friday <= few:
            seen, cause = "Sundays and hardly ever on Fridays", "a day too early"
        elif saturday >= limits.weekend_share and monday <= few:
            seen, cause = "Saturdays and hardly ever on Mondays", "a day too late"
        else:
            continue
        first = days[_weekday(days) >= 5][0]
        detail = f"prices fall on {seen}, as when a time zone puts them {cause} (first on {first})"
        yield Defect("zone", ticker, str(first), detail)


def _non_positive(prices: Prices) -> Iterator[Defect]:
    for column, ticker in enumerate(prices.tickers):
        bad = np.flatnonzero(prices.close[:, column] <= 0)
        if len(bad):
            day, price = str(prices.dates[bad[0]]), prices.close[bad[0], column]
            yield Defect("non-positive", ticker, day, f"price {price:g} on {day} ({len(bad)} such day(s))")


def _stale(prices: Prices, limits: Limits) -> Iterator[Defect]:
    for ticker, days, close in _columns(prices):
        same = np.concatenate([[False], close[1:] == close[:-1], [False]])
        edges = np.flatnonzero(same[1:] != same[:-1])
        for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            if last - first >= limits.stale_days:
                detail = f"the price does not move from {days[first]} to {days[last]} ({last - first} days)"
                yield Defect("stale", ticker, str(days[first]), detail)


def _jumps(prices: Prices, limits: Limits) -> Iterator[Defect]:
    for ticker, days, close in _columns(prices):
        move = np.diff(np.log(close))
        for i in np.flatnonzero(np.abs(move) > np.log(min(limits.split_factors)) - limits.split_tolerance):
            size = abs(float(move[i]))
            near = min(limits.split_factors, key=lambda factor: abs(size - float(np.log(factor))))
            if size >= np.log(limits.extreme_factor):
                reading = "a split, or another unit"
            elif abs(size - np.log(near)) <= limits.split_tolerance:
                reading = f"a split of {near:g} to 1 {'undone' if move[i] > 0 else 'not adjusted for'}"
            else:
                continue
            ratio = close[i + 1] / close[i]
            detail = f"{close[i]:g} to {close[i + 1]:g} ({ratio:.4g} times) on {days[i + 1]}, like {reading}"
            yield Defect("jump", ticker, str(days[i + 1]), detail)


def _short(prices: Prices, limits: Limits) -> Iterator[Defect]:
    days, needed = len(np.unique(prices.dates)), max(limits.min_days, 2 * len(prices.tickers) + 1)
    if days < needed:
        yield Defect(
            "short",
            None,
            None,
            f"{days} days of prices, {needed} are needed for {len(prices.tickers)} tickers",
        )
