"""Figures that every sweep can have: the learning-rate curve and the learning curves, from what is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab.figures import curves_with_intervals, label, legend_below, lr_curve, new_grid, wide
from core.lab.run import Run
from core.lab.stats import centre
from core.lab.study import FigureSpec, Results, Study
from core.lab.sweep import SweepResult
from core.lab.tables import number

MOST_PANELS = 6
BELOW = 30.0
"""A threshold over the lowest value that is drawn."""
MOST_POINTS = 40
"""Recorded steps that are drawn: each takes an interval."""
_PLURALS = {"iqm": "interquartile means", "median": "medians", "mean": "means"}


def generic_figures(study: Study, results: Results) -> tuple[FigureSpec, ...]:
    """Those of the study's sweeps that none of its own figures shows."""
    parts = {spec.part for spec in study.figures}
    found: list[FigureSpec] = []
    for place, (name, result) in enumerate(results.by_name.items(), start=1):
        if not isinstance(result, SweepResult):
            continue
        if "learning rates" not in parts and any(len(t.settings) > 1 for t in result.tuned.values()):
            found.append(_rates(f"sensitivity-{place}", name, result))
        if "learning curves" not in parts and len(_first_run(result).steps) > 2:
            found.append(_curves(f"learning-{place}", name, result))
    return tuple(found)


def _first_run(result: SweepResult) -> Run:
    return result.run(result.regimes[0], result.variants[0])


def _shown(result: SweepResult) -> tuple[str, ...]:
    """Some regimes, from the first to the last, where there are more than a page can hold."""
    regimes, count = result.regimes, len(result.regimes)
    if count <= MOST_PANELS:
        return regimes
    return tuple(regimes[round(i * (count - 1) / (MOST_PANELS - 1))] for i in range(MOST_PANELS))


def _which(result: SweepResult) -> str:
    shown, count = len(_shown(result)), len(result.regimes)
    return f" {shown} of {count} regimes." if shown < count else ""


def _asked(result: SweepResult) -> str:
    objective = result.sweep.objective
    if objective.threshold is None:
        return ""
    return (
        f" Dotted: what was to be reached{'' if objective.higher else '; what lies far below is not drawn'}."
    )


def _rates(name: str, experiment: str, result: SweepResult) -> FigureSpec:
    sweep = result.sweep
    regime = result.regimes[0]
    best = ", ".join(f"{v} at {number(result.tuned[regime, v].best['lr'])}" for v in result.variants)
    what = sweep.objective.label or sweep.objective.measure
    return FigureSpec(
        name,
        f"{experiment}: {what} over the learning rate, on the tuning seeds: "
        f"{_PLURALS[sweep.objective.across]} with 95 % bootstrap intervals. Rings: chosen; a square: on the "
        f"edge of the widest grid; crosses: diverged or never there.{_which(result)}",
        f"{what} against the learning rate, a curve a variant. Chosen in {regime}: {best}.",
        lambda _: _panels(result, partial(lr_curve, result=result)),
        "learning rates",
    )


def _curves(name: str, experiment: str, result: SweepResult) -> FigureSpec:
    sweep, regime = result.sweep, result.regimes[0]
    ends = ", ".join(f"{v} {number(_end(result, regime, v))}" for v in result.variants)
    how = _PLURALS[sweep.objective.across]
    return FigureSpec(
        name,
        f"{experiment}: {sweep.objective.measure} over the steps on fresh seeds, each variant at its tuned "
        f"setting: {how} with 95 % bootstrap intervals.{_asked(result)}{_which(result)}",
        f"{sweep.objective.measure} over the steps, a curve a variant. At the end, in {regime}: {ends}.",
        lambda _: _panels(result, partial(_learning, result=result)),
        "learning curves",
    )


def _end(result: SweepResult, regime: str, variant: str) -> float:
    last = result.run(regime, variant).curves[result.sweep.objective.measure][:, -1]
    return centre(np.where(np.isnan(last), np.inf, last), result.sweep.objective.across)


def _learning(axes: Axes, *, result: SweepResult, regime: str) -> None:
    objective = result.sweep.objective
    for variant in result.variants:
        run = result.run(regime, variant)
        few = np.unique(np.linspace(0, len(run.steps) - 1, MOST_POINTS).round().astype(np.int64))
        curves = run.curves[objective.measure][:, few]
        curves_with_intervals(
            axes, run.steps[few], curves, variant, objective.across, higher=objective.higher
        )
    label(axes, x="step", y=objective.measure, log="y" if wide(axes) else "")
    if objective.threshold is not None:
        axes.axhline(objective.threshold, color="black", linewidth=1, linestyle=(0, (1, 2)))
        if axes.get_yscale() == "log" and not objective.higher:
            # What happens far below what was asked for would take all of the picture.
            axes.set_ylim(bottom=max(axes.get_ylim()[0], objective.threshold / BELOW))


def _panels(result: SweepResult, draw: Callable[..., None]) -> Figure:
    """A panel a regime, at most three side by side."""
    regimes: Sequence[str] = _shown(result)
    columns = min(3, len(regimes))
    figure, panels = new_grid(len(regimes), columns)
    for i, (axes, regime) in enumerate(zip(panels, regimes, strict=True)):
        draw(axes, regime=regime)
        label(axes, title=regime if len(result.regimes) > 1 else None)
        if i % columns:
            axes.set_ylabel("")
    legend_below(figure)
    return figure
