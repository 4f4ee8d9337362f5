"""Figures of the study `limit-cycle`; they read stored results only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab import figures
from core.lab.experiment import Array
from core.lab.measurement import MeasurementResult
from core.lab.study import Results
from games.bilinear import BilinearGame
from games.limit_cycle import LimitCycle
from games.portrait import arrows
from games.studies.limit_cycle_settings import MEMORY, PARTS, SCHEMES, SIDES, predicted

_THEORY: dict[str, Any] = {"color": "#000000", "linewidth": 1.2}
_MARKS = {"inside": "^", "outside": "v"}
_SCHEME_COLOURS = {
    "simultaneous": "#0072B2",
    "alternating": "#D55E00",
    "optimistic": "#0C5053",
    "extragradient": "#7B2D8B",
    "extragradient, shared state": "#CC79A7",
    "extragradient from the past": "#8C982D",
}


def _colour(scheme: str) -> str:
    return _SCHEME_COLOURS.get(scheme, _SCHEME_COLOURS["optimistic"])


def draw_portrait(results: Results) -> Figure:
    """Two paths a method, from inside and outside, over the field, with the circle predicted."""
    found = results.measurement("portrait")
    figure, panels = figures.new_figure(columns=len(found.cells), width=9.6, height=3.9)
    for axes, (cell, arrays) in zip(panels, found, strict=True):
        name = str(cell["variant"])
        draw_ground(axes, name, 1.05 * float(np.abs(arrays["path"][0]).max()))
        for path in arrays["path"][0]:
            figures.phase_path(axes, path, name, legend="", look={**figures.line(name), "linestyle": "-"})
    return figure


def draw_ground(axes: Axes, name: str, reach: float, *, count: int = 11) -> None:
    """The field over a square of half side `reach`, in learning rates, and the cycle that the law gives."""
    arrows(axes, BilinearGame().mean_field, reach, count=count)
    if name == "Adam, beta1 = 0":
        angle = np.linspace(0.0, 2.0 * math.pi, 200)
        radius = LimitCycle.of(0.0, MEMORY["beta2"]).radius()
        axes.plot(radius * np.cos(angle), radius * np.sin(angle), linestyle="--", zorder=6, **_THEORY)
    figures.label(axes, x="x / lr", y="y / lr", title=name)


def draw_law(results: Results) -> Figure:
    """Measured radii over those predicted, every setting that has a cycle."""
    figure, (axes, gap) = figures.new_figure(columns=2, width=9.6, height=4.4)
    gap.axhspan(-5.0, 5.0, color="#eeeeee", zorder=0)
    for name in ("law", "schemes", "strengths"):
        for cell, arrays in results.measurement(name):
            law = predicted(cell)
            for i, radius in enumerate(law["radius"]):
                if not math.isfinite(radius):
                    continue
                for side, label in enumerate(SIDES):
                    mean = float(arrays["radius"][:, i, side].mean())
                    look: dict[str, Any] = {
                        "color": _colour(str(cell["scheme"])),
                        "marker": _MARKS[label],
                        "linestyle": "",
                        "markersize": 6,
                        "markerfacecolor": "none",
                    }
                    axes.plot(radius, mean, **look)
                    gap.plot(law["drive"][i] * law["memory"][i], 100.0 * (mean / radius - 1.0), **look)
    ends = np.array(axes.get_xlim())
    span = np.array([8.0, 1.3 * ends[1]])
    axes.plot(span, span, linestyle="--", zorder=0, **_THEORY)
    for scheme, shade in _SCHEME_COLOURS.items():
        axes.plot([], [], marker="o", linestyle="", color=shade, label=scheme)
    for label, marker in _MARKS.items():
        axes.plot(
            [],
            [],
            marker=marker,
            linestyle="",
            color="#222222",
            markerfacecolor="none",
            label=f"from {label}",
        )
    figures.label(axes, x="radius by the law / lr", y="radius measured / lr", log="xy")
    gap.axhline(0.0, linestyle="--", **_THEORY)
    figures.label(gap, x="k c", y="deviation from the law [%]", log="x")
    figures.legend_below(figure, axes)
    return figure


def draw_drive(results: Results) -> Figure:
    """Radius over the gradient's mean age: one curve for all schemes, and collapse where nothing drives."""
    figure, (axes,) = figures.new_figure(width=7.2, height=4.6)
    for name in ("law", "schemes", "strengths"):
        for cell, arrays in results.measurement(name):
            law = predicted(cell)
            for i, drive in enumerate(law["drive"]):
                scaled = arrays["radius"][:, i].mean() * math.sqrt(law["memory"][i] / 8.0)
                axes.plot(
                    (drive - 1.0) / 2.0,
                    scaled,
                    marker="o",
                    markersize=6,
                    linestyle="",
                    color=_colour(str(cell["scheme"])),
                    markerfacecolor="none",
                )
    age = np.linspace(-0.5, 4.5, 400)
    axes.plot(age, np.sqrt(1.0 + 2.0 * age), label="the law for small k", **_THEORY)
    for scheme, shade in _SCHEME_COLOURS.items():
        axes.plot([], [], marker="o", linestyle="", color=shade, label=scheme)
    axes.axvspan(-1.8, -0.5, color="#eeeeee", zorder=0)
    axes.set_xlim(-1.8, 4.6)
    axes.set_ylim(-0.15, 3.4)
    axes.set_xticks([-1, -0.5, 0, 1, 2, 3, 4], ["-1", "-1/2", "0", "1", "2", "3", "4"])
    figures.label(
        axes, x="mean age of the gradient in a step [steps]", y="radius / lr x sqrt((1 - beta2) / 8)"
    )
    figures.note(axes, "grey: nothing drives,\nthe cycle collapses", corner="upper left")
    figures.legend_below(figure)
    return figure


def draw_time(results: Results) -> Figure:
    """Radius over time from four starts, beside the averaged equations."""
    found = results.measurement("time")
    figure, panels = figures.new_figure(columns=len(found.cells), width=9.6, height=4.2)
    for axes, (cell, arrays) in zip(panels, found, strict=True):
        name = str(cell["variant"])
        beta1 = float(str(PARTS[name].hyper.get("beta1", 0.9)))
        cycle = LimitCycle.of(beta1, MEMORY["beta2"])
        steps = arrays["step"][0]
        for i, start in enumerate(cell["starts"]):
            figures.curves_with_intervals(
                axes, steps, arrays["radius"][:, i], name, legend=name if i == 0 else "_"
            )
            averaged = cycle.path(start, int(steps[-1]))[::20]
            axes.plot(
                20 * np.arange(len(averaged)),
                averaged,
                linestyle=":",
                label="averaged equations" if i == 0 else "_",
                zorder=5,
                **_THEORY,
            )
        axes.axhline(cycle.radius(), color="#777777", linestyle="--", linewidth=1.0, label="cycle by the law")
        figures.label(axes, x="step", y="radius / lr", title=name, log="y")
    figures.legend_below(figure, panels[0])
    return figure


def draw_parts(results: Results) -> Figure:
    """Radius over time for Adam and for Adam with a part taken away, from 60 and 240 learning rates."""
    found = results.measurement("parts")
    figure, panels = figures.new_figure(columns=2, width=9.6, height=4.6, sharey=True)
    for column, axes in enumerate(panels):
        for cell, arrays in found:
            figures.curves_with_intervals(
                axes, arrays["step"][0], arrays["radius"][:, column], str(cell["variant"])
            )
        start = found.cells[0]["starts"][column]
        figures.label(axes, x="step", y="radius / lr", title=f"from {start:g} learning rates", log="y")
    figures.legend_below(figure, panels[0])
    return figure


def _draw_undriven(axes: Axes, cells: MeasurementResult, fine: Array) -> None:
    """What noise alone leaves where optimism has taken the drive away."""
    first = cells.cells[0]
    beta1 = float(first["beta1"][0])
    cycle = LimitCycle.of(beta1, first["beta2"], SCHEMES[str(first["scheme"])])
    shade = _SCHEME_COLOURS["optimistic"]
    law = [cycle.mean_radius(x) for x in fine]
    axes.plot(fine, law, color=shade, linewidth=1.2, label=f"law, optimistic, beta1 = {beta1:g}")
    means = [float(a["radius"][:, 0].mean()) for _, a in cells]
    axes.plot(
        [float(c["noise"]) for c in cells.cells],
        means,
        color=shade,
        marker="s",
        linestyle="",
        label=f"measured, optimistic, beta1 = {beta1:g}",
    )


def draw_disturbed(results: Results) -> Figure:
    """Radius over the noise and over eps, beside the law."""
    found = results.measurement("disturbed")
    figure, panels = figures.new_figure(columns=2, width=9.6, height=4.2)
    for axes, name, other in zip(panels, ("noise", "eps"), ("eps", "noise"), strict=True):
        cells = found.where(**{other: 0.0}, scheme="simultaneous")
        first = cells.cells[0]
        values = [float(c[name]) for c in cells.cells]
        fine = np.geomspace(min(values) / 2.0, max(values) * 2.0, 40)
        for i, beta1 in enumerate(first["beta1"]):
            cycle = LimitCycle.of(beta1, first["beta2"])
            law = [cycle.mean_radius(x) if name == "noise" else cycle.radius(x) for x in fine]
            shade = ("#0072B2", "#D55E00")[i]
            axes.plot(fine, law, color=shade, linewidth=1.2, label=f"law, beta1 = {beta1:g}")
            for side, label in enumerate(SIDES):
                axes.plot(
                    values,
                    [float(a["radius"][:, i, side].mean()) for _, a in cells],
                    color=shade,
                    marker=_MARKS[label],
                    markerfacecolor="none",
                    linestyle="",
                    label=f"from {label}, beta1 = {beta1:g}",
                )
        if name == "noise":
            _draw_undriven(axes, found.where(eps=0.0, scheme="optimistic"), fine)
        unit = "standard deviation of the noise / lr" if name == "noise" else "eps / lr"
        figures.label(axes, x=unit, y="radius / lr", log="xy")
        axes.set_ylim(5.0, 200.0)
    figures.legend_below(figure, panels[0])
    return figure
