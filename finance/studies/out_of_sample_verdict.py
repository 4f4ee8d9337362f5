"""The verdict of the study out-of-sample, and its table; they read stored results only."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.lab import stats
from core.lab.study import Results, Table
from core.lab.tables import number, with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from finance.markets import FUNDS
from finance.performance import OF_LOGS, intervals, yearly_volatility
from finance.studies.out_of_sample_settings import (
    BLOCK,
    DATA,
    RESAMPLES,
    Comparison,
    all_backtests,
    all_moments,
    comparisons,
    interval,
    traded,
)
from finance.studies.provenance import prices_table

FALSE = 0.05
"""The share of false discoveries that is let pass."""
TABLE_RESAMPLES = 200


def _finding(one: Comparison, days: int, *, decisive: bool = False) -> Finding:
    common: dict[str, Any] = {"replicas": int(days / BLOCK), "decisive": decisive}
    if one.measure == "volatility":
        return finding(
            f"{one.data}: {one.name}, volatility",
            one.interval,
            below=1.0,
            text="volatility out of sample over that of 1/N",
            unit="x the volatility",
            **common,
        )
    return finding(
        f"{one.data}: {one.name}" if decisive else f"{one.data}: {one.name} against {one.other}",
        one.interval,
        above=0.0,
        text=f"yearly Sharpe ratio after costs, less that of {one.other}",
        unit="Sharpe",
        **common,
    )


def judge(results: Results) -> Verdict:
    """The criterion, data set by data set; everything else beside it."""
    families = results.once(comparisons)
    days = {data: len(results.once(all_backtests, data)["1/N"][0].returns) for data in DATA}
    found = {
        name: [_finding(one, days[one.data], decisive=name == "Adam") for one in family]
        for name, family in families.items()
    }
    beside = [*found["rivals"], *found["standard"], *found["volatility"]]
    sentence, short = _sentence(families, found), _short(found["Adam"], found["standard"])
    return verdict([*found["Adam"], *beside], sentence, short=short)


def _short(adam: list[Finding], standard: list[Finding]) -> str:
    effects = [f.effect for f in adam]
    return (
        f"After costs Adam's portfolios beat 1/N's Sharpe ratio in {tally(adam)} cases and lose in "
        f"{tally(adam, Outcome.FAILS)} ({min(effects):+.2f} to {max(effects):+.2f}); standard allocations "
        f"beat it in {tally(standard)}."
    )


def _sentence(families: dict[str, list[Comparison]], found: dict[str, list[Finding]]) -> str:
    """What a reader should remember, put together from the outcomes."""
    effects = [f.effect for f in found["Adam"]]

    def count(family: str, outcome: Outcome = Outcome.HOLDS) -> str:
        each = [f.outcome is outcome for f in found[family]]
        sure = sum(holds and p <= FALSE for holds, p in zip(each, _adjusted(families[family]), strict=True))
        return f"{sum(each)} ({sure} with false discoveries controlled)"

    return (
        f"After costs Adam's mean-variance portfolios beat 1/N's Sharpe ratio in {count('Adam')} of "
        f"{len(effects)} cases and lose in {count('Adam', Outcome.FAILS)} (differences {min(effects):.2f} to "
        f"{max(effects):.2f}, the rest is open); of the standard allocations {count('standard')} of "
        f"{len(found['standard'])} beat it. Volatility is below 1/N's for {count('volatility')} of "
        f"{len(found['volatility'])} portfolios and above it for {count('volatility', Outcome.FAILS)}."
    )


def _adjusted(family: list[Comparison]) -> list[float]:
    out: list[float] = stats.adjusted(np.array([one.p_value for one in family])).tolist()
    return out


def tables(results: Results) -> tuple[Table, ...]:
    """Performance of every portfolio, a data set each."""
    each = (_performance_table(results, data) for data in DATA)
    return (*each, _comparison_table(results), prices_table((None, FUNDS)))


def _comparison_table(results: Results) -> Table:
    rows = [
        (
            DATA[one.data],
            one.name,
            one.other,
            one.measure,
            with_interval(one.interval, 2),
            number(one.p_value, 2),
            number(p, 2),
        )
        for family in results.once(comparisons).values()
        for one, p in zip(family, _adjusted(family), strict=True)
    ]
    return Table(
        "All comparisons: the difference of Sharpe ratios, or the ratio of volatilities, with 95% intervals "
        f"({RESAMPLES} resamples). p: two-sided, of no difference, by the resamples' standard error. "
        "Adjusted: with the false-discovery rate controlled under any dependence (Benjamini and Yekutieli "
        "2001) among Adam's portfolios against 1/N, Adam's against others, standard allocations against "
        f"1/N, and volatilities, each by themselves; the verdict's sentence counts those up to {FALSE:g}.",
        ("data", "portfolio", "against", "measure", "difference or ratio", "p", "adjusted"),
        tuple(rows),
    )


def _performance_table(results: Results, data: str) -> Table:
    rows = []
    for name, runs in results.once(all_backtests, data).items():
        daily = runs[0].returns
        found = {
            **intervals(np.log1p(daily), OF_LOGS, mean_block=BLOCK, resamples=TABLE_RESAMPLES),
            **intervals(
                daily, {"volatility": yearly_volatility}, mean_block=BLOCK, resamples=TABLE_RESAMPLES
            ),
        }
        every = results.once(all_moments, data)[name]
        percent = {
            measure: with_interval((100 * middle, 100 * low, 100 * high))
            for measure, (middle, low, high) in found.items()
        }
        rate = results.measurement("descended").where(data=data, portfolio=name)
        sharpes = [r.returns.mean() / r.returns.std(ddof=1) * np.sqrt(252) for r in runs]
        rows.append(
            (
                name,
                percent["growth"],
                percent["volatility"],
                with_interval(interval(every.sharpe, every.sharpes), 2),
                f"{min(sharpes):.2f} to {max(sharpes):.2f}" if len(runs) > 1 else "",
                percent["drawdown"],
                with_interval(traded(runs), 2),
                number(float(rate.arrays[0]["gap"].mean()), 2) if rate.cells else "",
                number(float(rate.arrays[0]["rate"][0])) if rate.cells else "",
            )
        )
    return Table(
        f"{DATA[data]}: walk-forward, 10 basis points on each unit traded. 95% intervals by the stationary "
        f"bootstrap of days (blocks of 21 on average), {RESAMPLES} resamples for the Sharpe ratio and "
        f"turnover, {TABLE_RESAMPLES} for the rest. Of portfolios by update rules growth, volatility and "
        "drawdown are of the first seed, Sharpe ratio and turnover means over seeds. Gap: of utility to "
        "the exact optimum of the same window, as a share of that of 1/N, mean over windows and seeds.",
        (
            "portfolio",
            "growth % a year",
            "volatility % a year",
            "Sharpe",
            "over seeds",
            "drawdown %",
            "turnover a year",
            "gap (1/N = 1)",
            "rate",
        ),
        tuple(rows),
    )
