"""Grafts keep what they say they keep: one rule's direction, the other's length, and both rules' states."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.optim.rules import RULES
from rl.grafting import graft, lengths

PAIRS = [("sgd", "adam"), ("adam", "sgd"), ("momentum", "adam"), ("adam", "momentum"), ("signsgd", "rmsprop")]


def stream(steps: int, rows: int = 3, dim: int = 7) -> torch.Tensor:
    return torch.randn(steps, rows, dim, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def follow(rule, grads, lr):
    """The displacement at each step."""
    params = torch.zeros_like(grads[0])
    state = rule.init(params)
    moves = []
    for g in grads:
        new, state = rule.step(params, g, state, lr=lr)
        moves.append(new - params)
        params = new
    return torch.stack(moves)


@pytest.mark.parametrize(("direction", "length"), PAIRS)
def test_length_and_direction_are_those_of_the_two_rules(direction, length):
    grads = stream(12)
    moves = follow(graft("g", direction=RULES[direction], length=RULES[length]), grads, 0.1)
    points, reaches = (follow(RULES[name], grads, 1.0) for name in (direction, length))
    torch.testing.assert_close(lengths(moves), 0.1 * lengths(reaches), rtol=1e-6, atol=1e-9)
    cosine = (moves * points).sum(-1, keepdim=True) / (lengths(moves) * lengths(points))
    torch.testing.assert_close(cosine, torch.ones_like(cosine), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "rmsprop"])
def test_a_rule_grafted_on_itself_is_the_rule(name):
    grads = stream(10)
    own = follow(RULES[name], grads, 0.05)
    torch.testing.assert_close(
        follow(graft("g", direction=RULES[name], length=RULES[name]), grads, 0.05), own
    )


def test_in_place_and_allocating_steps_have_the_same_bits_and_a_rate_a_row():
    rule = graft("g", direction=RULES["momentum"], length=RULES["adam"])
    lr = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64)
    params = torch.ones(3, 7)
    mutable = params.clone()
    state, mutable_state = rule.init(params), rule.init(mutable)
    for g in stream(6).float():
        before = params
        params, state = rule.step(params, g, state, lr=lr)
        mutable_state = rule.step_(mutable, g, mutable_state, lr=lr)
        assert torch.equal(params, mutable)
    moved = lengths(params - before).flatten()
    assert (moved[1:] > 0).all()


def test_rows_do_not_depend_on_other_rows():
    rule = graft("g", direction=RULES["sgd"], length=RULES["adam"])
    grads = stream(8, rows=5).float()
    whole = follow(rule, grads, 0.1)
    assert torch.equal(follow(rule, grads[:, 1:3], 0.1), whole[:, 1:3])


def test_where_the_direction_is_zero_nothing_moves_and_nan_is_not_hidden():
    rule = graft("g", direction=RULES["sgd"], length=RULES["adam"])
    grads = torch.tensor([[0.0, 0.0], [float("nan"), 1.0]])
    moved, _ = rule.step(torch.zeros(2, 2), grads, rule.init(torch.zeros(2, 2)), lr=1.0)
    assert torch.equal(moved[0], torch.zeros(2))
    assert moved[1].isnan().all()


@given(scale=st.floats(1e-3, 1e3))
def test_the_direction_of_descent_with_adams_length_does_not_see_the_gradients_scale(scale):
    rule = graft("g", direction=RULES["sgd"], length=RULES["adam"].with_hyper(eps=0.0))
    grads = stream(5)
    torch.testing.assert_close(
        follow(rule, grads * scale, 0.1), follow(rule, grads, 0.1), rtol=1e-6, atol=1e-9
    )


def test_a_negative_rate_is_refused():
    with pytest.raises(ValueError, match="lr"):
        graft("g", direction=RULES["sgd"], length=RULES["adam"]).validate(lr=-1.0)
