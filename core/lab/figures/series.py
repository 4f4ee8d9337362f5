"""Quantities over steps and over learning rates, with intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patheffects import withStroke

from core.lab.experiment import Array
from core.lab.figures.palette import Line, line
from core.lab.figures.style import label, style
from core.lab.stats import Centre, curve_interval, interval

if TYPE_CHECKING:
    from core.lab.sweep import SweepResult, Tuned

MOST_STEPS = 80
"""More recorded steps than that cannot be told apart on paper."""


def curves_with_intervals(
    axes: Axes,
    steps: Array,
    curves: Array,
    name: str,
    how: Centre = "iqm",
    *,
    higher: bool = False,
    legend: str | None = None,
    look: Line | None = None,
) -> None:
    """A line through the centre of the replicas at each step, in a band that is its bootstrap interval.

    A replica that diverged (NaN from then on) counts as the worst; where so many did that the centre itself
    is infinite, the line ends in a cross. How many did is written at the line's end.

    Args:
        steps: `[T]`.
        curves: `[R, T]`, at least two replicas.
        name: the variant, for its look.
        how: the centre, `iqm`, `median` or `mean`.
        higher: True where more is better, so that the worst is -inf.
        legend: the name in the legend, if not `name`.
        look: another look than `line(name)`.
    """
    shown = _thinned(len(steps))
    lost = int(np.isnan(curves[:, -1]).sum())
    steps, curves = np.asarray(steps)[shown], np.asarray(curves, dtype=np.float64)[:, shown]
    sign = -1.0 if higher else 1.0
    centre, low, high = curve_interval(sign * curves, how)
    centre, low, high = (sign * centre, sign * high, sign * low) if higher else (centre, low, high)
    look = look or line(name)
    alive = np.isfinite(centre)
    with style():
        _band(axes, steps, low, high, look["color"])
        every = max(1, len(steps) // 8)
        axes.plot(
            steps,
            np.where(alive, centre, np.nan),
            **look,
            markevery=(every // 2, every),
            label=legend or name,
        )
        if lost and alive.any():
            _say_lost(axes, steps, centre, alive, f"{lost} of {len(curves)} diverged", look["color"])
    if not axes.get_xlabel():
        label(axes, x="step")


def _say_lost(axes: Axes, steps: Array, centre: Array, alive: Array, text: str, colour: str) -> None:
    """How many replicas diverged, at the line's last point; a cross there if the line ends early."""
    last = int(np.flatnonzero(alive)[-1])
    early = last < len(steps) - 1
    if early:
        axes.plot(steps[last], centre[last], marker="x", markersize=9, mew=2, color=colour, linestyle="")
    axes.annotate(
        text,
        (steps[last], centre[last]),
        xytext=(7 if early else 0, 5),
        textcoords="offset points",
        ha="left" if early else "right",
        fontsize=7.5,
        color=colour,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )


def _thinned(count: int) -> Array:
    """Which recorded steps are drawn: all, or some, dense on a linear and on a logarithmic axis."""
    if count <= MOST_STEPS:
        return np.arange(count)
    half = MOST_STEPS // 2
    chosen = np.concatenate([np.linspace(0, count - 1, half), np.geomspace(1, count - 1, half)])
    return np.unique(np.round(chosen).astype(np.int64))


def _band(axes: Axes, steps: Array, low: Array, high: Array, colour: str) -> None:
    """A band that runs out of the picture where an end is infinite, without moving the axes' limits there."""
    drawn = ~(np.isnan(low) | np.isnan(high)) & (np.isfinite(low) | np.isfinite(high))
    finite = np.concatenate([low[np.isfinite(low)], high[np.isfinite(high)]])
    if not drawn.any() or not len(finite):
        return
    far = 1e4 * max(float(np.ptp(finite)), float(np.abs(finite).max()), 1e-300)
    bottom, top = (np.clip(x[drawn], -far, far) for x in (low, high))
    outline = np.concatenate(
        [np.column_stack([steps[drawn], bottom]), np.column_stack([steps[drawn], top])[::-1]]
    )
    axes.add_collection(PolyCollection([outline], facecolor=colour, alpha=0.18, linewidth=0), autolim=False)
    for edge in (low, high):
        inside = drawn & np.isfinite(edge)
        axes.update_datalim(np.column_stack([steps[inside], edge[inside]]))
    axes.autoscale_view()


def lr_curve(
    axes: Axes, result: SweepResult, regime: str, *, variants: tuple[str, ...] | None = None
) -> None:
    """The objective against the learning rate for every variant, on the tuning seeds, with what was chosen.

    The chosen point is ringed; a ring with a square around it lies on the edge of the widest grid allowed.
    Where other hyperparameters were tuned too, each learning rate shows the best of them. Settings whose
    centre is infinite (diverged, or never there) are crosses on the panel's edge.

    Args:
        variants: which, in this order; all if None.
    """
    objective = result.sweep.objective
    for name in variants or result.variants:
        _one_lr_curve(axes, result.tuned[regime, name], name, objective.across, higher=_more(result))
    text = objective.label or objective.measure
    label(axes, x="learning rate", y=text, log="xy" if wide(axes) else "x")
    alone = len(axes.get_shared_y_axes().get_siblings(axes)) == 1
    if alone and not len(drawn_values(axes)):
        # No setting got there, so that the axis has no scale.
        axes.set_yticks([])


def _more(result: SweepResult) -> bool:
    objective = result.sweep.objective
    return objective.higher and objective.at != "hit"


def _one_lr_curve(axes: Axes, tuned: Tuned, name: str, how: Centre, *, higher: bool) -> None:
    best: dict[float, int] = {}
    sign = -1.0 if higher else 1.0
    # The chosen setting stands for its learning rate; elsewhere the best of the other hyperparameters does.
    order = sorted(range(len(tuned.settings)), key=lambda i: -sign * tuned.scores[i])
    for i in [*order, tuned.settings.index(tuned.best)]:
        best[tuned.settings[i]["lr"]] = i
    rates = sorted(best)
    rate_curve(
        axes,
        np.array(rates),
        np.stack([tuned.losses[best[lr]] for lr in rates]),
        rates.index(tuned.best["lr"]),
        name,
        how,
        higher=higher,
        edge="lr" in tuned.edge,
    )


def rate_curve(
    axes: Axes,
    rates: Array,
    values: Array,
    chosen: int,
    name: str,
    how: Centre = "iqm",
    *,
    higher: bool = False,
    edge: bool = False,
    look: Line | None = None,
) -> None:
    """A quantity over a hyperparameter with its intervals, the chosen value ringed; see `lr_curve`.

    Args:
        rates: `[L]`, ascending.
        values: `[L, S]`, infinite (or NaN) where a replica diverged.
        chosen: which rate was chosen.
        name: in the legend.
        how: the centre, `iqm`, `median` or `mean`.
        higher: True where more is better, so that the worst is -inf.
        look: another look than `line(name)`.
        edge: True where the chosen rate lies on the edge of its grid.
    """
    sign = -1.0 if higher else 1.0
    points = [interval(np.where(np.isnan(row), np.inf, sign * row), how) for row in values]
    centre, low, high = (sign * np.array(x) for x in zip(*points, strict=True))
    low, high = np.minimum(low, high), np.maximum(low, high)
    look = look or line(name)
    lost = ~np.isfinite(centre)
    with style():
        _band(axes, rates, low, high, look["color"])
        axes.plot(rates, np.where(lost, np.nan, centre), **look, label=name)
        if lost.any():
            axes.plot(
                rates[lost],
                np.full(int(lost.sum()), 0.015 if higher else 0.985),
                marker="x",
                linestyle="",
                color=look["color"],
                transform=axes.get_xaxis_transform(),
                clip_on=False,
            )
        if math.isfinite(centre[chosen]):
            ring: dict[str, Any] = {
                "linestyle": "",
                "markerfacecolor": "none",
                "color": look["color"],
                "zorder": 5,
            }
            axes.plot(rates[chosen], centre[chosen], marker="o", markersize=11, mew=1.6, **ring)
            if edge:
                axes.plot(rates[chosen], centre[chosen], marker="s", markersize=15, mew=1.2, **ring)


def wide(axes: Axes) -> bool:
    """Whether the drawn values are positive and span more than a factor of 30."""
    values = drawn_values(axes)
    return len(values) > 0 and bool((values > 0).all()) and float(values.max() / values.min()) > 30


def drawn_values(axes: Axes) -> Array:
    """`[N]`: the finite heights of all lines of a panel but those that are fixed to the panel itself."""
    drawn = [
        np.asarray(line.get_ydata(), dtype=np.float64)
        for line in axes.lines
        if line.get_transform() == axes.transData
    ]
    values: Array = np.concatenate([*drawn, np.empty(0)])
    finite: Array = values[np.isfinite(values)]
    return finite
