"""Trainings as they are in practice: plain Adam with its usual eps, over many steps, with a coordinate that
never has a gradient and one that has one now and then.

Two oracles. Central differences; and, since a change of eps = 1e-8 drowns in rounding, Adam written once more
in complex numbers: with h = 1e-20, Im f(x + i h) / h is f'(x) to rounding (Squire and Trapp 1998).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from core.optim import RULES, Constant, Cosine, InverseSquareRoot, Linear, Schedule, WarmUp, schedules
from core.optim.hypergradient import PARAMS, Mode, hypergradients
from core.optim.trajectory import schedule_parameters
from tests.optim.trainings import (
    DIM,
    MODES,
    ROWS,
    START,
    assert_close,
    differences,
    differences_by_start,
    normal,
)

STEPS = 60
NOW_AND_THEN, DEAD = 2, 3
HYPER: dict[str, Any] = {
    "lr": torch.tensor([0.01, 0.02, 0.04], dtype=torch.float64),
    "beta1": torch.tensor([0.9, 0.8, 0.5], dtype=torch.float64),
    "beta2": torch.tensor([0.999, 0.99, 0.95], dtype=torch.float64),
    "eps": torch.full((ROWS,), 1e-8, dtype=torch.float64),
}
DECAYED = {**HYPER, "weight_decay": torch.tensor([0.01, 0.1, 0.3], dtype=torch.float64)}
SCHEDULES: tuple[Schedule, ...] = (
    Constant(0.7),
    Linear(40.5, start=1.0, end=0.2),
    Cosine(70.5, end=0.1),
    InverseSquareRoot(20.0),
    WarmUp(12.5, Cosine(70.5, end=0.1)),
    WarmUp(12.5, Linear(30.7, end=0.05)),
)


class Sparse:
    """A coupled quartic with a pull that moves with the step; one coordinate feels it at every seventh step,
    one never. Written in operations that tensors and complex arrays have in common."""

    coupling, pull = normal(ROWS, DIM, DIM), normal(STEPS, ROWS, DIM, seed=1)

    def field(self, params: Any, step: int) -> Any:
        """`[R, D]` to `[R, D]`, for tensors."""
        return self._field(params, step, self.coupling, self.pull)

    def complex_field(self, params: np.ndarray, step: int) -> np.ndarray:
        """The same for complex arrays."""
        return np.asarray(self._field(params, step, self.coupling.numpy(), self.pull.numpy()))

    @staticmethod
    def _field(params: Any, step: int, coupling: Any, pull: Any) -> Any:
        def over_columns(*values: float) -> Any:
            return (
                torch.tensor(values, dtype=torch.float64) if isinstance(params, Tensor) else np.array(values)
            )

        live = params * over_columns(1.0, 1.0, 1.0, 0.0)
        turned = (coupling * live[:, None, :]).sum(2)
        gradient = (coupling * turned[:, :, None]).sum(1) + live**3 + pull[step]
        return gradient * over_columns(1.0, 1.0, float(step % 7 == 3), 0.0)

    def loss(self, params: Any) -> Any:
        """`[R, D]` to `[R]`; it sees the dead coordinate too."""
        return ((params - 0.3) ** 2).sum(1)


def complex_slope(hyper: Mapping[str, Any], over: str, *, decoupled: bool) -> np.ndarray:
    """The derivative of the final loss by a hyperparameter, `[R]`, by complex steps through Adam."""
    at = {"weight_decay": np.zeros(ROWS), **{n: v.numpy() for n, v in hyper.items()}}
    at = {n: v[:, None].astype(complex) for n, v in at.items()}
    at[over] = at[over] + 1e-20j
    lr, beta1, beta2, eps, decay = (at[n] for n in ("lr", "beta1", "beta2", "eps", "weight_decay"))
    objective, x = Sparse(), START.numpy().astype(complex)
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t in range(STEPS):
        gradient = objective.complex_field(x, t)
        if decoupled:
            x = x * (1 - lr * decay)
        else:
            gradient = gradient + decay * x
        m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
        scaled = m / (1 - beta1 ** (t + 1)) / (np.sqrt(v / (1 - beta2 ** (t + 1))) + eps)
        x = x - lr * scaled
    return np.asarray(objective.loss(x).imag / 1e-20)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("name", "hyper"), [("adam", HYPER), ("adam", DECAYED), ("adamw", DECAYED)])
def test_every_hyperparameter_agrees_with_complex_steps_and_differences(
    name: str, hyper: dict[str, Any], mode: Mode
) -> None:
    found = hypergradients(Sparse(), RULES[name], START, hyper, steps=STEPS, over=tuple(hyper), mode=mode)
    for over in hyper:
        exact = torch.from_numpy(complex_slope(hyper, over, decoupled=name == "adamw"))
        torch.testing.assert_close(found.gradients[over], exact, rtol=1e-9, atol=0.0)
        if over != "eps":
            assert_close(found.gradients[over], differences(Sparse(), name, hyper, over, steps=STEPS), 1e-7)


@pytest.mark.parametrize("mode", MODES)
def test_the_start_agrees_with_differences_at_coordinates_that_are_dead_always_or_mostly(mode: Mode) -> None:
    found = hypergradients(Sparse(), RULES["adam"], START, HYPER, steps=STEPS, over=(PARAMS,), mode=mode)
    for column in range(DIM):
        expected = differences_by_start(Sparse(), "adam", HYPER, column, steps=STEPS)
        assert_close(found.gradients[PARAMS][:, column], expected, 1e-7)
    torch.testing.assert_close(found.params[:, DEAD], START[:, DEAD], rtol=0.0, atol=0.0)
    torch.testing.assert_close(found.gradients[PARAMS][:, DEAD], 2 * (START[:, DEAD] - 0.3))
    assert bool((found.params[:, NOW_AND_THEN] != START[:, NOW_AND_THEN]).all())


def test_under_decoupled_decay_a_dead_coordinate_has_its_closed_form() -> None:
    """x_T = (1 - lr wd)^T x_0."""
    for mode in MODES:
        found = hypergradients(
            Sparse(), RULES["adamw"], START, DECAYED, steps=STEPS, over=(PARAMS,), mode=mode
        )
        shrunk = (1 - DECAYED["lr"] * DECAYED["weight_decay"]) ** STEPS
        expected = 2 * (shrunk * START[:, DEAD] - 0.3) * shrunk
        torch.testing.assert_close(found.gradients[PARAMS][:, DEAD], expected, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_every_parameter_of_every_schedule_agrees_with_differences(schedule: Schedule, mode: Mode) -> None:
    over = tuple(schedule_parameters(schedule))
    found = hypergradients(
        Sparse(), RULES["adam"], START, HYPER, steps=STEPS, over=over, mode=mode, schedule=schedule
    )
    for name in over:
        expected = differences(Sparse(), "adam", HYPER, name, steps=STEPS, schedule=schedule)
        assert bool((expected != 0).all())
        assert_close(found.gradients[name], expected, 1e-7)


def test_no_schedule_is_left_out() -> None:
    kinds = {
        value
        for value in vars(schedules).values()
        if isinstance(value, type) and value.__module__ == schedules.__name__ and value is not Schedule
    }
    assert kinds == {type(schedule) for schedule in SCHEDULES}
