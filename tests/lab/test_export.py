"""Exported files hold every stored value, exactly, and nothing else."""

from __future__ import annotations

import csv
import errno
import math
import sys
import tracemalloc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.cli import main
from core.lab import commands, table_files
from core.lab.engines import InProcess
from core.lab.errors import VhatError
from core.lab.experiment import Experiment, Lookup, Payload, Shard, Spec
from core.lab.export import _file_names, export_study
from core.lab.progress import Quiet
from core.lab.runner import Job, job_of, local_job, run_jobs
from core.lab.store import Store
from core.lab.study import Plan
from core.lab.table_files import CSVFile
from core.lab.tidy import blocks_of_shard
from tests.lab import bowls

PLAN = bowls.STUDY.plan("tiny")


def ran(folder: Path) -> Job:
    """The tiny bowl, run to its end."""
    store = Store(folder / "results.sqlite")
    job = job_of(bowls.REGISTERED, PLAN, store)
    run_jobs([job], InProcess(), 1, Quiet())
    return job


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    job = ran(tmp_path_factory.mktemp("out"))
    yield job
    job.view.store.close()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def test_every_reported_value_is_read_back_from_csv(job: Job, tmp_path: Path) -> None:
    done = export_study(job, "csv", tmp_path)
    assert done is not None
    assert done.complete
    assert set(done.rows) == {"sweep.csv", "draws.csv"}
    found = {
        (r["regime"], r["variant"], int(r["seed"]), r["quantity"], r["step"]): float(r["value"])
        for r in rows(tmp_path / "tiny-bowl" / "sweep.csv")
        if r["stage"] == "reporting"
    }
    result, expected = job.results().sweep("sweep"), 0
    for (regime, variant), run in result.runs.items():
        for name, curves in run.curves.items():
            for seed, curve in enumerate(curves):
                for step, value in zip(run.steps, curve, strict=True):
                    assert same(found[regime, variant, seed, name, str(step)], float(value))
                    expected += 1
        for seed, step in enumerate(run.diverged_at):
            assert found[regime, variant, seed, "diverged_at", ""] == step
            expected += 1
    assert len(found) == expected


def test_no_stored_value_is_left_out(job: Job, tmp_path: Path) -> None:
    done = export_study(job, "csv", tmp_path)
    assert done is not None
    stored: dict[str, int] = {"sweep.csv": 0, "draws.csv": 0}
    for shard in job.view.store.shards(job.study_id):
        payload = job.view.store.get(shard.study, shard.spec, shard.code)
        assert payload is not None
        # The recorded steps are a column of the curves.
        stored[f"{shard.spec['experiment']}.csv"] += sum(a.size for n, a in payload.items() if n != "steps")
    assert done.rows == stored
    assert {n: len(rows(done.folder / n)) for n in stored} == stored


def test_tuning_and_reporting_are_told_apart_with_their_settings(job: Job, tmp_path: Path) -> None:
    export_study(job, "csv", tmp_path)
    result = job.results().sweep("sweep")
    found = rows(tmp_path / "tiny-bowl" / "sweep.csv")
    assert {r["stage"] for r in found} == {"tuning", "reporting"}
    for (regime, variant), tuned in result.tuned.items():
        here = [r for r in found if (r["regime"], r["variant"]) == (regime, variant)]
        assert {float(r["lr"]) for r in here if r["stage"] == "tuning"} == {s["lr"] for s in tuned.settings}
        assert {float(r["lr"]) for r in here if r["stage"] == "reporting"} == {tuned.best["lr"]}
        betas = {r["beta2"] for r in here}
        assert betas == ({"0.999"} if variant == "Adam" else {""})


def test_parquet_holds_what_csv_holds(job: Job, tmp_path: Path) -> None:
    for kind in ("csv", "parquet"):
        export_study(job, kind, tmp_path)
    for name in ("sweep", "draws"):
        text = pd.read_csv(tmp_path / "tiny-bowl" / f"{name}.csv", dtype={"value": str})
        text["value"] = [float(r["value"]) for r in rows(tmp_path / "tiny-bowl" / f"{name}.csv")]
        binary = pd.read_parquet(tmp_path / "tiny-bowl" / f"{name}.parquet")
        assert list(text.columns) == list(binary.columns)
        assert binary["value"].dtype == np.float64
        for column in text.columns:
            one, two = text[column], binary[column]
            if isinstance(two.dtype, pd.CategoricalDtype):
                assert one.astype(str).str.lower().to_list() == two.astype(str).str.lower().to_list(), column
            else:
                assert np.array_equal(one.to_numpy(float), two.to_numpy(float), equal_nan=True), column


def test_a_data_frame_of_the_result_holds_what_the_file_holds(job: Job, tmp_path: Path) -> None:
    export_study(job, "parquet", tmp_path)
    stored = pd.read_parquet(tmp_path / "tiny-bowl" / "sweep.parquet")
    frame = job.results().sweep("sweep").to_pandas()
    reported = stored[stored["stage"] == "reporting"]
    shown = frame[(frame["stage"] == "reporting") & (frame["quantity"] != "objective")]
    keys = ["regime", "variant", "lr", "seed", "quantity", "step"]
    one, two = (
        f.astype({"regime": str, "variant": str, "quantity": str}).sort_values(keys)
        for f in (reported, shown)
    )
    assert np.array_equal(one["value"].to_numpy(), two["value"].to_numpy(), equal_nan=True)
    assert one["quantity"].to_list() == two["quantity"].to_list()
    stored = pd.read_parquet(tmp_path / "tiny-bowl" / "draws.parquet")
    frame = job.results().measurement("draws").to_pandas()
    keys = ["scale", "quantity", "seed", "index_1"]
    one, two = (f.sort_values(keys)["value"].to_numpy() for f in (stored, frame))
    assert np.array_equal(one, two)


def test_the_frame_of_all_results_is_those_of_its_parts(job: Job) -> None:
    results = job.results()
    whole = results.to_pandas()
    assert whole.columns[0] == "experiment"
    parts = {"sweep": results.sweep("sweep").to_pandas(), "draws": results.measurement("draws").to_pandas()}
    assert len(whole) == sum(map(len, parts.values()))
    for name, part in parts.items():
        mine = whole[whole["experiment"] == name].reset_index(drop=True)
        for column in part.columns:
            one, two = part[column], mine[column]
            if isinstance(one.dtype, pd.CategoricalDtype):
                assert one.astype(str).to_list() == two.astype(str).to_list(), column
            else:
                found = [x.to_numpy(float, na_value=np.nan) for x in (one, two)]
                assert np.array_equal(*found, equal_nan=True), column
        # What does not apply to a part is missing there.
        assert (
            mine[[c for c in whole.columns if c not in ("experiment", *part.columns)]].isna().all(axis=None)
        )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_same_results_give_the_same_bytes_in_whatever_order_they_came(
    kind: str, job: Job, tmp_path: Path
) -> None:
    again = Store(tmp_path / "again.sqlite")
    for shard in reversed(job.view.store.shards(job.study_id)):
        payload = job.view.store.get(shard.study, shard.spec, shard.code)
        assert payload is not None
        again.put(shard.study, shard.spec, shard.code, payload, 1.0)
    other = job_of(bowls.REGISTERED, PLAN, again)
    for name, one in (("a", job), ("b", other)):
        assert export_study(one, kind, tmp_path / name) is not None
    again.close()
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / n / "tiny-bowl").iterdir()} for n in "ab")
    assert first == second


def test_what_is_there_of_an_unfinished_run_is_exported_and_said_to_be_a_part(
    job: Job, tmp_path: Path
) -> None:
    part = Store(tmp_path / "part.sqlite")
    first = min(
        (s for s in job.view.store.shards(job.study_id) if s.spec["experiment"] == "draws"),
        key=lambda s: (s.spec["cell"]["scale"], s.spec["first_seed"]),
    )
    payload = job.view.store.get(first.study, first.spec, first.code)
    assert payload is not None
    part.put(first.study, first.spec, first.code, payload, 1.0)
    done = export_study(job_of(bowls.REGISTERED, PLAN, part), "csv", tmp_path)
    part.close()
    assert done is not None
    assert not done.complete
    assert list(done.rows) == ["draws.csv"]
    assert "not run to its end" in (done.folder / "README.md").read_text("utf-8")


def test_the_folder_says_what_its_columns_mean(job: Job, tmp_path: Path) -> None:
    done = export_study(job, "csv", tmp_path)
    assert done is not None
    text = (done.folder / "README.md").read_text("utf-8")
    for name in done.rows:
        assert f"## {name}" in text
        for column in rows(done.folder / name)[0]:
            assert column in text


EVIL = 'a, "quoted"\nname | <b>'


@dataclass(frozen=True)
class Own:
    """An experiment of someone's own, with its own kind of spec."""

    name: str = EVIL
    shards: int = 2
    size: int = 3

    def specs(self) -> list[Spec]:
        return [
            {
                "experiment": self.name,
                "which": EVIL,
                "part": i,
                "options": [1, 2],
                "first_seed": 2 * i,
                "seeds": 2,
            }
            for i in range(self.shards)
        ]

    def pending(self, stored: Lookup) -> list[Shard]:
        return [Shard(s, "own", 1.0) for s in self.specs() if stored(s) is None]

    def run(self, spec: Spec, *, device: str) -> Payload:
        start = float(spec["part"])
        return {
            EVIL: start + np.arange(2.0 * self.size).reshape(2, self.size) / 3.0,
            "of all": np.array([[np.nan, -np.inf, 1e-320]]),
        }

    def result(self, stored: Lookup) -> object:
        return None


def own_job(experiment: Experiment, path: Path) -> Job:
    store = Store(path)
    job = local_job("own", Plan("tiny", 0, 2, 2), (experiment,), store)
    run_jobs([job], InProcess(), 1, Quiet())
    return job


def test_names_that_bite_and_experiments_of_ones_own(tmp_path: Path) -> None:
    job = own_job(Own(), tmp_path / "own.sqlite")
    done = export_study(job, "csv", tmp_path)
    assert done is not None
    (name,) = done.rows
    assert name == "a-quoted-name-b.csv"
    found = rows(done.folder / name)
    assert {r["experiment"] for r in found} == {EVIL}
    assert {r["which"] for r in found} == {EVIL}
    assert {r["options"] for r in found} == {"[1, 2]"}
    mine = {(int(r["seed"]), int(r["index_1"])): float(r["value"]) for r in found if r["quantity"] == EVIL}
    for spec in Own().specs():
        values = Own().run(spec, device="cpu")[EVIL]
        for (row, column), value in np.ndenumerate(values):
            assert mine[spec["first_seed"] + row, column] == value
    shared = [float(r["value"]) for r in found if r["quantity"] == "of all" and float(r["part"]) == 0.0]
    assert math.isnan(shared[0])
    assert shared[1:] == [-math.inf, 1e-320]


def test_a_meta_sweep_s_points_are_its_learning_rates() -> None:
    spec: Spec = {
        "experiment": "meta",
        "stage": "tune",
        "regime": "5-shot",
        "variant": "full",
        "training": "meta",
        "derivative": "full",
        "rule": "sgd",
        "hyper": {"momentum": "0.0"},
        "points": [[0.1, 0.01], [0.2, 0.01]],
        "first_seed": 4,
        "seeds": 3,
    }
    errors = np.arange(2 * 3 * 5.0).reshape(2, 3, 5)
    blocks = list(blocks_of_shard(spec, {"errors": errors}))
    assert [(b.labels["lr"], b.labels["outer_lr"]) for b in blocks] == [(0.1, 0.01), (0.2, 0.01)]
    assert all(b.seeds.tolist() == [4, 5, 6] for b in blocks)
    assert np.array_equal(np.stack([b.values for b in blocks]), errors)


def test_no_two_files_have_one_name() -> None:
    names = _file_names(["a b", "a-b", "A B", "a-b-2", "é", "?"], "csv")
    assert len({n.casefold() for n in names}) == 6
    assert names[:2] == ["a-b.csv", "a-b-2.csv"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_memory_does_not_grow_with_the_store(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_files, "_BATCH", 20_000)
    peaks = []
    for shards in (4, 24):
        job = own_job(Own("large", shards, 5_000), tmp_path / f"{shards}.sqlite")
        export_study(job, kind, tmp_path / "warm")
        tracemalloc.start()
        export_study(job, kind, tmp_path / str(shards))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        job.view.store.close()
    assert peaks[1] < 1.3 * peaks[0]


def test_a_failure_in_the_middle_leaves_what_was_there(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = export_study(job, "csv", tmp_path)
    assert done is not None
    before = {p.name: p.read_bytes() for p in done.folder.iterdir()}

    def full(self: CSVFile, block: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(CSVFile, "write", full)
    with pytest.raises(VhatError, match=r"No space left on device; choose another folder with --to"):
        export_study(job, "csv", tmp_path)
    assert {p.name: p.read_bytes() for p in done.folder.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["tiny-bowl"]


def test_each_error_is_one_line(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for kind, to, line in (
        ("cvs", tmp_path, "unknown format 'cvs'; did you mean 'csv'"),
        ("csv", tmp_path / "file", "cannot write into"),
    ):
        with pytest.raises(VhatError, match=line):
            export_study(job, kind, to)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(VhatError, match="pip install pyarrow"):
        export_study(job, "parquet", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, object]:
    known = {"tiny-bowl": bowls.REGISTERED}
    monkeypatch.setattr(commands, "studies", lambda: known)

    def find(name: str) -> object:
        if name not in known:
            raise VhatError(f"unknown study {name!r}")
        return known[name]

    monkeypatch.setattr(commands, "find", find)
    return known


def test_the_command(
    registered: Mapping[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--tiny", "--out", str(tmp_path / "out")]
    for argv, line in (
        (["export", *out], "there is no folder"),
        (["export", "bowl", *out], "unknown study 'bowl'"),
        (["export", "--quick", *out], "--tiny and --quick exclude each other"),
    ):
        assert main(argv) == 2
        captured = capsys.readouterr()
        assert line in captured.err
        assert captured.err.count("\n") == 1
    (tmp_path / "out").mkdir()
    Store(tmp_path / "out" / "results.sqlite").close()
    for argv, line in (
        (["export", *out], "nothing to export: no study of the tiny plan is stored"),
        (["export", "tiny-bowl", *out], "study 'tiny-bowl' has no results of its tiny plan"),
    ):
        assert main(argv) == 2
        captured = capsys.readouterr()
        assert line in captured.err
        assert captured.err.count("\n") == 1
    ran(tmp_path / "out").view.store.close()
    assert main(["export", *out]) == 0
    assert f"values in {tmp_path / 'out' / 'export' / 'tiny-bowl'}" in capsys.readouterr().err
    assert main(["export", "tiny-bowl", "--format", "parquet", "--to", str(tmp_path / "to"), *out]) == 0
    assert {p.name for p in (tmp_path / "to" / "tiny-bowl").iterdir()} == {
        "draws.parquet",
        "sweep.parquet",
        "README.md",
    }
