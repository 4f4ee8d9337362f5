"""Every file that is read, changed in every way: what is not whole is refused in one line."""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from core.lab.benchmark import Benchmark, Measured, Ratio, stored_benchmarks
from core.lab.errors import StoreError, VhatError
from core.lab.promises import PROMISES
from core.lab.report import build_report
from core.lab.store import Store
from core.lab.store_health import Health, examine
from core.lab.trust import Count, Measure, Trial, standings, stored_trials, trust_text
from finance.cache import Entry, PriceCache
from finance.csvfile import CsvFile
from finance.parquetfile import ParquetFile
from finance.quality import require_quality
from rl.agents import Agents, load
from rl.environments import task
from rl.policies import CategoricalMLP
from tests import tally
from tests.fuzz.mutations import changed_bytes, changed_values
from tests.lab.filled_store import fill

MANY = 40


def one_line(error: Exception | str) -> None:
    """What a person is told: one line that a terminal can show."""
    said = str(error)
    assert len(said) > 15
    assert all(c.isprintable() for c in said), said


def changed(
    path: Path, count: int, seed: str, *, values: bool = False
) -> Callable[[Callable[[], None]], None]:
    """Calls something after each of `count` changes of a file."""
    data = path.read_bytes()
    rng = random.Random(f"{path.name} {seed}")

    def each(look: Callable[[], None]) -> None:
        for number in range(count):
            json_too = values and number % 2
            path.write_bytes(changed_values(data.decode(), rng) if json_too else changed_bytes(data, rng))
            if path.read_bytes() != data:
                with tally.trial("changed files"):
                    look()
            path.write_bytes(data)

    return each


def trial() -> Trial:
    return Trial(
        "kill",
        "tests/x.py::y[1]",
        True,
        1.5,
        (Count("kill points", 20, 20),),
        (Measure("growth", 1.5, 8.0, "bytes"),),
        ("a note",),
        "2026-01-02",
        {"torch": "2.13.0"},
    )


def trust_files(folder: Path, count: int, seed: str) -> None:
    whole = trial()
    path = whole.save(folder)
    assert stored_trials(folder) == ((whole,), ())

    def look() -> None:
        found, problems = stored_trials(folder)
        assert found in ((), (whole,))
        assert len(found) + len(problems) == 1
        for line in problems:
            one_line(line)
        assert trust_text(standings(found))

    changed(path, count, seed, values=True)(look)


def benchmark_files(folder: Path, count: int, seed: str) -> None:
    row = Measured("a case", "ours", Ratio(1.0, 0.5, 2.0), 0.9, {"time": "3 ms"})
    whole = Benchmark("speed", "Speed", "How.", "ratio", "down", (row, row), 5, "make bench")
    path = whole.save(folder / "bench")
    accepted: list[Benchmark] = []

    def look() -> None:
        found, problems = stored_benchmarks(path.parent)
        assert len(found) + len(problems) == 1
        for line in problems:
            one_line(line)
        accepted.extend(b for b in found if b != whole)

    changed(path, count, seed, values=True)(look)
    # A measurement carries no digest: another number is believed, but whatever is believed can be shown.
    for number, odd in enumerate(accepted[:: max(1, len(accepted) // 6)]):
        build_report([], folder / f"report-{number}", (odd,))


def agent_files(folder: Path, count: int, seed: str) -> None:
    played = task("CartPole-v1", 20)
    policy = CategoricalMLP((played.observation_size, 3, played.actions))
    params = np.random.default_rng(0).normal(size=(2, policy.dim)).astype(np.float32)
    path = Agents(played, policy, params).save(folder / "agents.npz")

    def look() -> None:
        try:
            found = load(path)
        except VhatError as error:
            one_line(error)
        else:
            assert found.policy == policy
            assert found.task.id == played.id
            assert found.params.tobytes() == params.tobytes()

    changed(path, count, seed)(look)


def cache_files(folder: Path, count: int, seed: str) -> None:
    days = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]")
    entry = Entry("AAA", "2020-01-01", "2020-03-01", "none")
    series = (days, np.linspace(10.0, 20.0, len(days)))
    cache = PriceCache(folder / "prices")
    cache.store(entry, series, "2020-03-02")

    def look() -> None:
        found = cache.load(entry)
        same = found is None or all(np.array_equal(a, b) for a, b in zip(found.series, series, strict=True))
        assert same
        for aside in cache.directory.glob("*.damaged-*"):
            aside.unlink()

    changed(cache.path(entry), count, seed)(look)


def csv_files(folder: Path, count: int, seed: str) -> None:
    days = np.arange("2020-01-01", "2020-02-01", dtype="datetime64[D]")
    path = folder / "own.csv"
    lines = [f"{day},{10 + 0.5 * i},{20 + i}" for i, day in enumerate(days)]
    path.write_text("\n".join(["date,AAA,BBB", *lines]))
    prices: set[float] = {10 + 0.5 * i for i in range(len(days))} | {20.0 + i for i in range(len(days))}

    def look() -> None:
        try:
            found = CsvFile(path).fetch()
            checked = require_quality(found)
        except VhatError as error:
            one_line(error)
        else:
            assert bool((np.diff(checked.dates) > np.timedelta64(0)).all())
            assert bool((checked.close > 0).all())
            # What is believed is written in the file as a plain number.
            text = path.read_text("utf-8-sig")
            assert all(
                x in prices or f"{x:g}"[:3].rstrip("0.") in text for x in checked.close.ravel().tolist()
            )

    changed(path, count, seed)(look)


def store_files(folder: Path, count: int, seed: str) -> None:
    path = folder / "s.sqlite"
    fill(path)
    rows = Health(12, 0)

    def look() -> None:
        before = path.read_bytes()
        try:
            health = examine(path)
        except StoreError as error:
            one_line(error)
            health = None
        assert path.read_bytes() == before
        assert {p.name for p in folder.iterdir()} == {"s.sqlite"}
        said: list[str] = []
        try:
            store = Store(path, notify=said.append)
            stored = len(store.shards("study"))
            store.close()
        except StoreError as error:
            one_line(error)
            stored = -1
        # A store that is called healthy is.
        assert health != rows or (stored == 12 and not said), (health, stored, said)
        for other in folder.iterdir():
            other.unlink()

    changed(path, count, seed)(look)


def parquet_files(folder: Path, count: int, seed: str) -> None:
    """Written with checksums, as any writer can."""
    days = np.arange("2020-01-01", "2020-02-01", dtype="datetime64[D]")
    path = folder / "own.parquet"
    columns = {"date": days, "AAA": 10 + 0.5 * np.arange(len(days)), "BBB": 20.0 + np.arange(len(days))}
    parquet.write_table(pa.table(columns), path, write_page_checksum=True)
    whole = ParquetFile(path).fetch()

    def look() -> None:
        try:
            found = ParquetFile(path).fetch()
        except VhatError as error:
            one_line(error)
        else:
            # Names of columns carry no checksum.
            assert len(found.dates) == len(whole.dates)

    changed(path, count, seed)(look)


KINDS: dict[str, Any] = {
    f.__name__: f
    for f in (
        trust_files,
        benchmark_files,
        agent_files,
        cache_files,
        csv_files,
        parquet_files,
        store_files,
    )
}


@pytest.mark.parametrize("kind", KINDS)
def test_some_changed_files(kind: str, tmp_path: Path) -> None:
    KINDS[kind](tmp_path, MANY, "few")


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_many_changed_files(kind: str, seed: int, tmp_path: Path) -> None:
    KINDS[kind](tmp_path, 25 * MANY, str(seed))


ODD: tuple[Any, ...] = (
    np.array(3),
    np.array([]),
    np.array(-7),
    np.array(2**62),
    np.array([0, 0]),
    np.array([-4, 3, 2]),
    np.array([4, 2**40, 2]),
    np.array("CartPole-v9"),
    np.array("\x1b[31m"),
    np.array(["a", "b"]),
    np.array(np.nan),
    np.full((2, 26), np.nan),
    np.full((2, 26), 1j),
    np.ones((2, 26), dtype="M8[D]"),
    np.ones((2, 3, 4)),
)


def test_an_archive_of_other_arrays_is_no_policy(tmp_path: Path) -> None:
    agent_files(tmp_path, 0, "")
    path = tmp_path / "agents.npz"
    with np.load(path, allow_pickle=False) as found:
        whole = dict(found)
    for name in whole:
        for odd in ODD:
            np.savez(path, **{**whole, name: odd})
            try:
                kept = load(path)
            except VhatError as error:
                one_line(error)
            else:
                assert (name, int(odd)) == ("horizon", 3)
                assert kept.params.tobytes() == whole["params"].tobytes()
            tally.kept("changed files")


def test_deep_nesting_is_damage(tmp_path: Path) -> None:
    """Python's JSON reader raises an error of its own kind for it."""
    deep = b"[" * 200_000
    entry = Entry("AAA", "2020-01-01", "2020-03-01", "none")
    cache = PriceCache(tmp_path / "prices")
    cache.path(entry).parent.mkdir()
    cache.path(entry).write_bytes(deep + b"\n")
    assert cache.load(entry) is None
    (tmp_path / "deep\x1b.json").write_bytes(deep)
    for found, problems in (stored_trials(tmp_path), stored_benchmarks(tmp_path)):
        assert found == ()
        assert len(problems) == 1
        one_line(problems[0])


@pytest.mark.parametrize("cell", ["12_5", "0x10", "1,5", "--3", "\x1b[2J"])
def test_an_odd_cell_of_a_csv_file_is_named(cell: str, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(f"date;AAA\n2020-01-01;3\n2020-01-02;{cell}\n", "utf-8")
    with pytest.raises(VhatError, match=r"line 3, column 'AAA'") as caught:
        CsvFile(path, delimiter=";").fetch()
    one_line(caught.value)


def test_a_report_shows_whatever_a_test_was_called(tmp_path: Path) -> None:
    """Names of tests are parameters as well, and some parameters are bad input."""
    evil = '<script>alert("x")</script>'
    odd = dataclasses.replace(trial(), test=evil, passed=False, notes=(evil,))
    odd.save(tmp_path)
    found, problems = stored_trials(tmp_path)
    assert (found, problems) == ((odd,), ())
    index, _ = build_report([], tmp_path / "report", (), standings(found))
    page = (index.parent / "trust.html").read_text("utf-8")
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 2
    assert all(p.text in page.replace("&#39;", "'") for p in PROMISES)
    shutil.rmtree(index.parent)
