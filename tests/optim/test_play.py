"""Play schemes on the bilinear game min_x max_y xy against their closed forms."""

import dataclasses
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
    Consensus,
    Extragradient,
    Lookahead,
    Moves,
    Optimistic,
    PastExtragradient,
    PlayScheme,
    PlayState,
    Rule,
    Simultaneous,
    TwoTimeScales,
)
from core.optim.play import Adjusted

LR = 0.1
PLAYERS = (slice(0, 1), slice(1, 2))
SGD = RULES["sgd"]


SCHEMES: tuple[PlayScheme, ...] = (
    Simultaneous(),
    Alternating(),
    Alternating("shared"),
    Extragradient(),
    Extragradient(shared_state=True),
    PastExtragradient(),
    PastExtragradient(shared_state=True),
    Optimistic(0.7),
    Optimistic(0.7, "zero"),
    Lookahead(3, 0.4),
    Averaged(),
    Averaged("ema", 0.8, Alternating()),
    TwoTimeScales((1.0, 0.3)),
    Averaged(play=Lookahead(2, 0.5, TwoTimeScales((2.0, 1.0), Optimistic()))),
    Adjusted(Consensus(0.2), Extragradient()),
)


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
    "scheme",
    [
        Simultaneous(),
        Alternating(),
        Extragradient(),
        PastExtragradient(),
        Optimistic(),
        Optimistic(first="zero"),
        Lookahead(3, play=Alternating()),
        Averaged(play=Extragradient()),
    ],
    ids=repr,
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
    assert {own.step for own in state.players} == {1 + shared}

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
    for scheme in SCHEMES:
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


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
@pytest.mark.parametrize("name", ["adam", "momentum"])
def test_rounds_in_new_memory_are_those_in_place(scheme: PlayScheme, name: str) -> None:
    rule = RULES[name]
    params, state = start(), scheme.init(start(), rule, {}, PLAYERS)
    moves = Moves(rule, LR, {}, PLAYERS, in_place=False)
    for point in play(scheme, 7, rule):
        assert torch.equal(params, point)
        kept = params.clone()
        with torch.no_grad():
            after, state = scheme.turn(params, bilinear, state, moves)
        assert torch.equal(params, kept)
        params = after


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


@pytest.mark.parametrize("shared", [False, True])
def test_extra_adam_from_the_past_discards_or_shares_its_state(shared: bool) -> None:
    scheme, rule = PastExtragradient(shared_state=shared), RULES["adam"]
    params, state = start(), scheme.init(start(), rule, {}, PLAYERS)
    for _ in range(4):
        params, state = scheme.step(params, bilinear, state, rule, lr=LR, hyper={}, players=PLAYERS)
    assert {own.step for own in state.players} == {4 + 3 * shared}


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


def test_two_time_scales_take_a_rate_a_row() -> None:
    scheme, params = TwoTimeScales((2.0, 0.25)), start()
    rates = torch.tensor([LR, 3.0 * LR], dtype=torch.float64)
    state = scheme.init(params, SGD, {}, PLAYERS)
    found, _ = scheme.step(params, bilinear, state, SGD, lr=rates, hyper={}, players=PLAYERS)
    torch.testing.assert_close(found[0], play(scheme, 1)[1, 0], rtol=0, atol=0)
    x, y = start()[1]
    assert found[1].tolist() == pytest.approx([float(x - 6 * LR * y), float(y + 0.75 * LR * x)], rel=1e-15)


def test_alternating_players_count_their_own_steps_or_all() -> None:
    rule = RULES["adam"]
    for counters, expected in (("own", [3, 3]), ("shared", [5, 6])):
        scheme = Alternating(counters)  # type: ignore[arg-type]
        params, state = start(), scheme.init(start(), rule, {}, PLAYERS)
        for _ in range(3):
            params, state = scheme.step(params, bilinear, state, rule, lr=LR, hyper={}, players=PLAYERS)
        assert [own.step for own in state.players] == expected


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


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
@pytest.mark.parametrize("name", ["adam", "momentum"])
def test_a_state_for_all_is_a_state_for_each_where_a_rule_is_elementwise(
    scheme: PlayScheme, name: str
) -> None:
    rule = RULES[name]
    assert torch.equal(play(scheme, 8, rule), play(scheme, 8, dataclasses.replace(rule, elementwise=False)))


def test_rates_for_players_that_move_as_one_are_refused() -> None:
    moves = Moves(SGD, LR, {}, PLAYERS, rates=(1.0, 2.0))
    with pytest.raises(ValueError, match="2 rates for players that move as one"):
        Simultaneous().turn(start(), bilinear, Simultaneous().init(start(), SGD, {}, PLAYERS), moves)


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_every_move_ends_on_the_feasible_set(scheme: PlayScheme) -> None:
    """The box [-1, 1]^2 as feasible set: no field is asked for outside it, and no round ends there."""
    seen: list[Tensor] = []

    def field(params: Tensor, draw: int) -> Tensor:
        seen.append(params.detach().clone())
        return bilinear(params, draw)

    def project(params: Tensor, metric: object = None) -> Tensor:
        return params.clamp(-1.0, 1.0)

    params = project(start())
    state = scheme.init(params, SGD, {}, PLAYERS)
    for _ in range(40):
        params, state = scheme.step(
            params, field, state, SGD, lr=0.9, hyper={}, players=PLAYERS, project=project
        )
        seen.append(params.clone())
    assert torch.stack(seen).abs().max() <= 1.0


def test_impossible_schemes_are_named() -> None:
    with pytest.raises(ValueError, match="rounds must be >= 1"):
        Lookahead(0)
    with pytest.raises(ValueError, match="decay in"):
        Averaged("ema", 1.0)
    with pytest.raises(ValueError, match="one a player"):
        TwoTimeScales(())
    with pytest.raises(ValueError, match="'own' or 'shared'"):
        Alternating("both")  # type: ignore[arg-type]
