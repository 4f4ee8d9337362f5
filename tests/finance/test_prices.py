"""Prices, the embedded data set and CSV files."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from core.lab.errors import VhatError
from finance.csvfile import CsvFile
from finance.embedded import CLEAN_FROM, COMPANIES, FUNDS, LAST, Embedded
from finance.prices import Prices, Source, align, parse_day
from finance.quality import check_quality

SOURCE = Source("test", "not adjusted")


def days(first: str, count: int) -> np.ndarray:
    return np.datetime64(first) + np.arange(count)


def test_returns_are_simple_daily_returns() -> None:
    prices = Prices(days("2020-01-01", 3), ("A", "B"), np.array([[1.0, 4.0], [2.0, 2.0], [3.0, 2.0]]), SOURCE)
    np.testing.assert_array_equal(prices.returns(), [[1.0, -0.5], [0.5, 0.0]])
    assert prices.describe() == "test: 2 tickers, 2020-01-01 to 2020-01-03 (3 days), not adjusted"


@pytest.mark.parametrize("bad", [np.nan, 0.0, -1.0, np.inf])
def test_returns_refuse_an_unusable_price(bad: float) -> None:
    prices = Prices(days("2020-01-01", 2), ("A",), np.array([[1.0], [bad]]), SOURCE)
    with pytest.raises(VhatError, match="no usable price for A on 2020-01-02"):
        prices.returns()


def test_prices_cannot_be_written_to() -> None:
    close = np.ones((2, 1))
    prices = Prices(days("2020-01-01", 2), ("A",), close, SOURCE)
    close[0, 0] = 5.0
    assert prices.close[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        prices.close[0, 0] = 5.0


def test_contradictions_are_refused() -> None:
    with pytest.raises(VhatError, match="shape"):
        Prices(days("2020-01-01", 2), ("A",), np.ones((3, 1)), SOURCE)
    with pytest.raises(VhatError, match="A stands twice"):
        Prices(days("2020-01-01", 1), ("A", "A"), np.ones((1, 2)), SOURCE)
    with pytest.raises(VhatError, match="order of time"):
        Prices(days("2020-01-01", 2)[::-1], ("A",), np.ones((2, 1)), SOURCE)


@pytest.mark.parametrize(
    "day", ["2020-03-16", " 2020-03-16 ", datetime.date(2020, 3, 16), datetime.datetime(2020, 3, 16, 9)]
)
def test_days_are_read_from_all_their_forms(day: str | datetime.date) -> None:
    assert parse_day(day, "start") == datetime.date(2020, 3, 16)
    assert parse_day(np.datetime64("2020-03-16T09:30"), "start") == datetime.date(2020, 3, 16)


@pytest.mark.parametrize("day", ["2020-13-01", "yesterday", "", "2020-03-16x", np.datetime64("NaT")])
def test_what_is_not_a_day_is_refused_by_name(day: str) -> None:
    with pytest.raises(VhatError, match=r"end: .* is not a day"):
        parse_day(day, "end")


def test_select_takes_columns_in_the_order_asked_and_both_end_days() -> None:
    prices = Prices(days("2020-01-01", 4), ("A", "B", "C"), np.arange(12.0).reshape(4, 3), SOURCE)
    part = prices.select(["c", "a", "C"], "2020-01-02", "2020-01-03")
    assert part.tickers == ("C", "A")
    np.testing.assert_array_equal(part.close, [[5.0, 3.0], [8.0, 6.0]])
    with pytest.raises(VhatError, match="it goes from 2020-01-01 to 2020-01-04"):
        prices.select(start="2021-01-01")
    with pytest.raises(VhatError, match="at least one"):
        prices.select([" "])


def test_align_keeps_every_price_and_every_duplicate() -> None:
    first = (
        np.array(["2020-01-01", "2020-01-03", "2020-01-03"], dtype="datetime64[D]"),
        np.array([1.0, 2.0, 3.0]),
    )
    second = (
        np.array(["2020-01-02", "2020-01-03", "2020-01-04"], dtype="datetime64[D]"),
        np.array([4.0, 5.0, np.nan]),
    )
    dates, close = align({"A": first, "B": second})
    assert dates.astype(str).tolist() == ["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-03"]
    np.testing.assert_array_equal(close, [[1, np.nan], [np.nan, 4], [2, 5], [3, np.nan]])


def test_embedded_equals_what_skfolio_loads() -> None:
    from skfolio.datasets import load_sp500_dataset

    frame = load_sp500_dataset()
    prices = Embedded().fetch(start="1990-01-02")
    assert prices.tickers == tuple(frame.columns)
    np.testing.assert_array_equal(prices.dates, frame.index.to_numpy().astype("datetime64[D]"))
    np.testing.assert_array_equal(prices.close, frame.to_numpy())


def test_embedded_default_has_no_defect_and_the_days_before_have() -> None:
    prices = Embedded().fetch()
    assert prices.span[0] == CLEAN_FROM
    assert check_quality(prices) == ()
    before = check_quality(Embedded().fetch(start="1990-01-02", end=CLEAN_FROM))
    assert {d.name for d in before} == {"stale:RRC", "jump:RRC"}


def test_embedded_names_the_nearest_tickers() -> None:
    with pytest.raises(VhatError, match=r"unknown ticker 'APPL'; did you mean 'AAPL'"):
        Embedded().fetch(["MSFT", "APPL"])


def test_csv_round_trip_in_any_order_of_days(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("\ufeffabc,Date,x\n1.5,2020-01-03 00:00:00,2\n\n1.25,2020-01-02,\n", encoding="utf-8")
    prices = CsvFile(path, adjustment="raw").fetch()
    assert prices.tickers == ("ABC", "X")
    assert prices.dates.astype(str).tolist() == ["2020-01-02", "2020-01-03"]
    np.testing.assert_array_equal(prices.close, [[1.25, np.nan], [1.5, 2.0]])
    assert "own.csv: 2 tickers" in prices.describe()
    assert CsvFile(path).fetch(["x"], start="2020-01-03").close.tolist() == [[2.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Date,A\n2020-01-02,1\n2020-01-03,1.2.3\n", r"line 3, column 'A': '1.2.3' is not a price"),
        ("Date,A\n2020-01-02,1\n03/01/2020,1\n", r"line 3, column 'Date': '03/01/2020' is not a day"),
        ("Date,A,B\n2020-01-02,1\n", r"line 2: 2 cells, but 3 columns"),
        (
            "Date,A\n2020-01-02 00:00:00-05:00,1\n2020-01-03,2\n",
            r"line 3, column 'Date': .* mix days with a time zone and days without",
        ),
        (
            "Date,A\n2020-01-02 00:00:00-05:00,1\n2020-01-03 00:00:00+00:00,2\n",
            r"line 3, column 'Date': .* stand in different time zones",
        ),
        ("Date,A,\n2020-01-02,1,2\n", r"column 3 has no name"),
        ("Date\n2020-01-02\n", "one column only"),
        ("Date,A\n", "at least one line of prices"),
        ("Date,A,a\n2020-01-02,1,2\n", "A stands twice"),
    ],
)
def test_csv_errors_say_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(VhatError, match=message):
        CsvFile(path).fetch()


def test_days_of_a_zone_are_its_own_also_over_summer_time(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("Date,A\n2020-03-06 00:00:00-05:00,1\n2020-03-09 00:00:00-04:00,2\n")
    assert CsvFile(path).fetch().dates.astype(str).tolist() == ["2020-03-06", "2020-03-09"]


def test_csv_that_is_no_csv(tmp_path: Path) -> None:
    with pytest.raises(VhatError, match="cannot be read"):
        CsvFile(tmp_path / "absent.csv").fetch()
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(VhatError, match="not a CSV file"):
        CsvFile(tmp_path / "binary.csv").fetch()


def test_what_studies_say_of_the_embedded_prices_is_so() -> None:
    for dataset, text in (("companies", COMPANIES), ("factors", FUNDS)):
        prices = Embedded(dataset).fetch()
        assert prices.span[1] == LAST
        assert f"from {prices.span[0]}" in text
        assert f"to {LAST}" in text
        assert prices.source.adjustment in text
        assert f"{len(prices.tickers)} " in text
