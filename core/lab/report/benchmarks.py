"""The page of benchmarks: measurements as the template needs them, and their figure."""

from __future__ import annotations

from itertools import groupby

import matplotlib.ticker as ticks
from matplotlib.figure import Figure

from core.lab.benchmark import Benchmark, Measured, ratio_text
from core.lab.figures import label, new_figure
from core.lab.study import Table

_BAR, _GOAL = "#0072B2", "#D55E00"
_ROW, _GAP = 0.2, 0.5


def reaches(benchmark: Benchmark, row: Measured) -> bool | None:
    """Whether the median reaches the goal; None where there is none."""
    if row.goal is None:
        return None
    return row.ratio.median >= row.goal if benchmark.faster == "up" else row.ratio.median <= row.goal


def measured_table(benchmark: Benchmark) -> Table:
    """All rows, with the spread of their ratios."""
    beside = list(dict.fromkeys(name for row in benchmark.rows for name in row.beside))
    goals = any(row.goal is not None for row in benchmark.rows)
    rows = []
    for row in benchmark.rows:
        ratio = (ratio_text(row.ratio.median), f"{ratio_text(row.ratio.low)} to {ratio_text(row.ratio.high)}")
        goal = "" if row.goal is None else ratio_text(row.goal)
        if reaches(benchmark, row) is not None:
            goal += ", reached" if reaches(benchmark, row) else ", missed"
        own = (row.case, row.contestant, *ratio, *((goal,) if goals else ()))
        rows.append((*own, *(row.beside.get(name, "") for name in beside)))
    better = "more is better" if benchmark.faster == "up" else "less is better"
    return Table(
        f"{benchmark.unit}: {better}. Medians over {benchmark.turns} turns, and the range over the turns.",
        ("case", "contestant", "ratio", "range", *(("goal",) if goals else ()), *beside),
        tuple(rows),
    )


def ratio_bars(benchmark: Benchmark) -> Figure:
    """A bar a row from 1 on a logarithmic axis, its median beside it, and a dashed line at its goal."""
    cases = [(case, list(rows)) for case, rows in groupby(benchmark.rows, key=lambda row: row.case)]
    units = len(benchmark.rows) + (_GAP + 1) * len(cases)
    figure, (axes,) = new_figure(width=7.2, height=0.7 + _ROW * units)
    y, places, names = 0.0, [], []
    for case, rows in cases:
        axes.text(
            *(0.005, y, case),
            transform=axes.get_yaxis_transform(),
            va="center",
            weight="bold",
            fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
        y += 1
        for row in rows:
            low, middle, high = row.ratio.low, row.ratio.median, row.ratio.high
            axes.barh(y, middle - 1, left=1, height=0.68, color=_BAR, alpha=0.8)
            axes.plot([low, high], [y, y], color="black", linewidth=1.3, solid_capstyle="butt")
            if row.goal is not None:
                axes.plot([row.goal] * 2, [y - 0.5, y + 0.5], color=_GOAL, linewidth=2, linestyle=(0, (3, 1)))
            beside = axes.get_yaxis_transform()
            axes.text(1.01, y, ratio_text(middle), transform=beside, va="center", fontsize=8.5)
            places.append(y)
            names.append(row.contestant)
            y += 1
        y += _GAP
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(places, names)
    axes.set_ylim(y - _GAP - 0.3, -0.7)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    label(axes, x=benchmark.unit, log="x")
    values = [x for row in benchmark.rows for x in (row.ratio.low, row.ratio.high, row.goal or 1.0)]
    axes.set_xlim(min(1.0, *values) / 1.25, max(1.0, *values) * 1.25)
    axes.xaxis.set_minor_formatter(ticks.NullFormatter())
    return figure


def caption(benchmark: Benchmark) -> str:
    """Of the figure."""
    goal = " Dashed: the goal." if any(row.goal is not None for row in benchmark.rows) else ""
    return f"Bars begin at 1 and end at the median; lines: the range over {benchmark.turns} turns.{goal}"


def alt(benchmark: Benchmark) -> str:
    """The figure in words."""
    parts = [f"{row.case}, {row.contestant}: {ratio_text(row.ratio.median)}" for row in benchmark.rows]
    return f"Bars of {benchmark.unit}. " + "; ".join(parts) + "."
