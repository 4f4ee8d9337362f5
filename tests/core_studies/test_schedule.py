"""Schedules fit their horizons, variants differ in the schedule alone, and the verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.lab.engines import InProcess
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.registry import find
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from core.lab.study import Results
from core.lab.train import Block, train
from core.problems.digits import Digits
from core.problems.regression import Regression
from core.studies import schedule
from core.studies.schedule import BOWL, CONSTANT, COSINE, HORIZONS, PROBLEMS, WARM, variants
from tests.verdicts import reads_in_short


def factors(name: str, steps: int) -> np.ndarray:
    found = next(v for v in variants(steps, 1) if v.name == name).schedule
    return np.array([1.0 if found is None else found(t) for t in range(steps)])


@pytest.mark.parametrize("steps", [40, 400])
def test_schedules_spend_the_budgets_they_should(steps: int) -> None:
    """Cosine and linear decay spend half of a constant rate's sum; the cosine is symmetric."""
    assert factors(CONSTANT, steps).sum() == steps
    assert factors(COSINE, steps).sum() == pytest.approx((steps + 1) / 2)
    assert factors("Adam, linear", steps).sum() == pytest.approx((steps + 1) / 2)
    cosine = factors(COSINE, steps)
    assert cosine[1:] + cosine[:0:-1] == pytest.approx(1.0)
    warm = factors(WARM, steps)
    assert warm[steps // 10 - 1] == warm[steps // 10] == 1.0
    assert warm[-1] < 0.01
    root = factors("Adam, 1/sqrt(t)", steps)
    assert root == pytest.approx(1 / np.sqrt(1 + np.arange(steps) / (steps // 10)))


def test_variants_of_adam_differ_in_their_schedule_alone() -> None:
    adams = [v.describe() for v in variants(100, 2)[:5]]
    assert len({str(d.pop("schedule")) for d in adams}) == 5
    assert all(d == adams[0] for d in adams)


def test_gradient_descent_under_cosine_follows_its_closed_form() -> None:
    """Along an eigenvector the distance is multiplied by 1 - lr f(t) h at step t."""
    problem, keys = Regression(**BOWL), Keys.of(range(3))
    data = problem.data(keys)
    sgd = next(v for v in variants(50, 1) if v.name == "SGD, cosine")
    run = train(problem, [Block(sgd, slice(0, 3), {"lr": 0.1})], keys, steps=50)
    for row in range(3):
        values, vectors = torch.linalg.eigh(data.hessian[row])
        shrink = torch.ones_like(values)
        for factor in factors("SGD, cosine", 50):
            shrink = shrink * (1 - 0.1 * factor * values)
        share = vectors.T @ -data.solution[row] * shrink
        gap = 0.5 * float((values * share**2).sum() / data.start_gap[row])
        assert run.curves["gap"][row, -1] == pytest.approx(gap, rel=1e-9)


def test_the_training_loss_is_the_mean_cross_entropy_of_the_seeds_own_labels() -> None:
    problem, keys = Digits(30, wrong=0.5, width=4), Keys.of([0, 1])
    indifferent = torch.zeros(2, problem.dim)
    assert problem.measure(indifferent, keys)["training loss"].tolist() == pytest.approx([np.log(10)] * 2)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    store = Store(tmp_path_factory.mktemp("schedule") / "s.sqlite")
    job = job_of(find("schedule"), schedule.STUDY.plan("tiny"), store)
    run_jobs([job], InProcess(), 1, Quiet())
    found = job.results()
    store.close()
    return found


def test_the_tiny_plan_is_judged_as_too_small(results: Results) -> None:
    verdict = schedule.judge(results)
    assert reads_in_short(verdict)
    assert verdict.few_seeds
    decisive = [f.regime for f in verdict.findings if f.decisive]
    assert decisive == [f"{n}, {h}" for n in (schedule.NOISY, schedule.NETWORK) for h in HORIZONS]


def test_each_horizon_is_trained_for_its_own_steps(results: Results) -> None:
    for name in PROBLEMS:
        short, long = (results.sweep(f"{name}, {h}").sweep.steps for h in HORIZONS)
        assert (short, long) == (10, 40)


def test_figures_and_tables_are_drawn(results: Results, tmp_path: Path) -> None:
    for spec in schedule.STUDY.figures:
        spec.draw(results).savefig(tmp_path / f"{spec.name}.svg")
        assert (tmp_path / f"{spec.name}.svg").stat().st_size > 5000
    for table in schedule.STUDY.tables(results):
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
