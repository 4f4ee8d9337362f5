"""Moments against their definitions, and against Adam's memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.optim.adam import adam, adam_init
from finance.moments import (
    ewma_covariance,
    ewma_variance,
    ledoit_wolf_covariance,
    realised_volatility,
    sample_covariance,
    sample_mean,
    second_moment,
    volatility,
)

RETURNS = 0.02 * np.random.default_rng(3).standard_normal((250, 4)) + 0.001


def adam_memory(returns: np.ndarray, beta2: float) -> np.ndarray:
    """`exp_avg_sq` of the lab's Adam, g = -r in order of time, `[T, N]`."""
    params = torch.zeros(2, returns.shape[1], dtype=torch.float64)
    state = adam_init(params)
    memory = []
    for day in returns:
        grads = torch.as_tensor(-day).expand(2, -1)
        params, state = adam(params, grads, state, lr=0.1, beta2=beta2)
        memory.append(state.exp_avg_sq[0].numpy())
    return np.stack(memory)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.94, 0.97, 0.999])
def test_ewma_is_the_recursion(decay: float) -> None:
    for initial in (0.0, np.array([1e-4, 2e-4, 0.0, 1.0])):
        v = np.broadcast_to(initial, 4)
        expected = []
        for day in RETURNS:
            v = decay * v + (1 - decay) * day**2
            expected.append(v)
        np.testing.assert_allclose(ewma_variance(RETURNS, decay, initial=initial), expected, rtol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.94, 0.999999])
def test_ewma_without_start_is_the_weighted_mean(decay: float) -> None:
    got = ewma_variance(RETURNS, decay)
    for t in (0, 1, 10, 249):
        weights = decay ** np.arange(t, -1, -1.0)
        expected = np.average(RETURNS[: t + 1] ** 2, axis=0, weights=weights)
        np.testing.assert_allclose(got[t], expected, rtol=1e-9)


@pytest.mark.parametrize("decay", [0.5, 0.94, 0.999])
def test_adams_second_moment_is_the_riskmetrics_variance(decay: float) -> None:
    memory = adam_memory(RETURNS, decay)
    np.testing.assert_allclose(memory, ewma_variance(RETURNS, decay, initial=0.0), rtol=1e-12)
    steps = np.arange(1, len(RETURNS) + 1)[:, None]
    np.testing.assert_allclose(memory / (1 - decay**steps), ewma_variance(RETURNS, decay), rtol=1e-10)


def test_ewma_covariance_has_the_ewma_variance_on_its_diagonal() -> None:
    covariance = ewma_covariance(RETURNS, 0.94)
    np.testing.assert_allclose(np.diag(covariance), ewma_variance(RETURNS, 0.94)[-1], rtol=1e-12)
    assert np.linalg.eigvalsh(covariance)[0] > 0
    np.testing.assert_allclose(ewma_covariance(RETURNS, 1 - 1e-12), second_moment(RETURNS), rtol=1e-8)


def test_sample_moments_against_numpy() -> None:
    np.testing.assert_allclose(sample_mean(RETURNS), np.mean(RETURNS, axis=0), rtol=1e-14)
    np.testing.assert_allclose(sample_covariance(RETURNS), np.cov(RETURNS.T), rtol=1e-12)
    centred = second_moment(RETURNS) - np.outer(sample_mean(RETURNS), sample_mean(RETURNS))
    np.testing.assert_allclose(centred * 250 / 249, sample_covariance(RETURNS), rtol=1e-10)
    np.testing.assert_allclose(volatility(RETURNS) ** 2, 252 * np.diag(np.cov(RETURNS.T)), rtol=1e-12)


def test_ledoit_wolf_shrinks_towards_the_mean_variance() -> None:
    returns = RETURNS @ np.array([[1, 1, 0, 0], [0, 1, 2, 0], [0, 0, 1, 0], [1, 0, 0, 3]])
    biased = sample_covariance(returns) * 249 / 250
    shrunk = ledoit_wolf_covariance(returns)
    target = np.eye(4) * np.trace(biased) / 4
    share = 1 - shrunk[0, 1] / biased[0, 1]
    assert 0 < share < 1
    np.testing.assert_allclose(shrunk, (1 - share) * biased + share * target, rtol=1e-8, atol=1e-15)
    assert np.linalg.eigvalsh(ledoit_wolf_covariance(RETURNS[:3]))[0] > 0
    with pytest.raises(ValueError, match="two days"):
        ledoit_wolf_covariance(RETURNS[:1])


def test_realised_volatility_by_direct_sums() -> None:
    rolling = realised_volatility(RETURNS, 21)
    assert rolling.shape == (230, 4)
    for i in (0, 100, 229):
        np.testing.assert_allclose(
            rolling[i] ** 2, 252 / 21 * (RETURNS[i : i + 21] ** 2).sum(axis=0), rtol=1e-12
        )
    constant = realised_volatility(np.full((30, 1), -0.01), 30)
    np.testing.assert_allclose(constant, [[0.01 * np.sqrt(252)]], rtol=1e-12)


def test_arguments_out_of_range_are_refused() -> None:
    for decay in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="decay"):
            ewma_variance(RETURNS, decay)
    with pytest.raises(ValueError, match="two days"):
        sample_covariance(RETURNS[:1])
    for window in (0, 251):
        with pytest.raises(ValueError, match="window"):
            realised_volatility(RETURNS, window)
