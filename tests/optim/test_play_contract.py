"""What holds for every play scheme: evaluations and steps are counted, rows and memory are left alone, moves
end on the feasible set, and what is impossible is named."""

import dataclasses

import pytest
import torch
from torch import Tensor

from core.optim import (
    RULES,
    Alternating,
    Averaged,
    Extragradient,
    Lookahead,
    Moves,
    Optimistic,
    PastExtragradient,
    PlayScheme,
    PlayState,
    Simultaneous,
    TwoTimeScales,
)
from tests.optim.bilinear_game import LR, PLAYERS, SCHEMES, SGD, bilinear, play, start


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


@pytest.mark.parametrize("shared", [False, True])
def test_extra_adam_from_the_past_discards_or_shares_its_state(shared: bool) -> None:
    scheme, rule = PastExtragradient(shared_state=shared), RULES["adam"]
    params, state = start(), scheme.init(start(), rule, {}, PLAYERS)
    for _ in range(4):
        params, state = scheme.step(params, bilinear, state, rule, lr=LR, hyper={}, players=PLAYERS)
    assert {own.step for own in state.players} == {4 + 3 * shared}


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
