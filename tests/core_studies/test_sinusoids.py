"""Sinusoid tasks: what is drawn, and the network's gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from core.lab.errors import VhatError
from core.lab.random import Keys
from core.problems.sinusoids import AMPLITUDES, EVALUATION_POINTS, INPUTS, PHASES, Sinusoids

KEYS = Keys.of(range(4), study="test")


@pytest.mark.parametrize("shots", [5, 10])
def test_targets_are_sinusoids_of_one_amplitude_and_phase_a_task(shots: int) -> None:
    """Fitted by linear least squares on sine and cosine, each task's points leave no residual."""
    tasks = Sinusoids(shots, dtype=torch.float64).tasks(KEYS, 25)
    (seen, targets), (asked, wanted) = tasks.support, tasks.query
    assert seen.shape == (100, shots, 1)
    inputs, outputs = torch.cat([seen, asked], dim=1), torch.cat([targets, wanted], dim=1)
    assert float(inputs.min()) > INPUTS[0]
    assert float(inputs.max()) < INPUTS[1]
    waves = torch.cat([inputs.sin(), inputs.cos()], dim=2)
    weights = torch.linalg.lstsq(waves, outputs).solution
    torch.testing.assert_close(waves @ weights, outputs, rtol=1e-9, atol=1e-9)
    # A sin(x - p) = A cos(p) sin(x) - A sin(p) cos(x)
    sine, cosine = weights[:, 0, 0], weights[:, 1, 0]
    amplitude, phase = torch.hypot(sine, cosine), torch.atan2(-cosine, sine)
    assert AMPLITUDES[0] <= float(amplitude.min()) < 0.5
    assert 4.5 < float(amplitude.max()) <= AMPLITUDES[1]
    assert PHASES[0] - 1e-9 <= float(phase.min()) < 0.3
    assert math.pi - 0.3 < float(phase.max()) <= PHASES[1] + 1e-9


def test_evaluation_asks_the_same_tasks_on_a_grid() -> None:
    family = Sinusoids(5)
    drawn, evaluated = family.tasks(KEYS, 3), family.tasks(KEYS, 3, evaluation=True)
    assert torch.equal(drawn.support[1], evaluated.support[1])
    assert evaluated.query[0].shape == (12, EVALUATION_POINTS, 1)
    assert bool((evaluated.query[0] == evaluated.query[0][0]).all())


@pytest.mark.parametrize("smooth", [False, True])
def test_the_field_is_the_gradient_of_the_network(smooth: bool) -> None:
    family = Sinusoids(10, smooth=smooth, dtype=torch.float64)
    tasks, params = family.tasks(KEYS, 1), family.init(KEYS)
    unit = nn.Tanh if smooth else nn.ReLU
    module = nn.Sequential(nn.Linear(1, 40), unit(), nn.Linear(40, 40), unit(), nn.Linear(40, 1)).double()
    field = tasks.field(params, 0)
    assert params.shape == (4, family.dim) == (4, 1761)
    for row in range(4):
        nn.utils.vector_to_parameters(params[row], module.parameters())
        module.zero_grad()
        nn.functional.mse_loss(module(tasks.support[0][row]), tasks.support[1][row]).backward()
        expected = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
        torch.testing.assert_close(field[row], expected, rtol=1e-10, atol=1e-12)
        queried = nn.functional.mse_loss(module(tasks.query[0][row]), tasks.query[1][row])
        torch.testing.assert_close(tasks.loss(params)[row], queried)


def test_tasks_of_a_seed_do_not_depend_on_the_others() -> None:
    family = Sinusoids(10)
    alone, among = family.tasks(KEYS.rows(torch.tensor([2, 3])), 3), family.tasks(KEYS, 3)
    for few, many in zip((*alone.support, *alone.query), (*among.support, *among.query), strict=True):
        assert torch.equal(few, many[6:])


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(VhatError, match="shots, queries and width >= 1"):
        Sinusoids(0)
