"""yfinance's own code, given the answers of a service that stands in for Yahoo Finance inside the session."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yfinance
from curl_cffi import requests

from core.lab.errors import VhatError
from finance.cache import PriceCache
from finance.quality import check_quality
from finance.yahoo import Yahoo
from finance.yahoo_client import YFinance

DAYS = ["2020-01-02", "2020-01-03", "2020-01-06"]
OPENING = 14 * 3600 + 30 * 60  # New York, in seconds of UTC


def chart(close: list[float | None], adjusted: list[float | None]) -> str:
    """A chart answer in the service's form."""
    opened = [int(np.datetime64(day, "s").astype(np.int64)) + OPENING for day in DAYS]
    quote = {
        **dict.fromkeys(("open", "high", "low", "close"), close),
        "volume": [1000 if price else 0 for price in close],
    }
    meta = {
        "currency": "USD",
        "symbol": "X",
        "instrumentType": "EQUITY",
        "exchangeTimezoneName": "America/New_York",
        "timezone": "EST",
        "gmtoffset": -18000,
        "priceHint": 2,
        "dataGranularity": "1d",
        "range": "",
        "validRanges": ["1d", "5d", "max"],
        "currentTradingPeriod": {
            name: {"timezone": "EST", "start": 0, "end": 1, "gmtoffset": -18000}
            for name in ("pre", "regular", "post")
        },
    }
    indicators = {"quote": [quote], "adjclose": [{"adjclose": adjusted}]}
    result = [{"meta": meta, "timestamp": opened, "indicators": indicators}]
    return json.dumps({"chart": {"result": result, "error": None}})


FINE = chart([10.0, 11.0, 12.0], [5.0, 5.5, 12.0])
ABSENT = '{"chart": {"result": null, "error": {"code": "Not Found", "description": "No data found"}}}'


class Service(requests.Session[Any]):
    """A session whose requests go to a function from (ticker, how often it was asked) to status and body."""

    def __init__(self, answer: Callable[[str, int], tuple[int, str]]) -> None:
        super().__init__()
        self.answer = answer
        self.asked: dict[str, int] = {}

    def request(self, method: str, url: str, *_: Any, **__: Any) -> Any:
        response = requests.Response()
        response.url = url
        if "/chart/" in url:
            ticker = url.split("/chart/")[1]
            self.asked[ticker] = self.asked.get(ticker, 0) + 1
            response.status_code, body = self.answer(ticker, self.asked[ticker])
        else:
            response.status_code, body = 200, "crumb"
        response.content = body.encode()
        return response


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[..., Any]:
    """Fetch the three days of some tickers from a service that answers so."""
    yfinance.set_tz_cache_location(str(tmp_path / "yfinance"))

    def run(answer: Callable[[str, int], tuple[int, str]], *tickers: str, adjusted: bool = True) -> Any:
        source = Yahoo(
            adjusted=adjusted,
            cache=PriceCache(tmp_path / "prices"),
            client=YFinance(session=Service(answer)),
            sleep=lambda _: None,
            today=lambda: datetime.date(2024, 1, 1),
        )
        return source.fetch(tickers, DAYS[0], DAYS[-1])

    return run


def test_prices_come_through_adjusted_or_not(fetch: Callable[..., Any]) -> None:
    prices = fetch(lambda *_: (200, FINE), "AAA")
    assert prices.dates.astype(str).tolist() == DAYS
    np.testing.assert_allclose(prices.close[:, 0], [5.0, 5.5, 12.0], rtol=1e-12)
    raw = fetch(lambda *_: (200, FINE), "AAA", adjusted=False)
    np.testing.assert_allclose(raw.close[:, 0], [10.0, 11.0, 12.0], rtol=1e-12)
    assert "adjusted for splits only" in raw.describe()


def test_an_error_page_is_not_remembered(fetch: Callable[..., Any]) -> None:
    """yfinance keeps the answers of past spans, error pages too; the next attempt must ask again."""
    prices = fetch(lambda _, times: (500, "<html>oops</html>") if times <= 4 else (200, FINE), "BBB")
    np.testing.assert_allclose(prices.close[:, 0], [5.0, 5.5, 12.0], rtol=1e-12)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, ABSENT, "knows no ticker CCC"),
        (429, "Too Many Requests", "rate limit"),
        (500, "<html>oops</html>", r"server error \(HTTP 500"),
        (500, '{"chart": {"result": null, "error": {"code": "Internal"}}}', r"server error \(HTTP 500"),
        (200, "<html>not a chart</html>", "cannot be read"),
        (200, chart([None] * 3, [None] * 3), "no prices of CCC from 2020-01-02 to 2020-01-06"),
    ],
)
def test_each_fault_has_its_name(fetch: Callable[..., Any], status: int, body: str, message: str) -> None:
    with pytest.raises(VhatError, match=message):
        fetch(lambda *_: (status, body), "CCC")


def test_a_time_out_is_a_matter_of_the_network(fetch: Callable[..., Any]) -> None:
    def late(*_: object) -> tuple[int, str]:
        raise requests.exceptions.Timeout("timed out after 10 s")

    with pytest.raises(VhatError, match=r"^no network: .*timed out after 10 s"):
        fetch(late, "DDD")


def test_a_bad_ticker_among_good_ones_is_the_one_named(fetch: Callable[..., Any]) -> None:
    with pytest.raises(VhatError, match="knows no ticker NOPE; check"):
        fetch(lambda ticker, _: (404, ABSENT) if ticker == "NOPE" else (200, FINE), "AAA", "NOPE", "BBB")


def test_bad_prices_come_through_to_the_quality_check(fetch: Callable[..., Any]) -> None:
    bodies = {
        "ZERO": chart([10.0, 0.0, 12.0], [10.0, 0.0, 12.0]),
        "NEG": chart([10.0, -1.0, 12.0], [10.0, -1.0, 12.0]),
        "HUNDRED": chart([10.0, 1000.0, 12.0], [10.0, 1000.0, 12.0]),
        "HOLE": chart([10.0, None, 12.0], [10.0, None, 12.0]),
    }
    prices = fetch(lambda ticker, _: (200, bodies[ticker]), *bodies)
    found = {defect.name for defect in check_quality(prices)}
    assert found == {"non-positive:ZERO", "non-positive:NEG", "jump:HUNDRED", "missing:HOLE", "short"}
