"""The online problems of the study `amsgrad`: rates, findings on regret and iterate, figures, table."""

from __future__ import annotations

from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.study import Results, Table
from core.lab.tables import number
from core.lab.verdict import Finding, finding
from core.problems.online import (
    PROBLEMS,
    RATES,
    RULE_NAMES,
    SCHEDULES,
    SHORT,
    USUAL,
    OnlineLinear,
    betas,
    configurations,
    earlier,
    times,
)

CONVERGED = 0.1
FAILS_HERE = "Adam does not converge: its average regret stays above a tenth of the worst player's"
CONVERGES = "AMSGrad converges: its average regret falls below a tenth of the worst player's"
FALLS = "average regret at the end is below half of that after a tenth of the steps"
ARRIVES = "the last iterate is within a tenth of the interval of the best point"
JUDGED = "1/sqrt(t)"


def chosen(results: Results, rule: str, problem: str, pair: str, schedule: str) -> int:
    """The configuration whose learning rate has the least mean regret on the tuning seeds."""
    tuned = results.measurement("online").only(rule=RULE_NAMES[rule], problem=problem, stage="tune")["share"][
        :, :, -1
    ]
    score = tuned.mean(axis=0)
    inside = [i for i, c in enumerate(configurations(problem)) if c[:2] == (pair, schedule)]
    return min(inside, key=lambda i: float(score[i]))


def rate_of(results: Results, rule: str, problem: str, pair: str, schedule: str) -> tuple[float, bool]:
    """The chosen learning rate, and whether it lies on an edge of the rates tried."""
    rate = configurations(problem)[chosen(results, rule, problem, pair, schedule)][2]
    return rate, rate in (RATES[0], RATES[-1])


def reported(results: Results, what: str, rule: str, problem: str, pair: str, schedule: str) -> Array:
    """`share` or `x` `[R, times]` on the reporting seeds, at the chosen rate."""
    found = results.measurement("online").only(rule=RULE_NAMES[rule], problem=problem, stage="report")[what]
    values: Array = found[:, chosen(results, rule, problem, pair, schedule)]
    return values


def online_findings(results: Results) -> list[Finding]:
    """What is judged: average regret at the end, with lr / sqrt(t)."""
    return [
        finding(
            f"{problem}, {pair}",
            stats.interval(reported(results, "share", rule, problem, pair, JUDGED)[:, -1], "mean"),
            above=CONVERGED if rule == "Adam" else None,
            below=None if rule == "Adam" else CONVERGED,
            replicas=results.plan.reporting_seeds,
            text=FAILS_HERE if rule == "Adam" else CONVERGES,
            unit="of the worst regret",
        )
        for rule in RULE_NAMES
        for problem in PROBLEMS
        for pair in (SHORT, USUAL)
    ]


def trend_findings(results: Results) -> list[Finding]:
    """One threshold at one time says little of convergence: does regret go on falling, tenfold steps on?"""
    steps = times(results.plan.steps)
    then = steps.index(earlier(results.plan.steps))
    rows = []
    for rule, problem, pair in product(RULE_NAMES, PROBLEMS, (SHORT, USUAL)):
        share = reported(results, "share", rule, problem, pair, JUDGED)
        rows.append(
            finding(
                f"{problem}, {pair}",
                # A difference, not a ratio: regret on random gradients can be negative.
                stats.interval(share[:, -1] - 0.5 * share[:, then], "mean"),
                below=0.0,
                replicas=results.plan.reporting_seeds,
                text=f"{rule}: {FALLS}",
                unit="of the worst regret",
                decisive=False,
            )
        )
    return rows


def iterate_findings(results: Results) -> list[Finding]:
    """Where the point itself ends."""
    return [
        finding(
            f"{problem}, {pair}",
            stats.interval(_away(results, rule, problem, pair)[:, -1], "mean"),
            below=CONVERGED,
            replicas=results.plan.reporting_seeds,
            text=f"{rule}: {ARRIVES}",
            unit="of the interval's width",
            decisive=False,
        )
        for rule, problem, pair in product(RULE_NAMES, PROBLEMS, (SHORT, USUAL))
    ]


def _away(results: Results, rule: str, problem: str, pair: str) -> Array:
    """`[R, times]`: the iterate's distance from the best point over the interval's width."""
    away: Array = 0.5 * (reported(results, "x", rule, problem, pair, JUDGED) - OnlineLinear.best)
    return away


def _over_steps(axes: Axes, results: Results, what: str, problem: str) -> None:
    """Regret or iterate of both rules, with short memory and with the usual betas."""
    for rule, pair in product(RULE_NAMES, (SHORT, USUAL)):
        look = figures.line(rule)
        look["linestyle"] = "--" if pair == SHORT else "-"
        curves = reported(results, what, rule, problem, pair, JUDGED)
        steps = np.array(times(results.plan.steps))
        figures.curves_with_intervals(axes, steps, curves, f"{rule}, {pair}", "mean", look=look)


def draw_online(results: Results) -> Figure:
    """Average regret over steps above, the iterate below, a column a problem."""
    figure, panels = figures.new_figure(rows=2, columns=len(PROBLEMS), height=6.2, width=11.6, sharey="row")
    above, below = panels[: len(PROBLEMS)], panels[len(PROBLEMS) :]
    for regret, iterate, problem in zip(above, below, PROBLEMS, strict=True):
        _over_steps(regret, results, "share", problem)
        regret.axhline(CONVERGED, color="grey", linewidth=0.8)
        regret.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
        figures.label(regret, x="step", y="average regret / worst", title=problem, log="x")
        regret.set_ylim(-0.1, 1.5)
        _over_steps(iterate, results, "x", problem)
        iterate.axhline(OnlineLinear.best, color="grey", linewidth=0.8)
        figures.label(iterate, x="step", y="iterate (best: -1)", log="x")
        iterate.set_ylim(-1.1, 1.1)
    figures.legend_below(figure)
    return figure


def draw_rates(results: Results) -> Figure:
    """Average regret at the end over the learning rate, on the tuning seeds, with what was chosen."""
    figure, panels = figures.new_figure(columns=len(PROBLEMS), height=3.4, width=11.6, sharey=True)
    for axes, problem in zip(panels, PROBLEMS, strict=True):
        tried = configurations(problem)
        for rule, pair in product(RULE_NAMES, (SHORT, USUAL)):
            own = [i for i, c in enumerate(tried) if c[:2] == (pair, JUDGED)]
            shares = results.measurement("online").only(rule=RULE_NAMES[rule], problem=problem, stage="tune")
            best = own.index(chosen(results, rule, problem, pair, JUDGED))
            figures.rate_curve(
                axes,
                np.array([tried[i][2] for i in own]),
                shares["share"][:, own, -1].T,
                best,
                f"{rule}, {pair}",
                "mean",
                edge=best in (0, len(own) - 1),
                look={**figures.line(rule), "linestyle": "--" if pair == SHORT else "-"},
            )
        axes.axhline(CONVERGED, color="grey", linewidth=0.8)
        figures.label(axes, x="learning rate", y="average regret / worst", title=problem, log="x")
        axes.set_ylim(-0.1, 1.5)
    figures.legend_below(figure)
    return figure


def draw_memory(results: Results) -> Figure:
    """Final average regret against beta2 (beta1 = 0), for both rules and schedules."""
    figure, panels = figures.new_figure(columns=len(PROBLEMS), height=3.4, width=10.8, sharey=True)
    for axes, problem in zip(panels, PROBLEMS, strict=True):
        pairs = {p: b2 for p, (b1, b2) in betas(problem).items() if b1 == 0}
        for rule, schedule in product(RULE_NAMES, SCHEDULES):
            look = figures.line(rule)
            look["linestyle"] = "--" if schedule == "constant" else "-"
            ends = [reported(results, "share", rule, problem, p, schedule)[:, -1].mean() for p in pairs]
            memory = [1 / (1 - b2) for b2 in pairs.values()]
            axes.plot(memory, ends, **look, label=f"{rule}, lr {schedule}")
        axes.axvline(PROBLEMS[problem]["period"], color="grey", linewidth=0.8, linestyle=":")
        axes.axhline(CONVERGED, color="grey", linewidth=0.8)
        figures.label(axes, x="memory 1 / (1 - beta2)", y="average regret / worst", title=problem, log="x")
    figures.legend_below(figure)
    return figure


def online_table(results: Results) -> Table:
    """Average regret, iterate and chosen rate of every pair and schedule."""
    rows = []
    for problem in PROBLEMS:
        for (pair, (beta1, beta2)), schedule in product(betas(problem).items(), SCHEDULES):
            cells: list[str] = []
            for rule in RULE_NAMES:
                rate, edge = rate_of(results, rule, problem, pair, schedule)
                ends = (reported(results, w, rule, problem, pair, schedule)[:, -1] for w in ("share", "x"))
                cells += [number(float(end.mean())) for end in ends]
                cells.append(f"{rate:g}{' (edge)' if edge else ''}")
            rows.append((problem, f"{beta1:g}", number(beta2), schedule, *cells))
    heads = [f"{r}: {what}" for r in RULE_NAMES for what in ("regret / worst", "iterate", "best lr")]
    return Table(
        "Online problems: average regret over that of the worst player, and the last iterate (the best point "
        "is -1), means over fresh seeds, at the learning rate that was best on others; (edge): the least or "
        "the largest of the rates tried.",
        ("problem", "beta1", "beta2", "lr", *heads),
        tuple(rows),
    )
