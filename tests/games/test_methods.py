"""Methods from plain names: what they are made of, and mistakes in a line."""

import pytest

from core.lab.errors import VhatError
from core.optim.adjustments import Competitive, Consensus
from core.optim.play import (
    Alternating,
    Averaged,
    Extragradient,
    Lookahead,
    Optimistic,
    PastExtragradient,
    Simultaneous,
    TwoTimeScales,
)
from games.methods import OPTIONS, PLAYS, Method


def test_plain_names_are_the_parts_of_the_variant() -> None:
    found = Method("adam", {"beta1": -0.5}, "alternating", "consensus", 0.3).variant()
    assert (found.play, found.adjust) == (Alternating(), Consensus(0.3))
    assert found.update_rule.name == "adam"
    assert dict(found.hyper) == {"beta1": -0.5}
    assert found.name == "Adam, beta1 = -0.5, alternating, consensus"


def test_what_is_around_a_scheme_is_around_it_in_order() -> None:
    method = Method(play="alternating", average="ema", lookahead=6, rates=(1.0, 4.0))
    expected = Averaged("ema", play=Lookahead(6, play=TwoTimeScales((1.0, 4.0), Alternating())))
    assert method.scheme() == expected
    assert method.variant().name == "GDA, alternating, lookahead 6, rates 1 : 4, ema average"


def test_named_options_reach_their_scheme() -> None:
    extra = Method(play="extragradient", fresh_sample=True, shared_state=True)
    assert extra.scheme() == Extragradient(fresh_sample=True, shared_state=True)
    assert Method(play="past", shared_state=True).scheme() == PastExtragradient(shared_state=True)
    assert Method(play="optimistic", optimism=2.0, first="zero").scheme() == Optimistic(2.0, "zero")
    assert Method(play="alternating", counters="shared").scheme() == Alternating("shared")
    around = Method(average="ema", ema_decay=0.9, lookahead=5, lookahead_strength=0.2).scheme()
    assert around == Averaged("ema", 0.9, Lookahead(5, 0.2))
    assert extra.variant().name == "GDA, extragradient, fresh sample, shared state"


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_refused_where_nothing_has_it(name: str) -> None:
    other = {
        "fresh_sample": True,
        "shared_state": True,
        "optimism": 2.0,
        "first": "zero",
        "counters": "shared",
    }
    with pytest.raises(VhatError, match=f"simultaneous play has no {name.replace('_', ' ')}"):
        Method(**{name: other[name]}).variant()  # type: ignore[arg-type]
    with pytest.raises(VhatError, match="needs the rounds"):
        Method(lookahead_strength=0.1).variant()
    with pytest.raises(VhatError, match="needs the average to be ema"):
        Method(average="uniform", ema_decay=0.1).variant()


def test_large_games_solve_by_conjugate_gradients() -> None:
    assert Method(adjust="competitive").adjustment() == Competitive()
    assert Method(adjust="competitive", iterations=7).adjustment() == Competitive(iterations=7)


@pytest.mark.parametrize("play", PLAYS)
def test_names_tell_methods_apart(play: str) -> None:
    names = {
        Method(play=play, adjust=adjust).variant().name  # type: ignore[arg-type]
        for adjust in ("none", "consensus", "symplectic", "anticipating", "lola", "competitive")
    }
    assert len(names) == 6
    assert Method(play=play).variant().name == ("GDA" if play == "simultaneous" else f"GDA, {play}")  # type: ignore[arg-type]


def test_mistakes_are_named() -> None:
    with pytest.raises(VhatError, match="did you mean 'adam'"):
        Method("adma").variant()
    with pytest.raises(VhatError, match="no hyperparameter 'beta1'"):
        Method("sgd", {"beta1": 0.5}).variant()
    with pytest.raises(VhatError, match="joint play has one learning rate"):
        Method(play="joint", rates=(1.0, 2.0)).variant()
    with pytest.raises(VhatError, match="rounds must be >= 1"):
        Method(lookahead=-1).variant()
    assert Method().scheme() == Simultaneous()
