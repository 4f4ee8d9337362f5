"""The canyon: its field is the gradient of its gap, straight ways are straight, and the tiny plan is
judged."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.lab.engines import InProcess
from core.lab.errors import VhatError
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.registry import find
from core.lab.run import Run
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from core.lab.study import Results
from core.lab.verdict import Label
from core.problems.quadratic import Canyon
from core.studies import canyon
from tests.verdicts import reads_in_short


@given(st.floats(1, 1e6), st.floats(-180, 180), st.integers(0, 100))
def test_the_field_is_the_gradient_of_the_gap(condition: float, degrees: float, seed: int) -> None:
    problem = Canyon(condition, degrees)
    keys = Keys.of([seed, seed + 1])
    params = (3.0 * keys.normal(2, dtype=torch.float64)).requires_grad_()
    gap = problem.measure(params, keys)["gap"]
    (gradient,) = torch.autograd.grad(gap.sum(), params)
    field = problem.field(params.detach(), keys, 0).values
    assert torch.allclose(field, gradient, rtol=1e-9, atol=1e-9 * condition)


@pytest.mark.parametrize("degrees", [0.0, 45.0, 90.0, 17.0])
def test_the_curvatures_are_one_and_the_condition_whatever_the_angle(degrees: float) -> None:
    problem, keys = Canyon(100.0, degrees), Keys.of([0, 1])
    hessian = problem.field(torch.eye(2, dtype=torch.float64), keys, 0).values
    assert torch.linalg.eigvalsh(hessian).tolist() == pytest.approx([1.0, 100.0])
    angle = math.radians(degrees)
    steep = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    assert torch.allclose(hessian @ steep, 100.0 * steep)


def test_starts_lie_on_the_unit_circle_all_around_it() -> None:
    start = Canyon().init(Keys.of(range(400)))
    assert start.norm(dim=1).numpy() == pytest.approx(1.0)
    assert start.mean(dim=0).abs().max() < 4 / 400**0.5


def test_noise_is_unbiased_and_of_the_size_asked_for() -> None:
    keys = Keys.of(range(4000))
    params = torch.ones(4000, 2, dtype=torch.float64)
    noise = Canyon(noise=0.5).field(params, keys, 3).values - Canyon().field(params, keys, 3).values
    assert noise.mean().abs() < 4 * 0.5 / 8000**0.5
    assert float(noise.std()) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("wrong", [{"condition": 0.5}, {"noise": -1.0}])
def test_impossible_canyons_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(VhatError, match="condition >= 1 and noise >= 0"):
        Canyon(**wrong)


def way(points: list[tuple[float, float]], hit: int) -> float:
    path = np.array([points])
    run = Run(np.arange(len(points)), {}, np.array([-1]), hits={"gap": np.array([hit])}, path=path)
    return float(canyon.straightness(run)[0])


def test_straightness_is_distance_over_length_up_to_the_hit() -> None:
    line = [(1 - 0.1 * i, 2 - 0.2 * i) for i in range(8)]
    assert way(line, 7) == pytest.approx(1.0)
    corner = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (50.0, -3.0)]
    assert way(corner, 2) == pytest.approx(math.sqrt(2) / 2)
    assert way(corner, 1) == pytest.approx(1.0)
    assert way([(0.0, 0.0), (1.0, 0.0), (0.0, 0.0)], 2) == 0.0
    assert way(corner, -1) == 0.0


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    store = Store(tmp_path_factory.mktemp("canyon") / "s.sqlite")
    job = job_of(find("canyon"), canyon.STUDY.plan("tiny"), store)
    run_jobs([job], InProcess(), 1, Quiet())
    found = job.results()
    store.close()
    return found


def test_the_tiny_plan_is_judged_as_too_small(results: Results) -> None:
    verdict = canyon.judge(results)
    assert reads_in_short(verdict)
    assert verdict.few_seeds
    assert verdict.label is Label.INCONCLUSIVE
    assert len([f for f in verdict.findings if f.decisive]) == 3 * 4
    assert {f.regime for f in verdict.findings} == {
        f"{r.name}, {t}" for r in canyon.REGIMES for t in canyon.TOLERANCES
    }


def test_gradient_descent_is_blind_to_rotation_and_adam_is_not(results: Results) -> None:
    """Rotating the canyon rotates the starts' meaning, not their distribution: compare tuned rates by
    theory."""
    sweep = results.sweep("coarse")
    for regime in sweep.regimes:
        rate = sweep.tuned[regime, "Gradient descent"].best["lr"]
        assert (
            rate < 2 / canyon.CONDITION
        )  # beyond it gradient descent does not converge from any start off the axis
    assert not any(sweep.run(r, v).diverged.any() for r in sweep.regimes for v in ("Adam", "Sign descent"))


def test_steps_of_gradient_descent_follow_the_closed_form(results: Results) -> None:
    """Along the axes each coordinate decays by (1 - lr c) a step: the first step below the gap can be
    computed."""
    sweep = results.sweep("coarse")
    run = sweep.run("axis-aligned", "Gradient descent")
    lr = sweep.tuned["axis-aligned", "Gradient descent"].best["lr"]
    assert run.path is not None
    for row, hit in enumerate(run.hits["gap"]):
        start = run.path[row, 0]
        decay = (1 - lr * np.array([canyon.CONDITION, 1.0])) ** np.arange(len(run.steps))[:, None]
        gap = 0.5 * (np.array([canyon.CONDITION, 1.0]) * (start * decay) ** 2).sum(axis=1)
        assert run.path[row] == pytest.approx(start * decay, rel=1e-9, abs=1e-12)
        below = np.flatnonzero(gap <= 1e-2)
        assert hit == (below[0] if len(below) else -1)


def test_figures_and_tables_are_drawn(results: Results, tmp_path: Path) -> None:
    for spec in canyon.STUDY.figures:
        spec.draw(results).savefig(tmp_path / f"{spec.name}.svg")
        assert (tmp_path / f"{spec.name}.svg").stat().st_size > 5000
    for table in canyon.STUDY.tables(results):
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
