"""The price cache: what is written is read back to the bit, or not at all."""

from __future__ import annotations

import logging
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.lab.errors import VhatError
from finance.cache import Entry, PriceCache

ENTRY = Entry("BRK-B", "2020-01-01", "2020-12-31", "adjusted for splits and dividends")
TODAY = "2021-02-03"
SERIES = (np.array(["2020-01-02", "2020-01-03"], dtype="datetime64[D]"), np.array([0.1 + 0.2, np.nan]))


@given(st.lists(st.floats(width=64), max_size=20))
@settings(max_examples=50, deadline=None)
def test_round_trip_is_exact(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    cache = PriceCache(tmp_path_factory.mktemp("prices"))
    days = np.datetime64("1999-12-30") + np.arange(len(values))
    cache.store(ENTRY, (days, np.array(values)), TODAY)
    stored = cache.load(ENTRY)
    assert stored is not None
    assert stored.fetched == TODAY
    np.testing.assert_array_equal(stored.series[0], days)
    np.testing.assert_array_equal(stored.series[1], np.array(values))


def test_ticker_span_and_adjustment_are_all_part_of_the_key(tmp_path: Path) -> None:
    cache = PriceCache(tmp_path)
    cache.store(ENTRY, SERIES, TODAY)
    for other in (
        Entry("BRK-A", ENTRY.start, ENTRY.end, ENTRY.adjustment),
        Entry(ENTRY.ticker, "2020-01-02", ENTRY.end, ENTRY.adjustment),
        Entry(ENTRY.ticker, ENTRY.start, "2020-12-30", ENTRY.adjustment),
        Entry(ENTRY.ticker, ENTRY.start, ENTRY.end, "adjusted for splits only"),
    ):
        assert cache.load(other) is None
        assert cache.path(other) != cache.path(ENTRY)


@pytest.mark.parametrize(
    "ticker", ["^GSPC", "EURUSD=X", "0700.HK", "../../etc", "A/B", "A\\B", "C:D", "A B*?"]
)
def test_any_ticker_makes_a_file_inside_the_directory(tmp_path: Path, ticker: str) -> None:
    cache = PriceCache(tmp_path / "inner")
    entry = Entry(ticker, "2020-01-01", "2020-12-31", "x")
    cache.store(entry, SERIES, TODAY)
    assert cache.path(entry).parent == tmp_path / "inner"
    assert [p.name for p in (tmp_path / "inner").iterdir()] == [cache.path(entry).name]
    assert cache.load(entry) is not None


def test_every_single_damaged_byte_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = PriceCache(tmp_path)
    cache.store(ENTRY, SERIES, TODAY)
    path = cache.path(ENTRY)
    whole = path.read_bytes()
    caplog.set_level(logging.CRITICAL, logger="finance.cache")
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        assert cache.load(ENTRY) is None, f"byte {i} of {whole!r}"
        assert not path.exists()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert cache.load(ENTRY) is None


def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = PriceCache(tmp_path)
    for number in (1, 2):
        cache.path(ENTRY).write_bytes(b"garbage %d" % number)
        assert cache.load(ENTRY) is None
    asides = sorted(tmp_path.iterdir())
    assert [p.read_bytes() for p in asides] == [b"garbage 1", b"garbage 2"]
    assert "damaged (it has no header): set aside as" in caplog.text
    cache.store(ENTRY, SERIES, TODAY)
    assert cache.load(ENTRY) is not None


def test_another_entrys_file_under_this_name_is_not_believed(tmp_path: Path) -> None:
    cache = PriceCache(tmp_path)
    other = Entry("XOM", ENTRY.start, ENTRY.end, ENTRY.adjustment)
    cache.store(other, SERIES, TODAY)
    cache.path(other).rename(cache.path(ENTRY))
    assert cache.load(ENTRY) is None


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_breaks_off_leaves_the_old_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    cache = PriceCache(tmp_path)
    cache.store(ENTRY, SERIES, TODAY)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os if step == "fsync" else Path, step, fail)
        with pytest.raises(VhatError, match="No space left on device"):
            cache.store(ENTRY, (SERIES[0], np.array([7.0, 8.0])), TODAY)
    stored = cache.load(ENTRY)
    assert stored is not None
    np.testing.assert_array_equal(stored.series[1], SERIES[1])
    assert list(tmp_path.iterdir()) == [cache.path(ENTRY)]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VhatError, match="cannot be written"):
        PriceCache(tmp_path / "file").store(ENTRY, SERIES, TODAY)


def _damage_and_store(directory: str, rounds: int, number: int) -> int:
    """Load, store where nothing sound is there, damage the file now and then: how often a load was wrong."""
    logging.disable(logging.CRITICAL)
    cache, wrong = PriceCache(Path(directory)), 0
    path = cache.path(ENTRY)
    for turn in range(rounds):
        stored = cache.load(ENTRY)
        if stored is None:
            cache.store(ENTRY, SERIES, TODAY)
        elif not np.array_equal(stored.series[1], SERIES[1], equal_nan=True):
            wrong += 1
        if turn % 3 == number:
            path.write_bytes(b"garbage")
    return wrong


def test_two_processes_at_one_damaged_entry(tmp_path: Path) -> None:
    """Each sees the entry whole or not at all, and neither fails because the other has set it aside."""
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(2) as pool:
        wrong = pool.starmap(_damage_and_store, [(str(tmp_path), 60, 0), (str(tmp_path), 60, 1)])
    assert wrong == [0, 0]
    cache = PriceCache(tmp_path)
    if cache.load(ENTRY) is None:
        cache.store(ENTRY, SERIES, TODAY)
    assert cache.load(ENTRY) is not None
    assert all("damaged" in p.name or p == cache.path(ENTRY) for p in tmp_path.iterdir())


def test_an_entry_that_another_process_sets_aside_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = PriceCache(tmp_path)
    cache.path(ENTRY).write_bytes(b"garbage")
    read = Path.read_bytes

    def then_gone(path: Path) -> bytes:
        data = read(path)
        path.unlink()
        return data

    monkeypatch.setattr(Path, "read_bytes", then_gone)
    assert cache.load(ENTRY) is None
    assert list(tmp_path.iterdir()) == []
