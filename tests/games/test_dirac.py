"""The Dirac-GAN against the statements of Mescheder, Geiger and Nowozin 2018."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from core.lab.conformance import check_problem
from core.lab.errors import VhatError
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.adjustments import Consensus
from games.dirac import DiracGAN
from games.gan import Loss

torch.set_num_threads(1)
LOSSES: tuple[Loss, ...] = ("saturating", "nonsaturating", "wasserstein")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("more", [{}, {"penalty": 0.3, "noise": "additive", "noise_scale": 0.2}], ids=str)
def test_problem_keeps_the_contract(loss: Loss, more: dict[str, object]) -> None:
    check_problem(DiracGAN(loss, **more), seeds=7)  # type: ignore[arg-type]


def _losses(loss: Loss, gamma: float, theta: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
    """What generator and discriminator descend, as the paper writes them; the real point is x = 0."""
    real = torch.zeros((), dtype=torch.float64, requires_grad=True)
    fake_logit, real_logit = psi * theta, psi * real
    (slope,) = torch.autograd.grad(real_logit, real, create_graph=True)
    penalty = 0.5 * gamma * slope**2
    if loss == "wasserstein":
        return fake_logit, -fake_logit - real_logit + penalty
    # f(t) = -softplus(-t); the discriminator ascends f(psi theta) + f(0).
    judge = softplus(-fake_logit) + softplus(-real_logit) + penalty
    return (-softplus(-fake_logit) if loss == "saturating" else softplus(fake_logit)), judge


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("gamma", [0.0, 0.7])
def test_field_is_autograd_of_both_players(loss: Loss, gamma: float) -> None:
    game = DiracGAN(loss, gamma, radius=3.0)
    params = game.init(Keys.of(range(5)))
    for z, found in zip(params, game.mean_field(params), strict=True):
        theta, psi = z[0].clone().requires_grad_(), z[1].clone().requires_grad_()
        first, second = _losses(loss, gamma, theta, psi)
        (by_theta,) = torch.autograd.grad(first, theta, retain_graph=True)
        (by_psi,) = torch.autograd.grad(second, psi)
        torch.testing.assert_close(found, torch.stack([by_theta, by_psi]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0, 3.0])
def test_eigenvalues_at_the_equilibrium_are_the_papers(loss: Loss, gamma: float) -> None:
    game = DiracGAN(loss, gamma)
    jacobian = torch.func.jacrev(lambda z: game.mean_field(z[None])[0])(game.equilibrium)
    found = torch.linalg.eigvals(jacobian)
    # At gamma = 2 f'(0) the two meet, and rounding splits them by its root.
    order = np.lexsort((found.imag.numpy(), found.real.numpy()))
    expected = sorted(game.eigenvalues(), key=lambda e: (e.real, e.imag))
    np.testing.assert_allclose(found.numpy()[order], expected, atol=1e-7)


def _distance(game: DiracGAN, variant: Variant, lr: float, steps: int) -> np.ndarray:
    run = train(
        game,
        [Block(variant, slice(0, 4), {"lr": lr})],
        Keys.of(range(4), study="dirac"),
        steps=steps,
        recording=Recording(points=steps),
    )
    return run.curves["distance"]


@pytest.mark.parametrize("loss", ["saturating", "wasserstein"])
def test_unpenalised_descent_only_moves_away(loss: Loss) -> None:
    """Lemma 3.2: the flow keeps theta^2 + psi^2; a step along the tangent raises it by lr^2 |v|^2."""
    game, lr = DiracGAN(loss), 0.1
    distance = _distance(game, Variant("GDA", "sgd"), lr, 300)
    assert bool((np.diff(distance, axis=1) > 0).all())
    start = game.init(Keys.of(range(4), study="dirac"))
    gained = distance[:, 1] ** 2 - distance[:, 0] ** 2
    np.testing.assert_allclose(gained, lr**2 * game.mean_field(start).square().sum(1).numpy(), rtol=1e-10)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_penalty_makes_descent_converge(loss: Loss) -> None:
    """Theorem 4.1: with R1 simultaneous descent converges locally for small rates."""
    assert _distance(DiracGAN(loss, 0.5), Variant("GDA", "sgd"), 0.1, 1000)[:, -1].max() < 1e-6


@pytest.mark.parametrize("loss", LOSSES)
def test_consensus_converges_without_penalty(loss: Loss) -> None:
    """Mescheder et al. 2017, Corollary 9: consensus optimisation converges where descent-ascent does not."""
    variant = Variant("consensus", "sgd", adjust=Consensus(1.0))
    assert _distance(DiracGAN(loss), variant, 0.1, 1000)[:, -1].max() < 1e-6


def test_impossible_games_are_refused() -> None:
    with pytest.raises(VhatError, match="numbers of 0 or more"):
        DiracGAN(penalty=-1.0)
