"""The figures of the study of the second moment."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.study import Results
from rl.frozen import BETAS2, STAGES
from rl.studies.settings import BASELINES
from rl.studies.variance_is_seen_measure import AFTER, BATCHES, MEMORIES
from rl.studies.variance_is_seen_verdict import (
    COMPARED,
    LEAST_CORRELATION,
    correlations,
    judge,
    layer_of,
    regimes,
)


def draw_scatter(results: Results) -> Figure:
    """Measured standard deviation against the root of v-hat, all policies, coloured by layer."""
    figure, panels = figures.new_figure(rows=len(BASELINES), columns=len(STAGES), height=6.4, width=10.0)
    by_baseline = sorted(regimes(), key=lambda r: list(BASELINES).index(r[2]))
    for axes, (regime, stage, name) in zip(panels, by_baseline, strict=True):
        arrays = results.measurement("moments").only(stage=stage)
        v_hat, variance = arrays[f"{name}/v_hat"], arrays[f"{name}/variance"]
        layers = np.tile(layer_of(v_hat.shape[1]), len(v_hat))
        figures.scatter_log(
            axes, np.sqrt(v_hat), np.sqrt(variance), [str(x) for x in layers], identity=True, size=5
        )
        figures.label(axes, x="root of v-hat", y="measured std. deviation", title=regime)
    figures.legend_below(figure)
    return figure


def draw_correlations(results: Results) -> Figure:
    """Rank correlations with their controls, by stage and baseline."""
    figure, panels = figures.new_figure(rows=len(BASELINES), columns=len(STAGES), height=5.6, width=10.8)
    by_baseline = sorted(regimes(), key=lambda r: list(BASELINES).index(r[2]))
    for number, (axes, (regime, stage, name)) in enumerate(zip(panels, by_baseline, strict=True)):
        found = correlations(results.measurement("moments").only(stage=stage), name)
        intervals = [stats.interval(v, "mean") for v in found.values()]
        figures.dots_with_intervals(axes, tuple(found), intervals, reference=LEAST_CORRELATION)
        axes.set_xlim(-0.3, 1.04)
        axes.set_ylim(len(COMPARED) - 0.4, -0.6)
        axes.set_yticks(
            range(len(COMPARED)), list(COMPARED) if number % len(STAGES) == 0 else [""] * len(COMPARED)
        )
        figures.label(axes, x="rank correlation", title=regime)
    return figure


def draw_shares(results: Results) -> Figure:
    """The share of variance in the second moment, regime by regime, against the criterion."""
    figure, (axes,) = figures.new_figure(height=3.4, width=7.2)
    figures.effect_bars(axes, [f for f in judge(results).findings if f.decisive and f.unit == "share"])
    figures.label(axes, x="share of variance in variance + mean², median coordinate")
    axes.set_xlim(0, 1.03)
    figures.legend_below(figure)
    return figure


_STAGE_COLOURS = ("#863766", "#4B929A", "#A8A020")
"""Of the stages, unlike those of the memories."""


def _with_bars(
    axes: Axes, x: Array, intervals: list[stats.Interval], name: str, colour: str | None = None
) -> None:
    """A line with intervals."""
    values = np.array(intervals)
    with figures.style():
        axes.errorbar(
            x,
            values[:, 0],
            yerr=np.abs(values[:, 1:] - values[:, :1]).T,
            capsize=2,
            linewidth=1.5,
            marker="o",
            markersize=4,
            label=name,
            color=colour,
        )


def draw_dial(results: Results) -> Figure:
    """Rank correlation over batches and memories, and the share of variance."""
    cells = list(results.measurement("dial"))
    figure, panels = figures.new_figure(columns=len(cells) + 1, height=3.8, width=10.8, sharey=True)
    x = np.array(BATCHES, dtype=np.float64)
    for number, (axes, (cell, arrays)) in enumerate(zip(panels, cells, strict=False)):
        for beta2 in MEMORIES:
            values = [
                stats.interval(np.asarray(arrays[f"correlation/{e}/{beta2:g}"]), "mean") for e in BATCHES
            ]
            _with_bars(axes, x, values, f"beta2 = {beta2:g}")
        shares = [stats.interval(np.asarray(arrays[f"share/{e}"]), "mean") for e in BATCHES]
        _with_bars(panels[-1], x, shares, str(cell["stage"]), _STAGE_COLOURS[number])
        figures.label(axes, x="episodes a gradient", title=str(cell["stage"]), log="x")
        if number == 0:
            figures.label(axes, y="rank correlation")
    figures.label(panels[-1], x="episodes a gradient", y="share", title="share of variance", log="x")
    for axes in panels:
        axes.set_xticks(x, [str(e) for e in BATCHES])
        axes.set_ylim(-0.05, 1.05)
    with figures.style():
        panels[-1].legend(fontsize=7)
    figures.legend_below(figure, panels[0])
    return figure


def draw_following(results: Results) -> Figure:
    """How v-hat follows a policy that has moved: its order, and its level."""
    cells = list(results.measurement("following"))
    figure, panels = figures.new_figure(rows=2, columns=len(cells), height=6.0, width=9.0, sharex=True)
    x = np.array(AFTER) + 1.0
    for column, (cell, arrays) in enumerate(cells):
        for row, (what, how) in enumerate((("correlation", "mean"), ("level", "median"))):
            axes = panels[row * len(cells) + column]
            for beta2 in BETAS2:
                values = np.asarray(arrays[f"{what}/{beta2:g}"])
                intervals = [stats.interval(v, "mean" if how == "mean" else "median") for v in values.T]
                _with_bars(axes, x, intervals, f"beta2 = {beta2:g}")
            figures.label(
                axes,
                y=("rank correlation with variance", "v-hat over second moment")[row] if column == 0 else "",
                x="updates since the move, plus 1" if row else "",
                title="" if row else str(cell["stage"]),
                log="xy" if row else "x",
            )
    for row in range(2):
        pair = panels[row * len(cells) : (row + 1) * len(cells)]
        low, high = zip(*(axes.get_ylim() for axes in pair), strict=True)
        for axes in pair:
            axes.set_ylim(min(low), max(high))
    figures.legend_below(figure)
    return figure
