"""Measures of updates against closed forms: of Gaussian noise, of averages, of fixed scales."""

import math

import pytest
import torch

from core.optim.rules import RULES
from rl.updates import (
    FixedSecondMoment,
    measures,
    noise_share,
    sample_mean,
    signal_to_noise,
    together,
    unit,
    updates,
)


def noisy(samples: int, mean: torch.Tensor, deviation: torch.Tensor, seed: int = 1) -> torch.Tensor:
    noise = torch.randn(
        samples, *mean.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return mean + deviation * noise


MEAN = torch.tensor([[1.0, -2.0, 0.5, 0.0]], dtype=torch.float64)
DEVIATION = torch.tensor([[2.0, 1.0, 0.25, 3.0]], dtype=torch.float64)


def test_noise_share_is_variance_over_the_second_moment():
    expected = (DEVIATION**2).sum() / (DEVIATION**2 + MEAN**2).sum()
    found = noise_share(noisy(40_000, MEAN, DEVIATION))
    assert found.item() == pytest.approx(expected.item(), abs=0.01)


def test_noise_share_of_a_constant_is_zero_and_of_pure_noise_one():
    assert noise_share(MEAN.repeat(10, 1, 1)).item() == pytest.approx(0.0, abs=1e-12)
    assert noise_share(noisy(40_000, 0 * MEAN, DEVIATION)).item() == pytest.approx(1.0, abs=0.01)


def test_the_noise_of_a_sum_falls_as_one_over_the_count():
    values = noisy(60_000, MEAN, DEVIATION)
    ratio = (DEVIATION**2).sum() / (MEAN**2).sum()
    expected = (ratio / 20) / (ratio / 20 + 1)
    assert noise_share(together(values, 20)).item() == pytest.approx(expected.item(), abs=0.01)


def test_together_sums_neighbours_and_drops_the_rest():
    values = torch.arange(7.0).view(7, 1, 1)
    assert together(values, 3).flatten().tolist() == [3.0, 12.0]


def test_a_fixed_scale_changes_no_coordinates_signal_to_noise():
    values = noisy(1000, MEAN, DEVIATION)
    scaled = values / torch.tensor([1e-3, 10.0, 7.0, 1e3], dtype=torch.float64)
    torch.testing.assert_close(signal_to_noise(scaled), signal_to_noise(values))


def test_signal_to_noise_is_the_root_mean_square_ratio():
    expected = ((MEAN / DEVIATION) ** 2).mean().sqrt()
    assert signal_to_noise(noisy(60_000, MEAN, DEVIATION)).item() == pytest.approx(expected.item(), rel=0.02)


def test_averaging_raises_signal_to_noise_by_root_19_and_gives_it_back_over_many_steps():
    """The variance of an exponential mean of independent samples is (1 - beta) / (1 + beta) of theirs."""
    samples = noisy(12_000, MEAN, DEVIATION)
    plain, averaged = (updates(RULES[name], samples, warm=200) for name in ("sgd", "momentum"))
    ratio = signal_to_noise(averaged) / signal_to_noise(plain)
    assert ratio.item() == pytest.approx(math.sqrt(1.9 / 0.1), rel=0.1)
    shares = [noise_share(together(moved, 400)).item() for moved in (plain, averaged)]
    assert shares[1] == pytest.approx(shares[0], rel=0.3)


def test_updates_of_descent_are_minus_the_samples_after_the_warm_up():
    samples = noisy(20, MEAN, DEVIATION)
    torch.testing.assert_close(updates(RULES["sgd"], samples, warm=5), -samples[5:])
    with pytest.raises(ValueError, match="warm-up"):
        updates(RULES["sgd"], samples, warm=20)


def test_the_oracle_divides_by_the_root_of_what_it_was_given_at_every_step():
    values = torch.tensor([[4.0, 9.0, 1e-2, 100.0]], dtype=torch.float64)
    oracle = RULES["adam_shared_v"].with_hyper(
        "oracle", beta1=0.0, beta2=0.0, eps=0.0, denominator_map=FixedSecondMoment(values)
    )
    samples = noisy(30, MEAN, DEVIATION)
    torch.testing.assert_close(updates(oracle, samples, warm=0), -samples / values.sqrt())


def test_measures_of_descent_along_an_exact_gradient():
    exact = MEAN.repeat(40, 1, 1) + 1e-9 * noisy(40, 0 * MEAN, DEVIATION)
    found = measures(-exact, MEAN, stretch=4)
    assert found["cosine"].item() == pytest.approx(1.0)
    assert found["downhill"].item() == 1.0
    assert found["noise of direction"].item() == pytest.approx(0.0, abs=1e-6)


def test_measures_do_not_see_the_length_of_updates_or_of_the_gradient():
    moved = -noisy(100, MEAN, DEVIATION)
    here, there = measures(moved, MEAN, stretch=5), measures(1e-4 * moved, 1e5 * MEAN, stretch=5)
    for name, value in here.items():
        torch.testing.assert_close(there[name], value, rtol=1e-9, atol=1e-9)


def test_unit_vectors_have_length_one_and_zero_stays_zero():
    found = unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [0.0, 0.0]], dtype=torch.float64))


def test_a_mean_over_samples_has_the_same_bits_in_another_batch():
    samples = torch.randn(97, 23, 5, generator=torch.Generator().manual_seed(4))
    whole = sample_mean(samples)
    for rows in ([0, 1], [7, 22], [3, 4, 5, 21]):
        assert torch.equal(sample_mean(samples[:, rows]), whole[rows])
    torch.testing.assert_close(whole, samples.mean(0))
