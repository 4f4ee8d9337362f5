"""Figures of the study `gan`; they read stored results only."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.films import every
from core.lab.run import Run
from core.lab.study import Results
from games.mixtures import Mixture
from games.samples import draw_mass, draw_points
from games.studies.gan_compared import Compared, budgets, churn, mass, switched
from games.studies.gan_settings import CONTINUED

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
_LOOKS: dict[str, figures.Line] = {
    "Adam, beta1 = 0.5": {"color": "#863766", "linestyle": "-.", "marker": "^"},
    "Adam, beta1 = 0": {"color": "#001E70", "linestyle": ":", "marker": "v"},
    "Adam, beta1 = 0.5, optimistic": {"color": "#0C5053", "linestyle": "-", "marker": "p"},
    "Adam, beta1 = 0.5, alternating": {"color": "#A8A020", "linestyle": "-", "marker": "h"},
    "Adam, beta1 = 0.5, extragradient": {"color": "#AC5DC1", "linestyle": "-", "marker": "*"},
}
"""Adam's variants are told apart by colour where several share a panel."""
POINTS = 140
"""Samples drawn a panel: more would make a file too large for a page."""


def _last(results: Results) -> tuple[Compared, str]:
    """The comparison at the plan's largest budget, and its first game."""
    of = Compared.of(results, budgets(results)[-1])
    return of, of.regimes[0]


def _evaluations(of: Compared, name: str, run: Run) -> Array:
    """At the recorded steps; methods of two evaluations a step take half the steps."""
    play = next(v.play for v in of.part(name).sweep.variants if v.name == name)
    return np.asarray(run.steps * play.evaluations(2))


def _look(name: str) -> figures.Line:
    return _LOOKS.get(name) or figures.line(name)


def draw_modes(results: Results) -> Figure:
    """Modes covered over training: the claim's variants, and controls."""
    figure, panels = figures.new_figure(columns=2, width=9.6, height=5.0, sharey=True)
    of, regime = _last(results)
    for axes, names, title in zip(panels, (CLAIMED, CONTROLS), ("GDA and Adam", "controls"), strict=True):
        for name in names:
            run = of.run(regime, name)
            figures.curves_with_intervals(
                axes,
                _evaluations(of, name, run),
                run.curves["modes"],
                name,
                "mean",
                higher=True,
                look=_look(name),
            )
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
        for axes, measure in zip(panels, ("quality", "energy"), strict=True):
            figures.curves_with_intervals(
                axes,
                run.steps,
                run.curves[measure],
                name,
                "mean",
                higher=measure == "quality",
                look=_look(name),
            )
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
    figure, panels = figures.new_grid(len(cells), columns, width=7.2 + 2.0 * (columns - 1), height=4.4)
    for axes, (of, regime, budget) in zip(panels, cells, strict=True):
        points = [stats.interval(of.final(regime, m), "mean") for m in of.methods]
        figures.dots_with_intervals(axes, of.methods, points)
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


def draw_mode_mass(results: Results) -> Figure:
    """Mass of each mode over training, for one seed of each of the claim's variants."""
    of, regime = _last(results)
    names = (*CLAIMED, "Adam, beta1 = 0.5, alternating", "Normalised descent")
    figure, panels = figures.new_figure(rows=2, columns=3, width=9.6, height=5.2, sharey=True)
    for axes, name in zip(panels, names, strict=True):
        run = of.run(regime, name)
        draw_mass(axes, run.steps, np.nan_to_num(mass(run)[0]))
        figures.label(axes, title=name)
    for axes in panels[::3]:
        figures.label(axes, y="mode")
    return figure


def draw_longer(results: Results) -> Figure:
    """Modes and quality over seven times the short budget, at the rates tuned for the short one."""
    short, long = Compared.of(results, "short"), Compared.continued(results)
    regime = short.regimes[0]
    figure, panels = figures.new_figure(columns=2, width=9.6, height=4.6)
    for axes, measure in zip(panels, ("modes", "quality"), strict=True):
        for name in CONTINUED:
            run = long.run(regime, name)
            figures.curves_with_intervals(
                axes,
                _evaluations(long, name, run),
                run.curves[measure],
                name,
                "mean",
                higher=True,
                look=_look(name),
            )
        axes.axvline(
            float(_evaluations(short, "GDA", short.run(regime, "GDA"))[-1]), color="#222222", linestyle=":"
        )
    panels[0].set_ylim(0.0, 8.2)
    panels[1].set_ylim(0.0, 1.02)
    figures.label(panels[0], x="evaluations of the field", y="modes covered, of 8")
    figures.label(panels[1], x="evaluations of the field", y="share of samples within 3 std of a mode")
    figures.legend_below(figure, panels[0])
    return figure


def draw_steadiness(results: Results) -> Figure:
    """Churn of modes and of latents, every method."""
    of, regime = _last(results)
    figure, panels = figures.new_figure(columns=2, width=10.2, height=4.8)
    for axes, measure, text in zip(
        panels,
        (churn, switched),
        ("modes gained or lost a record", "share of latents that change modes a record"),
        strict=True,
    ):
        points = [
            stats.interval(np.nan_to_num(measure(of.run(regime, m)), nan=np.inf), "mean") for m in of.methods
        ]
        figures.dots_with_intervals(axes, of.methods, points)
        figures.label(axes, x=text)
    panels[1].set_yticklabels([])
    return figure


def draw_frames(results: Results) -> Figure:
    """Samples over training, a row a variant."""
    found = results.measurement("frames")
    times = every(found.arrays[0]["samples"].shape[1] - 1, 5)[1:]
    data = Mixture("ring8", radius=2.0, std=0.1)
    figure, panels = figures.new_figure(
        rows=len(found.cells), columns=len(times), width=9.6, height=2.0 * len(found.cells)
    )
    for row, (cell, arrays) in enumerate(found):
        for column, time in enumerate(times):
            axes = panels[row * len(times) + column]
            draw_points(axes, arrays["samples"][0, time], data, str(cell["variant"]), POINTS)
            if row == 0:
                figures.label(axes, title=f"step {arrays['step'][0, time]}")
            if column == 0:
                figures.label(axes, y=f"{cell['variant']}\nlr {cell['lr']:.2g}")
    return figure
