"""Rolling moments against a loop over windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.lab.errors import VhatError
from finance.rolling import rolling_moments


def looped(returns: np.ndarray, window: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    parts = [returns[i : i + window] for i in range(0, len(returns) - window + 1, step)]
    covariance = [np.atleast_2d(np.cov(part.T)) for part in parts]
    return np.array([part.mean(axis=0) for part in parts]), np.array(covariance)


@given(st.integers(2, 60), st.integers(0, 80), st.integers(1, 30), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_every_window_of_a_loop(window: int, more: int, step: int, assets: int, seed: int) -> None:
    returns = 0.02 * np.random.default_rng(seed).standard_normal((window + more, assets)) + 0.001
    found = rolling_moments(returns, window, step)
    mean, covariance = looped(returns, window, step)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-10, atol=1e-17)
    np.testing.assert_array_equal(found.ends, np.arange(window, len(returns) + 1, step))


def test_a_large_offset_and_a_crash_elsewhere_cost_no_digits() -> None:
    returns = 0.01 * np.random.default_rng(1).standard_normal((400, 3))
    returns[100] += 1e6
    found = rolling_moments(returns + 1e3, 50)
    calm = slice(101, None)
    mean, covariance = looped(returns[101:], 50, 1)
    # The mean of all days is moved by the crash, so the offset that remains is about 2,500.
    np.testing.assert_allclose(found.mean[calm] - 1e3, mean, atol=1e-9)
    np.testing.assert_allclose(found.covariance[calm], covariance, atol=1e-7)
    quiet = rolling_moments(np.delete(returns, 100, axis=0) + 1e3, 50)
    mean, covariance = looped(np.delete(returns, 100, axis=0), 50, 1)
    np.testing.assert_allclose(quiet.covariance, covariance, rtol=1e-8, atol=1e-12)


def test_windows_are_positive_semidefinite() -> None:
    returns = 0.01 * np.random.default_rng(2).standard_normal((300, 30))
    lowest = np.linalg.eigvalsh(rolling_moments(returns, 20).covariance)[:, 0]
    assert lowest.min() > -1e-17


@pytest.mark.parametrize(("window", "step"), [(1, 1), (11, 1), (5, 0)])
def test_what_does_not_fit_is_refused(window: int, step: int) -> None:
    with pytest.raises(VhatError, match="does not fit"):
        rolling_moments(np.zeros((10, 2)), window, step)
