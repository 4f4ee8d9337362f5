"""The verdict of the study out-of-sample, and its table; they read stored results only."""

from __future__ import annotations

import numpy as np

from core.lab.study import Results, Table
from core.lab.tables import number, with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, verdict
from finance.performance import performance
from finance.studies.out_of_sample_settings import (
    ADAM,
    ALLOCATIONS,
    BLOCK,
    DATA,
    DESCENDED,
    EXACT,
    Moments,
    all_backtests,
    interval,
    moments_of,
)


def _sharpe(
    data: str, days: int, name: str, a: Moments, other: str, b: Moments, *, decisive: bool
) -> Finding:
    return finding(
        f"{data}: {name}" if decisive else f"{data}: {name} against {other}",
        interval(a.sharpe - b.sharpe, a.sharpes - b.sharpes),
        above=0.0,
        replicas=int(days / BLOCK),
        text=f"yearly Sharpe ratio after costs, less that of {other}",
        unit="Sharpe",
        decisive=decisive,
    )


def _volatility(data: str, days: int, name: str, a: Moments, b: Moments) -> Finding:
    return finding(
        f"{data}: {name}, volatility",
        interval(a.volatility / b.volatility, a.volatilities / b.volatilities),
        below=1.0,
        replicas=int(days / BLOCK),
        text="volatility out of sample over that of 1/N",
        unit="x the volatility",
        decisive=False,
    )


def judge(results: Results) -> Verdict:
    """The criterion, data set by data set; everything else beside it."""
    decisive, beside = [], []
    for data in DATA:
        runs = all_backtests(results, data)
        found = {name: moments_of(r) for name, r in runs.items()}
        days = len(runs["1/N"][0].returns)
        for name in ADAM:
            decisive.append(_sharpe(data, days, name, found[name], "1/N", found["1/N"], decisive=True))
        for name in ADAM:
            for other in (EXACT, "Gradient descent, Euclidean projection"):
                beside.append(_sharpe(data, days, name, found[name], other, found[other], decisive=False))
        for name in ALLOCATIONS[1:]:
            beside.append(_sharpe(data, days, name, found[name], "1/N", found["1/N"], decisive=False))
        for name in (*ALLOCATIONS[1:], *DESCENDED):
            beside.append(_volatility(data, days, name, found[name], found["1/N"]))
    return verdict([*decisive, *beside], _sentence(decisive, beside))


def _sentence(decisive: list[Finding], beside: list[Finding]) -> str:
    """What a reader should remember, put together from the outcomes."""
    better = sum(f.outcome is Outcome.HOLDS for f in decisive)
    worse = sum(f.outcome is Outcome.FAILS for f in decisive)
    standard = [f for f in beside if f.regime.endswith("against 1/N")]
    calmer = [f for f in beside if f.unit == "x the volatility"]
    effects = [f.effect for f in decisive]
    return (
        f"After costs Adam's mean-variance portfolios beat 1/N's Sharpe ratio in {better} of "
        f"{len(decisive)} cases and lose in {worse} (differences {min(effects):.2f} to {max(effects):.2f}, "
        "the rest is open); of the standard allocations "
        f"{sum(f.outcome is Outcome.HOLDS for f in standard)} of {len(standard)} beat it. Volatility can be "
        f"told apart: it is below 1/N's for {sum(f.outcome is Outcome.HOLDS for f in calmer)} of "
        f"{len(calmer)} portfolios."
    )


def tables(results: Results) -> tuple[Table, ...]:
    """Performance of every portfolio, a data set each."""
    return tuple(_performance_table(results, data) for data in DATA)


def _performance_table(results: Results, data: str) -> Table:
    rows = []
    for name, runs in all_backtests(results, data).items():
        found = performance(runs[0], mean_block=BLOCK, resamples=200)
        every = moments_of(runs)
        percent = [
            with_interval((100 * a, 100 * b, 100 * c))
            for a, b, c in (found.growth, found.volatility, found.drawdown)
        ]
        rate = results.measurement("descended").where(data=data, portfolio=name)
        sharpes = [r.returns.mean() / r.returns.std(ddof=1) * np.sqrt(252) for r in runs]
        rows.append(
            (
                name,
                percent[0],
                percent[1],
                with_interval(interval(every.sharpe, every.sharpes), 2),
                f"{min(sharpes):.2f} to {max(sharpes):.2f}" if len(runs) > 1 else "",
                percent[2],
                with_interval(found.turnover, 2),
                number(float(rate.arrays[0]["rate"][0])) if rate.cells else "",
            )
        )
    return Table(
        f"{DATA[data]}: walk-forward, 10 basis points on each unit traded. 95% intervals by the stationary "
        "bootstrap of days (blocks of 21 on average). Of portfolios by update rules growth, volatility, "
        "drawdown and turnover are of the first seed, the Sharpe ratio is the mean over seeds.",
        (
            "portfolio",
            "growth % a year",
            "volatility % a year",
            "Sharpe",
            "over seeds",
            "drawdown %",
            "turnover a year",
            "rate",
        ),
        tuple(rows),
    )
