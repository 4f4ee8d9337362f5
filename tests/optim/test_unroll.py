"""The whole training as a function: its derivatives against central differences and closed forms, the three
modes against one another."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from core.optim import RULES
from core.optim.hypergradient import PARAMS, Mode, hypergradients
from core.optim.objective import LossObjective
from core.optim.unroll import unroll
from tests.optim.trainings import (
    CASES,
    DIM,
    MODES,
    RATES,
    ROWS,
    START,
    STEPS,
    assert_close,
    bowl,
    differences,
    differences_by_start,
    normal,
)


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_hyperparameters_agree_with_central_differences(name: str, summed: bool) -> None:
    hyper, objective = CASES[name], bowl()
    expected = {over: differences(objective, name, hyper, over, summed=summed) for over in hyper}
    for mode in MODES:
        found = hypergradients(
            objective, RULES[name], START, hyper, steps=STEPS, over=tuple(hyper), mode=mode, summed=summed
        )
        for over in hyper:
            assert_close(found.gradients[over], expected[over], 1e-7)


@pytest.mark.parametrize("name", CASES)
def test_the_start_agrees_with_central_differences_at_the_dead_coordinate_too(name: str) -> None:
    hyper, objective = CASES[name], bowl()
    found = hypergradients(objective, RULES[name], START, hyper, steps=STEPS, over=(PARAMS,)).gradients[
        PARAMS
    ]
    for column in range(DIM):
        expected = differences_by_start(objective, name, hyper, column)
        assert_close(found[:, column], expected, 1e-7)
    if not hyper.get("weight_decay"):
        # Nothing moves it, so the loss knows it as it was.
        torch.testing.assert_close(found[:, -1], 0.2 * START[:, -1])


@pytest.mark.parametrize("options", [{}, {"first_order": True}, {"cut_state": True}, {"summed": True}])
@pytest.mark.parametrize("name", CASES)
def test_the_three_modes_agree(name: str, options: dict[str, bool]) -> None:
    over = (*CASES[name], PARAMS)
    reverse, segments, forward = (
        hypergradients(
            bowl(), RULES[name], START, CASES[name], steps=STEPS, over=over, mode=mode, segment=5, **options
        )
        for mode in MODES
    )
    assert torch.equal(reverse.loss, segments.loss)
    assert torch.equal(reverse.loss, forward.loss)
    assert torch.equal(reverse.params, segments.params)
    assert torch.equal(reverse.params, forward.params)
    for name_ in over:
        size = reverse.gradients[name_].abs().max()
        for other in (segments, forward):
            assert (other.gradients[name_] - reverse.gradients[name_]).abs().max() <= 1e-12 * size


@pytest.mark.parametrize("mode", MODES)
def test_a_row_does_not_depend_on_the_others(mode: Mode) -> None:
    """The derivative of row r is of its own loss by its own number: other rows' numbers change nothing."""
    objective, over = bowl(), tuple(CASES["adam"])
    one = hypergradients(objective, RULES["adam"], START, CASES["adam"], steps=STEPS, over=over, mode=mode)
    hyper = {**CASES["adam"], "lr": RATES * torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64)}
    other = hypergradients(objective, RULES["adam"], START, hyper, steps=STEPS, over=over, mode=mode)
    for name in over:
        assert torch.equal(one.gradients[name][0], other.gradients[name][0])
        assert not torch.equal(one.gradients[name][1:], other.gradients[name][1:])


def test_gradient_descent_on_a_quadratic_has_its_closed_form() -> None:
    r"""x_T = (1 - lr c)^T x_0, so with f = c x^2 / 2: df/dlr = -T c^2 x_0^2 (1 - lr c)^(2T - 1)."""
    curvature, rate, steps = 2.0, torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64), 7
    objective = LossObjective(
        lambda params, step: curvature * params[:, 0] ** 2 / 2,
        lambda params: curvature * params[:, 0] ** 2 / 2,
    )
    start = normal(3, 1)
    shrunk = (1 - rate * curvature) ** (2 * steps - 1)
    expected = -steps * curvature**2 * start[:, 0] ** 2 * shrunk
    for mode in MODES:
        found = hypergradients(objective, RULES["sgd"], start, {"lr": rate}, steps=steps, mode=mode)
        torch.testing.assert_close(found.gradients["lr"], expected, rtol=1e-12, atol=0.0)


def test_first_order_takes_the_field_as_constant() -> None:
    """Under gradient descent the start then reaches the end as it is: its derivative is the last gradient."""
    objective = bowl()
    for mode in MODES:
        found = hypergradients(
            objective,
            RULES["sgd"],
            START,
            {"lr": 0.05},
            steps=STEPS,
            over=(PARAMS, "lr"),
            mode=mode,
            first_order=True,
        )
        at = found.params.clone().requires_grad_()
        (final,) = torch.autograd.grad(objective.loss(at).sum(), at)
        torch.testing.assert_close(found.gradients[PARAMS], final)
        torch.testing.assert_close(found.gradients["lr"], (final * (found.params - START)).sum(dim=1) / 0.05)


def test_cut_state_takes_away_what_flows_through_the_moments() -> None:
    """With lr zero but in the last step the parameters carry nothing: only the moments remember beta2."""

    @dataclass(frozen=True)
    class Last:
        def __call__(self, step: int | Tensor) -> float:
            return float(step == STEPS - 1)

    def by_beta2(*, cut: bool) -> Tensor:
        beta2 = torch.full((ROWS,), 0.9, dtype=torch.float64, requires_grad=True)
        end = unroll(
            bowl(),
            RULES["adam_uncorrected"],
            START,
            {"lr": 0.1, "beta2": beta2},
            steps=STEPS,
            schedule=Last(),
            cut_state=cut,
        )
        return torch.autograd.grad(end.loss.sum(), beta2)[0]

    objective = bowl()
    start, gradients = START[:, : DIM - 1], [objective.field(START, t)[:, : DIM - 1] for t in range(STEPS)]
    first, second = torch.zeros_like(start), torch.zeros_like(start)
    inherited = torch.zeros_like(start)  # of the second moment by beta2, through all its past
    for gradient in gradients:
        first, before = 0.9 * first + 0.1 * gradient, second
        inherited = 0.9 * inherited + before - gradient**2
        second = 0.9 * second + 0.1 * gradient**2
    denominator = second.sqrt() + 1e-8
    end = start - 0.1 * first / denominator
    by_second = 2 * (end - 0.3) * 0.1 * first / denominator**2 / (2 * second.sqrt())
    torch.testing.assert_close(by_beta2(cut=False), (by_second * inherited).sum(dim=1))
    last = before - gradients[-1] ** 2
    torch.testing.assert_close(by_beta2(cut=True), (by_second * last).sum(dim=1))


def test_a_warm_state_is_part_of_the_graph() -> None:
    """Two halves, the second warm from the first, are the whole, values and derivatives."""
    objective, rate = bowl(), torch.full((ROWS,), 0.05, dtype=torch.float64, requires_grad=True)
    rule, hyper = RULES["adam"], {"lr": rate, "beta1": 0.8}
    whole = unroll(objective, rule, START, hyper, steps=6)
    for segment in (None, 2):
        second = LossObjective(lambda params, step: objective.training(params, step + 3), objective.final)
        half = unroll(objective, rule, START, hyper, steps=3, segment=segment)
        both = unroll(second, rule, half.params, hyper, steps=3, state=half.state, segment=segment)
        assert both.state.step == 6
        assert torch.equal(both.loss, whole.loss)
        (expected,) = torch.autograd.grad(whole.loss.sum(), rate, retain_graph=True)
        torch.testing.assert_close(
            torch.autograd.grad(both.loss.sum(), rate)[0], expected, rtol=1e-12, atol=0
        )


def test_a_projection_is_part_of_the_training() -> None:
    class Ball:
        def field(self, params: Tensor, step: int) -> Tensor:
            return params - 2.0

        def loss(self, params: Tensor) -> Tensor:
            return (params**2).sum(dim=1)

        def project(self, params: Tensor) -> Tensor:
            return params / params.norm(dim=1, keepdim=True)

    by_mode = [
        hypergradients(Ball(), RULES["momentum"], START, {"lr": 0.1}, steps=4, mode=mode, over=(PARAMS, "lr"))
        for mode in MODES
    ]
    for found in by_mode:
        torch.testing.assert_close(found.loss, torch.ones_like(found.loss))
        torch.testing.assert_close(found.gradients["lr"], torch.zeros(ROWS, dtype=torch.float64))
        torch.testing.assert_close(found.gradients[PARAMS], torch.zeros_like(START))
