"""Regression against direct formulas, the floor of constant rates against its one-parameter form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.lab.conformance import check_problem
from core.lab.engines import InProcess
from core.lab.errors import VhatError
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.registry import find
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from core.lab.study import Results
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.problems.regression import PREPARATIONS, Regression
from core.studies import ridge
from core.studies.ridge_floor import predicted_floor
from core.studies.ridge_settings import ADAMW_FOR_RIDGE, BATCH, REGIMES, RIDGE
from tests.verdicts import reads_in_short

KINDS: tuple[dict[str, object], ...] = (
    {},
    {"batch": 8},
    {
        "correlation": 0.9,
        "decades": 4,
        "offset": 3,
        "preparation": "standardized",
        "intercept": True,
        "batch": 16,
    },
    {"features": 30, "samples": 20, "ridge": 0.1},
)


@pytest.mark.parametrize("kind", KINDS)
def test_regressions_keep_the_contract(kind: dict[str, object]) -> None:
    check_problem(Regression(**kind), seeds=7)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [None, 200])
def test_the_field_is_the_gradient_of_the_objective(batch: int | None) -> None:
    problem = Regression(5, 40, correlation=0.5, ridge=0.1, loss_scale=3.0, batch=batch)
    keys = Keys.of([3, 4])
    data = problem.data(keys)
    params = keys.normal(5, dtype=torch.float64).requires_grad_()
    inputs, targets = data.inputs, data.targets
    if batch is not None:
        index = keys.fold("batch").at(7).integers(40, batch)
        inputs = torch.stack([x[i] for x, i in zip(inputs, index, strict=True)])
        targets = torch.stack([y[i] for y, i in zip(targets, index, strict=True)])
    residual = torch.einsum("rnd,rd->rn", inputs, params) - targets
    loss = 3.0 * (residual.square().mean(dim=1) / 2 + 0.1 / 2 * params.square().sum(dim=1))
    (gradient,) = torch.autograd.grad(loss.sum(), params)
    assert torch.allclose(problem.field(params.detach(), keys, 7).values, gradient, rtol=1e-10, atol=1e-12)


def test_the_solution_solves_the_normal_equations_and_the_gap_is_the_objective_above_it() -> None:
    problem, keys = Regression(6, 50, correlation=0.8, decades=2, ridge=0.05), Keys.of([0, 1, 2])
    data = problem.data(keys)
    gram = data.inputs.mT @ data.inputs / 50 + 0.05 * torch.eye(6, dtype=torch.float64)
    right = (data.inputs.mT @ data.targets[:, :, None]) / 50
    assert torch.allclose(torch.linalg.solve(gram, right)[:, :, 0], data.solution, rtol=1e-9)

    def objective(w: torch.Tensor) -> torch.Tensor:
        residual = (data.inputs @ w[:, :, None])[:, :, 0] - data.targets
        return residual.square().mean(dim=1) / 2 + 0.05 / 2 * w.square().sum(dim=1)

    somewhere = keys.normal(6, dtype=torch.float64)
    least = objective(data.solution)
    expected = (objective(somewhere) - least) / (objective(torch.zeros_like(somewhere)) - least)
    assert torch.allclose(problem.measure(somewhere, keys)["gap"], expected, rtol=1e-8)
    assert problem.measure(problem.init(keys), keys)["gap"].tolist() == pytest.approx([1.0] * 3)
    assert problem.measure(data.solution, keys)["error"].tolist() == [0.0] * 3


def test_preparation_changes_units_and_not_what_can_be_predicted() -> None:
    keys = Keys.of([0, 1])
    fitted = []
    for preparation in PREPARATIONS:
        problem = Regression(4, 30, decades=3, offset=2, preparation=preparation, intercept=True)
        data = problem.data(keys)
        features = data.inputs[:, :, :4]
        if preparation != "raw":
            assert features.std(dim=1, correction=0).flatten().tolist() == pytest.approx([1.0] * 8)
        if preparation == "standardized":
            assert features.mean(dim=1).abs().max() < 1e-12
        fitted.append((data.inputs @ data.solution[:, :, None])[:, :, 0])
    assert torch.allclose(fitted[0], fitted[1], atol=1e-9)
    assert torch.allclose(fitted[0], fitted[2], atol=1e-9)


def test_features_have_the_scales_and_correlations_asked_for() -> None:
    data = Regression(3, 20000, correlation=0.6, decades=2).data(Keys.of([0, 1]))
    assert data.inputs.std(dim=1)[0].tolist() == pytest.approx([0.1, 1.0, 10.0], rel=0.03)
    for correlation in (np.corrcoef(x.T) for x in data.inputs.numpy()):
        assert correlation[0, 1] == pytest.approx(0.6, abs=0.02)
        assert correlation[0, 2] == pytest.approx(0.36, abs=0.02)


@pytest.mark.parametrize(
    "wrong",
    [{"preparation": "white"}, {"features": 0}, {"correlation": 1.0}, {"features": 20, "samples": 10}],
)
def test_impossible_regressions_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(VhatError, match="regression"):
        Regression(**wrong)  # type: ignore[arg-type]


def test_gradient_descent_follows_its_closed_form() -> None:
    problem, keys = Regression(5, 40, correlation=0.9, ridge=RIDGE), Keys.of(range(3))
    data = problem.data(keys)
    run = train(
        problem, [Block(Variant("Gradient descent", "sgd"), slice(0, 3), {"lr": 0.1})], keys, steps=30
    )
    for row in range(3):
        values, vectors = torch.linalg.eigh(data.hessian[row])
        share = (vectors.T @ -data.solution[row]) * (1 - 0.1 * values) ** 30
        gap = 0.5 * float((values * share**2).sum() / data.start_gap[row])
        assert run.curves["gap"][row, -1] == pytest.approx(gap, rel=1e-9)


def test_the_floor_of_one_parameter_is_lr_times_noise_over_four() -> None:
    """p = 1 / sigma and h, c numbers: 2 p h S = lr p^2 c, so h S / 2 = lr p c / 4 = lr sigma / 4."""
    problem, keys = Regression(1, 60, ridge=RIDGE, batch=BATCH), Keys.of(range(4))
    data = problem.data(keys)
    singles = data.inputs[:, :, 0] * (data.inputs[:, :, 0] * data.solution - data.targets)
    sigma = singles.std(dim=1, correction=0) / BATCH**0.5
    assert torch.allclose(predicted_floor(data, 1e-3) * data.start_gap, 1e-3 * sigma / 4, rtol=1e-9)
    wide = Regression(6, 60, correlation=0.5, ridge=RIDGE).data(keys)
    assert torch.allclose(predicted_floor(wide, 2e-3), 2 * predicted_floor(wide, 1e-3), rtol=1e-9)


def test_adamw_for_ridge_is_torchs_adamw_on_the_bare_gradient() -> None:
    start = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
    ours, state = start.clone(), ADAMW_FOR_RIDGE.init(start)
    theirs = start.clone().requires_grad_()
    torchs = torch.optim.AdamW([theirs], lr=0.1, weight_decay=RIDGE)
    for step in range(5):
        bare = torch.cos(ours + step)
        theirs.grad = torch.cos(theirs.detach() + step)
        torchs.step()
        ours, state = ADAMW_FOR_RIDGE.step(ours, bare + RIDGE * ours, state, lr=0.1)
    assert torch.allclose(ours, theirs.detach(), rtol=1e-12)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    store = Store(tmp_path_factory.mktemp("ridge") / "s.sqlite")
    job = job_of(find("ridge"), ridge.STUDY.plan("tiny"), store)
    run_jobs([job], InProcess(), 1, Quiet())
    found = job.results()
    store.close()
    return found


def test_the_tiny_plan_is_judged_as_too_small(results: Results) -> None:
    verdict = ridge.judge(results)
    assert reads_in_short(verdict)
    assert verdict.few_seeds
    assert len([f for f in verdict.findings if f.decisive]) == 2 * len(REGIMES)
    assert "power" in verdict.sentence


def test_the_error_keeps_the_bounds_that_curvature_gives_the_gap(results: Results) -> None:
    """Least curvature times error squared is at most the gap, and the largest at least, both in one unit."""
    sweep = results.sweep("final")
    for regime in REGIMES:
        keys = Keys.of(range(4), study="ridge/report")
        data = Regression(**regime.settings).data(keys)
        values = torch.linalg.eigvalsh(data.hessian).numpy()
        square = (data.solution.norm(dim=1).numpy() * ridge.error_at_end(results, regime.name, "Adam")) ** 2
        gap = sweep.values(regime.name, "Adam") * data.start_gap.numpy()
        assert (0.5 * values[:, 0] * square <= gap * (1 + 1e-5)).all()
        assert (gap <= 0.5 * values[:, -1] * square * (1 + 1e-5)).all()


def test_figures_and_tables_are_drawn(results: Results, tmp_path: Path) -> None:
    for spec in ridge.STUDY.figures:
        spec.draw(results).savefig(tmp_path / f"{spec.name}.svg")
        assert (tmp_path / f"{spec.name}.svg").stat().st_size > 5000
    for table in ridge.STUDY.tables(results):
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
