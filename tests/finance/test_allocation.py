"""Allocations by the conditions that define them, and in other people's tools."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio import Portfolio
from skfolio.model_selection import CombinatorialPurgedCV, WalkForward, cross_val_predict
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator

from core.lab.errors import VhatError
from finance.allocation import (
    STANDARD,
    EqualRiskContribution,
    InverseVolatility,
    MaximumDiversification,
    MaximumUtility,
    MinimumVariance,
    equal_risk_weights,
    risk_contributions,
)
from finance.frontier import InaccurateError
from finance.skfolio_allocation import SkfolioAllocation

RETURNS = 0.01 * np.random.default_rng(8).standard_normal((300, 5)) @ np.diag([1, 1, 2, 3, 4]) + 5e-4


@pytest.mark.parametrize("name", STANDARD)
def test_scikit_learns_own_checks(name: str) -> None:
    for estimator, check in estimator_checks_generator(clone(STANDARD[name])):
        # It asks for a setting of the process as a whole, and for other arrays than numpy's.
        if check.func.__name__ != "check_array_api_input":
            check(estimator)


@pytest.mark.parametrize("name", STANDARD)
def test_weights_are_a_portfolio_and_scale_free(name: str) -> None:
    fitted = clone(STANDARD[name]).fit(RETURNS)
    assert fitted.weights_.min() >= 0
    assert fitted.weights_.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(fitted.predict(RETURNS), RETURNS @ fitted.weights_)
    if name not in ("Ledoit-Wolf mean-variance",):
        twice = clone(STANDARD[name]).fit(2 * RETURNS)
        np.testing.assert_allclose(twice.weights_, fitted.weights_, atol=1e-9)


@given(st.integers(0, 10**6), st.integers(2, 12))
@settings(max_examples=40, deadline=None)
def test_risk_contributions_are_equal(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    returns = rng.standard_normal((4 * n, n)) * 10.0 ** rng.uniform(-3, 0, n)
    covariance = np.cov(returns.T)
    weights = equal_risk_weights(covariance)
    np.testing.assert_allclose(risk_contributions(weights, covariance), 1 / n, rtol=1e-7)


def test_equal_risk_of_uncorrelated_assets_is_inverse_volatility() -> None:
    deviation = np.array([0.01, 0.02, 0.05])
    inverse = 1 / deviation
    np.testing.assert_allclose(equal_risk_weights(np.diag(deviation**2)), inverse / inverse.sum(), rtol=1e-10)
    fitted = InverseVolatility().fit(RETURNS)
    spread = RETURNS.std(axis=0)
    np.testing.assert_allclose(fitted.weights_, (1 / spread) / (1 / spread).sum(), rtol=1e-12)


def test_no_equal_risk_where_risks_cancel() -> None:
    with pytest.raises(InaccurateError, match="no risk at all"):
        equal_risk_weights(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    with pytest.raises(VhatError, match="does not vary"):
        EqualRiskContribution().fit(RETURNS * [0, 1, 1, 1, 1])


def test_no_portfolio_is_more_diversified() -> None:
    covariance = np.cov(RETURNS.T)
    best = MaximumDiversification().fit(RETURNS).weights_
    others = np.random.default_rng(3).dirichlet(np.ones(5), 2000)

    def ratio(w: np.ndarray) -> np.ndarray:
        risk = np.einsum("...i,ij,...j->...", w, covariance, w)
        return w @ np.sqrt(np.diagonal(covariance)) / np.sqrt(risk)

    assert ratio(best) >= ratio(others).max()


def test_least_variance_and_its_cap() -> None:
    covariance = np.cov(RETURNS.T)
    free, capped = MinimumVariance().fit(RETURNS).weights_, MinimumVariance(upper=0.3).fit(RETURNS).weights_
    np.testing.assert_allclose((covariance @ free)[free > 0], free @ covariance @ free, rtol=1e-8)
    assert capped.max() <= 0.3 + 1e-12
    assert capped @ covariance @ capped > free @ covariance @ free


def test_grid_search_and_walk_forward_of_skfolio() -> None:
    cv = WalkForward(test_size=20, train_size=100)
    search = GridSearchCV(
        MaximumUtility(), {"risk_aversion": [1.0, 10.0], "covariance": ["sample", "ewma"]}, cv=cv
    )
    search.fit(RETURNS)
    assert search.best_estimator_.weights_.shape == (5,)
    scores = cross_validate(make_pipeline(MinimumVariance()), RETURNS, cv=cv, error_score="raise")
    by_hand = [
        MinimumVariance().fit(RETURNS[train]).score(RETURNS[test]) for train, test in cv.split(RETURNS)
    ]
    np.testing.assert_allclose(scores["test_score"], by_hand)
    assert len(cross_validate(InverseVolatility(), RETURNS, cv=TimeSeriesSplit(3))["test_score"]) == 3


def test_as_skfolio_weights_and_measures() -> None:
    frame = pd.DataFrame(RETURNS, columns=list("abcde"), index=pd.date_range("2020-01-01", periods=300))
    fitted = MinimumVariance().fit(frame)
    assert list(fitted.feature_names_in_) == list("abcde")
    theirs = Portfolio(X=frame, weights=fitted.weights_)
    np.testing.assert_allclose(np.asarray(theirs.returns), fitted.predict(frame))


def test_cross_val_predict_of_skfolio() -> None:
    """Its own walk-forward earns on each day what the weights of the window before earn."""
    frame = pd.DataFrame(RETURNS, columns=list("abcde"), index=pd.date_range("2020-01-01", periods=300))
    cv = WalkForward(test_size=20, train_size=100)
    ways = [(name, SkfolioAllocation(clone(way))) for name, way in STANDARD.items()]
    for walked, way in zip(cross_val_predict(ways, frame, cv=cv), STANDARD.values(), strict=True):
        by_hand = [clone(way).fit(RETURNS[train]).predict(RETURNS[test]) for train, test in cv.split(RETURNS)]
        np.testing.assert_allclose(np.asarray(walked.returns), np.concatenate(by_hand), atol=1e-15)
    paths = cross_val_predict(
        SkfolioAllocation(MinimumVariance(upper=0.3)), frame, cv=CombinatorialPurgedCV(4, 2)
    )
    assert all(np.isfinite(path.sharpe_ratio) for path in paths)
    search = GridSearchCV(SkfolioAllocation(MinimumVariance()), {"allocation__upper": [0.3, 0.6]}, cv=cv)
    assert search.fit(frame).best_params_["allocation__upper"] in (0.3, 0.6)


def test_an_unknown_covariance_names_the_nearest() -> None:
    with pytest.raises(VhatError, match="'ledoit-wolf'"):
        MinimumVariance("ledoit").fit(RETURNS)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["inverse volatility", "equal risk contribution", "maximum diversification"])
@pytest.mark.parametrize("rate", [1e-4, 1e-2, 0.0, -1e-4])
def test_an_asset_that_does_not_vary_but_by_rounding_is_refused(name: str, rate: float) -> None:
    """A constant return of 1e-4 leaves a deviation of 1e-20, which would take all the money."""
    returns = RETURNS.copy()
    returns[:, 2] = rate
    with pytest.raises(VhatError, match="does not vary"):
        clone(STANDARD[name]).fit(returns)
    with pytest.raises(VhatError, match="does not vary"):
        clone(STANDARD[name]).fit(np.full((300, 3), rate))
    returns[::2, 2] += 1e-7  # what a money market does
    assert clone(STANDARD[name]).fit(returns).weights_[2] > 0.9
