"""Distances of laws and the judged GAN, against closed forms."""

import math

import pytest
import torch
from scipy.stats import wasserstein_distance

from core.lab.conformance import check_problem
from core.lab.random import Keys
from games.gan_judge import JudgedGAN, judged_gan, sliced_wasserstein


def _points(seed: int, n: int = 200, rows: int = 3) -> torch.Tensor:
    return torch.randn(rows, n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_shift_costs_its_mean_projection() -> None:
    x = _points(0)
    shift = torch.tensor([0.6, -0.8], dtype=torch.float64)
    # The mean of |cos| over directions is 2 / pi.
    found = sliced_wasserstein(x, x + shift, directions=400)
    torch.testing.assert_close(found, torch.full_like(found, 2.0 / math.pi), rtol=1e-4, atol=0.0)
    assert sliced_wasserstein(x, x[:, torch.randperm(200)]).abs().max() < 1e-12


def test_each_slice_is_the_wasserstein_distance_of_scipy() -> None:
    x, y = _points(1), 2.0 * _points(2) + 0.3
    directions = 5
    for row in range(len(x)):
        slices = []
        for k in range(directions):
            axis = torch.tensor([math.cos(k * math.pi / 5), math.sin(k * math.pi / 5)], dtype=torch.float64)
            slices.append(wasserstein_distance((x[row] @ axis).numpy(), (y[row] @ axis).numpy()))
        expected = sum(slices) / directions
        assert float(sliced_wasserstein(x, y, directions)[row]) == pytest.approx(expected, rel=1e-9)


def test_judged_gan_keeps_the_contract() -> None:
    check_problem(judged_gan(width=8, batch=8, latent=2, held_out=300), seeds=4)


def test_masses_add_up_to_quality_and_real_points_are_near() -> None:
    gan = judged_gan(width=8, latent=2)
    keys = Keys.of(range(3), study="judge")
    measured = gan.measure(gan.init(keys), keys)
    masses = torch.stack([measured[f"mass {k}"] for k in range(8)])
    torch.testing.assert_close(masses.sum(0), measured["quality"])
    assert (measured["energy"] > 0.1).all()
    assert (measured["sliced"] > 0.1).all()


def test_the_law_itself_is_at_no_distance() -> None:
    class Perfect(JudgedGAN):
        """Its generator draws from the law."""

        def samples(self, params: torch.Tensor, keys: Keys, n: int | None = None) -> torch.Tensor:
            return self.data.sample(keys.fold("perfect"), n or self.held_out, dtype=params.dtype)

    gan = Perfect(judged_gan().data)
    keys = Keys.of(range(6), study="judge")
    measured = gan.measure(torch.zeros(6, gan.dim), keys)
    assert (measured["modes"] == 8).all()
    assert measured["energy"].abs().mean() < 0.02
    # Two samples of 256 from eight modes differ by the counts of the modes.
    assert measured["sliced"].mean() < 0.2


@pytest.mark.parametrize("loss", ["nonsaturating", "saturating", "wasserstein"])
def test_losses_are_those_that_the_field_descends(loss: str) -> None:
    gan = judged_gan(width=8, latent=2, loss=loss)
    keys = Keys.of(range(3), study="judge")
    params = gan.init(keys)
    latents, real = gan.draw(keys, 0)
    fake = gan.generator.forward(gan.generator.layers(params[:, gan.players[0]]), latents)[1]
    expected = gan.field_on(params, latents, real).measures
    found = gan.losses(params, fake, real)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-7)
    assert expected.keys() <= gan.measure(params, keys).keys()
