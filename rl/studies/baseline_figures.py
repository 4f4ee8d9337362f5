"""The figures of the study of baselines."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.study import Results
from rl.studies.baseline_noise import MEMORYLESS
from rl.studies.baseline_settings import BATCHES, CELLS, batch_name, gap
from rl.studies.baseline_verdict import CHANGES, SCALES, SHOWN, change
from rl.studies.settings import EPISODES

COLUMNS = 4
"""Of the figures with a panel for each of `CELLS`."""


def _points(axes: Axes, results: Results, scale: str) -> None:
    noise = results.measurement("noise").arrays[0]
    groups = (
        ("baselines", f"a baseline ({EPISODES} episodes)", MEMORYLESS, "s"),
        ("episodes", "more episodes (no baseline)", tuple(batch_name(e) for e in BATCHES), "o"),
    )
    with figures.style():
        for (sweep, words, names, marker), shade in zip(groups, ("#009E73", "#0072B2"), strict=True):
            x = np.array([stats.interval(noise[name], "mean") for name in names])
            y = np.array([stats.interval(gap(results, (sweep, name), scale), "mean") for name in names])
            axes.errorbar(
                x[:, 0],
                y[:, 0],
                xerr=np.abs(x[:, 1:] - x[:, :1]).T,
                yerr=np.abs(y[:, 1:] - y[:, :1]).T,
                fmt=f"{marker}-" if sweep == "episodes" else marker,
                color=shade,
                label=words,
                linewidth=1.2,
            )
            for name, at in zip(names, zip(x[:, 0], y[:, 0], strict=True), strict=True):
                below = sweep == "episodes"
                axes.annotate(
                    name,
                    at,
                    xytext=(4, -10) if below else (-4, 4),
                    textcoords="offset points",
                    fontsize=7,
                    color=shade,
                    ha="left" if below else "right",
                )
        axes.axhline(0.0, color="0.5", linewidth=0.8)
        axes.set_xlim(1.05, 0.0)
    figures.label(axes, x="noise in the direction (less to the right)", y=f"Adam's lead [{SCALES[scale]}]")


def draw_dial(results: Results) -> Figure:
    """Adam's lead against the measured noise."""
    figure, panels = figures.new_figure(columns=2, height=4.4, width=10.6)
    for axes, scale in zip(panels, ("return", "logit"), strict=True):
        _points(axes, results, scale)
    figures.legend_below(figure)
    return figure


def draw_changes(results: Results) -> Figure:
    """The interaction: how the lead changes where noise is taken out, on each scale."""
    figure, panels = figures.new_figure(columns=len(SHOWN), height=5.2, width=13.0)
    for number, (axes, scale) in enumerate(zip(panels, SHOWN, strict=True)):
        figures.effect_bars(axes, [change(results, what, scale) for what in CHANGES])
        if number:
            axes.set_yticklabels([])
        figures.label(axes, x=SHOWN[scale], title="change of the lead" if number == 0 else "")
    figures.legend_below(figure)
    return figure


def draw_curves(results: Results) -> Figure:
    """Learning curves in every regime."""
    figure, panels = figures.new_figure(rows=3, columns=COLUMNS, height=8.6, width=10.8, sharey=True)
    for number, (axes, (name, regime)) in enumerate(zip(panels, CELLS, strict=True)):
        sweep = results.sweep(name)
        for variant in sweep.variants:
            run = sweep.run(regime, variant)
            returns = run.curves["field/return"][:, 1:]
            figures.curves_with_intervals(axes, run.steps[1:], returns, variant, higher=True)
        figures.label(axes, x="update", y="" if number % COLUMNS else "return [steps]", title=regime)
    figures.legend_below(figure)
    return figure


def draw_rates(results: Results) -> Figure:
    """The whole learning-rate curve in every regime."""
    figure, panels = figures.new_figure(rows=3, columns=COLUMNS, height=8.6, width=10.8, sharey=True)
    for number, (axes, (name, regime)) in enumerate(zip(panels, CELLS, strict=True)):
        figures.lr_curve(axes, results.sweep(name), regime)
        axes.set_yscale("linear")
        figures.label(axes, y="" if number % COLUMNS else "mean return over training", title=regime)
    figures.legend_below(figure)
    return figure
