"""Effects and centres with their intervals, one row each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from core.lab.figures.palette import lines
from core.lab.figures.style import INK, QUIET, label, name_powers, style, wrapped
from core.lab.stats import Interval
from core.lab.verdict import Finding, Outcome

OUTCOME_COLOURS = {Outcome.HOLDS: "#00795A", Outcome.FAILS: "#B84A00", Outcome.UNCLEAR: "#6b6b6b"}
LEFT, RIGHT = r"$\leftarrow$", r"$\rightarrow$"
"""Markers at the end of an interval that reaches infinity."""
_OUTCOME_MARKERS = {Outcome.HOLDS: "o", Outcome.FAILS: "s", Outcome.UNCLEAR: "D"}


def effect_bars(axes: Axes, findings: Sequence[Finding]) -> None:
    """Each finding's effect with its interval against the threshold that the criterion names.

    Colour and marker say the outcome: a green disc holds, a red-brown square fails, a grey diamond is
    unclear. An interval that reaches infinity ends in an arrow at the panel's edge. Findings that do not
    enter the verdict are hollow. Where the thresholds differ, each row has its own tick.
    """
    thresholds = {f.threshold for f in findings}
    with style():
        limits = _limits(axes, [x for f in findings for x in (f.effect, f.low, f.high, f.threshold)])
        axes.set_xlim(*limits)
        for row, finding in enumerate(findings):
            shade = OUTCOME_COLOURS[finding.outcome]
            _interval(
                axes,
                row,
                (finding.effect, finding.low, finding.high),
                shade,
                limits,
                _OUTCOME_MARKERS[finding.outcome],
                hollow=not finding.decisive,
            )
            if len(thresholds) > 1:
                axes.vlines(
                    finding.threshold, row - 0.36, row + 0.36, color=INK, linestyle=(0, (3, 2)), linewidth=1.1
                )
        if len(thresholds) == 1:
            axes.axvline(thresholds.pop(), color=INK, linestyle=(0, (4, 3)), linewidth=1.1)
        for outcome in Outcome:
            if any(f.outcome is outcome for f in findings):
                axes.plot(
                    [],
                    [],
                    marker=_OUTCOME_MARKERS[outcome],
                    linestyle="",
                    color=OUTCOME_COLOURS[outcome],
                    label=str(outcome.value),
                )
        axes.plot([], [], color=INK, linestyle=(0, (4, 3)), linewidth=1.1, label="threshold")
        units = {f.unit for f in findings}
        common = units.pop() if len(units) == 1 else None
        _rows(
            axes,
            [f.regime if common is not None or not f.unit else f"{f.regime} [{f.unit}]" for f in findings],
        )
    label(axes, x="effect" + (f" [{common}]" if common else "") + " with 95 % interval")


def dots_with_intervals(
    axes: Axes, names: Sequence[str], intervals: Sequence[Interval], *, reference: float | None = None
) -> None:
    """A point and its interval a name, in the name's colour, from top to bottom.

    Args:
        intervals: (estimate, low, high) each; infinite ends become arrows at the panel's edge.
            For a logarithmic axis call `axes.set_xscale("log")` first.
        reference: where a vertical line helps the eye (no difference, a bound).
    """
    looks = lines(names)
    with style():
        limits = _limits(
            axes, [x for i in intervals for x in i] + ([reference] if reference is not None else [])
        )
        axes.set_xlim(*limits)
        for row, (name, values) in enumerate(zip(names, intervals, strict=True)):
            _interval(axes, row, values, looks[name]["color"], limits, looks[name]["marker"], hollow=False)
        if reference is not None:
            axes.axvline(reference, color=INK, linestyle=(0, (4, 3)), linewidth=1.1)
        _rows(axes, names)


def _limits(axes: Axes, values: Sequence[float]) -> tuple[float, float]:
    """The finite values' range with a margin, on the axis' own scale."""
    if axes.get_xscale() == "log":
        name_powers(axes.xaxis)
        logs = [math.log10(v) for v in values if v > 0 and math.isfinite(v)]
        margin = 0.08 * (max(logs) - min(logs)) or 0.3 if logs else 0.0
        return (10 ** (min(logs) - margin), 10 ** (max(logs) + margin)) if logs else (0.1, 10.0)
    # An axis cannot span more than the largest float: what lies farther out becomes an arrow at its edge.
    finite = [v for v in values if abs(v) < 1e300]
    if not finite:
        return -1.0, 1.0
    low, high = min(finite), max(finite)
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin, high + margin


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [wrapped(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


def _interval(
    axes: Axes,
    row: int,
    values: Interval,
    shade: str,
    limits: tuple[float, float],
    marker: str,
    *,
    hollow: bool,
) -> None:
    """One row: a bar from low to high, a marker at the estimate, arrows for what lies at infinity."""
    estimate, low, high = values
    if math.isnan(estimate):
        axes.annotate(
            "not a number",
            (0.5, row),
            xycoords=axes.get_yaxis_transform(),
            color=QUIET,
            va="center",
            ha="center",
            fontsize=8,
        )
        return
    ends = [
        min(max(limits[0] if math.isnan(low) else low, limits[0]), limits[1]),
        min(max(limits[1] if math.isnan(high) else high, limits[0]), limits[1]),
    ]
    axes.plot(ends, [row, row], color=shade, linewidth=2.4, solid_capstyle="butt")
    at_infinity: dict[str, Any] = {
        "linestyle": "",
        "color": shade,
        "clip_on": False,
        "markersize": 12,
        "mew": 0.4,
    }
    if ends[0] == limits[0]:
        axes.plot(limits[0], row, marker=LEFT, **at_infinity)
    if ends[1] == limits[1]:
        axes.plot(limits[1], row, marker=RIGHT, **at_infinity)
    if math.isfinite(estimate):
        axes.plot(
            estimate,
            row,
            marker=marker,
            markersize=7,
            color=shade,
            mew=1.6,
            markerfacecolor="white" if hollow else shade,
        )
