"""The report as files: the same bytes twice and by any number of processes; an earlier report is replaced
whole, and nothing else is touched."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from core.lab.engines import InProcess, engine
from core.lab.errors import VhatError
from core.lab.progress import Quiet
from core.lab.report import Stored, build_report
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from tests.lab import bowls
from tests.lab import synthetic_study as synthetic


def test_the_same_entries_give_the_same_bytes(report: Path, tmp_path: Path) -> None:
    again = build_report(synthetic.entries(), tmp_path / "again")[0].parent
    files = sorted(p.relative_to(report) for p in report.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    for name in files:
        assert (report / name).read_bytes() == (again / name).read_bytes(), name


def test_an_earlier_report_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "report"
    never = synthetic.entries()[2]
    gone = dataclasses.replace(never, study=dataclasses.replace(never.study, id="gone"))
    build_report([never, gone], out)
    index, _ = build_report([never], out)
    found = {p.name for p in index.parent.rglob("*.html") if "source" not in p.parts}
    assert found == {"index.html", "explorer.html", "never.html"}
    assert [p.name for p in out.parent.iterdir()] == ["report"]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(VhatError, match="something other than a vhat report"):
        build_report(synthetic.entries(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(VhatError, match="is a file"):
        build_report(synthetic.entries(), tmp_path / "thesis.txt")
    with pytest.raises(VhatError, match="cannot write the report"):
        build_report(synthetic.entries(), tmp_path / "thesis.txt" / "report")


def test_any_number_of_processes_draws_the_same_bytes(tmp_path: Path) -> None:
    store = Store(tmp_path / "results.sqlite")
    plan = bowls.STUDY.plan("tiny")
    run_jobs([job_of(bowls.REGISTERED, plan, store)], InProcess(), 1, Quiet())
    store.close()
    asked = [Stored(bowls.REGISTERED, p, store.path) for p in (plan, bowls.STUDY.plan("quick"))]
    alone, problems = build_report(asked, tmp_path / "alone")
    assert problems == ()
    with engine(2, "cpu", start="fork") as (executor, _):
        together, _ = build_report(asked, tmp_path / "together", executor=executor)
    files = sorted(p.relative_to(alone.parent) for p in alone.parent.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(together.parent) for p in together.parent.rglob("*") if p.is_file())
    assert Path("figures/tiny-bowl/sensitivity-1.svg") in files
    for name in files:
        assert (alone.parent / name).read_bytes() == (together.parent / name).read_bytes(), name


def test_a_report_of_nothing_is_refused_where_results_are_asked_for(tmp_path: Path) -> None:
    Store(tmp_path / "results.sqlite").close()
    asked = [Stored(bowls.REGISTERED, bowls.STUDY.plan("tiny"), tmp_path / "results.sqlite")]
    with pytest.raises(VhatError, match="run it first"):
        build_report(asked, tmp_path / "report", nothing="run it first")
    assert not (tmp_path / "report").exists()
