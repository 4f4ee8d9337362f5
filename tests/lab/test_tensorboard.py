"""What TensorBoard reads back: quantiles of the stored curves, and the tuned settings."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from core.cli import main
from core.lab import commands
from core.lab.errors import VhatError
from core.lab.tensorboard import QUANTILES, write_curves, write_results
from tests.lab import bowls, synthetic_study


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def scalars(folder: Path, tag: str) -> dict[int, float]:
    return {e.step: e.value for e in read(folder).Scalars(tag)}


def test_quantiles_are_those_of_the_replicas(tmp_path: Path) -> None:
    """Of eleven replicas the median is the sixth, and quartiles are the third and the ninth."""
    curves = np.random.default_rng(0).permuted(np.arange(11.0)[:, None] * [1.0, 10.0, 100.0], axis=0)
    write_curves(tmp_path, np.array([0, 5, 9]), {"loss": curves}, group="a/b", hyper={"lr": 0.1})
    for which, rank in {"lower quartile": 2, "median": 5, "upper quartile": 8}.items():
        assert scalars(tmp_path, f"a: b/loss {which}") == {0: rank, 5: 10.0 * rank, 9: 100.0 * rank}
    assert set(QUANTILES) == {"lower quartile", "median", "upper quartile"}


@pytest.mark.parametrize("worst", [np.inf, -np.inf])
def test_a_diverged_replica_counts_as_the_worst_and_is_never_filled_in(worst: float, tmp_path: Path) -> None:
    curves = np.array([[1.0, np.nan], [2.0, np.nan], [3.0, 7.0]])
    write_curves(tmp_path, np.array([0, 1]), {"x": curves}, group="g", hyper={}, worst=worst)
    assert scalars(tmp_path, "g/x median") == {0: 2.0, 1: worst}


def test_a_study_has_a_run_a_variant_and_regime_with_its_setting(tmp_path: Path) -> None:
    results = synthetic_study.results()
    count = write_results("synthetic", results, tmp_path)
    sweep = results.sweep("tuned")
    files = list(tmp_path.rglob("events.out.tfevents.*"))
    assert count == len(files) == len(sweep.variants) * len(sweep.regimes)
    regime = sweep.regimes[0]
    folder = tmp_path / "synthetic" / "tuned" / regime / "Momentum"
    found = read(folder)
    steps = [e.step for e in found.Scalars(f"synthetic: tuned, {regime}/loss median")]
    assert steps == synthetic_study.STEPS.tolist()
    assert found.Scalars("share diverged")[0].value == pytest.approx(2 / synthetic_study.SEEDS)
    data = HParamsPluginData.FromString(
        found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    )
    told = data.session_start_info.hparams
    assert told["lr"].number_value == sweep.tuned[regime, "Momentum"].best["lr"]
    assert told["variant"].string_value == "Momentum"
    assert set(told) == {"lr", "rule", "regime", "variant"}
    table = HParamsPluginData.FromString(found.SummaryMetadata("_hparams_/experiment").plugin_data.content)
    assert {h.name for h in table.experiment.hparam_infos} == set(told)
    assert {m.name.tag for m in table.experiment.metric_infos} == {"objective", "share diverged"}


def test_the_table_has_the_columns_of_all_runs(tmp_path: Path) -> None:
    columns = {"lr": 0.1, "momentum": 0.5}
    write_curves(tmp_path, np.array([0]), {}, group="g", hyper={"lr": 0.2}, all_hyper=columns)
    data = read(tmp_path).SummaryMetadata("_hparams_/experiment").plugin_data.content
    assert {h.name for h in HParamsPluginData.FromString(data).experiment.hparam_infos} == set(columns)


def test_writing_again_replaces_and_leaves_other_files_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for value in (1.0, 2.0):
        write_curves(tmp_path, np.array([0]), {"x": np.full((2, 1), value)}, group="g", hyper={})
    assert scalars(tmp_path, "g/x median") == {0: 2.0}
    assert len(list(tmp_path.glob("events*"))) == 1
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_each_error_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    given = {"steps": np.array([0]), "curves": {}, "group": "g", "hyper": {}}
    with pytest.raises(VhatError, match="cannot write into"):
        write_curves(tmp_path / "file", **given)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(VhatError, match="pip install tensorboard"):
        write_curves(tmp_path / "new", **given)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, object]:
    known = {"tiny-bowl": bowls.REGISTERED}
    monkeypatch.setattr(commands, "studies", lambda: known)
    monkeypatch.setattr(commands, "find", lambda name: known[name])
    return known


def test_the_option_of_run(
    registered: Mapping[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    argv = ["run", "--tiny", "--workers", "1", "--out", str(tmp_path / "out"), "--tensorboard"]
    assert main([*argv, str(tmp_path / "tb")]) == 0
    assert "tiny-bowl: 4 runs for TensorBoard" in capsys.readouterr().err
    assert (tmp_path / "tb" / "tiny-bowl" / "sweep" / "loud" / "Adam").is_dir()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    argv[-2] = str(tmp_path / "elsewhere")
    assert main([*argv, str(tmp_path / "tb")]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "elsewhere").exists()  # said before anything is run
