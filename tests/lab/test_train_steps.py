"""The trainer's step by hand: schemes of play, adjusted fields, samples, schedules, projections."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.lab.problem import Field
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.adjustments import Consensus
from core.optim.play import Alternating, Extragradient, Optimistic, PlayScheme, Simultaneous
from core.optim.schedules import Cosine
from tests.lab.bowls import Bilinear, Bowl
from tests.lab.short_runs import ALL, blocks, run_of, same


@given(st.floats(1e-3, 0.5), st.integers(0, 1000))
@settings(max_examples=20)
def test_gradient_descent_ascent_grows_by_its_closed_form_each_step(lr: float, seed: int) -> None:
    recording = Recording(points=30)
    block = Block(Variant("gda", "sgd"), slice(0, 2), {"lr": lr})
    run = train(Bilinear(), [block], Keys.of([seed, seed + 1]), steps=30, recording=recording)
    radius = run.curves["radius"]
    assert radius[:, 1:] / radius[:, :-1] == pytest.approx(np.sqrt(1 + lr**2), rel=1e-12)


def by_hand(scheme: str, x: float, y: float, lr: float, steps: int) -> tuple[float, float]:
    previous: tuple[float, float] | None = None
    for _ in range(steps):
        if scheme == "alternating":
            x = x - lr * y
            y = y + lr * x
        elif scheme == "extragradient":
            ahead_x, ahead_y = x - lr * y, y + lr * x
            x, y = x - lr * ahead_y, y + lr * ahead_x
        else:
            own = (-lr * y, lr * x)
            before = previous or own
            x, y = x + 2 * own[0] - before[0], y + 2 * own[1] - before[1]
            previous = own
    return x, y


@pytest.mark.parametrize(
    ("scheme", "play"),
    [("alternating", Alternating()), ("extragradient", Extragradient()), ("optimistic", Optimistic())],
)
def test_play_schemes_follow_their_recursions(scheme: str, play: object) -> None:
    variants = [Variant("plain", "sgd"), Variant("played", "sgd", play=play)]  # type: ignore[arg-type]
    keys = Keys.of([4, 5], copies=2)
    start = Bilinear().init(keys)
    run = train(Bilinear(), blocks(variants, 2, lr=0.1), keys, steps=40, recording=ALL)
    assert run.params is not None
    for row in (2, 3):
        expected = by_hand(scheme, *start[row].tolist(), 0.1, 40)
        assert run.params[row] == pytest.approx(expected, rel=1e-12)
    alone = train(Bilinear(), blocks(variants[1:], 2, lr=0.1), Keys.of([4, 5]), steps=40, recording=ALL)
    assert same(run.rows([2, 3]), alone)


def test_an_adjusted_variant_descends_along_the_adjusted_field() -> None:
    """Consensus on the game xy: the field (y, -x) plus strength times (x, y)."""
    run = run_of(
        [Variant("plain", "sgd"), Variant("consensus", "sgd", adjust=Consensus(0.4))], problem=Bilinear()
    )
    assert run.path is not None
    before, after = run.path[3:, :-1], run.path[3:, 1:]
    field = np.stack([before[..., 1], -before[..., 0]], axis=-1) + 0.4 * before
    np.testing.assert_allclose(after, before - 0.05 * field, rtol=1e-12, atol=1e-14)
    assert same(run.rows(slice(0, 3)), run_of([Variant("plain", "sgd")], problem=Bilinear()))


def test_players_have_their_own_state() -> None:
    """A rule that normalises globally does so player by player: each moves by lr whatever the other's field
    is."""

    class Lopsided(Bilinear):
        def field(self, params: Tensor, keys: Keys, step: int) -> Field:
            return Field(torch.tensor([1e-3, 1e3], dtype=torch.float64).expand(len(params), 2))

    block = Block(Variant("n", "normalized_sgd", {"eps": 0.0}), slice(0, 2), {"lr": 0.5})
    start = torch.zeros(2, 2, dtype=torch.float64)
    run = train(Lopsided(), [block], Keys.of([0, 1]), steps=1, recording=ALL, initial=start)
    assert run.params == pytest.approx(np.full((2, 2), -0.5))
    whole = Lopsided()
    whole.players = (slice(0, 2),)
    run = train(whole, [block], Keys.of([0, 1]), steps=1, recording=ALL, initial=start)
    assert run.params[:, 1] == pytest.approx(-0.5)  # type: ignore[index]
    assert abs(run.params[:, 0]).max() < 1e-6  # type: ignore[index]


def test_a_fresh_sample_of_extragradient_is_another_draw() -> None:
    own, fresh = (
        run_of([Variant("x", "sgd", play=Extragradient(fresh_sample=f))], problem=Bowl(noise=1.0))
        for f in (False, True)
    )
    assert own.params is not None
    assert fresh.params is not None
    assert not np.array_equal(own.params, fresh.params)
    problem, keys = Bowl(noise=1.0), Keys.of(range(3))
    x = problem.init(keys)
    for step in range(25):
        ahead = x + torch.tensor(-0.05) * problem.field(x, keys, step).values
        x = x + torch.tensor(-0.05) * problem.field(ahead, keys.fold("draw 1"), step).values
    assert fresh.params == pytest.approx(x.numpy(), rel=1e-5)


class Counting(Bilinear):
    """Counts the rows of all evaluations."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        self.rows += len(params)
        return super().field(params, keys, step)


def test_the_shared_sample_is_the_first_of_those_that_ask_for_more() -> None:
    """Two samples a round, for each of two seeds: the first is the batch's, the second one's own; no bit
    differs."""
    beside = Variant("plain", "adam")
    for play in (Alternating(), Extragradient(), Extragradient(fresh_sample=True)):
        other = Variant("other", "adam", play=play)
        problem = Counting()
        together = run_of([beside, other], seeds=2, steps=10, problem=problem)
        assert problem.rows == 10 * (4 + 2)
        alone = run_of([other], seeds=2, steps=10, problem=Bilinear())
        assert together.params is not None
        assert alone.params is not None
        assert np.array_equal(together.params[2:], alone.params)


def test_a_schedule_multiplies_the_rate() -> None:
    schedule = Cosine(25)
    run = run_of([Variant("s", "sgd", schedule=schedule)], problem=Bowl(dtype=torch.float64))
    problem, keys = Bowl(dtype=torch.float64), Keys.of(range(3))
    x = problem.init(keys)
    for step in range(25):
        x = x - 0.05 * schedule(step) * problem.field(x, keys, step).values
    assert run.params == pytest.approx(x.numpy(), rel=1e-12)


def test_a_projection_is_applied_after_each_step() -> None:
    class Boxed(Bowl):
        def project(self, params: Tensor) -> Tensor:
            return params.clamp(0.5, 1.0)

    run = run_of([Variant("s", "sgd")], problem=Boxed())
    assert run.path is not None
    assert run.path[:, 1:].min() == 0.5
    assert run.path[:, 1:].max() <= 1.0


@pytest.mark.parametrize("players", [(slice(0, 3),), (slice(0, 1), slice(1, 3))])
@pytest.mark.parametrize("play", [Simultaneous(), Alternating()])
def test_a_projection_may_be_taken_in_the_rules_metric(players: tuple[slice, ...], play: PlayScheme) -> None:
    seen: list[Tensor | None] = []

    class InMetric(Bowl):
        projects_in_metric = True

        def project(self, params: Tensor, metric: Tensor | None) -> Tensor:
            seen.append(metric)
            return params

    problem = InMetric()
    problem.players = players  # type: ignore[attr-defined]
    run_of([Variant("s", "sgd", play=play)], problem=problem)
    assert seen
    assert all(metric is None for metric in seen)
    seen.clear()
    run = run_of([Variant("a", "adam", {"beta1": 0.0, "eps": 0.0}, play=play)], problem=problem)
    assert run.path is not None
    assert all(metric is not None and metric.shape == run.path[:, 0].shape for metric in seen)
