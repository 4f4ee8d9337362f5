"""Figures of the study `gan`; they read stored results only."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.study import Results
from games.mixtures import Mixture
from games.studies.gan_settings import METHODS
from games.studies.gan_verdict import Compared, budgets, churn, mass, mass_moved

CLAIMED = ("GDA", "Adam", "Adam, beta1 = 0.5", "Adam, beta1 = 0")
CONTROLS = (
    "RMSProp",
    "Adam, beta1 = 0.5, optimistic",
    "Adam, beta1 = 0.5, alternating",
    "Adam, beta1 = 0.5, extragradient",
    "Adam, beta1 = 0.5, shared v",
    "Sign descent",
    "Normalised descent",
)
POINTS = 140
"""Samples drawn a panel: more would make a file too large for a page."""
_MODE_COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#8C982D", "#E69F00", "#D55E00", "#CC79A7", "#7B2D8B")


def _last(results: Results) -> tuple[Compared, str]:
    """The comparison at the plan's largest budget, and its first game."""
    of = Compared.of(results, budgets(results)[-1])
    return of, of.regimes[0]


def draw_modes(results: Results) -> Figure:
    """Modes covered over training: the claim's variants, and controls."""
    figure, panels = figures.new_figure(columns=2, width=9.6, height=5.0, sharey=True)
    of, regime = _last(results)
    for axes, names, title in zip(panels, (CLAIMED, CONTROLS), ("GDA and Adam", "controls"), strict=True):
        for name in names:
            run = of.run(regime, name)
            # Methods of two evaluations a step have half the steps.
            evaluations = run.steps * (of.part(name).sweep.variants[0].play.evaluations(2))
            figures.curves_with_intervals(axes, evaluations, run.curves["modes"], name, "mean", higher=True)
        figures.label(axes, x="evaluations of the field", y="modes covered, of 8", title=title)
        axes.set_ylim(0.0, 8.2)
    figures.legend_below(figure)
    return figure


def draw_quality(results: Results) -> Figure:
    """Share of high-quality samples and energy distance over training."""
    figure, panels = figures.new_figure(columns=2, width=9.6, height=4.4)
    of, regime = _last(results)
    for name in CLAIMED:
        run = of.run(regime, name)
        figures.curves_with_intervals(panels[0], run.steps, run.curves["quality"], name, "mean", higher=True)
        figures.curves_with_intervals(panels[1], run.steps, run.curves["energy"], name, "mean")
    panels[0].axhline(0.989, color="#222222", linestyle=":", linewidth=1.1)
    panels[0].set_ylim(0.0, 1.02)
    figures.label(panels[0], x="step", y="share of samples within 3 std of a mode")
    figures.label(panels[1], x="step", y="energy distance to the data", log="y")
    figures.legend_below(figure)
    return figure


def draw_final(results: Results) -> Figure:
    """Modes covered at the end, in every game and at every budget of the plan."""
    cells = [
        (of, regime, budget)
        for budget in budgets(results)
        for of in [Compared.of(results, budget)]
        for regime in of.regimes
    ]
    columns = min(len(cells), 3)
    rows = -(-len(cells) // columns)
    figure, panels = figures.new_figure(
        rows=rows, columns=columns, width=7.2 + 2.0 * (columns - 1), height=4.4 * rows
    )
    for axes, (of, regime, budget) in zip(panels, cells, strict=False):
        points = [stats.interval(of.final(regime, m), "mean") for m in METHODS]
        figures.dots_with_intervals(axes, METHODS, points)
        figures.label(axes, x="modes covered at the end", title=f"{regime}, {budget} budget")
    return figure


def draw_rates(results: Results) -> Figure:
    """Modes covered over the learning rate."""
    of, regime = _last(results)
    figure, panels = figures.new_figure(columns=2, width=9.6, height=5.0, sharey=True)
    for axes, part, title in zip(panels, of.parts, ("one evaluation a step", "two"), strict=True):
        figures.lr_curve(axes, part, regime)
        axes.set_xscale("log")
        axes.set_yscale("linear")
        axes.set_ylim(0.0, 8.2)
        figures.label(axes, title=title)
    figures.legend_below(figure)
    return figure


def draw_mass(results: Results) -> Figure:
    """Mass of each mode over training, for one seed of each of the claim's variants."""
    of, regime = _last(results)
    names = (*CLAIMED, "Adam, beta1 = 0.5, alternating", "Normalised descent")
    figure, panels = figures.new_figure(rows=2, columns=3, width=9.6, height=5.6, sharey=True)
    for axes, name in zip(panels, names, strict=True):
        run = of.run(regime, name)
        near = np.nan_to_num(mass(run)[0])
        axes.stackplot(run.steps, near.T, colors=_MODE_COLOURS, linewidth=0.4, edgecolor="white")
        axes.set_ylim(0.0, 1.0)
        axes.set_xlim(0.0, float(run.steps[-1]))
        figures.label(axes, x="step", y="mass of the modes", title=name)
    return figure


def draw_steadiness(results: Results) -> Figure:
    """Churn and moved mass of every method."""
    of, regime = _last(results)
    figure, panels = figures.new_figure(columns=2, width=10.2, height=4.8)
    for axes, measure, text in zip(
        panels,
        (churn, mass_moved),
        ("modes gained or lost a record", "share of samples moved a record"),
        strict=True,
    ):
        points = [
            stats.interval(np.nan_to_num(measure(of.run(regime, m)), nan=np.inf), "mean") for m in METHODS
        ]
        figures.dots_with_intervals(axes, METHODS, points)
        figures.label(axes, x=text)
    panels[1].set_yticklabels([])
    return figure


def _dots(points: Array) -> Path:
    """One path that, drawn with round ends, shows a dot at each point `[n, 2]`: a small file, as markers are
    not."""
    ends = np.repeat(np.round(points, 3), 2, axis=0)
    ends[1::2, 0] += 1e-3
    path = Path(ends, np.tile([Path.MOVETO, Path.LINETO], len(points)))
    path.should_simplify = False
    return path


def _rings(centres: Array, radius: float, corners: int = 18) -> Path:
    """Circles around points `[K, 2]` as polygons of one path."""
    turn = np.linspace(0.0, 2.0 * np.pi, corners + 1)
    around = radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    codes = np.full(corners + 1, Path.LINETO)
    codes[0] = Path.MOVETO
    vertices = (centres[:, None] + around).reshape(-1, 2)
    path = Path(vertices, np.tile(codes, len(centres)))
    path.should_simplify = False
    return path


def draw_samples(axes: Axes, samples: Array, data: Mixture, *, name: str) -> None:
    """Generated points `[n, 2]` over circles of three standard deviations around each mode, in the variant's
    colour.
    """
    rings = _rings(data.modes.numpy(), 3.0 * data.std)
    axes.add_patch(PathPatch(rings, edgecolor="#9a9a9a", fill=False, linewidth=0.9))
    reach = 1.5 * data.radius
    inside = samples[(np.abs(samples) < reach).all(axis=1)][:POINTS]
    shade = figures.colour(name)
    axes.add_patch(
        PathPatch(_dots(inside), edgecolor=shade, fill=False, linewidth=2.0, capstyle="round", snap=False)
    )
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
