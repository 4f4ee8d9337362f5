"""Stored measurements: written whole, read strictly, shown with their spread; damaged ones are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.lab.benchmark import FORMAT, Benchmark, Machine, Measured, Ratio, stored_benchmarks
from core.lab.errors import VhatError
from core.lab.report import build_report
from core.lab.report.benchmarks import measured_table, reaches
from tests.lab import synthetic_study as synthetic

MACHINE = Machine("A <processor> & more", 4, 1, "Linux x86_64", "3.11.7", "2.13.0")


def benchmark(name: str = "one-step", **changes: Any) -> Benchmark:
    rows = (
        Measured("MLP", "torch", Ratio(1.0, 1.0, 1.0), beside={"µs": "150"}),
        Measured("MLP", "ours <fused>", Ratio(0.11, 0.1, 0.15), 0.15, {"µs": "16", "copies": "2.0"}),
        Measured("1e7", "ours", Ratio(0.25, 0.2, 0.3), 0.2),
    )
    known: dict[str, Any] = {
        "title": "One step & more",
        "about": "How it was measured.",
        "unit": "time, torch = 1",
        "faster": "down",
        "rows": rows,
        "turns": 5,
        "command": "python scripts/bench/optim_step.py",
        "date": "2026-01-02",
        "machine": MACHINE,
        "missing": ("torchopt is not installed",),
    }
    return Benchmark(name, **{**known, **changes})


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=9))
def test_a_ratio_is_the_median_and_the_range(values: list[float]) -> None:
    ratio = Ratio.of(values)
    assert (ratio.low, ratio.high) == (min(values), max(values))
    below, above = (sum(v <= ratio.median for v in values), sum(v >= ratio.median for v in values))
    assert min(below, above) >= len(values) / 2


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    for name in ("b", "a"):
        benchmark(name).save(tmp_path / "bench")
    benchmark("b", turns=7).save(tmp_path / "bench")
    assert stored_benchmarks(tmp_path / "bench") == ((benchmark("a"), benchmark("b", turns=7)), ())
    assert sorted(p.name for p in (tmp_path / "bench").iterdir()) == ["a.json", "b.json"]
    assert stored_benchmarks(tmp_path / "nothing") == ((), ())


def broken() -> dict[str, str]:
    """File by file what is no measurement."""
    plain = json.loads(json.dumps({"format": FORMAT, **synthetic_dict()}))

    def changed(**changes: Any) -> str:
        return json.dumps({**plain, **changes})

    row = plain["rows"][0]
    return {
        "cut.json": changed()[:200],
        "empty.json": "",
        "list.json": "[1, 2]",
        "deep.json": "[" * 100_000,
        "foreign.json": '{"name": "foreign"}',
        "older.json": changed(format="vhat benchmark 0"),
        "renamed.json": changed(),
        "no-rows.json": changed(name="no-rows", rows=[]),
        "unordered.json": changed(
            name="unordered", rows=[{**row, "ratio": {"median": 1, "low": 2, "high": 3}}]
        ),
        "infinite.json": changed(
            name="infinite", rows=[{**row, "ratio": {"median": float("inf"), "low": 1, "high": float("inf")}}]
        ),
        "text.json": changed(name="text", rows=[{**row, "ratio": {"median": "1", "low": 1, "high": 1}}]),
        "more.json": changed(name="more", surprise=1),
        "typed.json": changed(name="typed", turns="five"),
        "goal.json": changed(name="goal", rows=[{**row, "goal": -1}]),
        "machine.json": changed(name="machine", machine=None),
        "faster.json": changed(name="faster", faster="sideways"),
    }


def synthetic_dict() -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(benchmark("plain"))


def test_what_is_no_measurement_is_named_in_a_line_and_skipped(tmp_path: Path) -> None:
    benchmark().save(tmp_path)
    files = broken()
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.json").mkdir()
    found, problems = stored_benchmarks(tmp_path)
    assert found == (benchmark(),)
    assert len(problems) == len(files) + 2
    for name in files:
        assert sum(line.startswith(f"skipped {name}, ") for line in problems) == 1
    assert all("\n" not in line for line in problems)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VhatError, match=r"cannot write .*one-step\.json"):
        benchmark().save(tmp_path / "file")


def test_a_goal_is_reached_on_its_side() -> None:
    down, up = benchmark(), benchmark(faster="up")
    assert [reaches(down, row) for row in down.rows] == [None, True, False]
    assert [reaches(up, row) for row in up.rows] == [None, False, True]
    assert [row[4] for row in measured_table(down).rows] == ["", "0.15, reached", "0.2, missed"]


def test_the_report_shows_measurements_on_a_page_of_their_own(tmp_path: Path) -> None:
    entries = [synthetic.entries()[2]]  # not run: there is nothing else to draw
    measured = (benchmark(), benchmark("sweep", title="A sweep", faster="up"))
    index, problems = build_report(entries, tmp_path / "report", measured)
    plain_index, plain_problems = build_report(entries, tmp_path / "plain")
    assert problems == plain_problems
    assert 'href="benchmarks.html"' in index.read_text("utf-8")
    assert "benchmarks.html" not in plain_index.read_text("utf-8")
    page = (index.parent / "benchmarks.html").read_text("utf-8")
    for text in ("One step &amp; more", "ours &lt;fused&gt;", "0.1 to 0.15", "0.15, reached", "2026-01-02"):
        assert text in page
    assert "A &lt;processor&gt; &amp; more, 4 cores, 1 thread" in page
    assert "python scripts/bench/optim_step.py" in page
    for name in ("one-step", "sweep"):
        assert f'src="figures/benchmarks/{name}.svg"' in page
        assert (index.parent / "figures" / "benchmarks" / f"{name}.svg").stat().st_size > 1000
    again, _ = build_report(entries, tmp_path / "again", measured)
    assert (again.parent / "benchmarks.html").read_bytes() == page.encode()
