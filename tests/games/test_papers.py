"""What each method's paper states of bilinear games, as it states it. s is a singular value of A."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.adjustments import LOLA, Anticipating, Competitive, Consensus, SymplecticGradient
from core.optim.play import (
    Alternating,
    Averaged,
    Extragradient,
    Lookahead,
    Optimistic,
    PastExtragradient,
    TwoTimeScales,
)
from games.bilinear import BilinearGame
from games.rates import KNOWN
from games.spectrum import Point, best_rate, predicted_rates, spectra, step_jacobians

torch.set_num_threads(1)
KEYS = Keys.of(range(4), study="papers")
LARGE = BilinearGame(size=3, condition=4.0)
"""Singular values 1, 1/2, 1/4."""


def path(game: BilinearGame, variant: Variant, lr: float, rounds: int) -> Tensor:
    """`[R, rounds + 1, D]`."""
    blocks = [Block(variant, slice(0, len(KEYS)), {"lr": lr})]
    run = train(game, blocks, KEYS, steps=rounds, recording=Recording(points=rounds, path=True))
    assert run.path is not None
    return torch.from_numpy(run.path)


def recursion(game: BilinearGame, rounds: int, turn: Callable[[list[Tensor]], Tensor]) -> Tensor:
    """The path of a published update, which sees all points so far."""
    points = [game.init(KEYS)]
    for _ in range(rounds):
        points.append(turn(points))
    return torch.stack(points, dim=1)


RATES = [1e-3, 0.01, 0.1, 0.3, 0.5, 0.57]


def factors(name: str, rates: list[float] | None = None) -> np.ndarray:
    return predicted_rates(Point.of(BilinearGame()), KNOWN[name].variant, RATES if rates is None else rates)


def test_descent_ascent_diverges_at_any_rate() -> None:
    np.testing.assert_allclose(factors("GDA"), np.sqrt(1 + np.square(RATES)), rtol=1e-12)


def test_alternating_descent_is_bounded_below_two() -> None:
    np.testing.assert_allclose(factors("GDA, alternating", [0.01, 0.5, 1.9]), 1.0, rtol=1e-12)
    assert factors("GDA, alternating", [2.1])[0] > 1.5


def test_simultaneous_momentum_diverges_for_any_sign() -> None:
    """Gidel et al. 2019, Theorem 5."""
    for beta in (-0.9, -0.5, -0.1, 0.3, 0.9):
        variant = Variant("momentum", "sgd", {"momentum": beta})
        assert bool((predicted_rates(Point.of(BilinearGame()), variant, RATES) > 1.0).all())


def test_alternating_negative_momentum_converges_at_the_stated_rate() -> None:
    """Gidel et al. 2019, section 5: with beta = -1/2 and small enough rates the squared distance shrinks by
    max(1/2, 1 - lr^2 s_min^2 / 16) a round, or more. At lr s_max = 1 an eigenvalue is -1."""
    variant = KNOWN["Momentum -0.5, alternating"].variant
    for condition in (1.5, 4.0):
        rates = [0.1, 0.5, 0.9]
        found = predicted_rates(Point.of(BilinearGame(size=3, condition=condition)), variant, rates)
        for lr, factor in zip(rates, found, strict=True):
            assert factor**2 <= max(0.5, 1 - (lr / condition) ** 2 / 16)
    below, at, above = factors(variant.name, [1 - 1e-4, 1.0, 1 + 1e-4])
    assert below < 1 < above
    assert at == pytest.approx(1.0, rel=1e-12)


def test_extragradient_is_best_at_the_known_rate() -> None:
    """|1 + ia - a^2|^2 = 1 - a^2 + a^4 is least at a = 1 / sqrt(2), where it is 3/4."""
    best = best_rate(Point.of(BilinearGame()), KNOWN["Extragradient"].variant)
    assert best.lr == pytest.approx(math.sqrt(0.5), rel=1e-5)
    assert best.factor == pytest.approx(math.sqrt(0.75), rel=1e-9)


def test_optimistic_descent_converges_below_one_over_the_root_of_three() -> None:
    edge = 1 / math.sqrt(3)
    low, high = factors("Optimistic GDA", [edge * (1 - 1e-6), edge * (1 + 1e-6)])
    assert low < 1 < high


def test_symplectic_adjustment_is_consensus_on_bilinear_games() -> None:
    """Balduzzi et al. 2018: where the game is Hamiltonian, A^T xi is the gradient of |xi|^2 / 2."""
    consensus = Variant("consensus", "sgd", adjust=Consensus(1.0))
    point = Point.of(BilinearGame(size=3, condition=4.0))
    symplectic = KNOWN["Symplectic adjustment"].variant
    np.testing.assert_allclose(
        step_jacobians(point, consensus, RATES), step_jacobians(point, symplectic, RATES), atol=1e-14
    )


def test_competitive_descent_converges_at_any_rate() -> None:
    """Schäfer and Anandkumar 2019, section 2.3: on bilinear games it is the implicit step."""
    rates = [0.1, 1.0, 10.0, 100.0]
    np.testing.assert_allclose(factors("Competitive", rates), 1 / np.sqrt(1 + np.square(rates)), rtol=1e-10)


def test_lookahead_converges_although_its_scheme_diverges() -> None:
    """Chavdarova et al. 2021: on xy, where the steps themselves spiral out."""
    found = factors("Lookahead, k = 6", [0.05, 0.1, 0.3])
    assert bool((found < 1).all())


def test_two_time_scales_do_not_help_on_bilinear_games() -> None:
    np.testing.assert_allclose(factors("Two time scales 1 : 4"), factors("GDA"), rtol=1e-10)


def test_extragradient_converges_up_to_one_over_the_largest_singular_value() -> None:
    """Korpelevich 1976: for a monotone field of Lipschitz constant s, at rates below 1 / s."""
    for game in (BilinearGame(), LARGE):
        low, high = predicted_rates(
            Point.of(game), Variant("EG", "sgd", play=Extragradient()), [0.999, 1.001]
        )
        assert low < 1 < high


def test_optimistic_descent_is_the_published_update_and_its_last_iterate_converges() -> None:
    """Daskalakis et al. 2018: twice the step, less the last one."""
    lr = 0.2

    def turn(points: list[Tensor]) -> Tensor:
        last = points[-2] if len(points) > 1 else points[-1]
        return points[-1] - 2 * lr * LARGE.mean_field(points[-1]) + lr * LARGE.mean_field(last)

    found = path(LARGE, Variant("OGDA", "sgd", play=Optimistic()), lr, 2000)
    torch.testing.assert_close(found, recursion(LARGE, 2000, turn), rtol=1e-10, atol=1e-13)
    assert (found[:, -1].norm(dim=1) < 0.2).all()
    assert (path(LARGE, Variant("GDA", "sgd"), lr, 2000)[:, -1].norm(dim=1) > 10).all()


def test_extrapolation_from_the_past_is_optimistic_descent_at_the_points_ahead() -> None:
    """Gidel et al. 2019: without constraints both are one method."""
    past, optimistic = (
        predicted_rates(Point.of(LARGE), Variant("m", "sgd", play=play), RATES)
        for play in (PastExtragradient(), Optimistic())
    )
    np.testing.assert_allclose(past, optimistic, rtol=1e-9)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 2.0])
def test_consensus_turns_less_the_stronger_it_is(gamma: float) -> None:
    """Mescheder et al. 2017: the adjusted field has the eigenvalues gamma s^2 +- i s, of which the
    real part has grown from zero; then steps below 2 gamma / (1 + gamma^2 s^2) converge."""
    lr = 1e-3
    variant = Variant("consensus", "sgd", adjust=Consensus(gamma))
    field = (1 - spectra(Point.of(BilinearGame()), variant, [lr])[0]) / lr
    np.testing.assert_allclose(field.real, gamma, rtol=1e-9)
    np.testing.assert_allclose(np.abs(field.imag) / field.real, 1 / gamma, rtol=1e-9)
    edge = 2 * gamma / (1 + gamma**2)
    low, high = predicted_rates(Point.of(BilinearGame()), variant, [0.999 * edge, 1.001 * edge])
    assert low < 1 < high


def test_symplectic_adjustment_descends_the_hamiltonian() -> None:
    """Balduzzi et al. 2018: in a Hamiltonian game H = |xi|^2 / 2 is conserved by the flow of the
    field, and its gradient, which leads to the equilibrium, is A^T xi."""
    found = path(LARGE, Variant("SGA", "sgd", adjust=SymplecticGradient()), 0.2, 300)
    energy = torch.stack([LARGE.mean_field(z).square().sum(1) for z in found])
    assert (energy[:, 1:] < energy[:, :-1]).all()
    assert (found[:, -1].norm(dim=1) < 0.05).all()


def test_competitive_descent_is_the_published_update() -> None:
    """Schäfer and Anandkumar 2019, on x'Ay."""
    lr, a = 0.7, LARGE.payoff
    eye = torch.eye(3, dtype=torch.float64)

    def turn(points: list[Tensor]) -> Tensor:
        x, y = points[-1][:, :3].T, points[-1][:, 3:].T
        to_x = torch.linalg.solve(eye + lr**2 * a @ a.T, a @ y + lr * a @ (a.T @ x))
        to_y = torch.linalg.solve(eye + lr**2 * a.T @ a, a.T @ x - lr * a.T @ (a @ y))
        return torch.cat([x - lr * to_x, y + lr * to_y]).T

    found = path(LARGE, Variant("CGD", "sgd", adjust=Competitive()), lr, 30)
    torch.testing.assert_close(found, recursion(LARGE, 30, turn), rtol=1e-10, atol=1e-13)


def test_anticipating_is_extragradient_on_bilinear_games() -> None:
    """Zhang and Lesser 2010: to descend where the other's step leads; here the field is linear."""
    point = Point.of(LARGE)
    extragradient, anticipating = (
        step_jacobians(point, variant, RATES)
        for variant in (
            Variant("EG", "sgd", play=Extragradient()),
            Variant("lookahead", "sgd", adjust=Anticipating()),
        )
    )
    torch.testing.assert_close(anticipating, extragradient, rtol=0, atol=1e-14)


def test_lola_shapes_twice_as_much_as_it_anticipates() -> None:
    """Foerster et al. 2018, by differentiating the other's step as well: |1 - i a - 2 a^2| with a = lr s,
    which is below 1 for a < sqrt(3) / 2."""
    variant, edge = Variant("LOLA", "sgd", adjust=LOLA()), math.sqrt(0.75)
    low, high = predicted_rates(Point.of(BilinearGame()), variant, [0.999 * edge, 1.001 * edge])
    assert low < 1 < high


@pytest.mark.parametrize("rounds", [2, 5, 20])
def test_lookahead_minmax_contracts_where_it_goes_far_enough_back(rounds: int) -> None:
    """Chavdarova et al. 2021: part of the way back makes the spiral converge. To lowest order in a = lr s
    |1 - alpha + alpha (1 + i a)^k|^2 = 1 - alpha k (k - 1) a^2 + alpha^2 k^2 a^2: for alpha < 1 - 1/k."""
    edge = 1 - 1 / rounds
    low, high = (
        predicted_rates(Point.of(LARGE), Variant("LA", "sgd", play=Lookahead(rounds, alpha)), [1e-4, 1e-3])
        for alpha in (0.95 * edge, edge + 0.05 * (1 - edge))
    )
    assert (low < 1).all()
    assert (high > 1).all()


def test_the_faster_player_plays_a_best_response() -> None:
    """Heusel et al. 2017, after Borkar 1997: as the ratio of the rates grows the slower player descends on
    the value at the other's best response, here (mu + s^2 / mu) x^2 / 2."""
    mu, slow = 0.3, 1e-5
    point = Point.of(BilinearGame(regularization=mu))
    for ratio, tolerance in ((1e2, 0.2), (1e3, 0.02), (1e4, 0.002)):
        variant = Variant("TTUR", "sgd", play=TwoTimeScales((1.0, ratio)))
        rates = (1 - spectra(point, variant, [slow])[0]) / slow
        assert np.abs(rates).min() == pytest.approx(mu + 1 / mu, rel=tolerance)


def test_averages_of_alternating_descent_converge_like_one_over_the_rounds() -> None:
    """Bailey et al. 2020: play stays on its ellipse, so that its sum is bounded."""
    found = path(BilinearGame(), Variant("a", "sgd", play=Averaged("uniform", play=Alternating())), 0.3, 4000)
    rounds = torch.tensor([250, 1000, 4000])
    assert (found[:, rounds].norm(dim=2) * rounds < 2 / 0.3 * math.sqrt(2.3 / 1.7)).all()


def _adam_direction(moments: list[Tensor], field: Tensor, count: int, b1: float, b2: float) -> Tensor:
    """Takes a field into the moments; Adam's direction with bias correction."""
    moments[0] = b1 * moments[0] + (1 - b1) * field
    moments[1] = b2 * moments[1] + (1 - b2) * field**2
    return (moments[0] / (1 - b1**count)) / ((moments[1] / (1 - b2**count)).sqrt() + 1e-8)


@pytest.mark.parametrize("beta1", [0.0, 0.5])
def test_extra_adam_is_the_published_update(beta1: float) -> None:
    """Gidel et al. 2019, Algorithm 4: both evaluations of a round enter the same moments."""
    lr, beta2 = 0.05, 0.99
    zero = torch.zeros_like(LARGE.init(KEYS))
    moments = [zero, zero]

    def turn(points: list[Tensor]) -> Tensor:
        t, now = len(points), points[-1]
        ahead = now - lr * _adam_direction(moments, LARGE.mean_field(now), 2 * t - 1, beta1, beta2)
        return now - lr * _adam_direction(moments, LARGE.mean_field(ahead), 2 * t, beta1, beta2)

    variant = Variant(
        "ExtraAdam", "adam", {"beta1": beta1, "beta2": beta2}, play=Extragradient(shared_state=True)
    )
    found = path(LARGE, variant, lr, 40)
    torch.testing.assert_close(found, recursion(LARGE, 40, turn), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("beta1", [0.0, 0.5])
def test_optimistic_adam_is_the_published_update(beta1: float) -> None:
    """Daskalakis et al. 2018, Algorithm 1: twice Adam's step less the last one's."""
    lr, beta2 = 0.05, 0.99
    zero = torch.zeros_like(LARGE.init(KEYS))
    moments, steps = [zero, zero], list[Tensor]()

    def turn(points: list[Tensor]) -> Tensor:
        steps.append(lr * _adam_direction(moments, LARGE.mean_field(points[-1]), len(points), beta1, beta2))
        return points[-1] - 2 * steps[-1] + (steps[-2] if len(steps) > 1 else 0)

    variant = Variant("OAdam", "adam", {"beta1": beta1, "beta2": beta2}, play=Optimistic(first="zero"))
    found = path(LARGE, variant, lr, 40)
    torch.testing.assert_close(found, recursion(LARGE, 40, turn), rtol=1e-9, atol=1e-11)
