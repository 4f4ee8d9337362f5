"""Measures of oscillation against signals whose frequency is known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.lab.conformance import check_problem
from core.lab.random import Keys
from games.oscillation import LeadingPlane, spectral_peak


def _wrapped(angle: np.ndarray) -> np.ndarray:
    return (angle + math.pi) % (2 * math.pi) - math.pi


@given(st.floats(0.02, 0.45), st.sampled_from([-1.0, 1.0]), st.floats(0.5, 20.0))
def test_a_pure_rotation_has_one_frequency(turns: float, sign: float, spacing: float) -> None:
    records = 400
    angle = _wrapped(sign * 2 * math.pi * turns * np.arange(records))
    frequency, share = spectral_peak(angle[None], spacing)
    assert abs(frequency[0] * spacing - sign * turns) <= 0.51 / records
    assert share[0] > 0.99


def test_the_strongest_of_two_directions_wins_and_shares_are_shares() -> None:
    signal = np.exp(2j * math.pi * 0.1 * np.arange(300)) + 0.3 * np.exp(-2j * math.pi * 0.23 * np.arange(300))
    frequency, share = spectral_peak(np.angle(signal)[None])
    assert frequency[0] == pytest.approx(0.1, abs=1 / 300)
    assert 0.5 < share[0] < 1.0


def test_noise_has_no_peak_to_speak_of() -> None:
    angle = np.random.default_rng(0).uniform(-math.pi, math.pi, (3, 1000))
    _, share = spectral_peak(angle)
    assert (share < 0.1).all()


def test_a_path_is_judged_up_to_where_it_diverged() -> None:
    angle = _wrapped(2 * math.pi * 0.05 * np.arange(200.0))
    cut = angle.copy()
    cut[120:] = np.nan
    short = angle.copy()
    short[10:] = np.nan
    frequency, share = spectral_peak(np.stack([angle, cut, short, np.zeros(200)]))
    np.testing.assert_allclose(frequency[:2], 0.05, atol=0.51 / 120)
    assert np.isnan(frequency[2:]).all()
    assert np.isnan(share[2:]).all()


@pytest.mark.parametrize("size", [1, 4])
def test_leading_plane_keeps_the_contract(size: int) -> None:
    condition = 10.0 if size > 1 else 1.0
    check_problem(LeadingPlane(size=size, condition=condition, noise="additive", noise_scale=0.1), seeds=5)


def test_the_leading_plane_turns_at_the_largest_singular_value() -> None:
    game = LeadingPlane(size=5, condition=30.0)
    keys = Keys.of(range(6))
    start = game.init(keys)
    left, values, right = torch.linalg.svd(game.payoff)
    step = 1e-4
    before, after = (game.measure(z, keys)["angle"] for z in (start, start - step * game.mean_field(start)))
    turned = _wrapped((after - before).numpy())
    np.testing.assert_allclose(turned, step * float(values[0]), rtol=1e-3)
    x, y = start[:, :5] @ left[:, 0], start[:, 5:] @ right[0]
    np.testing.assert_allclose(before.numpy(), torch.atan2(y, x).numpy(), rtol=1e-9)
