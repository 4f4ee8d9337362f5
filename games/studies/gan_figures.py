"""Figures of the study `gan`; they read stored results only."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.study import Results
from games.mixtures import Mixture

CLAIMED = ("GDA", "Adam", "Adam, beta1 = 0.5", "Adam, beta1 = 0")
CONTROLS = (
    "RMSProp",
    "Adam, beta1 = 0.5, alternating",
    "Adam, beta1 = 0.5, shared v",
    "Sign descent",
    "Normalised descent",
)


def draw_modes(results: Results) -> Figure:
    """Modes covered over training: the claim's variants, and controls."""
    figure, panels = figures.new_figure(columns=2, width=9.6, height=4.8, sharey=True)
    sweep = results.sweep("tuned")
    regime = sweep.regimes[0]
    for axes, names, title in zip(panels, (CLAIMED, CONTROLS), ("GDA and Adam", "controls"), strict=True):
        for name in names:
            run = sweep.run(regime, name)
            figures.curves_with_intervals(axes, run.steps, run.curves["modes"], name, "mean", higher=True)
        figures.label(axes, x="step", y="modes covered, of 8", title=title)
        axes.set_ylim(0.0, 8.2)
    figures.legend_below(figure)
    return figure


def draw_quality(results: Results) -> Figure:
    """Share of high-quality samples over training."""
    figure, (axes,) = figures.new_figure(height=4.4)
    sweep = results.sweep("tuned")
    for name in CLAIMED:
        run = sweep.run(sweep.regimes[0], name)
        figures.curves_with_intervals(axes, run.steps, run.curves["quality"], name, "mean", higher=True)
    axes.axhline(0.989, color="#222222", linestyle=":", linewidth=1.1)
    axes.set_ylim(0.0, 1.02)
    figures.label(axes, x="step", y="share of samples within 3 std of a mode")
    figures.legend_below(figure)
    return figure


def draw_final(results: Results) -> Figure:
    """Modes covered at the end."""
    sweep = results.sweep("tuned")
    figure, panels = figures.new_figure(
        columns=len(sweep.regimes), width=7.2 + 2.0 * (len(sweep.regimes) - 1), height=4.0
    )
    for axes, regime in zip(panels, sweep.regimes, strict=True):
        # A replica that diverged covers none.
        points = [stats.interval(sweep.values(regime, v).clip(min=0.0), "mean") for v in sweep.variants]
        figures.dots_with_intervals(axes, sweep.variants, points)
        figures.label(axes, x="modes covered, of 8", title=regime)
    return figure


def draw_rates(results: Results) -> Figure:
    """Modes covered over the learning rate."""
    sweep = results.sweep("tuned")
    figure, (axes,) = figures.new_figure(width=7.2, height=4.8)
    figures.lr_curve(axes, sweep, sweep.regimes[0])
    axes.set_xscale("log")
    axes.set_yscale("linear")
    axes.set_ylim(0.0, 8.2)
    figures.legend_below(figure)
    return figure


def draw_samples(axes: Axes, samples: Array, data: Mixture, *, name: str) -> None:
    """Generated points `[n, 2]` over circles of three standard deviations around each mode, in the variant's
    colour.
    """
    for mode in data.modes.tolist():
        axes.add_patch(Circle((mode[0], mode[1]), 3.0 * data.std, fill=False, color="#9a9a9a", linewidth=0.9))
    axes.plot(
        samples[:, 0], samples[:, 1], linestyle="", marker=".", markersize=2.0, color=figures.colour(name)
    )
    reach = 1.5 * data.radius
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])


def draw_frames(results: Results) -> Figure:
    """Samples over training, a row a variant."""
    found = results.measurement("frames")
    times = found.arrays[0]["samples"].shape[1]
    data = Mixture("ring8", radius=2.0, std=0.1)
    figure, panels = figures.new_figure(
        rows=len(found.cells), columns=times, width=9.6, height=2.0 * len(found.cells)
    )
    for row, (cell, arrays) in enumerate(found):
        for column in range(times):
            axes = panels[row * times + column]
            draw_samples(axes, arrays["samples"][0, column], data, name=str(cell["variant"]))
            if row == 0:
                figures.label(axes, title=f"step {arrays['step'][0, column]}")
            if column == 0:
                figures.label(axes, y=f"{cell['variant']}\nlr {cell['lr']:.2g}")
    return figure
