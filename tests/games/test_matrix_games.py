"""Matrix games: equilibria by linear programming, projection, both parametrisations, measures of distance."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.lab.conformance import check_problem
from core.lab.errors import VhatError
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.play import Averaged, Extragradient, Optimistic, PastExtragradient, PlayScheme
from core.optim.projection import project_to_simplex
from games.equilibrium import duality_gap, matrix_equilibrium
from games.simplex import MatrixGame

torch.set_num_threads(1)


@pytest.mark.parametrize("parametrisation", ["softmax", "projection"])
@pytest.mark.parametrize(
    "game",
    [
        {},
        {"noise": "additive", "noise_scale": 0.3},
        {"payoff": "random", "actions": (4, 7), "noise": "multiplicative", "noise_scale": 0.3},
        {"payoff": "random", "actions": (2, 2), "seed": 5},
        {"payoff": "random", "actions": (33, 20)},
    ],
    ids=str,
)
def test_problem_keeps_the_contract(parametrisation: str, game: dict[str, object]) -> None:
    check_problem(MatrixGame(parametrisation=parametrisation, **game), seeds=7)  # type: ignore[arg-type]


def test_equilibrium_of_rock_paper_scissors_is_the_middle() -> None:
    found = MatrixGame().equilibrium
    np.testing.assert_allclose(np.concatenate([found.x, found.y]), 1 / 3, atol=1e-12)
    assert found.value == pytest.approx(0.0, abs=1e-12)


@given(st.floats(-3, 3), st.floats(0.1, 3), st.floats(0.1, 3), st.floats(0.1, 3))
@settings(max_examples=30, deadline=None)
def test_equilibrium_of_a_mixed_two_by_two_game_is_its_closed_form(
    low: float, a: float, b: float, c: float
) -> None:
    """No saddle in pure strategies: both diagonal entries above both others (von Neumann 1928)."""
    payoff = np.array([[low + a + c, low], [low, low + b + c]])
    found = matrix_equilibrium(payoff)
    total = payoff[0, 0] + payoff[1, 1] - 2 * low
    assert found.x[0] == pytest.approx((payoff[1, 1] - low) / total, abs=1e-9)
    assert found.y[0] == pytest.approx((payoff[1, 1] - low) / total, abs=1e-9)
    assert found.value == pytest.approx((payoff[0, 0] * payoff[1, 1] - low * low) / total, rel=1e-9, abs=1e-9)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_no_player_gains_at_the_equilibrium(n: int, m: int, seed: int) -> None:
    game = MatrixGame("random", (n, m), seed=seed)
    found = game.equilibrium
    x, y = torch.from_numpy(found.x)[None], torch.from_numpy(found.y)[None]
    assert abs(float(duality_gap(game.matrix, x, y))) < 1e-9
    assert float(x.sum()) == pytest.approx(1.0)
    assert float(found.x @ game.matrix.numpy() @ found.y) == pytest.approx(found.value, abs=1e-9)
    assert torch.linalg.svdvals(game.matrix)[0] == pytest.approx(1.0)


@given(st.integers(2, 6), st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_gap_is_the_gain_by_best_responses_and_never_negative(n: int, seed: int) -> None:
    game = MatrixGame("random", (n, n + 1), seed=seed)
    both = game.init(Keys.of([seed, seed + 1]))
    x, y = (both[:, p] for p in game.players)
    value = ((x @ game.matrix) * y).sum(1)
    best_y = (x @ game.matrix).max(1).values - value
    best_x = value - (y @ game.matrix.T).min(1).values
    measures = game.measure(both, Keys.of([0, 1]))
    torch.testing.assert_close(measures["gap"], best_x + best_y, rtol=1e-10, atol=1e-13)
    assert bool((measures["gap"] >= -1e-14).all())
    assert torch.equal(measures["exploitability"], 0.5 * measures["gap"])


@given(st.integers(1, 8), st.integers(0, 10_000), st.sampled_from([0.01, 1.0, 100.0]))
@settings(max_examples=60, deadline=None)
def test_projection_is_the_nearest_point(n: int, seed: int, scale: float) -> None:
    """Optimality (Karush, Kuhn and Tucker): p - x is one number where x > 0, and at most that elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    points = scale * torch.randn(5, n, dtype=torch.float64, generator=generator)
    x = project_to_simplex(points)
    torch.testing.assert_close(x.sum(1), torch.ones(5).double(), rtol=1e-10, atol=0)
    assert bool((x >= 0).all())
    shift = points - x
    level = torch.where(x > 0, shift, -torch.inf).amax(1, keepdim=True)
    torch.testing.assert_close(
        torch.where(x > 0, shift, level), level.expand_as(x), rtol=1e-9, atol=1e-9 * scale
    )
    assert bool((shift <= level + 1e-9 * scale).all())
    torch.testing.assert_close(project_to_simplex(x), x, rtol=1e-12, atol=1e-14)


def test_softmax_field_is_each_players_gradient_by_its_logits() -> None:
    game = MatrixGame("random", (4, 3), "softmax", seed=3)
    logits = game.init(Keys.of(range(3)))
    field = game.mean_field(logits)
    for row, z in enumerate(logits):
        u, v = z[:4].clone().requires_grad_(), z[4:].clone().requires_grad_()
        value = torch.softmax(u, 0) @ game.matrix @ torch.softmax(v, 0)
        by_u, by_v = torch.autograd.grad(value, (u, v))
        torch.testing.assert_close(field[row], torch.cat([by_u, -by_v]), rtol=1e-12, atol=1e-14)


def test_both_parametrisations_start_at_the_same_strategies() -> None:
    keys = Keys.of(range(4))
    free, on = (MatrixGame(parametrisation=p) for p in ("softmax", "projection"))  # type: ignore[arg-type]
    torch.testing.assert_close(free.strategies(free.init(keys)), on.init(keys), rtol=0, atol=0)


def _end(game: MatrixGame, play: PlayScheme | None, lr: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    variant = Variant("m", "sgd") if play is None else Variant("m", "sgd", play=play)
    run = train(
        game,
        [Block(variant, slice(0, 4), {"lr": lr})],
        Keys.of(range(4), study="matrix"),
        steps=steps,
        recording=Recording(points=5, params=True),
    )
    assert run.params is not None
    return run.params, run.curves["gap"][:, -1]


@pytest.mark.parametrize("play", [Extragradient(), PastExtragradient(), Optimistic()], ids=repr)
def test_cures_reach_the_equilibrium_of_rock_paper_scissors(play: PlayScheme) -> None:
    """The last iterate, by projection; plain descent-ascent is pushed to the edge and stays far."""
    params, gap = _end(MatrixGame(), play, 0.3, 3000)
    assert gap.max() < 1e-6
    assert np.abs(params - 1 / 3).max() < 1e-6
    _, plain = _end(MatrixGame(), None, 0.3, 3000)
    assert plain.min() > 0.1


def test_the_average_of_descent_ascent_approaches_the_equilibrium() -> None:
    """Regret of projected descent: the average's gap is at most (|x - x*|^2 / lr + lr G^2 T) / T a player."""
    lr, steps = 0.02, 4000
    _, gap = _end(MatrixGame(), Averaged(), lr, steps)
    bound = 2 * (2 / (2 * lr * steps) + lr / 2)  # |x - x*|^2 <= 2, |Ay| <= 1
    assert gap.max() < bound


def test_path_of_projected_play_stays_on_the_simplex() -> None:
    for play in (None, Extragradient(), Averaged("ema", 0.9)):
        params, _ = _end(MatrixGame("random", (4, 5)), play, 1.0, 50)
        both = torch.from_numpy(params)
        for player in (slice(0, 4), slice(4, 9)):
            assert bool((both[:, player] >= 0).all())
            torch.testing.assert_close(both[:, player].sum(1), torch.ones(4).double(), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "bad", [{"actions": (1, 3), "payoff": "random"}, {"actions": (4, 4)}, {"spread": -1.0}], ids=str
)
def test_impossible_games_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(VhatError, match=r"actions|spread"):
        MatrixGame(**bad)  # type: ignore[arg-type]


def test_strategies_of_a_start_without_spread_are_uniform() -> None:
    start: Tensor = MatrixGame("random", (4, 5), spread=0.0).init(Keys.of([0, 1]))
    expected = torch.tensor([0.25] * 4 + [0.2] * 5, dtype=torch.float64).expand(2, -1)
    torch.testing.assert_close(start, expected, rtol=1e-15, atol=0)
