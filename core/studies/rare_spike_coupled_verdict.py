"""The coupled regression of the study `rare-spike`: findings, sentence, figure and table."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.study import Results, Table
from core.lab.tables import with_interval
from core.lab.verdict import Finding, finding
from core.problems.rare_feature import COUPLED_RULES, OUTLIERS, read_at

WEIGHTS = ("dense", "rare")


def halfway(results: Results, rule: str, outlier: float, weight: str) -> Array:
    """`[seeds]`: steps until a weight of the regression is halfway to its new value for good."""
    found = results.measurement("coupled").only(rule=rule)["halfway"]
    steps: Array = found[:, OUTLIERS.index(outlier), WEIGHTS.index(weight)]
    return steps


def coupled_findings(results: Results, long: int) -> list[Finding]:
    """What an outlier costs each weight: more than `long` steps?"""
    return [_later(results, rule, weight, long) for weight in reversed(WEIGHTS) for rule in COUPLED_RULES]


def _later(results: Results, rule: str, weight: str, long: int) -> Finding:
    big = OUTLIERS[-1]
    return finding(
        f"two features, {rule}, the {weight} one's weight",
        stats.paired_difference(
            halfway(results, rule, big, weight), halfway(results, rule, 0.0, weight), "median"
        ),
        above=float(long),
        replicas=results.plan.reporting_seeds,
        text=f"one target off by {big:g} makes the weight come halfway more than {long} steps later",
        unit="steps later",
        decisive=False,
    )


def coupled_sentence(results: Results) -> str:
    """The steps of the rare weight, rule by rule."""

    def of(rule: str) -> str:
        without, off = (
            float(np.median(halfway(results, rule, size, "rare"))) for size in (0.0, OUTLIERS[-1])
        )
        return f"{rule} {'never' if math.isinf(off) else f'{off:.0f}'} (without: {without:.0f})"

    return (
        "In a regression on one dense and one rare feature, steps until the rare one's weight is halfway to "
        f"a new value after one target that is off by {OUTLIERS[-1]:g}: {'; '.join(map(of, COUPLED_RULES))}."
    )


def draw_coupled(results: Results) -> Figure:
    """The rare weight after an outlier, and steps until it is halfway."""
    figure, (left, right) = figures.new_figure(columns=2, height=4.2, width=10.0)
    found = results.measurement("coupled").only(rule="Adam")["weights"]
    looks = figures.lines([f"off by {size:g}" for size in OUTLIERS])
    for i, size in enumerate(OUTLIERS):
        name = f"off by {size:g}"
        rare = np.median(found[:, i, WEIGHTS.index("rare")], axis=0)
        left.plot(
            np.array(read_at(results.plan.sizes["after"])) + 1,
            rare,
            **looks[name],
            markevery=9,
            label=f"Adam, one target {name}",
        )
    left.axhline(0.5, color="grey", linewidth=0.8)
    figures.label(left, x="steps since the outlier, plus 1", y="weight of the rare feature", log="x")
    shown = [(rule, size) for rule in COUPLED_RULES for size in (0.0, OUTLIERS[-1])]
    points = [stats.interval(halfway(results, rule, size, "rare"), "median") for rule, size in shown]
    right.set_xscale("log")
    figures.dots_with_intervals(right, [f"{rule}, off by {size:g}" for rule, size in shown], points)
    figures.label(right, x="steps until halfway")
    figures.legend_below(figure, left)
    return figure


def coupled_table(results: Results) -> Table:
    """Steps until halfway, by rule, weight and outlier."""
    return Table(
        "Regression on a dense and a rare feature: steps after the outlier until the weight is halfway to "
        "its new value for good, median with 95% bootstrap interval over seeds.",
        ("rule", "weight", *(f"off by {size:g}" for size in OUTLIERS)),
        tuple(
            (
                rule,
                weight,
                *(
                    with_interval(stats.interval(halfway(results, rule, size, weight), "median"))
                    for size in OUTLIERS
                ),
            )
            for rule in COUPLED_RULES
            for weight in WEIGHTS
        ),
    )
