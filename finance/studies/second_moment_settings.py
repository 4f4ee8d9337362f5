"""The settings of the study second-moment-is-risk, and what is read off its stored results."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.lab.experiment import Array
from core.lab.measurement import Cell
from core.lab.study import Results
from core.lab.sweep import Regime
from finance.correlates import Correlates, correlates, rank_agreement
from finance.markets import FUNDS, SPANS, embedded_returns, market

PARAMETRISATIONS = ("free", "simplex", "softmax")
FURTHER = ("exponentiated", "metric")
"""Beside the verdict only: at fixed learning rates, one day a step."""
BATCHES: dict[str, int | None] = {"1 day": 1, "32 days": 32, "all days": None}
RISK_AVERSIONS = (2.0, 20.0)
# Beta ranks these companies like volatility with a correlation of 0.92, volatility in another decade with up
# to 0.94: what counts as volatility must do better.
THRESHOLD = 0.95
FROZEN, SLOW, FAST = 0.0, 0.001, 0.01
RATES = (FROZEN, SLOW, FAST)
REGIMES = tuple(
    Regime(
        f"{parametrisation}, {text}, γ = {risk_aversion:g}",
        market,
        {"parametrisation": parametrisation, "batch": batch, "risk_aversion": risk_aversion},
    )
    for parametrisation in PARAMETRISATIONS
    for text, batch in BATCHES.items()
    for risk_aversion in RISK_AVERSIONS
)


def _cell(parametrisation: str, batch: int | None, risk_aversion: float, **data: object) -> dict[str, Any]:
    return {
        "parametrisation": parametrisation,
        "batch": batch,
        "risk_aversion": risk_aversion,
        "span": None,
        "standardised": False,
        **data,
    }


def cells() -> tuple[Cell, ...]:
    """The direct estimate first: with risk aversion 0 the gradient is -r whatever the weights are."""
    each = [(p, g) for p in PARAMETRISATIONS for g in RISK_AVERSIONS]
    return (
        _cell("simplex", 1, 0.0),
        *(_cell(p, batch, g) for p, g in each for batch in (1, None)),
        *(_cell(p, 1, RISK_AVERSIONS[0], span=span) for p in PARAMETRISATIONS for span in SPANS),
        *(_cell(p, 1, g, standardised=True) for p, g in each),
        *(_cell(p, batch, g, span=FUNDS) for p, g in each for batch in (1, None)),
        *(_cell(p, 1, g) for p in FURTHER for g in RISK_AVERSIONS),
    )


def problem_settings(cell: Cell) -> dict[str, Any]:
    """What `market` takes of a cell."""
    return {k: cell[k] for k in ("parametrisation", "batch", "risk_aversion", "span", "standardised")}


def at_the_end(results: Results, regime: str) -> tuple[Array, Correlates]:
    """sqrt(v) `[R, N]` at the end of Adam's tuned run, and what it may measure, at the run's parameters.

    v is as stored, without bias correction, which ranks do not see.
    """
    sweep = results.sweep("tuned")
    run = sweep.run(regime, "Adam")
    assert run.params is not None
    settings = next(r for r in REGIMES if r.name == regime).settings
    return np.sqrt(run.state["exp_avg_sq"]), correlates(market(**settings), run.params)


def agreements(results: Results, regime: str) -> dict[str, Array]:
    """Spearman's correlation `[R]` of sqrt(v̂) at the end of Adam's tuned run with all that it may measure."""
    root, seen = results.once(at_the_end, regime)
    measured = {"volatility": seen.volatility, "noise": seen.noise, "mean": seen.mean}
    measured |= {"weight": seen.weight, "beta": seen.beta}
    return {name: rank_agreement(root, values) for name, values in measured.items()}


def agreement_along(results: Results, rate: float, **cell: object) -> Array:
    """Spearman's correlation `[R, K]` of v̂ with the volatility of the raw returns, along training."""
    return results.once(_agreement_along, rate, **cell)


def _agreement_along(results: Results, /, rate: float, **cell: object) -> Array:
    found = results.measurement("along").where(**cell)
    assert len(found.cells) == 1, f"{len(found.cells)} cells match {cell}"
    second_moment = found.arrays[0]["second_moment"][:, RATES.index(rate)]
    deviation = embedded_returns(found.cells[0]["span"]).std(axis=0)
    return rank_agreement(second_moment, deviation)
