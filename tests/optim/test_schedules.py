"""Schedules against torch's schedulers and against their own derivatives."""

import math
from collections.abc import Callable

import pytest
import torch
from torch.optim import lr_scheduler

from core.optim import Constant, Cosine, InverseSquareRoot, Linear, Schedule, WarmUp

Torch = Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]
LR = 0.3


def warm_cosine(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / 5, total_iters=4)
    fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
    return lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[5])


@pytest.mark.parametrize(
    ("schedule", "scheduler", "steps"),
    [
        (Constant(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0), 30),
        (Linear(20, start=0.25, end=0.75), lambda o: lr_scheduler.LinearLR(o, 0.25, 0.75, 20), 30),
        (Linear(20), lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, 20), 30),
        (Cosine(20), lambda o: lr_scheduler.CosineAnnealingLR(o, 20), 20),
        (Cosine(20, end=0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, 20, eta_min=0.1 * LR), 20),
        (InverseSquareRoot(), lambda o: lr_scheduler.LambdaLR(o, lambda t: (t + 1) ** -0.5), 30),
        (WarmUp(5, Cosine(12)), warm_cosine, 17),
    ],
)
def test_schedules_are_torchs(schedule: Schedule, scheduler: Torch, steps: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    reference = scheduler(optimizer)
    for step in range(steps + 1):
        factor = schedule(step)
        assert isinstance(factor, float)
        assert factor * LR == pytest.approx(reference.get_last_lr()[0], rel=1e-12, abs=1e-15)
        optimizer.step()
        reference.step()


SHAPES = [
    Constant(),
    Linear(7, 0.5, 0.1),
    Cosine(7, 0.2),
    InverseSquareRoot(3.0),
    WarmUp(4, Cosine(7)),
    WarmUp(1),
]


@pytest.mark.parametrize("schedule", SHAPES, ids=repr)
def test_a_tensor_of_steps_gives_a_tensor_of_factors(schedule: Schedule) -> None:
    steps = torch.arange(20)
    factors = torch.as_tensor(schedule(steps), dtype=torch.float64).expand(20)
    expected = torch.tensor([schedule(step) for step in range(20)], dtype=torch.float64)
    torch.testing.assert_close(factors, expected, rtol=1e-14, atol=1e-16)
    assert bool((factors >= 0).all())
    assert bool((factors <= 1).all())


def test_ends_hold() -> None:
    assert Linear(5, end=0.2)(1000) == 0.2
    assert Cosine(5, end=0.2)(1000) == pytest.approx(0.2, abs=1e-15)
    assert Cosine(5)(0) == 1.0
    assert WarmUp(10)(9) == 1.0
    assert WarmUp(10)(0) == 0.1


@pytest.mark.parametrize("kind", [Linear, Cosine, InverseSquareRoot])
def test_factors_are_differentiable_in_tensors(kind: Callable[..., Schedule]) -> None:
    steps = torch.tensor([5.0, 9.0, 40.0], dtype=torch.float64, requires_grad=True)
    arguments = [steps]
    if kind is not InverseSquareRoot:
        arguments.append(torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(lambda *a: kind(*a)(3), arguments)
    warm = WarmUp(2, kind(*arguments))
    at = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: warm(t), [at])


def test_one_schedule_a_row() -> None:
    horizons = torch.tensor([10.0, 20.0], dtype=torch.float64)
    factors = Cosine(horizons)(5)
    expected = [0.5, (1 + math.cos(math.pi / 4)) / 2]
    torch.testing.assert_close(factors, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Linear(0), "Linear: steps must be above zero, got 0"),
        (lambda: Cosine(-1), "Cosine: steps must be above zero, got -1"),
        (lambda: WarmUp(0), "WarmUp: steps must be above zero, got 0"),
        (lambda: InverseSquareRoot(0.0), "InverseSquareRoot: scale must be above zero, got 0.0"),
    ],
)
def test_bad_parameters_are_named(make: Callable[[], Schedule], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        make()
