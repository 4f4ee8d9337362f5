"""Which changes of unit Adam does not notice, as exact statements, and the verdict."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.lab.engines import InProcess
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.registry import find
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from core.lab.study import Results
from core.optim.rules import RULES
from core.problems.regression import Regression
from core.studies import standardize
from core.studies.standardize import NO_EPS, REGIMES
from tests.verdicts import reads_in_short

ADAM = RULES["adam"]


def predictions(scales: Tensor, rates: Tensor, *, loss: float = 1.0, steps: int = 40) -> Tensor:
    """Predictions after Adam with eps = 0 on least squares with scaled columns, a rate a coordinate."""
    data = Regression(4, 30, correlation=0.5).data(Keys.of([0, 1]))
    inputs, targets = data.inputs[0] * scales, data.targets[0]
    params = torch.zeros(4, 1, dtype=torch.float64)  # a coordinate a row, so that each has a rate of its own
    state = ADAM.init(params)
    for _ in range(steps):
        gradient = loss * inputs.T @ (inputs @ params[:, 0] - targets) / 30
        params, state = ADAM.step(params, gradient[:, None], state, lr=rates, eps=0.0)
    return inputs @ params[:, 0]


@settings(max_examples=20)
@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4), st.floats(-6, 6))
def test_adam_without_eps_notices_neither_the_losss_unit_nor_features_with_rates_to_match(
    exponents: list[float], loss: float
) -> None:
    scales = 10.0 ** torch.tensor(exponents, dtype=torch.float64)
    plain = predictions(torch.ones_like(scales), torch.full_like(scales, 0.05))
    matched = predictions(scales, 0.05 / scales, loss=10.0**loss)
    assert torch.allclose(plain, matched, rtol=1e-6, atol=1e-9)


def test_adam_notices_features_scales_at_one_rate() -> None:
    scales, rates = (
        torch.tensor([0.01, 1.0, 1.0, 100.0], dtype=torch.float64),
        torch.full((4,), 0.05).double(),
    )
    plain, scaled = predictions(torch.ones_like(scales), rates), predictions(scales, rates)
    assert (plain - scaled).abs().max() > 0.1 * plain.abs().max()


def test_the_start_and_the_gap_there_are_the_same_however_features_are_prepared() -> None:
    keys = Keys.of([0, 1])
    for name in standardize.DATA:
        gaps = [r.build("cpu").data(keys).start_gap for r in REGIMES if r.name.startswith(f"{name},")]  # type: ignore[attr-defined]
        assert len(gaps) == 3
        assert torch.allclose(gaps[0], gaps[1], rtol=1e-6)
        assert torch.allclose(gaps[0], gaps[2], rtol=1e-6)


def test_the_losss_unit_moves_gradient_descent_and_not_adam_without_its_constant() -> None:
    def gap(variant: str, factor: float) -> np.ndarray:
        cell = {"variant": variant, "factor": factor}
        return standardize.after_scaling(cell, Keys.of([0, 1]), device="cpu")["gap"]

    assert gap(NO_EPS, 1e4) == pytest.approx(gap(NO_EPS, 1.0), rel=1e-6)
    # A loss of almost nothing leaves gradient descent where it started.
    assert gap("Gradient descent", 1e-12) == pytest.approx(1.0, rel=1e-6)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    store = Store(tmp_path_factory.mktemp("standardize") / "s.sqlite")
    job = job_of(find("standardize"), standardize.STUDY.plan("tiny"), store)
    run_jobs([job], InProcess(), 1, Quiet())
    found = job.results()
    store.close()
    return found


def test_the_tiny_plan_is_judged_as_too_small(results: Results) -> None:
    verdict = standardize.judge(results)
    assert reads_in_short(verdict)
    assert verdict.few_seeds
    decisive = [f for f in verdict.findings if f.decisive]
    assert len(decisive) == 2 * len(standardize.CLAIMED)
    assert not any("alone" in f.regime for f in decisive)


def _judged(results: Results, adam: float, bare: float) -> str:
    """The sentence if raw features took Adam, and Adam without its constant, so many times the steps."""
    seeds = 40
    spread = np.linspace(0.9, 1.1, seeds)

    def changed(name: str) -> SimpleNamespace:
        def values(regime: str, variant: str) -> np.ndarray:
            factor = {"Adam": adam, NO_EPS: bare}.get(variant, 2.0)
            return spread * (factor if regime.endswith("raw") else 1.0)

        return SimpleNamespace(values=values, name=name)

    made = SimpleNamespace(
        plan=SimpleNamespace(reporting_seeds=seeds), sweep=changed, measurement=results.measurement
    )
    return standardize.judge(made).sentence  # type: ignore[arg-type]


def test_the_sentence_blames_or_acquits_the_constant_by_what_was_found(results: Results) -> None:
    assert "The small constant is not why: without it the same holds in 8 of these 8" in _judged(
        results, 3, 3
    )
    assert "The small constant is why: without it the same holds in 0 of these 8" in _judged(results, 3, 0.5)
    neither = _judged(results, 0.5, 3)
    assert "Is it the small constant? Without it the same holds in 0 of these 0" in neither
    assert "feature's unit" not in neither
    assert "feature's unit" in _judged(results, 3, 3)


def test_moved_is_zero_at_the_losss_own_unit_and_infinite_where_a_run_diverged(results: Results) -> None:
    assert np.array_equal(standardize.moved(results, "Adam", 1.0), np.zeros(4))
    assert np.isinf(standardize.moved(results, "Gradient descent", 1e8)).all()


def test_figures_and_tables_are_drawn(results: Results, tmp_path: Path) -> None:
    for spec in standardize.STUDY.figures:
        spec.draw(results).savefig(tmp_path / f"{spec.name}.svg")
        assert (tmp_path / f"{spec.name}.svg").stat().st_size > 5000
    for table in standardize.STUDY.tables(results):
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
