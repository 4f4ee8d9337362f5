"""Prices in a Parquet file, as pandas and others write them."""

from __future__ import annotations

import datetime
import re
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from core.lab.errors import VhatError
from finance.csvfile import CsvFile
from finance.parquetfile import ParquetFile
from finance.quality import check_quality

DAYS = ["2020-01-02", "2020-01-03", "2020-01-06"]
FRAME = pd.DataFrame({"abc": [1.25, 1.5, 2.0], "X": [2.0, np.nan, 3.0]})


def written(folder: Path, table: pa.Table | dict[str, object]) -> ParquetFile:
    path = folder / "own.parquet"
    parquet.write_table(table if isinstance(table, pa.Table) else pa.table(table), path)
    return ParquetFile(path)


def refusal(file: ParquetFile) -> str:
    """The one line that says why the file is not read; empty where it is."""
    try:
        file.fetch()
    except VhatError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "index",
    [
        pd.DatetimeIndex(DAYS),
        pd.DatetimeIndex(DAYS, name="Date"),
        pd.DatetimeIndex(DAYS, tz="Asia/Tokyo"),
        pd.DatetimeIndex(DAYS, tz="America/New_York", name="when"),
        pd.Index(DAYS, name="DATE"),
        pd.Index([datetime.date.fromisoformat(day) for day in DAYS]),
    ],
)
def test_a_frame_of_pandas_by_its_index(tmp_path: Path, index: pd.Index) -> None:
    path = tmp_path / "own.parquet"
    FRAME.set_axis(index).iloc[::-1].to_parquet(path)
    prices = ParquetFile(path, "raw").fetch()
    assert prices.dates.astype(str).tolist() == DAYS
    assert prices.tickers == ("ABC", "X")
    np.testing.assert_array_equal(prices.close, FRAME.to_numpy())
    assert "own.parquet: 2 tickers, 2020-01-02 to 2020-01-06 (3 days), raw" in prices.describe()
    assert ParquetFile(path).fetch(["x"], start="2020-01-06").close.tolist() == [[3.0]]


def test_the_same_prices_as_from_csv(tmp_path: Path) -> None:
    frame = FRAME.set_axis(pd.Index(DAYS, name="Date"))
    frame.to_csv(tmp_path / "own.csv")
    frame.to_parquet(tmp_path / "own.parquet")
    one, two = CsvFile(tmp_path / "own.csv").fetch(), ParquetFile(tmp_path / "own.parquet").fetch()
    np.testing.assert_array_equal(one.close, two.close)
    np.testing.assert_array_equal(one.dates, two.dates)


def test_the_first_column_where_nothing_else_tells(tmp_path: Path) -> None:
    path = tmp_path / "own.parquet"
    FRAME.set_axis(pd.DatetimeIndex(DAYS, name="when")).reset_index().to_parquet(path)
    assert ParquetFile(path).fetch().dates.astype(str).tolist() == DAYS


def test_midnights_of_tokyo_in_universal_time_are_a_defect(tmp_path: Path) -> None:
    path = tmp_path / "own.parquet"
    days = pd.bdate_range("2020-01-01", periods=80, tz="Asia/Tokyo")
    close = 50.0 * np.cumprod(1.0 + 0.01 * np.random.default_rng(3).standard_normal(80))
    frame = pd.DataFrame({"A": close}, index=days)
    frame.to_parquet(path)
    assert check_quality(ParquetFile(path).fetch()) == ()
    frame.tz_convert("UTC").to_parquet(path)
    (defect,) = check_quality(ParquetFile(path).fetch())
    assert defect.name == "zone:A"


def test_numbers_of_any_kind_are_prices(tmp_path: Path) -> None:
    days = [datetime.date.fromisoformat(day) for day in DAYS]
    columns = {"A": [1, 2, 3], "B": [Decimal("1.5"), None, Decimal("2")], "C": pa.nulls(3)}
    prices = written(tmp_path, {"day": days, **columns}).fetch()
    np.testing.assert_array_equal(prices.close, [[1, 1.5, np.nan], [2, np.nan, np.nan], [3, 2, np.nan]])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"Date": DAYS}, "at least one column of prices"),
        ({"Date": pa.array([], pa.string()), "A": pa.array([], pa.float64())}, "no line of prices"),
        ({"Date": [*DAYS[:2], None], "A": [1.0, 2.0, 3.0]}, "column 'Date': 1 line"),
        ({"Date": ["soon", *DAYS[1:]], "A": [1.0, 2.0, 3.0]}, "line 1 of the table, .* 'soon' is not a day"),
        ({"Date": [1.0, 2.0, 3.0], "A": [1.0, 2.0, 3.0]}, "column 'Date': holds double, not days"),
        ({"Date": DAYS, "A": ["1", "2", "3"]}, "column 'A': holds string, not prices"),
        ({"Date": DAYS, "A": [1.0, 2.0, 3.0], "a": [1.0, 2.0, 3.0]}, "A stands twice"),
        (
            {"Date": ["2020-01-02T00:00:00Z", *DAYS[1:]], "A": [1.0, 2.0, 3.0]},
            "mix days with a time zone and days without",
        ),
    ],
)
def test_what_is_wrong_is_said_where(tmp_path: Path, table: dict[str, object], message: str) -> None:
    with pytest.raises(VhatError, match=message) as caught:
        written(tmp_path, table).fetch()
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(VhatError, match="cannot be read"):
        ParquetFile(tmp_path / "absent.parquet").fetch()
    (tmp_path / "own.csv").write_text("Date,A\n2020-01-02,1\n")
    with pytest.raises(VhatError, match="not a Parquet file"):
        ParquetFile(tmp_path / "own.csv").fetch()


@pytest.mark.parametrize(
    "note",
    [
        b"{",
        b"\xff\xfe",
        b"[]",
        b"3",
        b'"x"',
        b"[" * 100_000,
        b"9" * 5000,
        b'{"index_columns": 3}',
        b'{"index_columns": null}',
        b'{"index_columns": [["A"]]}',
        b'{"index_columns": {"A": 1}}',
        b'{"index_columns": [{"kind": "range"}]}',
    ],
)
def test_a_note_of_pandas_that_is_none(tmp_path: Path, note: bytes) -> None:
    """The note is free text in the file: it is read, or the one line names it."""
    table = pa.table({"A": [1.0, 2.0, 3.0], "date": DAYS})
    file = written(tmp_path, table.replace_schema_metadata({"pandas": note}))
    said = refusal(file)
    assert not said or re.fullmatch(
        r".*own.parquet: .* pandas' note on them, cannot be read .*; write the table anew", said
    )


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.parquet"
    parquet.write_table(pa.Table.from_pandas(FRAME.set_axis(pd.DatetimeIndex(DAYS, name="Date"))), path)
    damaged = bytearray(path.read_bytes())
    for place, bits in flips:
        damaged[place % len(damaged)] ^= bits
    path.write_bytes(damaged)
    assert "\n" not in refusal(ParquetFile(path))


def test_a_damaged_page_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "own.parquet"
    prices = 50.0 + np.arange(500.0)
    days = pd.bdate_range("2020-01-01", periods=500)
    table = pa.table({"date": days, "A": prices})
    parquet.write_table(table, path, write_page_checksum=True, use_dictionary=False, compression="none")
    whole = path.read_bytes()
    place = whole.index(np.float64(300.0).tobytes())
    path.write_bytes(whole[:place] + np.float64(301.0).tobytes() + whole[place + 8 :])
    with pytest.raises(VhatError, match=r"own.parquet: .*(CRC|checksum)"):
        ParquetFile(path).fetch()


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, {"Date": DAYS, "A": [1.0, 2.0, 3.0]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(VhatError, match=r"the extra `parquet`: pip install -e '\.\[parquet\]'"):
        file.fetch()
