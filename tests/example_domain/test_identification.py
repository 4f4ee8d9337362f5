"""The worked example keeps the lab's contracts, and finds what it should."""

from __future__ import annotations

import pytest
import torch

from core.lab.conformance import check_problem
from core.lab.errors import VhatError
from core.lab.random import Keys
from tests.example_domain.arx import OneStepPrediction

KEYS = Keys.of(range(6), study="test")
SYSTEMS = [(0.5, 0.3), (0.95, 0.8), (-0.4, 0.6)]


@pytest.mark.parametrize("poles", SYSTEMS)
def test_the_problem_keeps_the_contract(poles: tuple[float, float]) -> None:
    check_problem(OneStepPrediction(poles))


@pytest.mark.parametrize("poles", SYSTEMS)
def test_without_noise_the_solution_is_the_system(poles: tuple[float, float]) -> None:
    problem = OneStepPrediction(poles, noise=0.0)
    torch.testing.assert_close(problem.solution, problem.truth, rtol=1e-8, atol=1e-8)
    assert problem.measure(problem.truth[None], KEYS)["gap"].item() < 1e-15
    # The characteristic polynomial z^2 - theta_1 z - theta_2 vanishes at the poles.
    for pole in poles:
        assert pole**2 - problem.truth[0] * pole - problem.truth[1] == pytest.approx(0.0, abs=1e-12)


def test_the_gap_is_the_loss_above_its_least_value() -> None:
    problem = OneStepPrediction()
    params = problem.init(KEYS).requires_grad_()

    def losses(theta: torch.Tensor) -> torch.Tensor:
        return 0.5 * (theta @ problem.regressors.T - problem.targets).square().mean(dim=1)

    expected = losses(params) - losses(problem.solution[None])
    torch.testing.assert_close(problem.measure(params, KEYS)["gap"], expected)
    (slope,) = torch.autograd.grad(problem.measure(params, KEYS)["gap"].sum(), params)
    (other,) = torch.autograd.grad(losses(params).sum(), params)
    torch.testing.assert_close(slope, other)


def test_the_field_is_unbiased() -> None:
    problem = OneStepPrediction(batch=2000)
    params = problem.init(KEYS)
    mean = torch.stack([problem.field(params, KEYS, step).values for step in range(40)]).mean(dim=0)
    misses = params @ problem.regressors.T - problem.targets
    each = misses[:, :, None] * problem.regressors
    error = (mean - each.mean(dim=1)).abs() / (each.std(dim=1) / 80_000**0.5)
    assert error.max() < 5.0


def test_mistakes_are_one_line() -> None:
    for wrong in ({"poles": (1.0, 0.2)}, {"batch": 0}):
        with pytest.raises(VhatError, match="poles within"):
            OneStepPrediction(**wrong)  # type: ignore[arg-type]
