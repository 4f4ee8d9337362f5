"""Linear theory three ways: a round's Jacobian by autograd, the papers' closed forms, observed paths."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.lab.errors import VhatError
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.adjustments import Competitive, Consensus
from core.optim.play import Alternating, Averaged, Extragradient, Lookahead, Optimistic
from core.optim.projection import projection_of
from games.bilinear import BilinearGame
from games.dirac import DiracGAN
from games.gan import Loss
from games.rates import KNOWN
from games.simplex import MatrixGame
from games.spectrum import Point, observed_rate, predicted_rates, remembered_points, spectra, step_jacobians
from games.theory import inside_text

torch.set_num_threads(1)
GAMES = (
    {},
    {"regularization": 0.3},
    {"size": 3, "condition": 4.0},
    {"size": 3, "condition": 4.0, "regularization": 0.2},
)


def singular_values(game: BilinearGame) -> list[float]:
    return [float(s) for s in torch.linalg.svdvals(game.payoff)]


def paths(game: BilinearGame | DiracGAN, variant: Variant, lr: float, rounds: int) -> np.ndarray:
    run = train(
        game,
        [Block(variant, slice(0, 8), {"lr": lr})],
        Keys.of(range(8), study="spectrum"),
        steps=rounds,
        recording=Recording(points=rounds, path=True),
    )
    assert run.path is not None
    return run.path


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("game", GAMES, ids=str)
def test_autograd_agrees_with_the_closed_forms(name: str, game: dict[str, float]) -> None:
    problem, known = BilinearGame(**game), KNOWN[name]  # type: ignore[arg-type]
    rates = [0.02, 0.1, 0.3, 0.7]
    found = predicted_rates(Point.of(problem), known.variant, rates)
    expected = [known.factor(lr, singular_values(problem), problem.regularization) for lr in rates]
    # Double eigenvalues split by the root of rounding.
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("name", KNOWN)
def test_every_eigenvalue_of_the_closed_form_is_there(name: str) -> None:
    known, lr, mu = KNOWN[name], 0.15, 0.2
    game = BilinearGame(size=2, condition=3.0, regularization=mu)
    found = spectra(Point.of(game), known.variant, [lr])[0]
    for s in singular_values(game):
        roots = np.asarray(known.roots(lr, s, mu))
        for root in roots[np.abs(roots) > 1e-9]:  # a rule that remembers nothing lacks the roots at zero
            assert np.abs(found - root).min() < 1e-6
            assert np.abs(found - np.conj(root)).min() < 1e-6


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("game", GAMES, ids=str)
def test_theory_agrees_with_observed_contraction(name: str, game: dict[str, float]) -> None:
    problem, variant = BilinearGame(**game), KNOWN[name].variant  # type: ignore[arg-type]
    lr = 0.2
    (expected,) = predicted_rates(Point.of(problem), variant, [lr])
    memory = remembered_points(Point.of(problem), variant)
    period = variant.scheme.period
    found = observed_rate(paths(problem, variant, lr, 60 * period), memory, period)
    assert found == pytest.approx(expected, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(KNOWN)), st.floats(1e-3, 0.9), st.floats(0.0, 0.5))
def test_closed_forms_hold_at_any_rate(name: str, lr: float, mu: float) -> None:
    known = KNOWN[name]
    (found,) = predicted_rates(Point.of(BilinearGame(regularization=mu)), known.variant, [lr])
    assert found == pytest.approx(known.factor(lr, [1.0], mu), rel=2e-6)


@pytest.mark.parametrize("loss", ["saturating", "nonsaturating", "wasserstein"])
@pytest.mark.parametrize("gamma", [0.3, 2.5])
def test_penalised_dirac_gan_contracts_as_its_eigenvalues_say(loss: Loss, gamma: float) -> None:
    game, lr = DiracGAN(loss, gamma, radius=1e-5), 0.1
    variant = Variant("GDA", "sgd")
    expected = max(abs(1 - lr * e) for e in game.eigenvalues())
    assert predicted_rates(Point.of(game), variant, [lr])[0] == pytest.approx(expected, rel=1e-9)
    assert observed_rate(paths(game, variant, lr, 40)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("play", [Extragradient(), Optimistic(), Alternating()], ids=repr)
def test_matrix_games_are_linear_around_a_mixed_equilibrium(play: Extragradient) -> None:
    """Rock-paper-scissors by projection is a rotation: all singular values are 1 on the simplices."""
    game = MatrixGame(spread=0.02)
    both = np.concatenate([game.equilibrium.x, game.equilibrium.y])
    point = Point(game.mean_field, torch.from_numpy(both), game.players, projection_of(game))
    variant, lr = Variant("m", "sgd", play=play), 0.3
    (expected,) = predicted_rates(point, variant, [lr])
    found = observed_rate(paths(game, variant, lr, 30) - both, 2)  # type: ignore[arg-type]
    assert found == pytest.approx(expected, rel=1e-6)


def test_adam_sees_the_rate_over_epsilon() -> None:
    """At v = 0 the step is lr / eps times the momentum: heavy-ball descent at that rate times 1 - b."""
    point, beta, eps, lr = Point.of(BilinearGame()), 0.5, 1e-3, 1e-2
    (found,) = predicted_rates(point, Variant("Adam", "adam", {"beta1": beta, "eps": eps}), [lr])
    step = lr / eps * (1 - beta)
    expected = np.abs(np.roots([1.0, -(1.0 + beta - 1j * step), beta])).max()
    assert found == pytest.approx(expected, rel=1e-9)
    assert found > 1


@pytest.mark.parametrize(
    "variant",
    [
        Variant("a", "momentum", play=Optimistic(0.4)),
        Variant("b", "sgd", play=Averaged("ema", 0.8, Extragradient())),
        Variant("c", "sgd", play=Lookahead(3, 0.4, Lookahead(2, 0.5, Alternating()))),
        Variant("d", "nesterov", {"momentum": 0.3}, adjust=Consensus(0.3), play=Alternating()),
        Variant("e", "sgd", adjust=Competitive(), play=Extragradient()),
    ],
    ids=lambda v: v.name,
)
def test_theory_holds_for_what_has_no_closed_form(variant: Variant) -> None:
    game, lr = BilinearGame(size=2, condition=2.0, regularization=0.1), 0.2
    jacobian = step_jacobians(Point.of(game), variant, [lr])[0]
    (expected,) = predicted_rates(Point.of(game), variant, [lr])
    period = variant.scheme.period
    found = observed_rate(paths(game, variant, lr, 40 * period), jacobian.shape[0] // game.dim, period)
    assert found == pytest.approx(expected, rel=1e-6)


def test_rates_side_by_side_are_the_rates_alone() -> None:
    point, variant = Point.of(BilinearGame(size=2, condition=2.0)), Variant("m", "momentum")
    together = step_jacobians(point, variant, [0.1, 0.5])
    for number, lr in enumerate([0.1, 0.5]):
        torch.testing.assert_close(
            step_jacobians(point, variant, [lr])[0], together[number], atol=1e-14, rtol=0
        )


def test_what_has_no_rate_is_named() -> None:
    with pytest.raises(VhatError, match="never repeats a round"):
        predicted_rates(Point.of(BilinearGame()), Variant("u", "sgd", play=Averaged()), [0.1])
    with pytest.raises(VhatError, match="finite paths"):
        observed_rate(np.full((2, 9, 2), np.nan))


def test_every_stretch_of_rates_inside_the_disk_is_named() -> None:
    rates = [0.1, 0.2, 0.4, 0.8, 1.6]
    assert (
        inside_text(np.array([True, True, False, True, False]), rates)
        == "inside for lr 0.1 to 0.2, 0.8 to 0.8"
    )
    assert inside_text(np.zeros(5, dtype=bool), rates) == "never inside"
