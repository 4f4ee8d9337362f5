"""Trainings that the tests of unrolling differentiate through, and differences to compare with."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from core.optim import RULES, Rule
from core.optim.hypergradient import Mode
from core.optim.objective import LossObjective, Objective
from core.optim.trajectory import schedule_parameters, with_parameters
from core.optim.unroll import unroll

ROWS, DIM, STEPS = 3, 4, 9
MODES: tuple[Mode, ...] = ("reverse", "segments", "forward")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def follow(rule: Rule, params: Tensor, gradients: Tensor, *, lr: Any, **hyper: Any) -> Tensor:
    """The parameters after all the gradients, by the pure rule."""
    state = rule.init(params, **hyper)
    for gradient in gradients:
        params, state = rule.step(params, gradient, state, lr=lr, **hyper)
    return params


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    return ((output - target) ** 2).mean()


def bowl() -> LossObjective:
    """A coupled quartic whose pull moves with the step; the last coordinate is dead: no gradient, ever."""
    coupling, pull = normal(ROWS, DIM - 1, DIM - 1), normal(50, ROWS, DIM - 1, seed=1)

    def training(params: Tensor, step: int) -> Tensor:
        live = params[:, : DIM - 1]
        turned = (coupling * live[:, None, :]).sum(dim=2)
        return (turned**2).sum(dim=1) / 2 + (live**4).sum(dim=1) / 4 + (pull[step] * live).sum(dim=1)

    def final(params: Tensor) -> Tensor:
        return ((params[:, : DIM - 1] - 0.3) ** 2).sum(dim=1) + 0.1 * params[:, DIM - 1] ** 2

    return LossObjective(training, final)


START = normal(ROWS, DIM, seed=2)
RATES = torch.tensor([0.02, 0.05, 0.08], dtype=torch.float64)
EPS = torch.tensor([1e-3, 1e-2, 1e-1], dtype=torch.float64)
ADAM = {"lr": RATES, "beta1": torch.tensor([0.5, 0.8, 0.9], dtype=torch.float64), "beta2": 0.97, "eps": EPS}
CASES: dict[str, dict[str, Any]] = {
    "adam": {**ADAM, "weight_decay": 0.05},
    "amsgrad": {**ADAM, "beta2": 0.93},  # away from where the maximum changes hands and has no derivative
    "adamw": {**ADAM, "weight_decay": 0.1},
    "adam_uncorrected": ADAM,
    "rmsprop": {"lr": RATES, "alpha": 0.9, "eps": EPS, "weight_decay": 0.05},
    "rmsprop_centered": {"lr": RATES / 10, "alpha": 0.9, "eps": EPS, "momentum": 0.5},
    "momentum": {"lr": RATES, "momentum": 0.7, "weight_decay": 0.05},
    "nesterov": {"lr": RATES, "momentum": 0.7},
    "normalized_sgd": {"lr": RATES, "momentum": 0.5},
}


def central(value: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Central differences of `[R]` by each row's own number, extrapolated from two widths (Richardson)."""
    width = 2e-4 * at.abs()

    def slope(h: Tensor) -> Tensor:
        return (value(at + h) - value(at - h)) / (2 * h)

    return (4 * slope(width / 2) - slope(width)) / 3


def differences(
    objective: Objective,
    name: str,
    hyper: Mapping[str, Any],
    over: str,
    *,
    steps: int = STEPS,
    **options: Any,
) -> Tensor:
    """The derivative of the loss by `over`, from runs alone."""
    schedule = options.pop("schedule", None)
    known = {**RULES[name].hyper, **hyper, **schedule_parameters(schedule)}

    def loss(value: Tensor) -> Tensor:
        own = {**hyper, over: value} if not over.startswith("schedule.") else hyper
        moved = None if schedule is None else with_parameters(schedule, {over: value})
        return unroll(objective, RULES[name], START, own, steps=steps, schedule=moved, **options).loss

    return central(loss, torch.as_tensor(known[over], dtype=torch.float64).expand(ROWS).clone())


def differences_by_start(
    objective: Objective, name: str, hyper: Mapping[str, Any], column: int, *, steps: int = STEPS
) -> Tensor:
    """The derivative of the loss by a coordinate of the start, from runs alone."""

    def loss(value: Tensor) -> Tensor:
        start = START.clone()
        start[:, column] = value
        return unroll(objective, RULES[name], start, hyper, steps=steps).loss

    return central(loss, START[:, column])


def assert_close(actual: Tensor, expected: Tensor, relative: float) -> None:
    torch.testing.assert_close(actual, expected, rtol=relative, atol=relative * 1e-3)
