"""Bilinear games: the field against autograd, the equilibrium, noise, keys, and the closed forms of descent-
ascent.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.lab.conformance import check_problem
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.adjustments import LOLA, Anticipating, Competitive, Consensus, SymplecticGradient
from core.optim.play import Alternating, Extragradient, Lookahead, Optimistic, PlayScheme, Simultaneous
from core.optim.rules import RULES
from games.bilinear import BilinearGame
from games.orbit import alternating_invariant, descent_growth, descent_growth_per_turn, turning

torch.set_num_threads(1)


@pytest.mark.parametrize(
    "settings_of_game",
    [
        {},
        {"noise": "additive", "noise_scale": 0.5},
        {"noise": "multiplicative", "noise_scale": 0.5},
        {"regularization": 0.1},
        {"size": 7, "condition": 30.0, "noise": "additive", "noise_scale": 0.1},
        {"size": 33, "condition": 3.0, "regularization": 0.2},
    ],
)
def test_problem_keeps_the_contract(settings_of_game: dict[str, object]) -> None:
    check_problem(BilinearGame(**settings_of_game), seeds=7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "condition", "mu"), [(1, 1.0, 0.0), (1, 1.0, 0.3), (5, 10.0, 0.0), (5, 10.0, 0.3)]
)
def test_field_is_each_players_gradient(size: int, condition: float, mu: float) -> None:
    game = BilinearGame(size=size, condition=condition, regularization=mu)
    params = game.init(Keys.of(range(3)))
    for row, z in enumerate(params):
        x, y = z[:size].clone().requires_grad_(), z[size:].clone().requires_grad_()
        value = x @ game.payoff @ y + 0.5 * mu * (x @ x) - 0.5 * mu * (y @ y)
        by_x, by_y = torch.autograd.grad(value, (x, y))
        # x descends on the value, y ascends: the field holds what both descend along.
        torch.testing.assert_close(
            game.mean_field(params)[row], torch.cat([by_x, -by_y]), rtol=1e-13, atol=1e-14
        )


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.floats(1.0, 1e3), st.floats(0.0, 1.0), st.integers(0, 1000))
def test_equilibrium_is_the_origin_alone(size: int, condition: float, mu: float, seed: int) -> None:
    game = BilinearGame(size=size, condition=condition, regularization=mu, seed=seed)
    assert not game.mean_field(torch.zeros(2, game.dim, dtype=torch.float64)).any()
    singular = torch.linalg.svdvals(game.payoff)
    assert singular[0] == pytest.approx(1.0)
    assert singular[0] / singular[-1] == pytest.approx(condition, rel=1e-9)
    # The field is linear; its matrix has singular values sqrt(s^2 + mu^2) > 0, so its only zero is the
    # origin.
    jacobian = torch.func.jacrev(lambda z: game.mean_field(torch.stack([z, z]))[0])(
        torch.zeros(game.dim).double()
    )
    expected = (singular.square() + mu**2).sqrt().repeat_interleave(2)
    torch.testing.assert_close(torch.linalg.svdvals(jacobian), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("bad", [{"size": 0}, {"condition": 0.5}, {"condition": 2.0}, {"radius": -1.0}])
def test_impossible_games_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"size|condition|radius"):
        BilinearGame(**bad)  # type: ignore[arg-type]


def test_starts_lie_on_the_circle_in_every_direction() -> None:
    start = BilinearGame(radius=3.0).init(Keys.of(range(4000), study="starts"))
    torch.testing.assert_close(start.norm(dim=1), torch.full((4000,), 3.0, dtype=torch.float64))
    for m in (1, 2, 3):  # the characteristic numbers of the uniform law on the circle vanish
        angle = torch.atan2(start[:, 1], start[:, 0]) * m
        assert abs(float(angle.cos().mean())) < 4 / math.sqrt(2 * 4000)
        assert abs(float(angle.sin().mean())) < 4 / math.sqrt(2 * 4000)


@pytest.mark.parametrize("noise", ["additive", "multiplicative"])
def test_noise_is_unbiased_and_of_the_stated_size(noise: str) -> None:
    game = BilinearGame(noise=noise, noise_scale=0.5)  # type: ignore[arg-type]
    n = 40_000
    point = torch.tensor([[0.6, -0.8]], dtype=torch.float64).expand(n, -1)
    drawn = game.field(point, Keys.of(range(n), study="noise"), 3).values
    mean = game.mean_field(point)[0]
    size = torch.full((2,), 0.5, dtype=torch.float64) if noise == "additive" else 0.5 * mean.abs()
    assert ((drawn.mean(0) - mean).abs() < 4.5 * size / math.sqrt(n)).all()
    torch.testing.assert_close(drawn.std(0), size, rtol=0.02, atol=0.0)


def test_variants_of_a_seed_share_draws() -> None:
    game = BilinearGame(noise="additive", noise_scale=1.0)
    keys = Keys.of(range(3), copies=2)
    start = game.init(keys)
    noise = game.field(torch.zeros_like(start), keys, 5).values
    assert torch.equal(start[:3], start[3:])
    assert torch.equal(noise[:3], noise[3:])
    assert not torch.equal(noise, game.field(torch.zeros_like(start), keys, 6).values)


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-4, 3.0), st.integers(0, 10_000))
def test_simultaneous_descent_grows_by_the_closed_form(lr: float, seed: int) -> None:
    game = BilinearGame()
    z = game.init(Keys.of([seed, seed + 1]))
    state = RULES["sgd"].init(z)
    for _ in range(20):
        before = z.norm(dim=1)
        z, state = RULES["sgd"].step(z, game.mean_field(z), state, lr=lr)
        torch.testing.assert_close(
            z.norm(dim=1) / before, torch.full_like(before, math.sqrt(1 + lr * lr)), rtol=1e-14, atol=0.0
        )


def _train(variant: Variant, lr: float, steps: int, **game: float) -> tuple[np.ndarray, np.ndarray]:
    keys = Keys.of(range(4), study="closed form")
    problem = BilinearGame(**game)  # type: ignore[arg-type]
    run = train(
        problem,
        [Block(variant, slice(0, 4), {"lr": lr})],
        keys,
        steps=steps,
        recording=Recording(points=steps, path=True),
    )
    assert run.path is not None
    return run.path, run.curves["distance"]


@pytest.mark.parametrize("lr", [1e-3, 0.1, 1.0])
def test_trained_descent_grows_by_the_closed_form(lr: float) -> None:
    _, distance = _train(Variant("GDA", "sgd"), lr, 300)
    np.testing.assert_allclose(distance[:, 1:] / distance[:, :-1], descent_growth(lr), rtol=2e-15 * 4)


@pytest.mark.parametrize("lr", [1e-3, 0.1, 1.0, 1.9])
def test_trained_alternating_descent_conserves_its_form(lr: float) -> None:
    path, distance = _train(Variant("GDA", "sgd", play=Alternating()), lr, 1000)
    form = np.stack([alternating_invariant(torch.from_numpy(z), lr).numpy() for z in path])
    np.testing.assert_allclose(form / form[:, :1], 1.0, rtol=1e-12)
    # The level line is an ellipse with half axes in the ratio sqrt((2 + lr) / (2 - lr)): the path is bounded
    # by it.
    assert distance.max() <= math.sqrt((2 + lr) / (2 - lr)) * (1 + 1e-12)


@pytest.mark.parametrize("lr", [0.05, 0.3])
def test_cures_contract_at_their_closed_form(lr: float) -> None:
    # Both schemes are linear; on xy, with the complex coordinate x + iy, the field is multiplication by -i.
    _, extra = _train(Variant("EG", "sgd", play=Extragradient()), lr, 60)
    np.testing.assert_allclose(extra[:, 1:] / extra[:, :-1], abs(1 + 1j * lr - lr**2), rtol=1e-12)
    _, optimistic = _train(Variant("OGDA", "sgd", play=Optimistic()), lr, 400)
    roots = np.roots([1.0, -(1 + 2j * lr), 1j * lr])  # z'' = z' + 2 i lr z' - i lr z
    np.testing.assert_allclose(optimistic[:, -1] / optimistic[:, -2], np.abs(roots).max(), rtol=1e-9)


@given(st.floats(0.01, 0.9), st.floats(-0.1, 0.1), st.floats(-3.0, 3.0))
def test_turning_of_a_logarithmic_spiral(turn: float, growth: float, start: float) -> None:
    steps = np.arange(200)
    angle = (start + turn * steps + np.pi) % (2 * np.pi) - np.pi
    turns, per_turn = turning(np.exp(growth * steps)[None], angle[None])
    assert turns[0] == pytest.approx(turn / (2 * np.pi), rel=1e-9)
    assert per_turn[0] == pytest.approx(growth * 2 * np.pi / turn, rel=1e-6, abs=1e-9)


def test_turning_stops_where_a_path_diverges() -> None:
    steps = np.arange(100.0)
    distance, angle = np.exp(0.1 * steps)[None].copy(), (0.01 * steps)[None].copy()
    distance[:, 60:], angle[:, 60:] = np.nan, np.nan
    turns, per_turn = turning(distance, angle)
    assert turns[0] == pytest.approx(0.01 / (2 * np.pi))
    assert per_turn[0] == pytest.approx(0.1 * 2 * np.pi / 0.01)


def test_measured_growth_a_turn_is_the_closed_form() -> None:
    keys = Keys.of(range(4), study="turning")
    run = train(
        BilinearGame(),
        [Block(Variant("GDA", "sgd"), slice(0, 4), {"lr": 0.2})],
        keys,
        steps=200,
        recording=Recording(points=200),
    )
    turns, growth = turning(run.curves["distance"], run.curves["angle"])
    np.testing.assert_allclose(turns, math.atan(0.2) / (2 * math.pi), rtol=1e-12)
    np.testing.assert_allclose(growth, descent_growth_per_turn(0.2), rtol=1e-11)


@pytest.mark.parametrize("play", [Simultaneous(), Alternating(), Extragradient(), Lookahead(3)], ids=repr)
@pytest.mark.parametrize(
    "adjust",
    [
        None,
        Consensus(0.3),
        SymplecticGradient(),
        Anticipating(),
        LOLA(),
        Competitive(),
        Competitive(iterations=5, tolerance=1e-3),
    ],
    ids=repr,
)
@pytest.mark.parametrize("size", [1, 5])
def test_a_row_of_an_adjusted_batch_is_the_run_alone(adjust: Any, play: PlayScheme, size: int) -> None:
    game = BilinearGame(
        size=size, condition=3.0 if size > 1 else 1.0, noise="multiplicative", noise_scale=0.3
    )
    variant = Variant("adjusted", "adam", play=play, adjust=adjust)
    keys, kept = Keys.of(range(9), study="rows"), Recording(points=1, params=True)
    many = train(game, [Block(variant, slice(0, 9), {"lr": 0.05})], keys, steps=6, recording=kept)
    pair = train(
        game, [Block(variant, slice(0, 2), {"lr": 0.05})], keys.rows([7, 2]), steps=6, recording=kept
    )
    assert many.params is not None
    assert pair.params is not None
    np.testing.assert_array_equal(many.params[[7, 2]], pair.params)
