"""Daily closing prices: the value that every source returns, and what a source is."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from core.lab.errors import VhatError, nearest

Day = str | datetime.date | np.datetime64
Days = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]
Series = tuple[Days, Floats]  # one ticker: days [T], closing prices [T]


@dataclass(frozen=True)
class Source:
    """Where prices come from.

    Attributes:
        name: the source, with its version or file.
        adjustment: what the closing prices are adjusted for.
        accepted: the defects that a person accepted by name (see `finance.quality`).
        fetched: the day on which they were fetched, or the first and the last one, ISO; empty for a file.
    """

    name: str
    adjustment: str
    accepted: tuple[str, ...] = ()
    fetched: str = ""


@dataclass(frozen=True, eq=False)
class Prices:
    """Closing prices of N tickers on T days.

    Attributes:
        dates: datetime64[D] `[T]`, in order of time; a day may stand twice (a defect that `finance.quality`
            names).
        tickers: the N column names, all different.
        close: float64 `[T, N]`, in the currency of each listing; NaN where there is no price.
        source: where they come from.
        asked: the first and the last day that were asked for, ISO; empty where the source's own was meant.

    Raises:
        VhatError: when shapes disagree, a ticker stands twice or the days are out of order.
    """

    dates: Days
    tickers: tuple[str, ...]
    close: Floats
    source: Source
    asked: tuple[str, str] = ("", "")

    def __post_init__(self) -> None:
        dates = np.array(self.dates, dtype="datetime64[D]")
        close = np.array(self.close, dtype=np.float64)
        if close.shape != (len(dates), len(self.tickers)):
            raise VhatError(
                f"{self.source.name}: prices of shape {close.shape} "
                f"for {len(dates)} days and {len(self.tickers)} tickers"
            )
        twice = sorted({t for t in self.tickers if self.tickers.count(t) > 1})
        if twice:
            raise VhatError(
                f"{self.source.name}: the ticker {twice[0]} stands twice; leave one of the columns out"
            )
        if bool((np.diff(dates) < np.timedelta64(0, "D")).any()):
            raise VhatError(f"{self.source.name}: the days are not in order of time")
        dates.flags.writeable = close.flags.writeable = False
        object.__setattr__(self, "dates", dates)
        object.__setattr__(self, "close", close)

    @property
    def span(self) -> tuple[str, str]:
        """The first and the last day, ISO; two empty strings without any day."""
        return (str(self.dates[0]), str(self.dates[-1])) if len(self.dates) else ("", "")

    def returns(self) -> Floats:
        """Simple daily returns close[t] / close[t-1] - 1, float64 `[T-1, N]`.

        Raises:
            VhatError: when a price is missing or not positive (`finance.quality.require_quality` comes
                first).
        """
        bad = ~(np.isfinite(self.close) & (self.close > 0))
        if bool(bad.any()):
            row, column = np.argwhere(bad)[0]
            raise VhatError(
                f"{self.source.name}: no usable price for {self.tickers[column]} on {self.dates[row]}; "
                "check the prices' quality before taking returns"
            )
        out: Floats = self.close[1:] / self.close[:-1] - 1.0
        return out

    def describe(self) -> str:
        """One line: source, tickers, span, adjustment, when it was fetched, and what was accepted."""
        first, last = self.span
        tickers = f"{len(self.tickers)} ticker{'' if len(self.tickers) == 1 else 's'}"
        span = f"{first} to {last} ({len(self.dates)} days)"
        line = f"{self.source.name}: {tickers}, {span}, {self.source.adjustment}"
        if self.source.fetched:
            line += f", fetched {self.source.fetched}"
        return f"{line}; accepted: {', '.join(self.source.accepted)}" if self.source.accepted else line

    def select(
        self, tickers: Iterable[str] | None = None, start: Day | None = None, end: Day | None = None
    ) -> Prices:
        """The prices of some tickers (in that order) from `start` to `end`, both days included; None leaves
        all.

        Raises:
            VhatError: for a ticker that is not there (with the nearest names), or a span without a day.
        """
        wanted = self.tickers if tickers is None else distinct_tickers(tickers)
        for ticker in wanted:
            if ticker not in self.tickers:
                raise VhatError(f"{self.source.name}: {nearest(ticker, self.tickers, kind='ticker')}")
        keep = np.ones(len(self.dates), dtype=bool)
        first, last = self.asked
        if start is not None:
            first = parse_day(start, "start").isoformat()
            keep &= self.dates >= np.datetime64(first, "D")
        if end is not None:
            last = parse_day(end, "end").isoformat()
            keep &= self.dates <= np.datetime64(last, "D")
        if not bool(keep.any()):
            raise VhatError(
                f"{self.source.name}: no day from {start or 'its start'} to {end or 'its end'}; "
                f"it goes from {self.span[0]} to {self.span[1]}"
            )
        columns = [self.tickers.index(t) for t in wanted]
        return replace(
            self,
            dates=self.dates[keep],
            tickers=wanted,
            close=self.close[keep][:, columns],
            asked=(first, last),
        )


class PriceSource(Protocol):
    """Anything that gives closing prices."""

    def fetch(
        self, tickers: Sequence[str] | None = None, start: Day | None = None, end: Day | None = None
    ) -> Prices:
        """Prices of the tickers from `start` to `end`, both days included.

        None stands for the source's default: all its tickers, its own first and last day.

        Raises:
            VhatError: in one line, when the prices cannot be had.
        """


def parse_day(day: Day, what: str) -> datetime.date:
    """A day given as ISO text, date or datetime64; `what` names it in the error.

    Raises:
        VhatError: when it is not a day.
    """
    try:
        if isinstance(day, datetime.datetime):
            return day.date()
        if isinstance(day, datetime.date):
            return day
        text = str(day.astype("datetime64[D]")) if isinstance(day, np.datetime64) else day
        return datetime.date.fromisoformat(text.strip())
    except ValueError:
        raise VhatError(f"{what}: '{day}' is not a day; write it like 2020-03-16") from None


def distinct_tickers(tickers: Iterable[str]) -> tuple[str, ...]:
    """Tickers stripped and in capitals, each once, in the order given.

    Raises:
        VhatError: when none is left.
    """
    names = dict.fromkeys(name for t in tickers if (name := t.strip().upper()))
    if not names:
        raise VhatError("no ticker was named; give at least one, like AAPL")
    return tuple(names)


def align(series: Mapping[str, Series]) -> tuple[Days, Floats]:
    """Put the series of several tickers on one list of days: days `[T]`, prices `[T, N]`, NaN where one has
    none.

    A day that a series holds k times stands k times, so that a duplicate is still seen afterwards. A day
    without any price is left out.
    """
    keys: dict[str, list[tuple[int, int]]] = {}
    for ticker, (days, _) in series.items():
        seen: dict[int, int] = {}
        numbered = []
        for day in days.astype("datetime64[D]").astype(np.int64).tolist():
            seen[day] = seen.get(day, -1) + 1
            numbered.append((day, seen[day]))
        keys[ticker] = numbered
    rows = {
        key: row for row, key in enumerate(sorted({key for numbered in keys.values() for key in numbered}))
    }
    close = np.full((len(rows), len(series)), np.nan)
    for column, (ticker, (_, values)) in enumerate(series.items()):
        close[[rows[key] for key in keys[ticker]], column] = values
    days = np.array([day for day, _ in rows], dtype=np.int64).astype("datetime64[D]")
    some = ~np.isnan(close).all(axis=1)
    return days[some], close[some]
