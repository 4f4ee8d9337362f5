"""The verdict of the study of the second moment as risk, and what stands beside it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from core.lab import stats
from core.lab.experiment import Array
from core.lab.study import Results
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from finance.correlates import permutation_band
from finance.markets import FUNDS, SPANS, embedded_returns
from finance.parametrisation import NAMES
from finance.studies.second_moment_forecast import findings as forecast_findings
from finance.studies.second_moment_settings import (
    FAST,
    FROZEN,
    FURTHER,
    PARAMETRISATIONS,
    REGIMES,
    RISK_AVERSIONS,
    THRESHOLD,
    agreement_along,
    agreements,
)

AGREES = 0.9
"""For what stands beside the verdict."""


def _lowest(intervals: Iterable[stats.Interval]) -> stats.Interval:
    return min(intervals, key=lambda i: i[0])


def _findings(results: Results) -> list[Finding]:
    """One decisive finding a regime."""
    replicas = results.plan.reporting_seeds
    found = []
    for regime in REGIMES:
        found.append(
            finding(
                regime.name,
                stats.interval(results.once(agreements, regime.name)["volatility"]),
                above=THRESHOLD,
                replicas=replicas,
                text="sqrt(v̂) ranks the assets by volatility at the end of a tuned Adam run",
                unit="Spearman",
            )
        )
    return found


def _note(results: Results, regime: str, interval: stats.Interval, text: str, **side: float) -> Finding:
    """A finding beside the verdict."""
    return finding(
        regime,
        interval,
        replicas=results.plan.reporting_seeds,
        text=text,
        unit="Spearman",
        decisive=False,
        **side,
    )


def _at_last(results: Results, rate: float, **cell: object) -> Array:
    """`[R]`: v̂'s rank correlation with volatility at the end of a run at a fixed learning rate."""
    last: Array = agreement_along(results, rate, **cell)[:, -1]
    return last


def _explanations(results: Results, p: str) -> list[Finding]:
    """What sqrt(v̂) measures where days are drawn: the worst of a parametrisation's settings."""
    noise, weight = [], []
    for regime in (r for r in REGIMES if r.settings["parametrisation"] == p and r.settings["batch"]):
        found = results.once(agreements, regime.name)
        noise.append(stats.interval(found["noise"]))
        weight.append(stats.paired_difference(found["weight"], found["volatility"]))
    where = f"{p}, drawn days"
    return [
        _note(
            results,
            where,
            _lowest(noise),
            "sqrt(v̂) ranks the gradient's own standard deviation",
            above=AGREES,
        ),
        _note(
            results,
            where,
            _lowest(weight),
            "sqrt(v̂) agrees better with the weight than with volatility",
            above=0.0,
        ),
    ]


def _controls(results: Results, p: str) -> list[Finding]:
    """One day a step, at fixed learning rates: the worst of a parametrisation's settings."""
    common = {"parametrisation": p, "batch": 1}
    raw = {**common, "standardised": False}
    start = [_at_last(results, FROZEN, span=None, risk_aversion=g, **raw) for g in RISK_AVERSIONS]
    decades = [_at_last(results, FAST, span=span, **raw) for span in SPANS]
    funds = [_at_last(results, FAST, span=FUNDS, risk_aversion=g, **raw) for g in RISK_AVERSIONS]
    equal = [_at_last(results, FAST, standardised=True, risk_aversion=g, **common) for g in RISK_AVERSIONS]
    return [
        _note(
            results,
            f"{p}, frozen at 1/N",
            _lowest(map(stats.interval, start)),
            "sqrt(v̂) ranks volatility",
            above=THRESHOLD,
        ),
        _note(
            results,
            f"{p}, each of {len(SPANS)} decades",
            _lowest(map(stats.interval, decades)),
            "sqrt(v̂) ranks that decade's volatility",
            above=THRESHOLD,
        ),
        _note(
            results,
            f"{p}, the five factor funds",
            _lowest(map(stats.interval, funds)),
            "sqrt(v̂) ranks the funds' volatility without one error (of five, the next best order has 0.9, "
            "which lies within chance's 95% band)",
            above=THRESHOLD,
        ),
        _note(
            results,
            f"{p}, volatilities made equal",
            max(stats.interval(np.abs(x)) for x in equal),
            "sqrt(v̂) no longer ranks the raw returns' volatility (abs(rho) within chance's 95% band)",
            below=permutation_band(embedded_returns().shape[1]),
        ),
    ]


def _beside(results: Results) -> list[Finding]:
    """Controls and explanations."""
    direct = stats.interval(_at_last(results, FAST, risk_aversion=0.0))
    text = "the same average of the same days' squared returns ranks volatility"
    found = [_note(results, "direct estimate, 1 day", direct, text, above=THRESHOLD)]
    for p in PARAMETRISATIONS:
        found += [*_explanations(results, p), *_controls(results, p)]
    return found + _further(results) + forecast_findings(results)


def _further(results: Results) -> list[Finding]:
    """The parametrisations that are not tuned here, by the worst of their risk aversions."""
    found = []
    for p in FURTHER:
        ends = [
            _at_last(results, FAST, parametrisation=p, risk_aversion=g, span=None, standardised=False)
            for g in RISK_AVERSIONS
        ]
        found.append(
            _note(
                results,
                f"{p}, 1 day, lr {FAST:g}",
                _lowest(map(stats.interval, ends)),
                "sqrt(v̂) ranks volatility at a fixed learning rate",
                above=THRESHOLD,
            )
        )
    return found


def judge(results: Results) -> Verdict:
    """The criterion, regime by regime."""
    decisive, beside = _findings(results), _beside(results)
    return verdict([*decisive, *beside], _sentence(decisive, beside), short=_short(decisive))


def _by_kind(decisive: list[Finding]) -> tuple[str, str]:
    """In how many settings it ranks them: by parametrisation where days are drawn; where all are taken."""
    drawn, still = ([f for f in decisive if ("all days" in f.regime) is whole] for whole in (False, True))
    each = (f"{NAMES[p]} {tally([f for f in drawn if f.regime.startswith(p)])}" for p in PARAMETRISATIONS)
    return ", ".join(each), tally(still)


def _short(decisive: list[Finding]) -> str:
    by_kind, still = _by_kind(decisive)
    return (
        f"sqrt(v̂) ranks companies by volatility in {tally(decisive)} settings: {by_kind}; without noise "
        f"{still}."
    )


def _sentence(decisive: list[Finding], beside: list[Finding]) -> str:
    """What a reader should remember, put together from the outcomes."""

    by_kind, still = _by_kind(decisive)

    def beside_holds(text: str) -> list[str]:
        held = [f for f in beside if text in f.text and f.outcome is Outcome.HOLDS]
        return [NAMES[f.regime.split(",")[0]] for f in held]

    sentence = (
        "At the end of tuned Adam runs sqrt(v̂) ranks the 20 companies by volatility (rho above "
        f"{THRESHOLD:g}) in {tally(decisive)} settings: where days are drawn {by_kind}, where all days are "
        f"taken, so that the gradient has no noise, {still}"
    )
    noise, weight = beside_holds("gradient's own"), beside_holds("with the weight")
    if noise:
        sentence += f"; it ranks the gradient's own noise with {' and '.join(noise)}"
    if weight:
        sentence += f"; with {' and '.join(weight)} it follows the weight more than the volatility"
    as_good = beside_ranks(beside)
    if as_good:
        sentence += f"; given days in order, v̂ ranks next month's volatility like RiskMetrics with {as_good}"
    return sentence + "."


def beside_ranks(beside: list[Finding]) -> str:
    """Where v̂ forecasts as well as RiskMetrics."""
    places = [f.regime for f in beside if "as well as RiskMetrics (difference of Spearman)" in f.text]
    held = {
        f.regime
        for f in beside
        if f.outcome is Outcome.HOLDS and "as well as RiskMetrics (difference of Spearman)" in f.text
    }
    return " and ".join(_in_words(p) for p in places if p in held)


def _in_words(place: str) -> str:
    parametrisation, _, rest = place.replace(", days in order", "").partition(", ")
    return f"{NAMES[parametrisation]} ({rest})"
