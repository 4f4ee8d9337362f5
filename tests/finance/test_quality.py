"""Each kind of defect is planted in good prices and found; nothing else is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.lab.errors import VhatError
from finance.prices import Days, Prices, Source
from finance.quality import check_quality, require_quality

T, TICKERS = 120, ("A", "B", "C")


def good(seed: int = 0, sigma: float = 0.02) -> Prices:
    """Geometric random walks on weekdays."""
    rng = np.random.default_rng(seed)
    dates = np.busday_offset("2020-01-01", np.arange(T), roll="forward")
    close = 100.0 * np.exp(sigma * rng.standard_normal((T, len(TICKERS))).cumsum(axis=0))
    return Prices(dates, TICKERS, close, Source("planted", "not adjusted"))


def changed(prices: Prices, where: Any, value: float) -> Prices:
    close = prices.close.copy()
    close[where] = value
    return replace(prices, close=close)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_good_prices_have_no_defect(seed: int) -> None:
    assert check_quality(good(seed)) == ()


def test_missing_price() -> None:
    prices = changed(good(), (slice(5, 8), 1), np.nan)
    (defect,) = check_quality(prices)
    assert (defect.name, defect.day) == ("missing:B", str(prices.dates[5]))
    assert "3 of 120 days" in defect.detail


def test_late_listing_says_when_prices_begin() -> None:
    prices = changed(good(), (slice(0, 30), 2), np.nan)
    (defect,) = check_quality(prices)
    assert defect.name == "missing:C"
    assert f"first price is of {prices.dates[30]}" in defect.detail


def test_gap() -> None:
    whole = good()
    keep = np.r_[0:40, 46:T]
    (defect,) = check_quality(replace(whole, dates=whole.dates[keep], close=whole.close[keep]))
    assert (defect.name, defect.day) == ("gap", str(whole.dates[39]))


def test_duplicate_day() -> None:
    whole = good()
    rows = np.r_[0:51, 50:T]
    (defect,) = check_quality(replace(whole, dates=whole.dates[rows], close=whole.close[rows]))
    assert (defect.name, defect.day) == ("duplicate", str(whole.dates[50]))


@pytest.mark.parametrize("price", [0.0, -3.0])
def test_non_positive_price(price: float) -> None:
    (defect,) = check_quality(changed(good(), (9, 0), price))
    assert defect.name == "non-positive:A"


def test_stale_run() -> None:
    prices = good()
    found = check_quality(changed(prices, (slice(20, 31), 1), float(prices.close[20, 1])))
    assert [d.name for d in found] == ["stale:B"]
    assert check_quality(changed(prices, (slice(20, 30), 1), float(prices.close[20, 1]))) == ()


@pytest.mark.parametrize("factor", [2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0, 100.0])
@pytest.mark.parametrize("upwards", [False, True])
def test_unadjusted_split(factor: float, upwards: bool) -> None:
    prices = good(sigma=0.005)
    close = prices.close.copy()
    close[60:, 2] *= factor if upwards else 1.0 / factor
    (defect,) = check_quality(replace(prices, close=close))
    assert (defect.name, defect.day) == ("jump:C", str(prices.dates[60]))


def test_hundredfold_for_a_day_is_found_going_and_coming() -> None:
    prices = good()
    found = check_quality(changed(prices, (60, 0), float(prices.close[60, 0]) * 100.0))
    assert [d.name for d in found] == ["jump:A", "jump:A"]


def test_a_real_crash_is_not_a_split() -> None:
    prices = good(sigma=0.001)
    close = prices.close.copy()
    close[60:, 0] *= 0.4815  # Apple, 29 September 2000
    assert check_quality(replace(prices, close=close)) == ()


@pytest.mark.parametrize(("shift", "seen"), [(-1, "Sundays and hardly ever on Fridays"), (1, "Saturdays")])
def test_days_shifted_by_a_time_zone(shift: int, seen: str) -> None:
    """Tokyo's midnights in universal time fall on the day before; the other way round on the day after."""
    whole = good()
    (*found,) = check_quality(replace(whole, dates=whole.dates + shift))
    assert [d.name for d in found] == ["zone:A", "zone:B", "zone:C"]
    assert seen in found[0].detail
    kept = require_quality(replace(whole, dates=whole.dates + shift), allow=["zone"])
    assert kept.source.accepted == ("zone",)


def test_one_ticker_shifted_among_others() -> None:
    whole = good()
    days = np.unique(np.concatenate([whole.dates, whole.dates - 1]))
    close = np.full((len(days), 3), np.nan)
    for column, dates in enumerate((whole.dates, whole.dates - 1, whole.dates)):
        close[np.searchsorted(days, dates), column] = whole.close[:, column]
    found = {d.name for d in check_quality(replace(whole, dates=days, close=close))}
    assert found == {"missing:A", "missing:B", "missing:C", "zone:B"}


def test_markets_that_trade_on_weekends_are_not_shifted() -> None:
    whole = good()
    dates = np.datetime64("2020-01-01") + np.arange(T)
    assert check_quality(replace(whole, dates=dates)) == ()


def test_too_short_a_history() -> None:
    whole = good()
    (defect,) = check_quality(replace(whole, dates=whole.dates[:59], close=whole.close[:59]))
    assert defect.name == "short"


def test_require_quality_names_the_defect_and_how_to_accept_it() -> None:
    prices = changed(changed(good(), (5, 1), np.nan), (9, 0), -1.0)
    with pytest.raises(VhatError, match=r"missing:B.*and 1 more.*--allow missing:B non-positive:A"):
        require_quality(prices)
    with pytest.raises(VhatError, match=r"to accept: --allow non-positive:A$"):
        require_quality(prices, allow=["missing"])
    kept = require_quality(prices, allow=["missing", "non-positive:A", "stale"])
    assert kept.source.accepted == ("missing", "non-positive:A")
    assert "accepted: missing, non-positive:A" in kept.describe()
    np.testing.assert_array_equal(kept.dates, np.delete(prices.dates, [5, 9]))
    assert np.isfinite(kept.returns()).all()


def test_accepting_a_duplicate_keeps_its_last_line() -> None:
    whole = good()
    rows = np.r_[0:51, 50:T]
    doubled = replace(whole, dates=whole.dates[rows], close=whole.close[rows])
    doubled = changed(doubled, (50, slice(None)), 1.0)
    with pytest.raises(VhatError, match="duplicate"):
        require_quality(doubled, allow=["jump"])
    kept = require_quality(doubled, allow=["jump", "duplicate"])
    np.testing.assert_array_equal(kept.close, whole.close)


def test_what_accepting_leaves_is_checked_for_length() -> None:
    prices = changed(good(), (slice(0, 70), 1), np.nan)
    with pytest.raises(VhatError, match="short"):
        require_quality(prices, allow=["missing"])
    assert len(require_quality(prices, allow=["missing", "short"]).dates) == 50
    with pytest.raises(VhatError, match="fewer than two days"):
        require_quality(changed(good(), (slice(None), 1), np.nan), allow=["missing", "short"])


@pytest.mark.parametrize(
    ("keep", "share"),
    [
        (lambda days: np.isin(days.astype(np.int64) % 7, [1]), "80%"),  # Fridays only
        (lambda days: days.astype(np.int64) % 7 != 6, "20%"),  # no Wednesday
        (lambda days: np.arange(len(days)) % 21 == 0, "9[56]%"),  # monthly
        (lambda days: np.arange(len(days)) % 8 != 0, "1[23]%"),
    ],
)
def test_what_is_not_daily_is_sparse(keep: Callable[[Days], Any], share: str) -> None:
    """Their yearly volatility would be wrong by sqrt(5) and the like."""
    days = np.busday_offset("2010-01-04", np.arange(2000), roll="forward")
    rows = keep(days)
    close = 50.0 * np.exp(0.01 * np.random.default_rng(1).standard_normal((2000, 2)).cumsum(axis=0))
    whole = Prices(days, ("A", "B"), close, Source("planted", "not adjusted"))
    assert check_quality(whole) == ()
    found = check_quality(replace(whole, dates=days[rows], close=close[rows]))
    (sparse,) = [d for d in found if d.kind == "sparse"]
    assert re.search(rf"\({share}\)", sparse.detail)
    assert {d.kind for d in found} <= {"sparse", "gap"}


def test_a_market_of_seven_days_without_one_of_them_is_sparse() -> None:
    whole = good()
    dates = np.datetime64("2020-01-01") + np.arange(2 * T)
    dates = dates[dates.astype(np.int64) % 7 != 6][:T]
    assert [d.name for d in check_quality(replace(whole, dates=dates))] == ["sparse"]


def test_the_holidays_of_an_exchange_are_not_sparse() -> None:
    """Tokyo had 241 to 246 days a year; here 18 of 261 weekdays are left out."""
    whole = good()
    dates = np.busday_offset("2020-01-01", np.arange(T + 10), roll="forward")
    dates = np.delete(dates, np.arange(7, T + 10, 14)[:9])[:T]
    assert check_quality(replace(whole, dates=dates)) == ()


@pytest.mark.parametrize(
    ("start", "end", "seen"),
    [
        ("2019-12-25", None, ()),
        ("2019-12-24", None, ("asked for from 2019-12-24, prices begin on 2020-01-01",)),
        (None, "2020-06-23", ()),
        (None, "2020-06-24", ("asked for up to 2020-06-24, prices end on 2020-06-16",)),
    ],
)
def test_the_span_asked_for_is_compared_with_the_span_there(
    start: str | None, end: str | None, seen: tuple[str, ...]
) -> None:
    found = check_quality(good().select(None, start, end))
    assert tuple(d.detail for d in found) == seen
    assert all(d.name == "span" for d in found)


def test_a_day_left_out_is_checked_for_what_it_leaves() -> None:
    """43 days without one ticker's price are 43 days without any, once they are left out for all: the move
    over them is no daily return."""
    prices = changed(good(), (slice(40, 70), 1), np.nan)
    assert [d.name for d in check_quality(prices)] == ["missing:B"]
    with pytest.raises(VhatError, match=r"with missing:B accepted .* gap: no day at all .*\(43 days apart\)"):
        require_quality(prices, allow=["missing:B"])
    kept = require_quality(prices, allow=["missing:B", "gap", "sparse"])
    assert kept.source.accepted == ("missing:B", "gap", "sparse")
    jumped = prices.close.copy()
    jumped[60:, 0] *= 10.0
    jumped[50:60, 0] *= np.exp(np.linspace(0.0, np.log(10.0), 10))  # by no single day's jump
    hidden = replace(prices, close=jumped)
    assert "jump:A" not in {d.name for d in check_quality(hidden)}
    with pytest.raises(VhatError, match=r"to accept: --allow jump:A$"):
        require_quality(hidden, allow=["missing:B", "gap", "sparse"])


def test_unknown_names_in_allow_are_refused() -> None:
    with pytest.raises(VhatError, match="unknown defect 'jumps'; did you mean 'jump'"):
        require_quality(good(), allow=["jumps"])
    with pytest.raises(VhatError, match="unknown ticker 'D'"):
        require_quality(good(), allow=["jump:D"])


def test_good_prices_go_on_as_they_are() -> None:
    prices = good()
    assert require_quality(prices, allow=["jump"]) is prices
