"""The seam to yfinance: one ticker at a time, with the true cause when it fails.

yfinance's batch download never raises: it returns empty or NaN columns and writes to its log. Its one-ticker
history raises when told to, but an HTTP error can still reach us as unreadable JSON or as a missing time
zone, so a failure of unclear cause is followed by one plain request whose HTTP status names it.
"""

from __future__ import annotations

import datetime
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np

from finance.prices import Series

_CHART = "https://query2.finance.yahoo.com/v8/finance/chart/"


class Cause(Enum):
    """Why a download failed; the value says it in words."""

    NETWORK = "no connection"
    TIME_OUT = "no answer in time"
    CERTIFICATE = "certificate not trusted"
    RATE_LIMIT = "rate limit"
    SERVER = "server error"
    UNKNOWN_TICKER = "unknown ticker"
    NO_PRICES = "no prices in the span"
    BAD_ANSWER = "unreadable answer"


class DownloadError(Exception):
    """A download that failed, with its cause and what was seen."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(f"{cause.value}: {detail}")
        self.cause = cause
        self.detail = detail


class Client(Protocol):
    """What `finance.yahoo.Yahoo` needs of Yahoo Finance."""

    def reach(self, ticker: str) -> None:
        """Returns when the service can be reached, whatever it answers; raises DownloadError(NETWORK,
        TIME_OUT or CERTIFICATE) otherwise."""

    def history(self, ticker: str, first: datetime.date, last: datetime.date, *, adjusted: bool) -> Series:
        """Daily closing prices from `first` to `last`, both included; raises DownloadError with the true
        cause."""


@dataclass
class YFinance:
    """Yahoo Finance through yfinance.

    Attributes:
        session: a curl_cffi or requests session for all requests; None makes one at the first request.
        timeout: seconds for one request.
    """

    session: Any = None
    timeout: float = 10.0

    def reach(self, ticker: str) -> None:
        """See `Client.reach`. It goes first, since yfinance alone tries for minutes when packets are
        dropped."""
        found = self._ask(ticker)
        if found is not None and found.cause in (Cause.NETWORK, Cause.TIME_OUT, Cause.CERTIFICATE):
            raise found

    def history(self, ticker: str, first: datetime.date, last: datetime.date, *, adjusted: bool) -> Series:
        """See `Client.history`; without adjustment for dividends the prices are still adjusted for splits.

        Raises:
            DownloadError: with the cause.
        """
        import yfinance
        from yfinance.exceptions import YFRateLimitError

        with _raising_quietly():
            try:
                frame = yfinance.Ticker(ticker, session=self._own_session()).history(
                    start=first.isoformat(),
                    end=(last + datetime.timedelta(days=1)).isoformat(),  # exclusive there
                    auto_adjust=adjusted,
                    actions=False,
                    keepna=True,
                    timeout=self.timeout,
                )
            except YFRateLimitError as error:
                raise DownloadError(Cause.RATE_LIMIT, "HTTP 429") from error
            except Exception as error:
                raise self._ask(ticker) or _read_exception(error) from error
        close = np.asarray(frame["Close"], dtype=np.float64) if len(frame) else np.empty(0)
        if not np.isfinite(close).any():
            raise self._ask(ticker) or DownloadError(Cause.NO_PRICES, f"{first} to {last}")
        # The index is in the exchange's time: dropping the zone leaves the exchange's own day.
        days = np.asarray(frame.index.tz_localize(None), dtype="datetime64[D]")
        return days, close

    def _own_session(self) -> Any:
        if self.session is None:
            from curl_cffi import requests

            self.session = requests.Session(impersonate="chrome")  # as yfinance does
        return self.session

    def _ask(self, ticker: str) -> DownloadError | None:
        """One plain request for the ticker's latest price: what is wrong with the answer, or None."""
        try:
            answer = self._own_session().get(
                _CHART + quote(ticker), params={"range": "1d", "interval": "1d"}, timeout=self.timeout
            )
            status = int(answer.status_code)
            if status == 429:
                return DownloadError(Cause.RATE_LIMIT, "HTTP 429")
            if status == 404:
                return DownloadError(Cause.UNKNOWN_TICKER, "HTTP 404")
            if status >= 400:
                return DownloadError(Cause.SERVER, f"HTTP {status}")
            refusal = answer.json()["chart"]["error"]
        except Exception as error:
            return _read_exception(error)
        if not refusal:
            return None
        unknown = refusal.get("code") == "Not Found"
        return DownloadError(
            Cause.UNKNOWN_TICKER if unknown else Cause.BAD_ANSWER, str(refusal.get("description"))
        )


def _read_exception(error: Exception) -> DownloadError:
    """The cause that an exception's type tells, when a plain request found nothing wrong.

    Both backends' request errors are OSErrors. YFTzMissingError is no sign of an unknown ticker, which the
    plain request would have told: it stands for an answer without an exchange's time zone.
    """
    # curl's advice to read its manual is no help here.
    detail = (
        str(error).partition(" See https://curl")[0].removeprefix("Failed to perform, ")
        or type(error).__name__
    )
    if type(error).__name__ == "YFPricesMissingError":
        return DownloadError(Cause.NO_PRICES, detail)
    if type(error).__name__ in ("CertificateVerifyError", "SSLError"):
        return DownloadError(Cause.CERTIFICATE, detail)
    # curl_cffi's, requests' and Python's own: Timeout, ConnectTimeout, ReadTimeout, TimeoutError.
    if isinstance(error, OSError) and "Timeout" in type(error).__name__:
        return DownloadError(Cause.TIME_OUT, detail)
    # An unreadable body is both a ValueError and, with requests, an OSError.
    if isinstance(error, OSError) and not isinstance(error, ValueError):
        return DownloadError(Cause.NETWORK, detail)
    return DownloadError(Cause.BAD_ANSWER, f"{type(error).__name__}: {detail}")


@contextmanager
def _raising_quietly() -> Iterator[None]:
    """yfinance raises what it would log, logs nothing, and answers nothing from memory; undone afterwards."""
    from yfinance.config import YfConfig
    from yfinance.data import YfData

    log = logging.getLogger("yfinance")
    hidden, disabled = YfConfig.debug.hide_exceptions, log.disabled
    YfConfig.debug.hide_exceptions, log.disabled = False, True
    # It remembers answers of past spans, error pages among them: a retry would meet the same one.
    YfData.cache_get.cache_clear()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        YfConfig.debug.hide_exceptions, log.disabled = hidden, disabled
