"""Decay against closed forms, the digits against plain torch, and the verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core.lab.conformance import check_problem
from core.lab.engines import InProcess
from core.lab.errors import VhatError
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.registry import find
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from core.lab.study import Results
from core.problems.digits import CLASSES, POOL, VALIDATION, Digits
from core.studies import adamw
from core.studies.adamw_shrinking import DECAY, LR, NOISE, SHRINKING, expected, shrinking
from tests.verdicts import reads_in_short


def means(rule: str, noise: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    cell = {"rule": rule, "noise": noise, "steps": steps}
    found = shrinking(cell, Keys.of(range(4)), device="cpu")
    return np.asarray(found["step"])[0], np.asarray(found["mean"])


@pytest.mark.parametrize("rule", ["AdamW", "SGD with L2"])
@pytest.mark.parametrize("noise", NOISE)
def test_decoupled_decay_and_plain_descent_shrink_by_one_less_lr_wd_whatever_the_noise(
    rule: str, noise: float
) -> None:
    steps, mean = means(rule, noise, 300)
    assert mean == pytest.approx(np.tile((1 - LR * DECAY) ** steps, (4, 1)), rel=1e-9)


def test_l2_alone_in_adam_goes_to_zero_at_lr_a_step() -> None:
    steps, mean = means("Adam with L2", 0.0, 60)
    # The penalty shrinks with the parameter while v remembers, so the step falls a little behind lr.
    assert mean[0] == pytest.approx(np.maximum(1 - LR * steps, 0.0), abs=0.15)
    assert mean[0, 1] == pytest.approx(1 - 2 * LR, rel=1e-3)
    assert steps[1] == 2


@pytest.mark.parametrize("noise", [1.0, 10.0])
def test_under_noise_l2_in_adam_decays_at_a_rate_divided_by_the_noise(noise: float) -> None:
    steps, mean = means("Adam with L2", noise, 2000)
    measured = np.log(mean[:, -1].mean()) / (-LR * DECAY * steps[-1])
    assert measured == pytest.approx(1 / noise, rel=0.05)


def test_closed_forms_are_given_where_they_hold() -> None:
    steps = np.arange(5)
    assert expected("Adam with L2", 0.05, steps) is None
    for rule in SHRINKING:
        for noise in NOISE:
            closed = expected(rule, noise, steps)
            assert closed is not None
            assert closed[0] == 1.0


def test_digits_keep_the_contract() -> None:
    for seeds in (4, 7):
        check_problem(Digits(40, wrong=0.3, width=8), seeds=seeds)


def test_the_field_is_the_gradient_of_a_plain_network() -> None:
    problem, keys = Digits(50, width=8, batch=16), Keys.of([0, 1])
    params = problem.init(keys)
    places, labels = problem.training_set(keys)
    drawn = keys.fold("batch").at(3).integers(50, 16)
    module = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, CLASSES))
    field = problem.field(params, keys, 3)
    for row in range(2):
        nn.utils.vector_to_parameters(params[row], module.parameters())
        module.zero_grad()
        batch = places[row][drawn[row]]
        loss = nn.functional.cross_entropy(module(problem.inputs[batch]), labels[row][drawn[row]])
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
        assert torch.allclose(field.values[row], gradient, atol=1e-6)
        assert float(field.measures["loss"][row]) == pytest.approx(loss.item(), rel=1e-5)


def test_training_validation_and_test_digits_are_apart() -> None:
    problem, keys = Digits(200), Keys.of(range(10))
    places, labels = problem.training_set(keys)
    assert int(places.max()) < POOL
    assert torch.equal(labels, problem.labels[places])
    assert len(problem.labels) == 1797
    assert len(problem.labels) - POOL - VALIDATION == 597
    assert not torch.equal(places[0], places[1])


def test_the_share_of_redrawn_labels_is_as_asked_for() -> None:
    problem, keys = Digits(400, wrong=0.5), Keys.of(range(20))
    places, labels = problem.training_set(keys)
    differs = (labels != problem.labels[places]).double().mean()
    # A tenth of the redrawn labels are right by chance.
    assert float(differs) == pytest.approx(0.45, abs=0.02)


def test_errors_count_wrong_answers() -> None:
    problem, keys = Digits(30, width=4), Keys.of([0, 1])
    always_three = torch.zeros(2, problem.dim)
    always_three[:, -CLASSES + 3] = 1.0
    measured = problem.measure(always_three, keys)
    test = problem.labels[POOL + VALIDATION :]
    assert measured["test error"].tolist() == pytest.approx([float((test != 3).double().mean())] * 2)
    assert measured["weight norm"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"wrong": 1.5}, {"batch": 0}])
def test_impossible_digits_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(VhatError, match="digits need"):
        Digits(**wrong)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    store = Store(tmp_path_factory.mktemp("adamw") / "s.sqlite")
    job = job_of(find("adamw"), adamw.STUDY.plan("tiny"), store)
    run_jobs([job], InProcess(), 1, Quiet())
    found = job.results()
    store.close()
    return found


def test_the_tiny_plan_is_judged_as_too_small(results: Results) -> None:
    verdict = adamw.judge(results)
    assert reads_in_short(verdict)
    assert verdict.few_seeds
    assert len([f for f in verdict.findings if f.decisive]) == len(NOISE) + 1 + 2 * len(adamw.REGIMES)
    assert "4 of 4 noise levels" in verdict.sentence


def test_figures_and_tables_are_drawn(results: Results, tmp_path: Path) -> None:
    for spec in adamw.STUDY.figures:
        spec.draw(results).savefig(tmp_path / f"{spec.name}.svg")
        assert (tmp_path / f"{spec.name}.svg").stat().st_size > 5000
    for table in adamw.STUDY.tables(results):
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
