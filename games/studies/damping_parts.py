"""What each part of Adam does to the damping: the same comparison in every regime, and over all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.lab import stats
from core.lab.experiment import Array
from core.lab.study import Results, Table
from core.lab.sweep import SweepResult
from core.lab.tables import with_interval
from core.lab.verdict import Finding, finding
from games.studies.damping_settings import DECAYED
from games.studies.method_map import FLOOR

LEAST_EFFECT = 0.9
"""A radius within a tenth of the start's, or of the other method's, is not damped."""


@dataclass(frozen=True)
class Part:
    """One method against another that differs in one part.

    Attributes:
        a, b: names of the variants.
        text: what is asked: whether `a` ends nearer than `b`.
    """

    a: str
    b: str
    text: str


MOMENTUM = Part("Adam, beta1 = 0", "Adam", "Momentum: Adam without it ends nearer than with it")
SCALING = Part(
    "Adam, beta1 = 0",
    "Adam, beta1 = 0, shared v",
    "Scaling, without momentum: a v for each player ends nearer than one v for both",
)
SCALING_WITH_MOMENTUM = Part(
    "Adam", "Adam, shared v", "Scaling, with momentum: a v for each player ends nearer than one v for both"
)
PARTS = (
    MOMENTUM,
    SCALING,
    SCALING_WITH_MOMENTUM,
    Part("Adam, beta1 = 0", "Sign descent", "Memory: Adam without momentum ends nearer than sign descent"),
    Part("Normalised descent", "GDA", "Normalisation alone: it ends nearer than GDA"),
    Part("Adam, beta1 = 0", "RMSProp", "Longer memory, bias correction: Adam without momentum beats RMSProp"),
    Part("Adam, alternating", "Adam", "Alternation: alternating Adam ends nearer than simultaneous Adam"),
    Part(
        "Adam, beta1 = 0, alternating",
        "Adam, beta1 = 0",
        "Alternation without momentum: it brings Adam without momentum nearer",
    ),
    Part("Adam, beta1 = 0, optimistic", "Adam, beta1 = 0", "Optimism brings Adam without momentum nearer"),
    Part("Adam, optimistic", "Adam", "Optimism brings Adam with momentum nearer"),
    Part(f"GDA {DECAYED}", "GDA", "Decay alone: GDA with decay ends nearer than GDA"),
    Part(f"Adam {DECAYED}", "Adam", "Adam with decay ends nearer than Adam"),
    Part("Adam, averaged", "Adam", "Averaging: the mean of Adam's iterates ends nearer than the last"),
    Part("Adam", "Optimistic GDA", "Adam ends nearer than optimistic GDA"),
)


def final(sweep: SweepResult, regime: str, name: str) -> Array:
    """`[S]`: the final distance; below `FLOOR` distances are not told apart."""
    return np.maximum(sweep.values(regime, name), FLOOR)


def stands_still(sweep: SweepResult, regime: str, name: str) -> bool:
    """Whether the best rate is the lowest that was tried, and leaves the path where it started."""
    tuned = sweep.tuned[regime, name]
    lowest = min(setting["lr"] for setting in tuned.settings)
    return tuned.best["lr"] == lowest and stats.centre(final(sweep, regime, name)) >= LEAST_EFFECT


def standing(sweep: SweepResult, name: str) -> int:
    """In how many regimes it does."""
    return sum(stands_still(sweep, r, name) for r in sweep.regimes)


def ratios(results: Results, part: Part) -> list[stats.Interval]:
    """Final distance of `a` over that of `b` with its interval, regime by regime."""
    sweep = results.sweep("tuned")
    return [stats.ratio(final(sweep, r, part.a), final(sweep, r, part.b)) for r in sweep.regimes]


def counted(results: Results, part: Part) -> str:
    """`nearer in 7, farther in 2 of 11 regimes`, by whole intervals."""
    found = results.once(ratios, part)
    nearer, farther = sum(high < 1.0 for _, _, high in found), sum(low > 1.0 for _, low, _ in found)
    return f"nearer in {nearer}, farther in {farther} of {len(found)} regimes"


def judged(results: Results, part: Part) -> Finding:
    """Over all regimes (each resampled by itself), with the count by regime and who stands still."""
    sweep = results.sweep("tuned")
    strata = [
        stats.differences(*(np.log10(final(sweep, r, name)) for name in (part.a, part.b)))
        for r in sweep.regimes
    ]
    mid, low, high = (float(10.0**x) for x in stats.interval(strata, "iqm"))
    still = [f"{n} stands still in {count}" for n in (part.a, part.b) if (count := standing(sweep, n))]
    return finding(
        f"all regimes: {part.a} against {part.b}",
        (mid, low, high),
        below=1.0,
        replicas=len(strata[0]),
        text="; ".join([f"{part.text} ({counted(results, part)})", *still]),
        unit="x the distance",
        decisive=False,
    )


def parts_table(results: Results) -> Table:
    """Every comparison in every regime by itself."""
    sweep = results.sweep("tuned")

    def cell(regime: str, part: Part, interval: stats.Interval) -> str:
        marks: list[tuple[str, Callable[[], bool]]] = [
            (" a still", lambda: stands_still(sweep, regime, part.a)),
            (" b still", lambda: stands_still(sweep, regime, part.b)),
        ]
        return with_interval(interval, 2) + "".join(text for text, holds in marks if holds())

    rows = [
        (
            part.a,
            part.b,
            *(cell(r, part, x) for r, x in zip(sweep.regimes, results.once(ratios, part), strict=True)),
        )
        for part in PARTS
    ]
    return Table(
        f"Final distance of a over that of b, regime by regime (below {FLOOR:g} distances count as "
        f"{FLOOR:g}); still: the best rate is the lowest that was tried, and the path ends where it started.",
        ("a", "b", *sweep.regimes),
        tuple(rows),
    )
