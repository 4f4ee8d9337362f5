"""Volatility forecasts: no future, known averages, scores in closed form; walk-forward training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.lab.random import Keys
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.rules import RULES
from core.optim.schedules import Cosine
from finance.embedded import Embedded
from finance.forecast import (
    MONTH,
    WARM_UP,
    known_forecasts,
    months,
    online_second_moment,
    qlike,
    rank_skill,
    realised_variance,
    rolling_variance,
)
from finance.moments import ewma_variance
from finance.objective import MeanVariance
from finance.parametrisation import CHARTS, Parametrisation
from finance.quality import require_quality
from finance.studies.second_moment_forecast import online
from finance.walking import descended_windows

DAYS = WARM_UP + 3 * MONTH + 5
RETURNS = 0.02 * np.random.default_rng(8).standard_normal((DAYS, 4)) * np.array([1.0, 1.5, 2.0, 3.0])


def online_of(
    returns: np.ndarray, way: Parametrisation, gamma: float = 0.0, beta2: float = 0.94
) -> np.ndarray:
    chart = CHARTS[way]
    found, _ = online_second_moment(
        torch.from_numpy(np.stack([returns, returns])),
        torch.full((2, returns.shape[1]), chart.start(returns.shape[1]), dtype=torch.float64),
        chart=chart,
        risk_aversion=torch.full((2,), gamma, dtype=torch.float64),
        beta2=torch.full((2,), beta2, dtype=torch.float64),
        lr=1e-3,
    )
    assert torch.equal(found[0], found[1])
    return found[0].numpy()


def test_months_lie_side_by_side_and_inside() -> None:
    starts = months(DAYS)
    assert starts.tolist() == [WARM_UP, WARM_UP + MONTH, WARM_UP + 2 * MONTH]
    assert realised_variance(RETURNS)[1] == pytest.approx(
        np.square(RETURNS[WARM_UP + MONTH : WARM_UP + 2 * MONTH]).mean(axis=0)
    )


@pytest.mark.parametrize("beta2", [0.94, 0.999])
def test_without_risk_aversion_v_is_riskmetrics(beta2: float) -> None:
    expected = ewma_variance(RETURNS, beta2)[months(DAYS) - 1]
    np.testing.assert_allclose(online_of(RETURNS, "simplex", 0.0, beta2), expected, rtol=1e-10)


@pytest.mark.parametrize("way", ["free", "simplex", "softmax", "metric"])
def test_no_forecast_sees_the_future(way: Parametrisation) -> None:
    changed = RETURNS.copy()
    changed[WARM_UP + MONTH :] *= -7.0
    before, after = online_of(RETURNS, way, 5.0), online_of(changed, way, 5.0)
    assert np.array_equal(before[:2], after[:2])
    assert not np.array_equal(before[2], after[2])
    for name, forecast in known_forecasts(RETURNS).items():
        assert np.array_equal(forecast[:2], known_forecasts(changed)[name][:2]), name


def test_a_rolling_window_is_its_mean_square() -> None:
    np.testing.assert_allclose(
        rolling_variance(RETURNS, 63)[2],
        np.square(RETURNS[WARM_UP + 2 * MONTH - 63 : WARM_UP + 2 * MONTH]).mean(0),
    )


def test_a_perfect_forecast_has_no_loss_in_any_unit() -> None:
    came = np.random.default_rng(1).uniform(1.0, 2.0, (5, 4))
    np.testing.assert_allclose(qlike(17.0 * came, came), 0.0, atol=1e-14)
    np.testing.assert_allclose(rank_skill(17.0 * came, came), 1.0)


def test_qlike_of_a_forecast_that_is_twice_too_large_for_half_of_the_assets() -> None:
    came = np.ones((2, 2))
    said = np.array([[1.0, 1.0], [2.0, 1.0]])
    # The first month sets the unit to 1; then x = 1/2 and 1.
    np.testing.assert_allclose(qlike(said, came), [0.5 * (0.5 + np.log(2.0) - 1.0)])


def test_rows_of_the_measurement_do_not_touch_each_other() -> None:
    cell = {"parametrisation": "softmax", "days": WARM_UP + 4 * MONTH}
    keys = Keys.of(range(5), study="test")
    both, some = online(cell, keys, device="cpu"), online(cell, keys.rows(slice(1, 3)), device="cpu")
    for name, values in both.items():
        np.testing.assert_array_equal(np.asarray(values)[1:3], np.asarray(some[name]))


@pytest.mark.parametrize("way", ["softmax", "simplex", "metric"])
def test_a_window_is_trained_like_the_problem_of_its_own(way: Parametrisation) -> None:
    windows = np.stack([RETURNS[:60], RETURNS[100:160]])
    keys = Keys.of(range(3), study="test")
    found = descended_windows(
        torch.from_numpy(windows),
        keys,
        rule=RULES["adam"],
        chart=CHARTS[way],
        lr=0.02,
        risk_aversion=5.0,
        batch=4,
        steps=25,
    )
    assert found.shape == (3, 2, 4)
    for place, window in enumerate(windows):
        of = MeanVariance(window, risk_aversion=5.0, batch=4, parametrisation=way)
        block = Block(Variant("Adam", "adam", schedule=Cosine(25)), slice(0, 3), {"lr": 0.02})
        run = train(of, [block], keys, steps=25, recording=None)
        assert run.params is None
        alone = descended_windows(
            torch.from_numpy(windows[[place, place]]),
            keys,
            rule=RULES["adam"],
            chart=CHARTS[way],
            lr=0.02,
            risk_aversion=5.0,
            batch=4,
            steps=25,
        )
        assert torch.equal(alone[:, 0], found[:, place])
        gap = of.measure(found[:, place].log() if way == "softmax" else found[:, place], keys)["relative_gap"]
        np.testing.assert_allclose(gap.numpy(), run.curves["relative_gap"][:, -1], rtol=1e-6, atol=1e-9)


def test_factor_funds_are_embedded_and_without_defect() -> None:
    prices = require_quality(Embedded("factors").fetch())
    assert prices.tickers == ("MTUM", "QUAL", "SIZE", "USMV", "VLUE")
    assert str(prices.dates[0]) == "2014-01-02"
    assert "factor" in prices.source.name
