"""Prices of any ticker from Yahoo Finance, kept on disk once fetched."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from core.lab.errors import VhatError
from finance.cache import Entry, PriceCache, Stored, default_directory
from finance.prices import Day, Prices, Series, Source, align, distinct_tickers, parse_day
from finance.yahoo_client import Cause, Client, DownloadError, YFinance

OFFLINE_HINT = "leave --tickers out to use the 20 S&P 500 companies that ship with vhat"
_EARLIEST = "1962-01-02"  # Yahoo's first day
# A network that is down shows itself when the service is first to be reached, and is not waited for; a
# connection lost later may come back.
_WORTH_A_RETRY = (Cause.NETWORK, Cause.TIME_OUT, Cause.RATE_LIMIT, Cause.SERVER, Cause.BAD_ANSWER)


@dataclass(frozen=True)
class Yahoo:
    """Yahoo Finance through yfinance, one ticker at a time, each ticker and span fetched once.

    Attributes:
        adjusted: adjust for splits and dividends, else for splits only.
        cache: where fetched prices are kept.
        client: what talks to Yahoo.
        delays: seconds before each further attempt, where one can help.
        sleep: waits that long.
        today: the current day where it begins last; prices end the day before, since a running day's price
            still moves and what is fetched is kept for good.
    """

    adjusted: bool = True
    cache: PriceCache = field(default_factory=lambda: PriceCache(default_directory()))
    client: Client = field(default_factory=YFinance)
    delays: tuple[float, ...] = (1.0, 4.0)
    sleep: Callable[[float], None] = time.sleep
    today: Callable[[], datetime.date] = lambda: last_to_begin(datetime.datetime.now(datetime.UTC))

    @property
    def adjustment(self) -> str:
        """What prices are adjusted for, in words."""
        return "adjusted for splits and dividends" if self.adjusted else "adjusted for splits only"

    def fetch(
        self, tickers: Sequence[str] | None = None, start: Day | None = None, end: Day | None = None
    ) -> Prices:
        """See `PriceSource.fetch`; tickers must be named, the span is all there is up to the last day that
        has ended everywhere.

        Raises:
            VhatError: one line with the true cause: no network, unknown tickers, rate limit, server error, no
                prices in the span, an answer that cannot be read.
        """
        if tickers is None:
            raise VhatError(f"Yahoo Finance needs tickers; {OFFLINE_HINT}")
        names = distinct_tickers(tickers)
        yesterday = self.today() - datetime.timedelta(days=1)
        first = parse_day(_EARLIEST if start is None else start, "start")
        last = min(parse_day(yesterday if end is None else end, "end"), yesterday)
        if first >= last:
            raise VhatError(
                f"no days from {first} to {last}: the start must lie before the end, and before "
                f"{yesterday}, the last day that has ended everywhere"
            )
        series: dict[str, Series] = {}
        days = set()
        today = self.today().isoformat()
        failed: dict[str, DownloadError] = {}
        reached = False
        for name in names:
            entry = Entry(name, first.isoformat(), last.isoformat(), self.adjustment)
            stored = self.cache.load(entry)
            if stored is None:
                try:
                    stored = Stored(self._download(name, first, last, reached=reached), today)
                    reached = True
                except DownloadError as error:
                    # These are about the one ticker: name all such tickers at once.
                    if error.cause not in (Cause.UNKNOWN_TICKER, Cause.NO_PRICES):
                        raise VhatError(self._explain(name, error)) from error
                    failed[name] = error
                    reached = True
                    continue
                self.cache.store(entry, stored.series, today)
            series[name] = stored.series
            days.add(stored.fetched)
        if failed:
            raise VhatError(_explain_tickers(failed, first, last))
        dates, close = align(series)
        asked = ("" if start is None else first.isoformat(), last.isoformat())
        fetched = " to ".join(sorted({min(days), max(days)}))
        return Prices(dates, names, close, Source("Yahoo Finance", self.adjustment, fetched=fetched), asked)

    def _download(self, name: str, first: datetime.date, last: datetime.date, *, reached: bool) -> Series:
        """One ticker's prices; unless the service was reached before, each attempt asks that first."""
        for delay in (*self.delays, None):
            try:
                if not reached:
                    self.client.reach(name)
                    reached = True
                return self.client.history(name, first, last, adjusted=self.adjusted)
            except DownloadError as error:
                down = error.cause is Cause.NETWORK and not reached
                if delay is None or down or error.cause not in _WORTH_A_RETRY:
                    raise
                self.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    def _explain(self, name: str, error: DownloadError) -> str:
        attempts = f"after {len(self.delays) + 1} attempts"
        if error.cause is Cause.NETWORK:
            return f"no network: Yahoo Finance cannot be reached ({error.detail}); {OFFLINE_HINT}"
        if error.cause is Cause.TIME_OUT:
            return (
                f"Yahoo Finance does not answer in time ({error.detail}, {attempts}, at {name}); "
                f"try later, or {OFFLINE_HINT}"
            )
        if error.cause is Cause.CERTIFICATE:
            return (
                f"the certificate that answers for Yahoo Finance is not trusted ({error.detail}); if that is "
                f"your network's own, name its file in the variable REQUESTS_CA_BUNDLE; or {OFFLINE_HINT}"
            )
        if error.cause is Cause.RATE_LIMIT:
            return (
                f"Yahoo Finance takes no more requests for now (rate limit, {attempts}, at {name}); "
                f"wait some minutes and run again: what was fetched is kept; or {OFFLINE_HINT}"
            )
        if error.cause is Cause.SERVER:
            return (
                f"Yahoo Finance has a server error ({error.detail}, {attempts}, at {name}); "
                f"try later, or {OFFLINE_HINT}"
            )
        return (
            f"Yahoo Finance's answer for {name} cannot be read ({error.detail}); a newer yfinance may help: "
            f"pip install -U yfinance; or {OFFLINE_HINT}"
        )


def last_to_begin(now: datetime.datetime) -> datetime.date:
    """The current day in the zone where days begin last (UTC-12): every day before it has ended everywhere,
    and with it every exchange's session."""
    return now.astimezone(datetime.timezone(datetime.timedelta(hours=-12))).date()


def _explain_tickers(failed: dict[str, DownloadError], first: datetime.date, last: datetime.date) -> str:
    unknown = [name for name, error in failed.items() if error.cause is Cause.UNKNOWN_TICKER]
    empty = [name for name in failed if name not in unknown]
    parts = []
    if unknown:
        parts.append(
            f"Yahoo Finance knows no ticker {', '.join(unknown)}; "
            "check the spelling at finance.yahoo.com/lookup"
        )
    if empty:
        parts.append(
            f"Yahoo Finance has no prices of {', '.join(empty)} from {first} to {last}; try another span"
        )
    return "; ".join(parts)
