"""The settings of the study implicit-risk-management, and what is read off its stored results."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from core.lab.experiment import Array
from core.lab.measurement import Cell
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.study import Plan, Results
from core.lab.sweep import Regime
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.controls import shuffle
from core.optim.schedules import Cosine, Schedule
from finance.caution import at_levels, effective_bets, effective_number, portfolio_volatility
from finance.denominators import inverse_v, oracle_volatility
from finance.fixed_point import Denominator, gradient_moments, resting_point
from finance.markets import embedded_returns, market
from finance.moments import sample_covariance
from finance.objective import MeanVariance
from finance.parametrisation import CHARTS

LONG_ONLY = ("simplex", "exponentiated", "metric", "softmax")
EUCLIDEAN = ("simplex", "exponentiated")
"""Where a denominator of one's own shifts the point of rest."""
LOW, MIDDLE, HIGH = 1.0, 5.0, 20.0
BATCH = 32
REST_BATCH = 64
REST_RATES = {"simplex": 0.01, "metric": 0.01, "exponentiated": 0.1, "softmax": 0.1}
MARGIN = 0.01
"""Volatilities nearer to each other than this share count as equal."""
REGIMES = tuple(
    Regime(f"{p}, γ = {gamma:g}", market, {"parametrisation": p, "batch": BATCH, "risk_aversion": gamma})
    for p in LONG_ONLY
    for gamma in (LOW, HIGH)
)
ADAM, SHARED, SHUFFLED, ORACLE, INVERSE = (
    "Adam",
    "Adam, shared v",
    "Adam, shuffled v",
    "Adam, oracle volatility",
    "Inverse v",
)
VARIANTS = (ADAM, SHARED, SHUFFLED, ORACLE, INVERSE)


@cache
def daily_covariance() -> Array:
    """Of the embedded companies, `[N, N]`."""
    return sample_covariance(embedded_returns())


def variants(schedule: Schedule, batch: int) -> tuple[Variant, ...]:
    """Adam and its controls; the oracle's variance is that of a batch's mean return."""
    oracle = tuple(float(x) for x in np.diagonal(daily_covariance()) / batch)
    return (
        Variant(ADAM, "adam", schedule=schedule),
        Variant(
            SHARED, "adam_shared_v", schedule=schedule, control=True, note="one v, the mean, for all assets"
        ),
        Variant(
            SHUFFLED, "adam_shuffled_v", schedule=schedule, control=True, note="each asset has another's v"
        ),
        Variant(
            ORACLE,
            oracle_volatility(oracle),
            schedule=schedule,
            control=True,
            note="the assets' true volatilities",
        ),
        Variant(INVERSE, inverse_v(), schedule=schedule, control=True, note="the large v for the small ones"),
    )


def rest_cells(plan: Plan) -> tuple[Cell, ...]:
    """Long runs at a fixed rate that decays."""
    return tuple(
        {"parametrisation": p, "risk_aversion": g, "steps": plan.sizes["rest steps"], "lr": REST_RATES[p]}
        for p in LONG_ONLY
        for g in (LOW, MIDDLE, HIGH)
    )


def come_to_rest(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:
    """Weights `[R, T, N]` of Adam and its controls along a long run with cosine decay, by variant."""
    problem = rest_problem(cell["parametrisation"], cell["risk_aversion"], device=device)
    members = variants(Cosine(cell["steps"]), REST_BATCH)
    rows = len(keys)
    blocks = [Block(v, slice(i * rows, (i + 1) * rows), {"lr": cell["lr"]}) for i, v in enumerate(members)]
    copies = keys.rows(torch.arange(rows, device=keys.device).repeat(len(members)))
    run = train(problem, blocks, copies, steps=cell["steps"], recording=Recording(points=40, path=True))
    weights = problem.weights(torch.as_tensor(run.path, device=device))
    return {v.name: weights[i * rows : (i + 1) * rows] for i, v in enumerate(members)}


@cache
def rest_problem(parametrisation: str, risk_aversion: float, *, device: str = "cpu") -> MeanVariance:
    """The problem of the long runs."""
    return market(
        risk_aversion=risk_aversion,
        batch=REST_BATCH,
        parametrisation=parametrisation,  # type: ignore[arg-type]  # from LONG_ONLY
        device=device,
    )


def denominator(problem: MeanVariance, variant: str) -> Denominator:
    """The root of what a variant has under it in the mean, as a function of weights."""

    def root(weights: Array) -> Array:
        mean, deviation = gradient_moments(problem, weights)
        v = mean**2 + deviation**2
        if variant == SHARED:
            return np.ones_like(v)
        if variant == SHUFFLED:
            v = v[shuffle(len(v)).numpy()]
        if variant == ORACLE:
            v = np.diagonal(daily_covariance())
        if variant == INVERSE:
            v = 1.0 / v
        out: Array = np.sqrt(v)
        return out

    return root


def predicted_rest(parametrisation: str, variant: str, risk_aversion: float) -> Array:
    """Where a variant comes to rest by the derivation: `resting_point`, the same for all of `EUCLIDEAN`, or
    the optimum, `[N]`."""
    return _shifted_rest(variant, risk_aversion) if parametrisation in EUCLIDEAN else optimum(risk_aversion)


@cache
def _shifted_rest(variant: str, risk_aversion: float) -> Array:
    problem = rest_problem("simplex", risk_aversion)
    return resting_point(problem, denominator(problem, variant))


@cache
def optimum(risk_aversion: float) -> Array:
    """The exact optimum `[N]`."""
    return rest_problem("simplex", risk_aversion).optimum.weights


def rest_path(results: Results, parametrisation: str, variant: str, risk_aversion: float) -> Array:
    """Weights `[R, T, N]` along the long runs."""
    arrays = results.measurement("rest").only(parametrisation=parametrisation, risk_aversion=risk_aversion)
    out: Array = arrays[variant]
    return out


def rest_measures(
    results: Results, parametrisation: str, variant: str, risk_aversion: float
) -> tuple[Array, Array]:
    """Gap and volatility a year along the long runs, `[R, T]` each."""
    weights = rest_path(results, parametrisation, variant, risk_aversion)
    return gap_of(weights, risk_aversion), portfolio_volatility(weights, daily_covariance())


def rest_weights(results: Results, parametrisation: str, variant: str, risk_aversion: float) -> Array:
    """Weights `[R, N]` at the end of the long runs."""
    return rest_path(results, parametrisation, variant, risk_aversion)[:, -1]


def gap_of(weights: Array, risk_aversion: float) -> Array:
    """Gap of utility to the optimum, that of equal weights being 1, `[...]` of `[..., N]`."""
    problem = rest_problem("simplex", risk_aversion)
    rows = torch.from_numpy(np.ascontiguousarray(weights)).reshape(-1, weights.shape[-1])
    measured = problem.measure(rows, Keys.of([0], study=""))["relative_gap"]
    return measured.numpy().reshape(weights.shape[:-1])


def distance(weights: Array, other: Array) -> Array:
    """Half the sum of absolute differences, `[...]`: the share of money that would have to be moved."""
    out: Array = 0.5 * np.abs(weights - other).sum(axis=-1)
    return out


def caution(weights: Array) -> dict[str, Array]:
    """Volatility a year, effective number of assets and effective number of risk contributions, `[...]`."""
    covariance = daily_covariance()
    return {
        "volatility": portfolio_volatility(weights, covariance),
        "assets": effective_number(weights),
        "bets": effective_bets(weights, covariance),
    }


def end_of(results: Results, regime: str, variant: str) -> dict[str, Array]:
    """`caution` `[R]` at the end of a tuned run."""
    run = results.sweep("tuned").run(regime, variant)
    assert run.params is not None
    chart = CHARTS[next(r for r in REGIMES if r.name == regime).settings["parametrisation"]]
    return caution(chart.weights(torch.from_numpy(run.params)).numpy())


def log_ratio_at_equal_gap(
    results: Results, parametrisation: str, risk_aversion: float, a: str, b: str
) -> Array:
    """`[R]`: along long runs at one rate, log volatility of a less that of b, mean over the levels of the gap
    that both reach; NaN without a common level."""
    one, other = (
        results.once(_logs_at_levels, parametrisation, variant, risk_aversion) for variant in (a, b)
    )
    out = np.zeros(len(one))
    for row, ratio in enumerate(one - other):
        common = ~np.isnan(ratio)
        out[row] = ratio[common].mean() if common.any() else np.nan
    return out


def _logs_at_levels(results: Results, parametrisation: str, variant: str, risk_aversion: float) -> Array:
    """Log volatility `[R, L]` where the gap first comes down to each of 19 levels, NaN where it never
    does."""
    gaps, volatilities = results.once(rest_measures, parametrisation, variant, risk_aversion)
    levels = np.linspace(0.95, 0.05, 19)
    logs = np.log(volatilities)
    return np.stack([at_levels(levels, gap, log) for gap, log in zip(gaps, logs, strict=True)])
