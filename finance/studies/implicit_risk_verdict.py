"""The verdict of the study implicit-risk-management, and its tables; they read stored results only."""

from __future__ import annotations

import numpy as np

from core.lab import stats
from core.lab.study import Results, Table
from core.lab.tables import number, tuned_text, with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from finance.parametrisation import NAMES
from finance.studies.implicit_risk_settings import (
    ADAM,
    EUCLIDEAN,
    HIGH,
    INVERSE,
    LONG_ONLY,
    LOW,
    MARGIN,
    MIDDLE,
    ORACLE,
    REGIMES,
    SHARED,
    SHUFFLED,
    VARIANTS,
    caution,
    distance,
    end_of,
    log_ratio_at_equal_gap,
    optimum,
    predicted_rest,
    rest_weights,
)
from finance.studies.provenance import prices_table

UNIT = "x the volatility"
NEARER = 0.5


def _more_cautious(results: Results, regime: str) -> Finding:
    ends = [results.once(end_of, regime, v)["volatility"] for v in (ADAM, SHARED)]
    return finding(
        regime,
        stats.ratio(ends[0], ends[1]),
        below=1.0 - MARGIN,
        replicas=results.plan.reporting_seeds,
        text="after as many steps, tuned Adam's portfolio is less volatile than with one shared v",
        unit=UNIT,
    )


def _at_equal_gap(results: Results, parametrisation: str, risk_aversion: float, variant: str) -> Finding:
    """Unknown where a seed has no gap in common with one v: the others would be a choice of seeds."""
    logs = log_ratio_at_equal_gap(results, parametrisation, risk_aversion, variant, SHARED)
    known = stats.interval(logs) if not np.isnan(logs).any() else (np.nan, np.nan, np.nan)
    middle, low, high = (float(np.exp(x)) for x in known)
    who = "" if variant == ADAM else f", {_control_name(variant)}"
    return finding(
        f"{parametrisation}, γ = {risk_aversion:g}: path{who}",
        (middle, low, high),
        below=1.0 - MARGIN,
        replicas=len(logs),
        text="at equal gaps and rates along the way, "
        f"{'Adam' if variant == ADAM else _control_name(variant)}'s portfolio is less volatile than with "
        "one shared v",
        unit=UNIT,
        decisive=False,
    )


def _control(results: Results, regime: str, other: str, text: str) -> Finding:
    ends = [results.once(end_of, regime, v)["volatility"] for v in (other, SHARED)]
    return finding(
        f"{regime}: {_control_name(other)}",
        stats.ratio(ends[0], ends[1]),
        below=1.0 - MARGIN,
        replicas=results.plan.reporting_seeds,
        text=text,
        unit=UNIT,
        decisive=False,
    )


def _spread(results: Results, regime: str, what: str, text: str) -> Finding:
    ends = [results.once(end_of, regime, v)[what] for v in (ADAM, SHARED)]
    return finding(
        f"{regime}: {what}",
        stats.ratio(ends[0], ends[1]),
        above=1.0,
        replicas=results.plan.reporting_seeds,
        text=text,
        unit="x the number",
        decisive=False,
    )


def _law(results: Results, parametrisation: str, risk_aversion: float, variant: str = ADAM) -> Finding:
    """Is the end nearer to the derived point than half way to the optimum?"""
    weights = rest_weights(results, parametrisation, variant, risk_aversion)
    law = predicted_rest(parametrisation, variant, risk_aversion)
    ratio = stats.ratio(distance(weights, law), distance(weights, optimum(risk_aversion)))
    who = "" if variant == ADAM else f", {_control_name(variant)}"
    return finding(
        f"{parametrisation}, γ = {risk_aversion:g}: rest{who}",
        ratio,
        below=NEARER if risk_aversion == HIGH else 1.0,
        replicas=len(weights),
        text="a long run ends nearer to the derived point of rest than to the optimum",
        unit="x the distance",
        decisive=False,
    )


def _law_volatility(results: Results, parametrisation: str, risk_aversion: float) -> Finding:
    """The end's volatility beside the derived one, as |log| of the ratio."""
    weights = rest_weights(results, parametrisation, ADAM, risk_aversion)
    predicted = float(caution(predicted_rest(parametrisation, ADAM, risk_aversion))["volatility"])
    logs = np.log(caution(weights)["volatility"] / predicted)
    middle, low, high = stats.interval(logs)
    return finding(
        f"{parametrisation}, γ = {risk_aversion:g}: volatility at rest",
        (abs(middle), 0.0 if low <= 0 <= high else min(abs(low), abs(high)), max(abs(low), abs(high))),
        below=0.1,
        replicas=len(weights),
        text="a long run's volatility is the derived one, the optimum's where nothing shifts it (abs log)",
        unit="log",
        decisive=False,
    )


def _control_name(variant: str) -> str:
    return variant.removeprefix("Adam, ")


CONTROLS = (
    (ORACLE, "with the assets' true volatilities in place of v the end is less volatile than with one v"),
    (
        SHUFFLED,
        "with another asset's v the end is less volatile than with one v (one permutation for all seeds: the "
        "interval does not say what another would do)",
    ),
    (INVERSE, "with v turned over the end is less volatile than with one v"),
)


def judge(results: Results) -> Verdict:
    """The criterion, regime by regime; path, controls and the law beside it."""
    names = [r.name for r in REGIMES]
    decisive = [_more_cautious(results, r) for r in names]
    path = [
        _at_equal_gap(results, p, g, v)
        for p in LONG_ONLY
        for g in (LOW, HIGH)
        for v in (ADAM, SHUFFLED, ORACLE, INVERSE)
    ]
    spread = [
        f
        for r in names
        for f in (
            _spread(results, r, "assets", "Adam's money is spread over more assets than with one shared v"),
            _spread(results, r, "bets", "Adam's risk is spread over more assets than with one shared v"),
        )
    ]
    controls = [_control(results, r, *c) for r in names for c in CONTROLS]
    shifted = [(p, g, v) for p in EUCLIDEAN for g in (LOW, HIGH) for v in (ADAM, SHUFFLED, ORACLE, INVERSE)]
    law = [_law(results, *which) for which in shifted]
    volatility = [_law_volatility(results, p, g) for p in LONG_ONLY for g in (LOW, MIDDLE, HIGH)]
    beside = [*path, *spread, *controls, *law, *volatility]
    return verdict([*decisive, *beside], _sentence(decisive, law, volatility), short=_short(decisive))


def _short(decisive: list[Finding]) -> str:
    effects = [f.effect for f in decisive]
    return (
        f"Adam's portfolio is less volatile than with one shared v in {tally(decisive)} settings, surely not "
        f"in {tally(decisive, Outcome.FAILS)} (times {min(effects):.2f} to {max(effects):.2f})."
    )


def _sentence(decisive: list[Finding], law: list[Finding], volatility: list[Finding]) -> str:
    """What a reader should remember, put together from the outcomes."""

    def part(parametrisation: str) -> str:
        low, high = (
            next(f for f in decisive if f.regime == f"{parametrisation}, γ = {g:g}") for g in (LOW, HIGH)
        )
        return f"{NAMES[parametrisation]} {low.effect:.2f} and {high.effect:.2f}"

    near, half = ([f for f in law if f.threshold == threshold] for threshold in (1.0, NEARER))
    return (
        f"Dividing by sqrt(v̂) makes the portfolio less volatile in {tally(decisive)} settings. "
        f"Volatility against one shared v, at risk aversion {LOW:g} and {HIGH:g}: "
        f"{'; '.join(map(part, LONG_ONLY))}. The derived point of rest g = λ sqrt(v) (timid where the "
        "investor would take more risk than the budget lets him, bold where he is made to take more than "
        f"he likes): at risk aversion {LOW:g} long runs end nearer to it than to the optimum in "
        f"{tally(near)} checks, at {HIGH:g} at less than {NEARER:g} of that distance in {tally(half)}, and "
        f"their volatility is within 10% of the derived one in {tally(volatility)}."
    )


def tables(results: Results) -> tuple[Table, ...]:
    """Caution at the end of tuned runs; long runs beside the derivation."""
    return (_caution_table(results), _rest_table(results), prices_table((None,)))


def _caution_table(results: Results) -> Table:
    sweep, rows = results.sweep("tuned"), []
    for regime in sweep.regimes:
        for name in sweep.variants:
            end = results.once(end_of, regime, name)
            tuned = sweep.tuned[regime, name]
            rows.append(
                (
                    regime,
                    name,
                    tuned_text(tuned),
                    with_interval(stats.interval(sweep.values(regime, name)), 2),
                    with_interval(stats.interval(100 * end["volatility"])),
                    with_interval(stats.interval(end["assets"]), 2),
                    with_interval(stats.interval(end["bets"]), 2),
                )
            )
    return Table(
        "The portfolio at the end of tuned runs: IQM over fresh seeds with 95% intervals. Effective number: "
        "1 / Σ s², of shares s of money, and of shares of variance.",
        (
            "setting",
            "variant",
            "tuned",
            "gap (1/N = 1)",
            "volatility % a year",
            "assets, effective",
            "risk contributions, effective",
        ),
        tuple(rows),
    )


def _rest_table(results: Results) -> Table:
    rows = []
    for p in LONG_ONLY:
        for gamma in (LOW, MIDDLE, HIGH):
            best = optimum(gamma)
            for name in VARIANTS:
                weights, law = (
                    rest_weights(results, p, name, gamma),
                    predicted_rest(p, name, gamma),
                )
                rows.append(
                    (
                        f"{p}, γ = {gamma:g}",
                        name,
                        with_interval(stats.interval(distance(weights, law)), 2),
                        with_interval(stats.interval(distance(weights, best)), 2),
                        number(float(distance(law, best)), 2),
                        with_interval(stats.interval(100 * caution(weights)["volatility"])),
                        number(100 * float(caution(law)["volatility"])),
                        number(100 * float(caution(best)["volatility"])),
                    )
                )
    return Table(
        "Long runs with cosine decay from a fixed rate, 64 days a step, beside the derivation. Distance: "
        "half the sum of absolute differences of weights, the money that would have to be moved. Where "
        "nothing shifts it, the derived point is the optimum.",
        (
            "setting",
            "variant",
            "distance to derived point",
            "to the optimum",
            "between the two",
            "volatility % a year",
            "derived",
            "of the optimum",
        ),
        tuple(rows),
    )
