"""The whole path to Yahoo Finance against a local service over TLS (see `yahoo_service`), faults by name."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yfinance

from core.lab.errors import VhatError
from finance.cache import PriceCache
from finance.prices import Prices
from finance.quality import check_quality
from finance.yahoo import OFFLINE_HINT, Yahoo
from finance.yahoo_client import YFinance
from tests.finance.yahoo_service import ABSENT, Answer, Rule, YahooService, chart

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "finance.py"
DAYS = ["2020-01-02", "2020-01-03", "2020-01-06"]
FINE = chart([10.0, 11.0, 12.0], [5.0, 5.5, 12.0])
ERROR = Answer("<html>oops</html>", 500)


class Desk:
    """Somebody who fetches the three days of some tickers from a service that answers by a rule."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.waits: list[float] = []
        self.service: YahooService | None = None

    def fetch(
        self, rule: Rule, *tickers: str, adjusted: bool = True, timeout: float = 10.0, trusting: bool = True
    ) -> Prices:
        with YahooService(self.folder, rule) as self.service:
            source = Yahoo(
                adjusted=adjusted,
                cache=PriceCache(self.folder / "prices"),
                client=YFinance(self.service.session(trusting=trusting), timeout),
                sleep=self.waits.append,
                today=lambda: datetime.date(2024, 1, 1),
            )
            return source.fetch(tickers, DAYS[0], DAYS[-1])

    def refused(self, rule: Rule, *tickers: str, timeout: float = 10.0, trusting: bool = True) -> str:
        """The one line that says why not."""
        with pytest.raises(VhatError) as caught:
            self.fetch(rule, *tickers, timeout=timeout, trusting=trusting)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def asked(self, ticker: str) -> int:
        """How often it was asked for."""
        assert self.service is not None
        return self.service.asked[ticker]


@pytest.fixture
def desk(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    yfinance.set_tz_cache_location(str(tmp_path / "yfinance"))
    yield Desk(tmp_path)
    assert capfd.readouterr() == ("", "")  # causes are raised, never printed


def always(answer: Answer) -> Rule:
    return lambda *_: answer


def test_prices_come_through_adjusted_or_not(desk: Desk) -> None:
    prices = desk.fetch(always(FINE), "AAA")
    assert prices.dates.astype(str).tolist() == DAYS
    np.testing.assert_allclose(prices.close[:, 0], [5.0, 5.5, 12.0], rtol=1e-12)
    raw = desk.fetch(always(FINE), "AAA", adjusted=False)
    np.testing.assert_allclose(raw.close[:, 0], [10.0, 11.0, 12.0], rtol=1e-12)
    assert "adjusted for splits only" in raw.describe()
    assert desk.waits == []


def test_a_ticker_with_a_sign_that_addresses_escape(desk: Desk) -> None:
    prices = desk.fetch(always(FINE), "^GSPC", "BRK-B", "EURUSD=X")
    assert prices.close.shape == (3, 3)
    assert desk.asked("^GSPC") > 0


def test_fault_404_unknown_ticker(desk: Desk) -> None:
    assert "knows no ticker NOPE; check the spelling" in desk.refused(always(ABSENT), "NOPE")
    assert desk.waits == []  # asking again would not help


def test_fault_404_as_a_page(desk: Desk) -> None:
    page = Answer("<html>not here</html>", 404)
    assert "knows no ticker NOPE" in desk.refused(always(page), "NOPE")


def test_fault_429_rate_limit(desk: Desk) -> None:
    said = desk.refused(always(Answer("Too Many Requests", 429)), "AAA")
    assert "rate limit, after 3 attempts, at AAA" in said
    assert "what was fetched is kept" in said
    assert desk.waits == [1.0, 4.0]


@pytest.mark.parametrize(
    "body", ["<html>oops</html>", '{"chart": {"result": null, "error": {"code": "Internal"}}}', ""]
)
def test_fault_500_server_error(desk: Desk, body: str) -> None:
    said = desk.refused(always(Answer(body, 500)), "AAA")
    assert "server error (HTTP 500, after 3 attempts, at AAA)" in said
    assert desk.waits == [1.0, 4.0]


def test_fault_503_while_it_is_down(desk: Desk) -> None:
    assert "server error (HTTP 503" in desk.refused(always(Answer("Will be right back", 503)), "AAA")


@pytest.mark.parametrize(
    "body",
    [
        "<html>not a chart</html>",
        FINE.body[: len(FINE.body) // 2],
        "",
        "[]",
        "null",
        "{}",
        '{"chart": null}',
        '{"chart": {"result": [{}], "error": null}}',
        FINE.body.replace('"exchangeTimezoneName": "America/New_York"', '"exchangeTimezoneName": "Mars"'),
    ],
)
def test_fault_bad_json(desk: Desk, body: str) -> None:
    said = desk.refused(always(Answer(body)), "AAA")
    assert said.startswith("Yahoo Finance's answer for AAA cannot be read (")
    assert "pip install -U yfinance" in said
    assert desk.waits == [1.0, 4.0]


def test_fault_connection_cut_in_the_middle(desk: Desk) -> None:
    assert desk.refused(always(replace(FINE, cut=True)), "AAA").startswith("no network: ")


def test_fault_time_out(desk: Desk) -> None:
    said = desk.refused(always(replace(FINE, late=True)), "AAA", timeout=0.3)
    assert said.startswith("Yahoo Finance does not answer in time (")
    assert "timed out" in said
    assert "after 3 attempts, at AAA" in said
    assert said.endswith(OFFLINE_HINT)
    assert desk.waits == [1.0, 4.0]


@pytest.mark.parametrize("late", [1, 2])
def test_fault_time_out_that_passes(desk: Desk, late: int) -> None:
    """One answer is late, that to the probe or the next, then all come."""
    prices = desk.fetch(
        lambda _, times: replace(FINE, late=True) if times == late else FINE, "AAA", timeout=0.3
    )
    np.testing.assert_allclose(prices.close[:, 0], [5.0, 5.5, 12.0], rtol=1e-12)
    assert desk.waits == [1.0]


def test_fault_certificate_of_a_stranger(desk: Desk) -> None:
    said = desk.refused(always(FINE), "AAA", trusting=False)
    assert said.startswith("the certificate that answers for Yahoo Finance is not trusted (")
    assert "REQUESTS_CA_BUNDLE" in said
    assert desk.waits == []


def test_fault_empty_column(desk: Desk) -> None:
    said = desk.refused(always(chart([], [], [])), "AAA")
    assert "has no prices of AAA from 2020-01-02 to 2020-01-06" in said


def test_fault_nan_column(desk: Desk) -> None:
    said = desk.refused(always(chart([None] * 3)), "AAA")
    assert "has no prices of AAA from 2020-01-02 to 2020-01-06" in said


def test_fault_partial_batch_unknown(desk: Desk) -> None:
    """All that are unknown or empty are named at once, and only they."""
    answers = {"NOPE": ABSENT, "VOID": chart([None] * 3), "NONE": ABSENT}
    said = desk.refused(lambda ticker, _: answers.get(ticker, FINE), "AAA", "NOPE", "VOID", "BBB", "NONE")
    assert "knows no ticker NOPE, NONE; " in said
    assert "no prices of VOID" in said
    assert "AAA" not in said


def test_fault_partial_batch_server(desk: Desk) -> None:
    """What came before the fault is kept: the next run asks for the rest only."""
    said = desk.refused(lambda ticker, _: ERROR if ticker == "BBB" else FINE, "AAA", "BBB", "CCC")
    assert "server error (HTTP 500, after 3 attempts, at BBB)" in said
    prices = desk.fetch(always(FINE), "AAA", "BBB", "CCC")
    assert prices.close.shape == (3, 3)
    assert desk.asked("AAA") == 0
    assert desk.asked("BBB") > 0


def test_fault_that_passes_is_not_remembered(desk: Desk) -> None:
    """yfinance keeps the answers of past spans, error pages too; the next attempt must ask again."""
    prices = desk.fetch(lambda _, times: ERROR if times <= 4 else FINE, "AAA")
    np.testing.assert_allclose(prices.close[:, 0], [5.0, 5.5, 12.0], rtol=1e-12)
    assert desk.waits[:1] == [1.0]


def test_fault_bad_prices_are_left_to_the_quality_check(desk: Desk) -> None:
    answers = {
        "ZERO": chart([10.0, 0.0, 12.0]),
        "NEG": chart([10.0, -1.0, 12.0]),
        "HUNDRED": chart([10.0, 1000.0, 12.0]),
        "SPLIT": chart([10.0, 5.0, 5.1]),
        "HOLE": chart([10.0, None, 12.0]),
    }
    prices = desk.fetch(lambda ticker, _: answers[ticker], *answers)
    found = {defect.name for defect in check_quality(prices)}
    expected = {
        "non-positive:ZERO",
        "non-positive:NEG",
        "jump:HUNDRED",
        "jump:SPLIT",
        "missing:HOLE",
        "short",
    }
    assert found == expected


@pytest.mark.parametrize(
    ("zone", "opening"), [("Asia/Tokyo", 0.0), ("Pacific/Auckland", -2.0), ("America/New_York", 14.5)]
)
def test_days_are_those_of_the_exchange(desk: Desk, zone: str, opening: float) -> None:
    """Auckland opens on the evening before by universal time."""
    # A ticker of its own: yfinance remembers the zones of tickers as long as the process lives.
    ticker = zone.partition("/")[2].upper()
    prices = desk.fetch(always(chart([10.0, 11.0, 12.0], zone=zone, opening=opening)), ticker)
    assert prices.dates.astype(str).tolist() == DAYS


def weekdays(count: int) -> list[str]:
    return np.busday_offset("2020-01-01", np.arange(count), roll="forward").astype(str).tolist()


def market(ticker: str, _: int) -> Answer:
    """Half a year of prices, or an unknown ticker."""
    if ticker == "NOPE":
        return ABSENT
    rng = np.random.default_rng(len(ticker))
    close = (50.0 * np.cumprod(1.0 + 0.01 * rng.standard_normal(130) + 5e-4)).round(4).tolist()
    return chart(close, days=weekdays(130))


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """The script in a process of its own, which knows the way by its environment only."""
    with YahooService(tmp_path, market) as service:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "HTTPS_PROXY": service.proxy,
            "REQUESTS_CA_BUNDLE": str(service.authority),
            "VHAT_CACHE": str(tmp_path / "cache"),
            "XDG_CACHE_HOME": str(tmp_path / "user"),
        }
        environment.pop("VHAT_DEBUG", None)

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, str(SCRIPT), *arguments, "--end", "2020-06-30", "--out", "made"]
            return subprocess.run(
                command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
            )

        yield run


def test_the_script_fetches_and_says_what_it_stands_on(
    script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = script("--tickers", "AB", "XYZ", "--start", "2020-01-01", "--risk-aversion", "3")
    assert done.returncode == 0, done.stderr
    assert "Yahoo Finance: 2 tickers, 2020-01-01 to 2020-06-30 (130 days), adjusted for" in done.stdout
    page = (tmp_path / "made" / "tearsheet.html").read_text("utf-8")
    assert "Yahoo Finance: 2 tickers" in page
    failed = script("--tickers", "AB", "NOPE", "--start", "2020-01-01")
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: Yahoo Finance knows no ticker NOPE; check the spelling")
    assert failed.stderr.count("\n") == 1
