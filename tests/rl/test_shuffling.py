"""Adam with shuffled v: whose v a coordinate has; and why a sign is no control for noise."""

import math

import numpy as np
import torch
from scipy import special

from core.lab.random import Keys
from core.optim.rules import RULES
from rl.problems import cartpole
from rl.shuffling import SHUFFLED, permutations


def stream(steps: int, rows: int, dim: int) -> torch.Tensor:
    return torch.randn(steps, rows, dim, generator=torch.Generator().manual_seed(1))


def test_every_seed_has_an_order_of_its_own_and_the_same_in_every_batch():
    problem = cartpole()
    start = problem.init(Keys.of(range(6)))
    orders = permutations(start)
    assert torch.equal(orders.sort(dim=1).values[0], torch.arange(problem.dim))
    assert len({tuple(order) for order in orders.tolist()}) == 6
    assert not (orders == torch.arange(problem.dim)).any(), "none keeps its own"
    assert torch.equal(permutations(start[[4, 2]]), orders[[4, 2]])
    again = problem.init(Keys.of([3, 3], copies=2))
    assert len({tuple(order) for order in permutations(again).tolist()}) == 1


def test_a_step_is_adams_with_the_v_of_another_coordinate():
    grads, lr, eps = stream(7, 3, 11).double(), 0.1, 1e-8
    params = torch.randn(3, 11, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    order, state = permutations(params), SHUFFLED.init(params)
    m, v = torch.zeros_like(params), torch.zeros_like(params)
    for t, g in enumerate(grads, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        others = torch.stack([v[r, order[r]] for r in range(3)]) / (1 - 0.999**t)
        expected = params - lr * m / (1 - 0.9**t) / (others.sqrt() + eps)
        params, state = SHUFFLED.step(params, g, state, lr=lr)
        torch.testing.assert_close(params, expected)


def test_rows_do_not_depend_on_other_rows_and_in_place_steps_have_the_same_bits():
    grads, lr = stream(6, 5, 9), torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5], dtype=torch.float64)
    whole = stream(1, 5, 9)[0]
    part, mutable = whole[1:3].clone(), whole.clone()
    states = [SHUFFLED.init(x) for x in (whole, part, mutable)]
    for g in grads:
        whole, states[0] = SHUFFLED.step(whole, g, states[0], lr=lr)
        part, states[1] = SHUFFLED.step(part, g[1:3], states[1], lr=lr[1:3])
        states[2] = SHUFFLED.step_(mutable, g, states[2], lr=lr)
    assert torch.equal(part, whole[1:3])
    assert torch.equal(mutable, whole)


def test_for_gaussian_noise_the_mean_sign_is_nearly_adams_mean_step():
    """erf(s / sqrt 2) and s / sqrt(1 + s^2), by simulation and against each other."""
    ratios = torch.tensor([0.05, 0.3, 1.0, 2.0], dtype=torch.float64)
    noise = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    grads = ratios + noise
    origin, sign = torch.zeros_like(grads), RULES["signsgd"]
    signed = -sign.step(origin, grads, sign.init(origin), lr=1.0)[0]
    np.testing.assert_allclose(signed.mean(0), special.erf(ratios.numpy() / math.sqrt(2)), atol=0.01)
    scaled = grads.mean(0) / grads.square().mean(0).sqrt()
    np.testing.assert_allclose(scaled, ratios / (1 + ratios**2).sqrt(), atol=0.01)
    s = np.linspace(0, 50, 100_001)
    apart = np.abs(special.erf(s / math.sqrt(2)) - s / np.sqrt(1 + s * s))
    assert 0.06 < apart.max() < 0.065
