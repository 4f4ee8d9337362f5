"""The figures of the study of hypergradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.study import Results
from core.lab.tune import METHODS
from core.studies.hypergradient_settings import (
    GRIDS,
    KNOWN,
    LONGER,
    PROBLEMS,
    RATES,
    budgets,
    cases,
    chosen,
    dense,
    probed,
    reported,
    searched,
)
from core.studies.hypergradient_verdict import sees

GREY = "#6b6b6b"
SETTINGS = GRIDS["transfer"]


def draw_search(results: Results) -> Figure:
    """Fresh loss of the best setting so far against what it cost, for each method."""
    plan = results.plan
    figure, panels = figures.new_figure(columns=len(cases(plan)), width=10.8, height=3.4)
    paid = np.array(budgets(plan))
    looks = figures.lines(METHODS)
    for axes, (problem, horizon) in zip(panels, cases(plan), strict=True):
        for method in METHODS:
            losses = searched(results, problem, horizon, method)
            figures.curves_with_intervals(axes, paid, losses, method, "median", look=looks[method])
        best = np.median(searched(results, problem, horizon, KNOWN))
        usual = np.median(searched(results, problem, horizon, "default"))
        axes.axhline(best, color=GREY, linestyle=":", label="best of a dense grid")
        axes.axhline(usual, color=GREY, linestyle="--", linewidth=1.0, label="usual defaults")
        axes.set_xticks(paid, [str(b) for b in paid])
        figures.label(axes, title=f"{problem}, {horizon} steps", y=PROBLEMS[problem][2], log="xy")
        axes.set_xticks(paid, [str(b) for b in paid])
        axes.set_xlabel("cost [plain trainings]")
    figures.legend_below(figure)
    return figure


def draw_slopes(results: Results) -> Figure:
    """Size of the derivative over learning rates and horizons, and how often it has the right sign."""
    figure, panels = figures.new_figure(rows=2, columns=len(PROBLEMS), width=10.0, height=6.4)
    steps = probed(results.plan)
    looks = figures.lines([f"{t} steps" for t in steps])
    rates = np.array(RATES)
    for column, problem in enumerate(PROBLEMS):
        above, below = panels[column], panels[column + len(PROBLEMS)]
        for horizon in steps:
            name = f"{horizon} steps"
            found = results.measurement("slopes").only(problem=problem, horizon=horizon)
            size = np.abs(found["slope"]) / found["loss"]
            middle, high = (np.nanquantile(size, q, axis=0) for q in (0.5, 0.9))
            above.plot(rates, middle, **looks[name], label=name)
            above.fill_between(rates, middle, high, color=looks[name]["color"], alpha=0.15, linewidth=0)
            share, low, top = np.array([stats.proportion(c) for c in sees(results, problem, horizon).T]).T
            below.plot(rates, share, **looks[name], label=name)
            below.fill_between(rates, low, top, color=looks[name]["color"], alpha=0.15, linewidth=0)
        below.axhline(0.5, color=GREY, linestyle=":", linewidth=1.2)
        below.set_ylim(0.0, 1.04)
        figures.label(above, title=problem, y="abs(dloss / dlog lr) / loss", x="learning rate", log="xy")
        figures.label(below, y="share with the right sign", x="learning rate", log="x")
    figures.legend_below(figure, panels[0])
    return figure


def draw_transfer(results: Results) -> Figure:
    """Loss over the learning rate at three horizons, and what the setting tuned for the shortest costs."""
    figure, panels = figures.new_figure(columns=3, width=10.8, height=3.8)
    steps = [results.plan.steps * k for k in LONGER]
    looks = figures.lines([f"{t} steps" for t in steps])
    rates = np.array(sorted({s["lr"] for s in SETTINGS}))
    of_rate = np.array([s["lr"] for s in SETTINGS])
    for axes, problem in zip(panels, PROBLEMS, strict=False):
        for horizon in steps:
            look, mean = looks[f"{horizon} steps"], dense(results, problem, horizon).mean(axis=0)
            axes.plot(
                rates,
                [mean[of_rate == r].min() for r in rates],
                color=look["color"],
                label=f"{horizon} steps",
            )
            here, there = (chosen(results, problem, h) for h in (horizon, steps[0]))
            mark: dict[str, Any] = {"color": look["color"], "linestyle": "", "markersize": 9}
            axes.plot(SETTINGS[there]["lr"], mean[there], marker="X", **mark)
            axes.plot(SETTINGS[here]["lr"], mean[here], marker="o", markerfacecolor="none", mew=1.6, **mark)
        figures.label(axes, title=problem, x="learning rate", y=PROBLEMS[problem][2], log="xy")
    last, names, ratios = panels[-1], [], []
    for problem in PROBLEMS:
        for horizon in steps[1:]:
            carried, own = (
                reported(results, problem, horizon, chosen(results, problem, h)) for h in (steps[0], horizon)
            )
            names.append(f"{problem}, {horizon} steps")
            ratios.append(stats.ratio(carried, own, "median"))
    last.set_xscale("log")
    figures.dots_with_intervals(last, names, ratios, reference=1.0)
    figures.label(last, x="loss / loss of the setting tuned there", title=f"tuned for {steps[0]} steps")
    figures.legend_below(figure, panels[0])
    return figure
