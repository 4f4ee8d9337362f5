"""The verdict of the study mean-variance, and its tables; they read stored results only."""

from __future__ import annotations

from core.lab import stats
from core.lab.study import Results, Table
from core.lab.tables import tuned_text, with_interval
from core.lab.verdict import Finding, Verdict, finding, tally, verdict
from finance.markets import SPANS
from finance.parametrisation import NAMES
from finance.studies.mean_variance_settings import (
    LONG_ONLY,
    NEAR,
    REGIMES,
    RULES,
    better_schedule,
    exact_gap,
    excess,
    gap,
    regimes_of,
)
from finance.studies.provenance import prices_table

UNIT = "of the gap of 1/N"


def _gets_there(results: Results, regime: str, rule: str) -> Finding:
    return finding(
        regime if rule == "Adam" else f"{regime}: {rule}",
        stats.interval(excess(results, regime, rule)),
        below=NEAR,
        replicas=results.plan.reporting_seeds,
        text=f"{rule}'s gap beyond what the exact solution of the same days, or 1/N, has",
        unit=UNIT,
        decisive=rule == "Adam",
    )


def _pair(results: Results, parametrisation: str, rule: str) -> Finding:
    """Over all settings of a parametrisation, each resampled by itself."""
    strata = [excess(results, regime, rule) for regime in regimes_of(parametrisation)]
    return finding(
        f"{rule}, {parametrisation}",
        stats.interval(strata, "mean"),
        below=NEAR,
        replicas=results.plan.reporting_seeds,
        text="gap beyond what the exact solution of the same days, or 1/N, has: mean of all settings",
        unit=UNIT,
        decisive=False,
    )


def _against(results: Results, parametrisation: str, other: str) -> Finding:
    """Adam's gap less another rule's."""
    strata = [
        stats.differences(gap(results, regime, "Adam"), gap(results, regime, other))
        for regime in regimes_of(parametrisation)
    ]
    return finding(
        f"{parametrisation}: Adam against {other}",
        stats.interval(strata, "mean"),
        below=0.0,
        replicas=results.plan.reporting_seeds,
        text=f"Adam's gap less that of {other}, mean of all settings",
        unit=UNIT,
        decisive=False,
    )


def pairs(results: Results) -> list[Finding]:
    """Every parametrisation with every rule."""
    return [_pair(results, p, rule) for p in (*LONG_ONLY, "free") for rule in RULES]


def judge(results: Results) -> Verdict:
    """The criterion, setting by setting; all pairs beside it."""
    decisive = [_gets_there(results, r.name, "Adam") for r in REGIMES]
    beside = pairs(results)
    against = [_against(results, p, "Gradient descent") for p in (*LONG_ONLY, "free")]
    sentence = _sentence(decisive, beside)
    return verdict([*decisive, *beside, *against], sentence, short=_short(decisive))


def _of(decisive: list[Finding], parametrisation: str) -> str:
    found = tally([f for f in decisive if f.regime.startswith(parametrisation)])
    return f"{NAMES[parametrisation]} {found}"


def _short(decisive: list[Finding]) -> str:
    return f"Adam finds it with {', '.join(_of(decisive, p) for p in (*LONG_ONLY, 'free'))}."


def _sentence(decisive: list[Finding], beside: list[Finding]) -> str:
    """What a reader should remember, put together from the outcomes."""

    def part(parametrisation: str) -> str:
        mean = {f.regime: f.effect for f in beside}
        adam, descent = (mean[f"{rule}, {parametrisation}"] for rule in ("Adam", "Gradient descent"))
        means = f"mean gap beyond it {adam:.2f}, gradient descent {descent:.2f}"
        return f"{_of(decisive, parametrisation)} ({means})"

    return (
        "Whether Adam finds the efficient portfolio depends on what keeps weights positive with sum one. "
        "Settings in which it ends within a tenth of 1/N's gap of what the same days can give: "
        f"{'; '.join(map(part, (*LONG_ONLY, 'free')))}."
    )


def tables(results: Results) -> tuple[Table, ...]:
    """Gaps in all settings; what was tuned."""
    return (_gap_table(results), _tuned_table(results), prices_table((None, *SPANS)))


def _gap_table(results: Results) -> Table:
    rows = tuple(
        (
            r.name,
            with_interval(stats.interval(exact_gap(results, r.name)), 2),
            *(with_interval(stats.interval(gap(results, r.name, rule)), 2) for rule in RULES),
        )
        for r in REGIMES
    )
    return Table(
        "Gap of utility to the exact optimum after training, as a share of the gap of equal weights (0: "
        "optimal, 1: no better than 1/N): IQM over fresh seeds with 95% intervals, each rule with the "
        "schedule and learning rate that did best on tuning seeds. Exact, same days: the exact solution of "
        "the problem made of the very days that the runs have drawn.",
        ("setting", "exact, same days", *RULES),
        rows,
    )


def _tuned_table(results: Results) -> Table:
    sweep = results.sweep("tuned")
    rows = []
    for regime in sweep.regimes:
        row = [regime]
        for rule in RULES:
            name = better_schedule(results, regime, rule)
            tuned = sweep.tuned[regime, name]
            row.append(f"{tuned_text(tuned)}{name.removeprefix(rule)}")
        rows.append(tuple(row))
    return Table("Learning rates and schedules chosen on tuning seeds.", ("setting", *RULES), tuple(rows))
