"""Play schemes on the bilinear game min_x max_y xy against their closed forms."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from core.optim import (
    RULES,
    Alternating,
    Extragradient,
    Optimistic,
    PlayScheme,
    PlayState,
    Rule,
    Simultaneous,
)

LR = 0.1
PLAYERS = (slice(0, 1), slice(1, 2))
SGD = RULES["sgd"]


def bilinear(params: Tensor, draw: int) -> Tensor:
    """The descent field of xy for x, and of -xy for y."""
    return torch.stack([params[:, 1], -params[:, 0]], dim=1)


def start() -> Tensor:
    return torch.tensor([[1.0, 0.5], [-0.3, 2.0]], dtype=torch.float64)


def play(scheme: PlayScheme, steps: int, rule: Rule = SGD, players: Any = PLAYERS, **hyper: Any) -> Tensor:
    """All points of the path `[steps + 1, R, 2]`."""
    params = start()
    state = scheme.init(params, rule, hyper, players)
    path = [params.clone()]
    for _ in range(steps):
        params, state = scheme.step(params, bilinear, state, rule, lr=LR, hyper=hyper, players=players)
        path.append(params.clone())
    return torch.stack(path)


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


@pytest.mark.parametrize("name", sorted(RULES))
def test_one_simultaneous_player_is_the_plain_rule(name: str) -> None:
    rule = RULES[name]
    path = play(Simultaneous(), 30, rule, players=(slice(None),))
    params = start()
    state = rule.init(params)
    for point in path:
        assert torch.equal(point, params)
        params, state = rule.step(params, bilinear(params, 0), state, lr=LR)


@pytest.mark.parametrize("name", sorted(n for n, rule in RULES.items() if rule.elementwise and "_v" not in n))
def test_coordinatewise_rules_do_not_see_the_division_into_players(name: str) -> None:
    apart = play(Simultaneous(), 30, RULES[name])
    assert torch.equal(apart, play(Simultaneous(), 30, RULES[name], players=(slice(None),)))


@pytest.mark.parametrize(
    "scheme", [Simultaneous(), Alternating(), Extragradient(), Optimistic(), Optimistic(first="zero")]
)
def test_evaluations_are_what_is_counted(scheme: PlayScheme) -> None:
    for players in (PLAYERS, (slice(None),)):
        draws: list[int] = []

        def field(params: Tensor, draw: int, draws: list[int] = draws) -> Tensor:
            draws.append(draw)
            return bilinear(params, draw)

        state = scheme.init(start(), SGD, {}, players)
        scheme.step(start(), field, state, SGD, lr=LR, hyper={}, players=players)
        assert draws == [0] * scheme.evaluations(len(players))


def test_extragradient_takes_a_fresh_sample_when_asked_to() -> None:
    draws: list[int] = []

    def field(params: Tensor, draw: int) -> Tensor:
        draws.append(draw)
        return bilinear(params, draw)

    scheme = Extragradient(fresh_sample=True)
    scheme.step(start(), field, scheme.init(start(), SGD, {}, PLAYERS), SGD, lr=LR, hyper={}, players=PLAYERS)
    assert draws == [0, 1]


@pytest.mark.parametrize("shared", [False, True])
def test_extragradient_discards_or_shares_the_state_of_the_step_ahead(shared: bool) -> None:
    rule, scheme = RULES["adam"], Extragradient(shared_state=shared)
    state = scheme.init(start(), rule, {}, PLAYERS)
    _, state = scheme.step(start(), bilinear, state, rule, lr=LR, hyper={}, players=PLAYERS)
    assert [own.step for own in state.players] == [1 + shared] * 2

    point, ahead = start(), start()
    own = rule.init(point)
    looked = rule.step_(ahead, bilinear(point, 0), rule.init(point), lr=LR)
    own = rule.step_(point, bilinear(ahead, 0), looked if shared else own, lr=LR)
    assert torch.equal(torch.cat([s.exp_avg for s in state.players], dim=1), own.exp_avg)


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


def test_players_have_states_of_their_own() -> None:
    state = Alternating().init(start(), RULES["adam"], {}, PLAYERS)
    assert isinstance(state, PlayState)
    assert [own.exp_avg.shape for own in state.players] == [(2, 1), (2, 1)]


def test_rows_do_not_touch_each_other() -> None:
    for scheme in (Simultaneous(), Alternating(), Extragradient(), Optimistic()):
        params = start()[[1, 1]]
        state = scheme.init(params, RULES["adam"], {}, PLAYERS)
        for _ in range(10):
            params, state = scheme.step(
                params, bilinear, state, RULES["adam"], lr=LR, hyper={}, players=PLAYERS
            )
        assert torch.equal(params[0], play(scheme, 10, RULES["adam"])[-1, 1])


def test_an_unknown_first_step_is_named() -> None:
    with pytest.raises(ValueError, match="first must be 'plain' or 'zero', got 'none'"):
        Optimistic(first="none")  # type: ignore[arg-type]
