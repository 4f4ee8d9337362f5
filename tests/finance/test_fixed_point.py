"""Where Adam comes to rest on portfolios: optimality conditions, closed forms, and runs without noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.lab.errors import VhatError
from core.lab.random import Keys
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.rules import RULES
from finance.caution import at_levels, effective_bets, effective_number, portfolio_volatility
from finance.denominators import FixedSecondMoment, InverseSecondMoment, inverse_v, oracle_volatility
from finance.fixed_point import gradient_moments, priced_optimum, resting_point
from finance.moments import second_moment
from finance.objective import MeanVariance
from finance.optimum import long_only_optimum
from finance.parametrisation import Parametrisation

RNG = np.random.default_rng(5)
RETURNS = 0.01 * (
    RNG.standard_normal((300, 6)) @ np.diag([0.6, 0.9, 1.2, 1.5, 2.0, 2.6])
) + 0.0004 * np.arange(6)


def problem(gamma: float, batch: int | None = 4, way: Parametrisation = "simplex") -> MeanVariance:
    return MeanVariance(RETURNS, risk_aversion=gamma, batch=batch, parametrisation=way)


@given(st.integers(0, 10_000), st.floats(0.2, 50.0))
@settings(max_examples=40)
def test_priced_optimum_satisfies_its_conditions(seed: int, gamma: float) -> None:
    rng = np.random.default_rng(seed)
    returns = 0.02 * rng.standard_normal((40, 5)) + 0.002 * rng.standard_normal(5)
    price = rng.uniform(0.2, 3.0, 5)
    mean, moment = returns.mean(axis=0), second_moment(returns)
    weights = priced_optimum(mean, moment, gamma, price)
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert weights.min() >= 0.0
    per_price = (gamma * moment @ weights - mean) / price
    held = weights > 1e-9
    level = float(np.average(per_price[held], weights=weights[held]))
    scale = float(np.abs(per_price).max())
    np.testing.assert_allclose(per_price[held], level, atol=1e-6 * scale)
    assert per_price[~held].min(initial=np.inf) >= level - 1e-6 * scale


def test_equal_prices_give_the_optimum() -> None:
    mean, moment = RETURNS.mean(axis=0), second_moment(RETURNS)
    for gamma in (0.5, 5.0, 40.0):
        best = long_only_optimum(mean, moment, gamma).weights
        np.testing.assert_allclose(priced_optimum(mean, moment, gamma, np.full(6, 3.0)), best, atol=1e-8)


def test_two_independent_assets_in_closed_form() -> None:
    # gamma s1 w - m1 = lambda d1 and gamma s2 (1 - w) - m2 = lambda d2: linear in w and lambda.
    mean, variance, price, gamma = np.array([1e-3, 2e-3]), np.array([1e-4, 9e-4]), np.array([1.0, 3.0]), 8.0
    system = np.array([[gamma * variance[0], -price[0]], [-gamma * variance[1], -price[1]]])
    first, _ = np.linalg.solve(system, [mean[0], mean[1] - gamma * variance[1]])
    assert 0 < first < 1
    found = priced_optimum(mean, np.diag(variance), gamma, price)
    np.testing.assert_allclose(found, [first, 1 - first], atol=1e-10)


@pytest.mark.parametrize("gamma", [0.5, 30.0])
def test_the_point_of_rest_does_not_depend_on_the_batch(gamma: float) -> None:
    def at(batch: int) -> np.ndarray:
        of = problem(gamma, batch)

        def root(weights: np.ndarray) -> np.ndarray:
            mean, deviation = gradient_moments(of, weights)
            return np.asarray(np.sqrt(mean**2 + deviation**2))

        return resting_point(of, root)

    by_noise = resting_point(problem(gamma, 1), lambda w: gradient_moments(problem(gamma, 1), w)[1])
    for batch in (1, 16):
        np.testing.assert_allclose(at(batch), by_noise, atol=1e-6)


def test_gradient_moments_are_those_of_the_field() -> None:
    of = problem(7.0, 4)
    weights = RNG.dirichlet(np.ones(6))
    exact = of.field_moments(torch.from_numpy(weights).expand(2, -1))
    mean, deviation = gradient_moments(of, weights)
    np.testing.assert_allclose(mean, exact.mean[0].numpy(), rtol=1e-10)
    np.testing.assert_allclose(deviation, exact.variance[0].sqrt().numpy(), rtol=1e-10)
    assert not gradient_moments(problem(7.0, None), weights)[1].any()


@pytest.mark.parametrize("gamma", [0.5, 30.0])
@pytest.mark.parametrize(
    ("way", "lr"), [("simplex", 0.3), ("exponentiated", 2.0), ("metric", 0.3), ("softmax", 20.0)]
)
def test_without_noise_a_fixed_denominator_leads_to_the_derived_point(
    way: Parametrisation, lr: float, gamma: float
) -> None:
    """The law with nothing random in it: exact gradients over a fixed d rest where g = lambda d with the
    Euclidean projection and on the dual variables, and at the optimum with the metric and with softmax."""
    price = np.array([0.5, 0.8, 1.0, 1.6, 2.0, 3.0])
    of = problem(gamma, None, way)
    rule = replace(
        RULES["adam"].with_hyper("fixed", denominator_map=FixedSecondMoment(tuple(1e-4 * price**2))),
        elementwise=False,
    )
    rule = rule.with_hyper(bias_correction=False)
    steps = 3000
    run = train(
        of,
        [Block(Variant("fixed", rule), slice(0, 2), {"lr": lr})],
        Keys.of(range(2), study="test"),
        steps=steps,
    )
    gap = run.curves["relative_gap"][0, -1]
    shifted = priced_optimum(RETURNS.mean(axis=0), second_moment(RETURNS), gamma, price)
    at_law = of.measure(_params_of(of, shifted), Keys.of(range(2)))["relative_gap"][0].item()
    if way in ("simplex", "exponentiated"):
        assert at_law > 0.02
        assert gap == pytest.approx(at_law, rel=0.02)
    else:
        assert gap < 2e-3


def _params_of(of: MeanVariance, weights: np.ndarray) -> torch.Tensor:
    rows = torch.from_numpy(np.tile(weights, (2, 1)))
    return rows.clamp(min=1e-300).log() if of.chart.start(6) == 0.0 else rows


def test_a_search_that_does_not_settle_says_so() -> None:
    flip = iter(range(10_000))
    uneven = [np.array([1.0, 1, 1, 1, 1, 4]), np.array([4.0, 1, 1, 1, 1, 1])]
    with pytest.raises(VhatError, match="no resting point"):
        resting_point(problem(0.5), lambda _: uneven[next(flip) % 2])


def test_denominators() -> None:
    v = torch.tensor([[1.0, 4.0, 0.25], [0.0, 1.0, 2.0]], dtype=torch.float64)
    fixed = FixedSecondMoment((1.0, 2.0, 3.0))(v)
    assert fixed.tolist() == [[1.0, 2.0, 3.0]]
    inverse = InverseSecondMoment()(v)
    assert inverse[0].tolist() == [1.75**2, 1.75**2 / 4.0, 1.75**2 * 4.0]
    assert bool(torch.isfinite(inverse).all())
    # v of degree one, so that bias correction acts as on v itself.
    torch.testing.assert_close(InverseSecondMoment()(2.0 * v[:1]), 2.0 * inverse[:1])
    for rule in (oracle_volatility((1.0, 2.0)), inverse_v()):
        assert not rule.elementwise
        assert " at 0x" not in str(rule.hyper)


def test_caution_of_known_portfolios() -> None:
    variance = np.array([1e-4, 4e-4, 9e-4])
    equal = np.full(3, 1 / 3)
    assert effective_number(equal) == pytest.approx(3.0)
    assert effective_number(np.array([1.0, 0.0, 0.0])) == 1.0
    parity = 1 / np.sqrt(variance)
    parity /= parity.sum()
    # Independent assets, inversely by volatility: equal shares of variance.
    assert effective_bets(parity, np.diag(variance)) == pytest.approx(3.0)
    assert portfolio_volatility(np.array([[0.0, 1.0, 0.0]]), np.diag(variance))[0] == pytest.approx(
        0.02 * np.sqrt(252)
    )


def test_levels_are_read_off_a_path_linearly() -> None:
    gap, values = np.array([1.0, 0.5, 0.6, 0.1]), np.array([10.0, 20.0, 50.0, 60.0])
    found = at_levels(np.array([1.0, 0.75, 0.5, 0.35, 0.05]), gap, values)
    np.testing.assert_allclose(found[:4], [10.0, 15.0, 20.0, 55.0])
    assert np.isnan(found[4])
