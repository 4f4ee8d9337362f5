"""The sampled field of mean-variance utility: gradient, unbiasedness, exact moments, gap, projection."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.lab.conformance import check_problem
from core.lab.errors import VhatError
from core.lab.problem import Problem
from core.lab.random import Keys
from core.optim.projection import project_to_simplex
from finance.objective import MeanVariance
from finance.parametrisation import Parametrisation

RETURNS = 0.02 * np.random.default_rng(11).standard_normal((40, 5)) + 0.001
WAYS = get_args(Parametrisation)
KEYS = Keys.of(range(6), study="test")


def problem(way: Parametrisation = "softmax", batch: int | None = 3, **changes: object) -> MeanVariance:
    settings_: dict[str, object] = {"risk_aversion": 4.0, "batch": batch, "parametrisation": way, **changes}
    return MeanVariance(RETURNS, **settings_)  # type: ignore[arg-type]


def some_params(of: MeanVariance, keys: Keys = KEYS) -> Tensor:
    start = of.init(keys)
    return of.project(start + 0.3 * keys.fold("test").normal(of.dim, dtype=start.dtype))


def differentiated(of: MeanVariance, params: Tensor) -> Tensor:
    """What the field is a gradient with respect to: the exponentiated gradient is one of the weights."""
    return torch.softmax(params, dim=-1) if of.parametrisation == "exponentiated" else params


def utility(of: MeanVariance, params: Tensor, days: Tensor) -> Tensor:
    """U by its definition, over the given days, as a function of what is differentiated."""
    weights = torch.softmax(params, dim=-1) if of.parametrisation == "softmax" else params
    earned = of.returns[days] @ weights
    if of.risk_aversion == torch.inf:
        return -0.5 * (earned**2).mean()
    return earned.mean() - 0.5 * of.risk_aversion * (earned**2).mean()


def each_day(of: MeanVariance, params: Tensor) -> Tensor:
    """The one-day field on every day by automatic differentiation, `[R, T, D]`."""

    def descent(row: Tensor, day: Tensor) -> Tensor:
        return -utility(of, row, day[None])

    gradient = torch.func.grad(descent)
    return torch.stack(
        [
            torch.stack([gradient(row, d) for d in torch.arange(len(RETURNS))])
            for row in differentiated(of, params)
        ]
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("batch", [1, 16, None])
def test_keeps_the_contract_of_problems(way: Parametrisation, batch: int | None) -> None:
    check_problem(problem(way, batch))


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_projection_of_a_diverged_row_leaves_the_others_alone(value: float) -> None:
    points = torch.tensor([[1.0, 2.0, 0.5], [0.3, 0.1, 0.9], [5.0, -1.0, 0.0]], dtype=torch.float64)
    expected = project_to_simplex(points)
    points[1, 2] = value
    found = project_to_simplex(points)
    assert torch.equal(found[[0, 2]], expected[[0, 2]])
    if value != -torch.inf:
        assert not bool(torch.isfinite(found[1]).all())


@pytest.mark.parametrize("way", WAYS)
def test_is_a_problem(way: Parametrisation) -> None:
    assert isinstance(problem(way), Problem)
    assert problem(way).dim == 5
    np.testing.assert_allclose(problem(way).weights(problem(way).init(KEYS)).numpy(), 0.2, rtol=1e-15)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("batch", [1, 3, None])
@pytest.mark.parametrize("risk_aversion", [0.0, 4.0, torch.inf])
def test_field_is_the_gradient_on_the_drawn_days(
    way: Parametrisation, batch: int | None, risk_aversion: float
) -> None:
    if way == "free" and risk_aversion == 0.0:
        return  # without constraint and risk aversion there is no greatest utility
    of = problem(way, batch, risk_aversion=risk_aversion)
    params = some_params(of)
    sample = of.field(params, KEYS, 7)
    if batch is None:
        days = torch.arange(len(RETURNS)).expand(6, -1)
    else:
        days = KEYS.fold("days").at(7).integers(len(RETURNS), batch)
    for row in range(6):
        leaf = differentiated(of, params)[row].clone().requires_grad_()
        value = utility(of, leaf, days[row])
        (gradient,) = torch.autograd.grad(-value, leaf)
        torch.testing.assert_close(sample.values[row], gradient, rtol=1e-11, atol=1e-15)
        torch.testing.assert_close(sample.measures["utility"][row], value.detach(), rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("way", WAYS)
def test_the_mean_over_all_days_is_the_whole_samples_gradient(way: Parametrisation) -> None:
    whole = problem(way, None)
    params = some_params(whole)
    torch.testing.assert_close(
        each_day(whole, params).mean(dim=1), whole.field(params, KEYS, 0).values, rtol=1e-10, atol=1e-15
    )


@pytest.mark.parametrize("way", WAYS)
def test_pairs_of_days_are_unbiased_and_have_half_the_variance(way: Parametrisation) -> None:
    of = problem(way, 2)
    params = some_params(of)
    one = each_day(of, params)
    pairs = 0.5 * (one[:, :, None] + one[:, None, :]).flatten(1, 2)  # all T^2 draws of two days
    moments = of.field_moments(params)
    torch.testing.assert_close(moments.mean, pairs.mean(dim=1), rtol=1e-10, atol=1e-15)
    torch.testing.assert_close(moments.variance, pairs.var(dim=1, correction=0), rtol=1e-9, atol=1e-18)


def test_sampled_fields_have_the_exact_moments() -> None:
    of = problem("softmax", 4)
    params = some_params(of)[:2]
    keys = KEYS.rows(slice(0, 2))
    draws = torch.stack([of.field(params, keys, step).values for step in range(1500)])
    moments = of.field_moments(params)
    error = (draws.mean(dim=0) - moments.mean).abs() / (moments.variance / len(draws)).sqrt()
    assert float(error.max()) < 5.0  # standard errors, ten coordinates
    torch.testing.assert_close(draws.var(dim=0), moments.variance, rtol=0.15, atol=0.0)


def test_all_days_have_no_noise() -> None:
    of = problem("free", None)
    assert not of.field_moments(some_params(of)).variance.any()
    assert torch.equal(of.field(some_params(of), KEYS, 0).values, of.field(some_params(of), KEYS, 1).values)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("risk_aversion", [4.0, torch.inf])
def test_gap_is_the_difference_of_utilities(way: Parametrisation, risk_aversion: float) -> None:
    of = problem(way, risk_aversion=risk_aversion)
    params = some_params(of)
    measured = of.measure(params, KEYS)
    everything = torch.arange(len(RETURNS))
    for row in range(6):
        expected = of.optimum.utility - float(utility(of, differentiated(of, params)[row], everything))
        assert float(measured["utility_gap"][row]) == pytest.approx(expected, rel=1e-9, abs=1e-16)
    assert bool((measured["utility_gap"] > 0).all())
    torch.testing.assert_close(
        of.measure(of.init(KEYS), KEYS)["relative_gap"], torch.ones(6, dtype=torch.float64)
    )


@pytest.mark.parametrize("way", ["simplex", "free"])
def test_no_gap_and_no_field_along_the_feasible_set_at_the_optimum(way: Parametrisation) -> None:
    of = problem(way, None)
    best = torch.as_tensor(of.optimum.weights).expand(6, -1)
    assert float(of.measure(best, KEYS)["relative_gap"].abs().max()) < 1e-12
    step = of.project(best - 0.1 * of.field(best, KEYS, 0).values)
    torch.testing.assert_close(step, best, rtol=0, atol=1e-15)


def test_infinite_risk_aversion_is_the_limit_of_large_ones() -> None:
    only_risk, near = (problem("simplex", None, risk_aversion=g).optimum for g in (torch.inf, 1e9))
    np.testing.assert_allclose(only_risk.weights, near.weights, atol=1e-7)
    moment = RETURNS.T @ RETURNS / len(RETURNS)
    assert only_risk.utility == pytest.approx(-0.5 * only_risk.weights @ moment @ only_risk.weights)
    assert not problem("free", None, risk_aversion=torch.inf).optimum.weights.any()


def test_projected_descent_reaches_the_exact_optimum() -> None:
    of = problem("simplex", None, risk_aversion=20.0)
    params = of.init(KEYS)
    for step in range(5000):
        params = of.project(params - 50.0 * of.field(params, KEYS, step).values)
    assert float(of.measure(params, KEYS)["relative_gap"].max()) < 1e-9
    np.testing.assert_allclose(params[0].numpy(), of.optimum.weights, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_optimum_stands_still_in_every_metric_but_not_under_the_euclidean_projection(seed: int) -> None:
    """Scaled steps with a Euclidean projection stop where the gradient is proportional to the metric."""
    of = problem("metric", None, risk_aversion=20.0)
    best = torch.as_tensor(of.optimum.weights).expand(2, -1)
    metric = 0.1 + torch.rand(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    moved = best - 0.05 * of.field(best, KEYS.rows(slice(0, 2)), 0).values / metric
    torch.testing.assert_close(of.project(moved, metric), best, rtol=0, atol=1e-14)
    assert float((of.project(moved) - best).abs().max()) > 1e-6


def test_exponentiated_descent_reaches_the_exact_optimum() -> None:
    """And one step multiplies weights by exp(-lr g)."""
    of = problem("exponentiated", None, risk_aversion=20.0)
    params = of.init(KEYS)
    for step in range(5000):
        params = params - 50.0 * of.field(params, KEYS, step).values
    assert float(of.measure(params, KEYS)["relative_gap"].max()) < 1e-3
    before, gradient = of.weights(params), of.field(params, KEYS, 0).values
    grown = before * torch.exp(-0.3 * gradient)
    torch.testing.assert_close(of.weights(params - 0.3 * gradient), grown / grown.sum(dim=-1, keepdim=True))


POINTS = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12)


@given(POINTS, st.data())
@settings(max_examples=100, deadline=None)
def test_projection_in_a_metric_satisfies_its_optimality_conditions(
    point: list[float], data: st.DataObject
) -> None:
    size = len(point)
    stretch = data.draw(st.lists(st.floats(1e-3, 1e3), min_size=size, max_size=size))
    x, metric = (torch.tensor([values, values], dtype=torch.float64) for values in (point, stretch))
    nearest = project_to_simplex(x, metric)
    assert float(nearest.min()) >= 0
    # d_i (y_i - w_i) is one number where w_i > 0, and no larger elsewhere.
    outward, held = (metric * (x - nearest))[0], nearest[0] > 0
    rounding = 1e-9 * float((metric * (1 + x.abs())).max())
    assert float(outward.max() - outward[held].min()) <= rounding
    assert float(nearest[0].sum()) == pytest.approx(1.0, abs=1e-9 * (1 + float(x.abs().max())))
    torch.testing.assert_close(project_to_simplex(x, 7.0 * metric), nearest, rtol=1e-9, atol=1e-9)
    euclidean = project_to_simplex(x, torch.ones_like(x))
    torch.testing.assert_close(euclidean, project_to_simplex(x), rtol=0, atol=1e-12)


def test_projection_where_nothing_was_ever_seen_along_an_axis() -> None:
    """A zero of the metric is free to move along; a metric of zeros is the Euclidean one."""
    x = torch.tensor([[0.5, 0.7, 0.1]] * 2, dtype=torch.float64)
    metric = torch.tensor([[1.0, 2.0, 0.0]] * 2, dtype=torch.float64)
    torch.testing.assert_close(project_to_simplex(x, metric)[0, 2], torch.tensor(0.0, dtype=torch.float64))
    torch.testing.assert_close(project_to_simplex(x, torch.zeros_like(x)), project_to_simplex(x))


@given(POINTS)
@settings(max_examples=100, deadline=None)
def test_projection_is_the_nearest_point_of_the_simplex(point: list[float]) -> None:
    x = torch.tensor([point, point], dtype=torch.float64)
    nearest = project_to_simplex(x)[0]
    assert float(nearest.min()) >= 0
    assert float(nearest.sum()) == pytest.approx(1.0, abs=1e-9)
    # x - p has its largest value wherever p is positive: no point of the simplex lies more in its direction.
    outward = x[0] - nearest
    assert float(outward.max() - outward[nearest > 0].min()) <= 1e-9
    torch.testing.assert_close(project_to_simplex(nearest.expand(2, -1))[0], nearest, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 2, 7, 64, None])
@pytest.mark.parametrize("way", WAYS)
def test_a_row_has_the_same_bits_in_any_batch(
    way: Parametrisation, batch: int | None, dtype: torch.dtype
) -> None:
    of = problem(way, batch, dtype=dtype)
    keys = Keys.of(range(37), study="rows")
    params = some_params(of, keys)
    assert params.dtype is dtype
    whole = of.field(params, keys, 3)
    for part in (slice(0, 2), slice(5, 8), slice(1, 37)):
        rows, own = params[part].clone(), keys.rows(part)
        sample = of.field(rows, own, 3)
        assert torch.equal(sample.values, whole.values[part])
        assert torch.equal(sample.measures["utility"], whole.measures["utility"][part])
        assert torch.equal(of.project(3 * rows), of.project(3 * params)[part])
        for name, value in of.measure(rows, own).items():
            assert torch.equal(value, of.measure(params, keys)[name][part])


def test_bad_arguments_are_named() -> None:
    with pytest.raises(VhatError, match="did you mean 'softmax'"):
        problem("softmx")  # type: ignore[arg-type]
    with pytest.raises(VhatError, match="at least one day"):
        problem(batch=0)
    with pytest.raises(VhatError, match="finite numbers"):
        MeanVariance(np.array([[np.nan, 0.0]]), risk_aversion=1.0)
