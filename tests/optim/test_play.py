"""Play schemes on the bilinear game min_x max_y xy against their closed forms and published rules."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from core.optim import (
    RULES,
    Alternating,
    Averaged,
    Extragradient,
    Lookahead,
    Optimistic,
    PastExtragradient,
    Simultaneous,
    TwoTimeScales,
)
from tests.optim.bilinear_game import LR, PLAYERS, SGD, bilinear, play, start


def growth(path: Tensor) -> Tensor:
    radius = path.norm(dim=-1)
    return radius[1:] / radius[:-1]


def test_simultaneous_descent_grows_by_a_fixed_factor() -> None:
    rates = growth(play(Simultaneous(), 50))
    torch.testing.assert_close(rates, torch.full_like(rates, math.sqrt(1 + LR**2)), rtol=1e-13, atol=0)


def test_alternating_descent_conserves_its_quadratic() -> None:
    x, y = play(Alternating(), 500).unbind(-1)
    conserved = x**2 + y**2 - LR * x * y
    torch.testing.assert_close(conserved, conserved[:1].expand_as(conserved), rtol=1e-11, atol=0)


def test_extragradient_contracts_by_a_fixed_factor() -> None:
    rates = growth(play(Extragradient(), 50))
    torch.testing.assert_close(
        rates, torch.full_like(rates, math.sqrt(1 - LR**2 + LR**4)), rtol=1e-13, atol=0
    )


@pytest.mark.parametrize("first", ["plain", "zero"])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_optimistic_descent_follows_its_linear_recursion(strength: float, first: Any) -> None:
    path = play(Optimistic(strength, first), 50)
    field = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    eye, zero = torch.eye(2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    # z[t+1] = z[t] - (1 + s) lr F z[t] + s lr F z[t-1], on the pair (z[t], z[t-1])
    matrix = torch.cat(
        [torch.cat([eye - (1 + strength) * LR * field, strength * LR * field], 1), torch.cat([eye, zero], 1)]
    )
    before = start() if first == "plain" else torch.zeros_like(start())
    pair = torch.cat([start(), before], dim=1)
    for point in path:
        torch.testing.assert_close(point, pair[:, :2], rtol=1e-12, atol=1e-14)
        pair = pair @ matrix.T


def test_optimistic_descent_converges_where_simultaneous_diverges() -> None:
    assert bool((play(Optimistic(), 2000)[-1].norm(dim=-1) < 1e-3).all())
    assert bool((play(Simultaneous(), 2000)[-1].norm(dim=-1) > 1e3).all())


def test_optimistic_adam_is_the_published_rule() -> None:
    """Daskalakis et al. 2018, Algorithm 1: twice this step's direction less the last one's."""
    path = play(Optimistic(), 20, RULES["adam"], beta1=0.5, beta2=0.9, eps=1e-8)
    z, m, v, last = start(), torch.zeros(2, 2).double(), torch.zeros(2, 2).double(), None
    for t, point in enumerate(path[1:], start=1):
        g = bilinear(z, 0)
        m, v = 0.5 * m + 0.5 * g, 0.9 * v + 0.1 * g**2
        direction = (m / (1 - 0.5**t)) / ((v / (1 - 0.9**t)).sqrt() + 1e-8)
        z = z - 2 * LR * direction + LR * (direction if last is None else last)
        last = direction
        torch.testing.assert_close(point, z, rtol=1e-11, atol=1e-13)


def test_extrapolation_from_the_past_looks_ahead_at_the_points_of_optimistic_descent() -> None:
    seen: list[Tensor] = []

    def field(params: Tensor, draw: int) -> Tensor:
        seen.append(params.clone())
        return bilinear(params, draw)

    scheme, params = PastExtragradient(), start()
    state = scheme.init(params, SGD, {}, PLAYERS)
    for _ in range(30):
        params, state = scheme.step(params, field, state, SGD, lr=LR, hyper={}, players=PLAYERS)
    torch.testing.assert_close(torch.stack(seen), play(Optimistic(first="zero"), 29), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("rounds", "strength"), [(1, 0.3), (4, 0.5), (6, 1.0), (5, 0.0)])
def test_lookahead_is_a_step_of_its_linear_map(rounds: int, strength: float) -> None:
    """Chavdarova et al. 2021: on a linear game its k rounds are (1 - a) I + a T^k."""
    one = torch.tensor([[1.0, -LR], [LR, 1.0]], dtype=torch.float64)
    whole = (1 - strength) * torch.eye(2).double() + strength * torch.linalg.matrix_power(one, rounds)
    path = play(Lookahead(rounds, strength), 4 * rounds)[::rounds]
    for before, after in itertools.pairwise(path):
        torch.testing.assert_close(after, before @ whole.T, rtol=1e-12, atol=1e-14)


def test_lookahead_converges_where_its_scheme_diverges() -> None:
    # |1 - a + a (1 + i lr)^k| < 1 for k = 6, a = 1/2, lr = 0.1, although |1 + i lr| > 1.
    assert bool((play(Lookahead(6, 0.5), 6000)[-1].norm(dim=-1) < 1e-3).all())


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_averages_are_of_the_schemes_own_path(name: str) -> None:
    plain = play(Alternating(), 40, RULES[name])
    uniform = play(Averaged(play=Alternating()), 40, RULES[name])
    counts = torch.arange(1, 41).double()[:, None, None]
    torch.testing.assert_close(uniform[1:], plain[1:].cumsum(0) / counts, rtol=1e-12, atol=1e-14)
    smoothed = play(Averaged("ema", 0.8, Alternating()), 40, RULES[name])
    expected = plain[0]
    for point, found in zip(plain[1:], smoothed[1:], strict=True):
        expected = 0.8 * expected + 0.2 * point
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_two_time_scales_multiply_each_players_rate() -> None:
    path = play(TwoTimeScales((2.0, 0.25)), 1)
    x, y = start().unbind(-1)
    expected = torch.stack([x - 2.0 * LR * y, y + 0.25 * LR * x], dim=-1)
    torch.testing.assert_close(path[1], expected, rtol=1e-15, atol=0)
    assert torch.equal(play(TwoTimeScales((1.0, 1.0), Optimistic()), 9), play(Optimistic(), 9))
    with pytest.raises(ValueError, match="3 rates for 2 players"):
        play(TwoTimeScales((1.0, 1.0, 1.0)), 1)


def test_a_shared_counter_is_one_optimizer_stepped_once_a_player() -> None:
    path = play(Alternating("shared"), 15, RULES["adam"], beta1=0.5, beta2=0.9)
    z = [start()[:, 0], start()[:, 1]]
    m, v = [0.0, 0.0], [0.0, 0.0]
    t = 0
    for point in path[1:]:
        for i in (0, 1):
            t += 1
            g = z[1] if i == 0 else -z[0]
            m[i], v[i] = 0.5 * m[i] + 0.5 * g, 0.9 * v[i] + 0.1 * g**2  # type: ignore[call-overload]
            z[i] = z[i] - LR * (m[i] / (1 - 0.5**t)) / ((v[i] / (1 - 0.9**t)).sqrt() + 1e-8)  # type: ignore[attr-defined]
        torch.testing.assert_close(point, torch.stack(z, dim=1), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("beta1", [-0.5, -0.9])
def test_adam_takes_negative_momentum(beta1: float) -> None:
    path = play(Simultaneous(), 20, RULES["adam"], beta1=beta1, beta2=0.9)
    z, m, v = start(), torch.zeros(2, 2).double(), torch.zeros(2, 2).double()
    for t, point in enumerate(path[1:], start=1):
        g = bilinear(z, 0)
        m, v = beta1 * m + (1 - beta1) * g, 0.9 * v + 0.1 * g**2
        z = z - LR * (m / (1 - beta1**t)) / ((v / (1 - 0.9**t)).sqrt() + 1e-8)
        torch.testing.assert_close(point, z, rtol=1e-11, atol=1e-13)
