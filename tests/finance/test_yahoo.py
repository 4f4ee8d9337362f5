"""Yahoo Finance: the true cause in one line, from fakes of each layer and from the real one without a
network."""

from __future__ import annotations

import datetime
import io
import json
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yfinance
from yfinance.exceptions import YFPricesMissingError, YFRateLimitError, YFTzMissingError

from core.lab.errors import VhatError
from finance.cache import PriceCache
from finance.prices import Series
from finance.quality import check_quality
from finance.yahoo import OFFLINE_HINT, Yahoo, last_to_begin
from finance.yahoo_client import Cause, DownloadError, YFinance

FIRST, LAST = datetime.date(2020, 1, 1), datetime.date(2020, 1, 3)
GOOD: Series = (
    np.array(["2020-01-01", "2020-01-02", "2020-01-03"], dtype="datetime64[D]"),
    np.array([1.0, 2.0, 3.0]),
)


class FakeClient:
    """Answers each history request by the next item of its ticker's queue."""

    def __init__(
        self, answers: dict[str, list[Series | Cause]], reachable: bool = True, late: int = 0
    ) -> None:
        self.answers = {ticker: deque(items) for ticker, items in answers.items()}
        self.reachable = reachable
        self.late = late
        self.asked: list[str] = []

    def reach(self, ticker: str) -> None:
        if not self.reachable:
            raise DownloadError(Cause.NETWORK, f"could not resolve host for {ticker}")
        self.late -= 1
        if self.late >= 0:
            raise DownloadError(Cause.TIME_OUT, "timed out")

    def history(self, ticker: str, first: datetime.date, last: datetime.date, *, adjusted: bool) -> Series:
        assert (first, last, adjusted) == (FIRST, LAST, True)
        self.asked.append(ticker)
        answer = self.answers[ticker].popleft()
        if isinstance(answer, Cause):
            raise DownloadError(answer, "HTTP 5xx")
        return answer


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def yahoo(tmp_path: Path, waits: list[float]) -> Callable[..., Yahoo]:
    def make(client: Any, today: datetime.date = datetime.date(2024, 1, 1)) -> Yahoo:
        return Yahoo(cache=PriceCache(tmp_path), client=client, sleep=waits.append, today=lambda: today)

    return make


def test_fetched_once_and_aligned(yahoo: Callable[..., Yahoo]) -> None:
    late = (GOOD[0][1:], np.array([5.0, 6.0]))
    client = FakeClient({"A": [GOOD], "B": [late]})
    prices = yahoo(client).fetch(["b", "A ", "B"], "2020-01-01", "2020-01-03")
    assert prices.tickers == ("B", "A")
    np.testing.assert_array_equal(prices.close, [[np.nan, 1.0], [5.0, 2.0], [6.0, 3.0]])
    assert prices.describe().startswith(
        "Yahoo Finance: 2 tickers, 2020-01-01 to 2020-01-03 (3 days), adjusted for"
    )
    assert "missing:B" in {d.name for d in check_quality(prices)}
    assert prices.describe().endswith("splits and dividends, fetched 2024-01-01")
    later = datetime.date(2024, 6, 1)
    again = yahoo(FakeClient({}, reachable=False), later).fetch(["B", "A"], "2020-01-01", "2020-01-03")
    assert again.source.fetched == "2024-01-01"
    more = yahoo(FakeClient({"C": [GOOD]}), later).fetch(["B", "C"], "2020-01-01", "2020-01-03")
    assert more.source.fetched == "2024-01-01 to 2024-06-01"
    np.testing.assert_array_equal(again.close, prices.close)


def test_a_damaged_entry_is_fetched_again(yahoo: Callable[..., Yahoo], tmp_path: Path) -> None:
    yahoo(FakeClient({"A": [GOOD]})).fetch(["A"], FIRST, LAST)
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(entry.read_bytes().replace(b"2.0", b"9.0"))
    client = FakeClient({"A": [GOOD]})
    np.testing.assert_array_equal(yahoo(client).fetch(["A"], FIRST, LAST).close[:, 0], GOOD[1])
    assert client.asked == ["A"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [entry.name, f"{entry.name}.damaged-1"]


def test_no_network_names_the_way_out(yahoo: Callable[..., Yahoo], waits: list[float]) -> None:
    with pytest.raises(VhatError) as caught:
        yahoo(FakeClient({}, reachable=False)).fetch(["A"], FIRST, LAST)
    assert str(caught.value).startswith("no network: Yahoo Finance cannot be reached (could not resolve host")
    assert str(caught.value).endswith(OFFLINE_HINT)
    assert waits == []


def test_a_probe_that_times_out_is_tried_again(yahoo: Callable[..., Yahoo], waits: list[float]) -> None:
    client = FakeClient({"A": [GOOD]}, late=2)
    np.testing.assert_array_equal(yahoo(client).fetch(["A"], FIRST, LAST).close[:, 0], GOOD[1])
    assert waits == [1.0, 4.0]
    with pytest.raises(VhatError, match=r"not answer in time \(timed out, after 3 attempts, at B\)"):
        yahoo(FakeClient({"B": [GOOD]}, late=3)).fetch(["B"], FIRST, LAST)


@pytest.mark.parametrize(
    ("now", "day"),
    [
        # While New York trades on the 8th it is the 9th in Tokyo: only the 7th has ended everywhere.
        ("2024-05-09T01:00+09:00", "2024-05-08"),
        ("2024-05-08T20:00+00:00", "2024-05-08"),
        ("2024-05-09T11:59+00:00", "2024-05-08"),
        ("2024-05-09T12:00+00:00", "2024-05-09"),
        ("2024-05-08T23:00-05:00", "2024-05-08"),
    ],
)
def test_a_day_has_begun_when_it_has_begun_everywhere(now: str, day: str) -> None:
    assert last_to_begin(datetime.datetime.fromisoformat(now)).isoformat() == day


def test_the_own_clock_of_the_source_is_that_of_the_last_zone() -> None:
    before = last_to_begin(datetime.datetime.now(datetime.UTC))
    assert before <= Yahoo().today() <= last_to_begin(datetime.datetime.now(datetime.UTC))


def test_prices_of_another_span_than_asked_for_are_named(yahoo: Callable[..., Yahoo]) -> None:
    """Yahoo asked for fifteen years answers with the one that it has, and says nothing."""
    days = np.busday_offset("2015-01-02", np.arange(280), roll="forward")
    close = 10.0 * np.exp(0.01 * np.random.default_rng(0).standard_normal(280).cumsum())

    class OneYear(FakeClient):
        def history(self, *_: object, **__: object) -> Series:
            return days, close

    prices = yahoo(OneYear({})).fetch(["A"], "2010-01-01", "2024-12-31")
    (defect,) = check_quality(prices)
    assert defect.name == "span"
    assert defect.detail == (
        "asked for from 2010-01-01, prices begin on 2015-01-02; "
        "asked for up to 2023-12-31, prices end on 2016-01-28"
    )
    (open_end,) = check_quality(yahoo(OneYear({})).fetch(["A"]))
    assert open_end.detail == "asked for up to 2023-12-31, prices end on 2016-01-28"


@pytest.mark.parametrize(
    "cause", [Cause.RATE_LIMIT, Cause.SERVER, Cause.BAD_ANSWER, Cause.NETWORK, Cause.TIME_OUT]
)
def test_passing_trouble_is_tried_again(
    yahoo: Callable[..., Yahoo], waits: list[float], cause: Cause
) -> None:
    client = FakeClient({"A": [cause, cause, GOOD]})
    np.testing.assert_array_equal(yahoo(client).fetch(["A"], FIRST, LAST).close[:, 0], GOOD[1])
    assert waits == [1.0, 4.0]


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (
            Cause.RATE_LIMIT,
            r"rate limit, after 3 attempts, at B\); wait some minutes and run again: what was fetched",
        ),
        (Cause.SERVER, r"server error \(HTTP 5xx, after 3 attempts, at B\)"),
        (Cause.BAD_ANSWER, r"answer for B cannot be read .* pip install -U yfinance"),
        (Cause.NETWORK, r"no network"),
        (
            Cause.TIME_OUT,
            r"not answer in time \(HTTP 5xx, after 3 attempts, at B\); try later",
        ),
    ],
)
def test_lasting_trouble_is_named_and_what_was_fetched_is_kept(
    yahoo: Callable[..., Yahoo], cause: Cause, message: str
) -> None:
    with pytest.raises(VhatError, match=message):
        yahoo(FakeClient({"A": [GOOD], "B": [cause] * 3})).fetch(["A", "B"], FIRST, LAST)
    client = FakeClient({"B": [GOOD]})
    assert yahoo(client).fetch(["A", "B"], FIRST, LAST).close.shape == (3, 2)
    assert client.asked == ["B"]


def test_all_tickers_without_prices_are_named_at_once(
    yahoo: Callable[..., Yahoo], waits: list[float]
) -> None:
    answers: dict[str, list[Series | Cause]] = {
        "A": [Cause.UNKNOWN_TICKER],
        "B": [GOOD],
        "C": [Cause.NO_PRICES],
        "D": [Cause.UNKNOWN_TICKER],
    }
    with pytest.raises(
        VhatError, match=r"knows no ticker A, D; check .*; .*no prices of C from 2020-01-01 to 2020-01-03"
    ):
        yahoo(FakeClient(answers)).fetch(list(answers), FIRST, LAST)
    assert waits == []


def test_the_running_day_is_left_out(yahoo: Callable[..., Yahoo]) -> None:
    source = yahoo(FakeClient({"A": [GOOD]}), today=datetime.date(2020, 1, 4))
    assert source.fetch(["A"], FIRST, "2030-01-01").span == ("2020-01-01", "2020-01-03")
    with pytest.raises(VhatError, match="start must lie before the end"):
        source.fetch(["A"], "2020-01-03")
    with pytest.raises(VhatError, match="needs tickers"):
        source.fetch()


class FakeSession:
    """A session that answers every plain request alike."""

    def __init__(self, status: int, body: str) -> None:
        self.status_code, self.body = status, body

    def get(self, url: str, **_: object) -> FakeSession:
        assert "/chart/%5EGSPC" in url
        return self

    def json(self) -> Any:
        return json.loads(self.body)


FINE = '{"chart": {"result": [{}], "error": null}}'
ABSENT = '{"chart": {"result": null, "error": {"code": "Not Found", "description": "No data found"}}}'


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """Put a frame or an exception in the place of yfinance's one-ticker history."""

    def set_answer(answer: object) -> None:
        class Ticker:
            def __init__(self, ticker: str, session: object) -> None:
                assert ticker == "^GSPC"
                assert isinstance(session, FakeSession)

            def history(self, **kwargs: object) -> object:
                assert kwargs["start"] == "2020-01-01"
                assert kwargs["end"] == "2020-01-04"  # exclusive there
                logging.getLogger("yfinance").error("noise")
                if isinstance(answer, Exception):
                    raise answer
                return answer

        monkeypatch.setattr(yfinance, "Ticker", Ticker)

    return set_answer


@pytest.mark.parametrize(
    ("raised", "status", "body", "cause"),
    [
        (YFRateLimitError(), 200, FINE, Cause.RATE_LIMIT),
        (ValueError("Expecting value"), 429, "", Cause.RATE_LIMIT),
        (YFTzMissingError("^GSPC"), 500, "<html>", Cause.SERVER),
        (ValueError("Expecting value"), 503, "<html>", Cause.SERVER),
        (YFTzMissingError("^GSPC"), 404, ABSENT, Cause.UNKNOWN_TICKER),
        (YFPricesMissingError("^GSPC", ""), 200, ABSENT, Cause.UNKNOWN_TICKER),
        (YFTzMissingError("^GSPC"), 200, FINE, Cause.BAD_ANSWER),
        (YFPricesMissingError("^GSPC", "(1d 2020)"), 200, FINE, Cause.NO_PRICES),
        (json.JSONDecodeError("Expecting value", "<", 0), 200, FINE, Cause.BAD_ANSWER),
        (KeyError("quote"), 200, FINE, Cause.BAD_ANSWER),
        (ValueError("x"), 200, "not json", Cause.BAD_ANSWER),
        (TimeoutError("timed out"), 200, FINE, Cause.TIME_OUT),
        (ConnectionError("reset"), 200, FINE, Cause.NETWORK),
        (pd.DataFrame({"Close": []}), 200, FINE, Cause.NO_PRICES),
        (pd.DataFrame({"Close": []}), 500, "", Cause.SERVER),
        (
            pd.DataFrame({"Close": [np.nan]}, index=pd.DatetimeIndex(["2020-01-01"])),
            200,
            FINE,
            Cause.NO_PRICES,
        ),
    ],
)
def test_the_cause_is_told_apart(
    history: Callable[[object], None], raised: object, status: int, body: str, cause: Cause
) -> None:
    history(raised)
    with pytest.raises(DownloadError) as caught:
        YFinance(session=FakeSession(status, body)).history("^GSPC", FIRST, LAST, adjusted=True)
    assert caught.value.cause is cause


def test_days_are_those_of_the_exchange(history: Callable[[object], None]) -> None:
    index = pd.DatetimeIndex(["2020-01-01", "2020-01-02"], tz="Asia/Tokyo")
    history(pd.DataFrame({"Close": [1.0, 2.0]}, index=index))
    days, close = YFinance(session=FakeSession(200, FINE)).history("^GSPC", FIRST, LAST, adjusted=True)
    assert days.astype(str).tolist() == ["2020-01-01", "2020-01-02"]
    assert close.tolist() == [1.0, 2.0]


def test_yfinance_is_left_as_it_was_found(history: Callable[[object], None]) -> None:
    from yfinance.config import YfConfig

    stream = io.StringIO()
    log = logging.getLogger("yfinance")
    handler = logging.StreamHandler(stream)
    log.addHandler(handler)
    try:
        history(ValueError("x"))
        with pytest.raises(DownloadError):
            YFinance(session=FakeSession(200, FINE)).history("^GSPC", FIRST, LAST, adjusted=True)
        assert stream.getvalue() == ""
        assert YfConfig.debug.hide_exceptions is True
        log.error("heard")
        assert "heard" in stream.getvalue()
    finally:
        log.removeHandler(handler)


def test_the_real_client_on_a_dead_proxy(
    yahoo: Callable[..., Yahoo], waits: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    """The whole real path, with every connection refused: a port that nothing listens on stands for the
    network."""
    from curl_cffi import requests

    session: Any = requests.Session(proxies={"all": "http://127.0.0.1:9"})
    with pytest.raises(VhatError, match=r"^no network: Yahoo Finance cannot be reached \(curl: ") as caught:
        yahoo(YFinance(session=session, timeout=3.0)).fetch(["AAPL", "MSFT"], "2020-01-01", "2020-12-31")
    assert str(caught.value).endswith(OFFLINE_HINT)
    assert "\n" not in str(caught.value)
    assert waits == []
    assert capfd.readouterr() == ("", "")


def test_the_real_history_raises_instead_of_logging(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Past `reach`, yfinance's own code meets the dead network: the same cause, and nothing on the
    terminal."""
    from curl_cffi import requests

    yfinance.set_tz_cache_location(str(tmp_path))
    session: Any = requests.Session(proxies={"all": "http://127.0.0.1:9"})
    with pytest.raises(DownloadError) as caught:
        YFinance(session=session, timeout=3.0).history("AAPL", FIRST, LAST, adjusted=True)
    assert caught.value.cause is Cause.NETWORK
    assert capfd.readouterr() == ("", "")
