"""Moments of daily returns: sample, exponentially weighted (RiskMetrics), shrunk (Ledoit and Wolf), realised
volatility."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from finance.prices import Floats

TRADING_DAYS = 252


def sample_mean(returns: Floats) -> Floats:
    """Mean `[N]` of returns `[T, N]`, per day."""
    out: Floats = np.asarray(returns, dtype=np.float64).mean(axis=0)
    return out


def sample_covariance(returns: Floats) -> Floats:
    """Unbiased covariance `[N, N]` of returns `[T, N]`, per day (divided by T - 1).

    Raises:
        ValueError: with fewer than two days.
    """
    returns = np.asarray(returns, dtype=np.float64)
    if len(returns) < 2:
        raise ValueError("a covariance needs at least two days")
    centred = returns - returns.mean(axis=0)
    out: Floats = centred.T @ centred / (len(returns) - 1)
    return out


def second_moment(returns: Floats) -> Floats:
    """Second moment about zero, E[r r'], `[N, N]`, of returns `[T, N]`: positive semidefinite for any T."""
    returns = np.asarray(returns, dtype=np.float64)
    out: Floats = returns.T @ returns / len(returns)
    return out


def ewma_variance(returns: Floats, decay: float, *, initial: float | Floats | None = None) -> Floats:
    """Exponentially weighted mean of squared returns, v_t = decay v_{t-1} + (1 - decay) r_t^2, for each day
    `[T, N]`.

    RiskMetrics (J.P. Morgan 1996, "Technical Document", 4th ed., section 5.2; decay 0.94 for days), mean
    return taken as zero. With `initial` (a number or `[N]`) the recursion starts at v_0 = initial; 0 gives
    Adam's `exp_avg_sq` for g = -r in order of time and beta2 = decay. With None it starts at zero and is
    divided by 1 - decay^t, which is the weighted mean with weights that sum to one, and Adam's bias-corrected
    v̂ (Kingma and Ba 2015).

    Raises:
        ValueError: when decay lies outside [0, 1).
    """
    _check_decay(decay)
    squares = np.square(np.asarray(returns, dtype=np.float64))
    start = np.broadcast_to(
        np.asarray(0.0 if initial is None else initial, dtype=np.float64), squares.shape[1:]
    )
    filtered, _ = lfilter([1.0 - decay], [1.0, -decay], squares, axis=0, zi=decay * start[None])
    out: Floats = np.asarray(filtered)
    if initial is None:
        out = out / -np.expm1(np.log(decay) * np.arange(1, len(out) + 1))[:, None] if decay > 0 else out
    return out


def ewma_covariance(returns: Floats, decay: float) -> Floats:
    """RiskMetrics covariance `[N, N]` after the last of the returns `[T, N]`: weights decay^(T-1-t), summing
    to one.

    Raises:
        ValueError: when decay lies outside [0, 1).
    """
    _check_decay(decay)
    returns = np.asarray(returns, dtype=np.float64)
    weights = decay ** np.arange(len(returns) - 1, -1, -1, dtype=np.float64)
    out: Floats = (returns * (weights / weights.sum())[:, None]).T @ returns
    return out


def ledoit_wolf_covariance(returns: Floats) -> Floats:
    """Covariance `[N, N]` of returns `[T, N]` shrunk towards a multiple of the identity (Ledoit and Wolf
    2004, "A well-conditioned estimator for large-dimensional covariance matrices"), by scikit-learn; per day.

    Raises:
        ValueError: with fewer than two days.
    """
    # Loaded here: scikit-learn takes a second, which no other moment needs.
    from sklearn.covariance import ledoit_wolf

    returns = np.asarray(returns, dtype=np.float64)
    if len(returns) < 2:
        raise ValueError("a covariance needs at least two days")
    out: Floats = np.asarray(ledoit_wolf(returns)[0], dtype=np.float64)
    return out


def volatility(returns: Floats, per_year: int = TRADING_DAYS) -> Floats:
    """Standard deviation `[N]` of returns `[T, N]` about their mean (T - 1), a year."""
    out: Floats = np.asarray(returns, dtype=np.float64).std(axis=0, ddof=1) * np.sqrt(per_year)
    return out


def realised_volatility(returns: Floats, window: int, per_year: int = TRADING_DAYS) -> Floats:
    """Root of the mean squared return over each run of `window` days, a year: `[T - window + 1, N]`.

    Row i covers days i to i + window - 1. The mean return is taken as zero (Andersen and Bollerslev 1998).

    Raises:
        ValueError: when the window is empty or longer than the returns.
    """
    squares = np.square(np.asarray(returns, dtype=np.float64))
    if not 1 <= window <= len(squares):
        raise ValueError(f"a window of {window} days does not fit {len(squares)} days of returns")
    windows = np.lib.stride_tricks.sliding_window_view(squares, window, axis=0)
    out: Floats = np.sqrt(windows.mean(axis=-1) * per_year)
    return out


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay < 1.0:
        raise ValueError(f"decay must lie in [0, 1), got {decay}")
