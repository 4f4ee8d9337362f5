"""A finding as a small drawn bar: positions only, the template draws them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.lab.tables import number, with_interval
from core.lab.verdict import Finding

WIDTH, HEIGHT = 132.0, 22.0
_PAD = 10.0


@dataclass(frozen=True)
class Bar:
    """Horizontal positions in a picture of WIDTH x HEIGHT.

    Attributes:
        low, high: ends of the interval, at the picture's edge where they are infinite.
        known: False where the interval is not a number, and nothing of it is drawn.
        arrow_left, arrow_right: True where an end lies at minus or plus infinity.
        effect: the estimate, None where it is not finite.
        threshold: what the criterion asks.
        outcome: holds, fails or unclear.
        text: the same in words.
    """

    low: float
    high: float
    known: bool
    arrow_left: bool
    arrow_right: bool
    effect: float | None
    threshold: float
    outcome: str
    text: str


def bar_of(finding: Finding) -> Bar:
    """The bar of one finding, on its own scale: interval and threshold fill the width."""
    numbers = (finding.effect, finding.low, finding.high, finding.threshold)
    finite = [x for x in numbers if math.isfinite(x)]
    start, stop = (min(finite), max(finite)) if finite else (0.0, 1.0)
    # Halved before the difference is taken: both ends may be near the largest float.
    span = stop / 2 - start / 2

    def place(x: float) -> float:
        share = (x / 2 - start / 2) / span if span > 0 else 0.5
        return round(_PAD + share * (WIDTH - 2 * _PAD), 2)

    def end(x: float) -> float:
        return place(x) if math.isfinite(x) else WIDTH if x > 0 else 0.0

    ends = (finding.low, finding.high)
    return Bar(
        low=end(finding.low),
        high=end(finding.high),
        known=not any(map(math.isnan, ends)),
        arrow_left=-math.inf in ends,
        arrow_right=math.inf in ends,
        effect=place(finding.effect) if math.isfinite(finding.effect) else None,
        threshold=place(finding.threshold),
        outcome=finding.outcome.value,
        text=(
            f"{with_interval((finding.effect, finding.low, finding.high))} {finding.unit}".strip()
            + f"; threshold {number(finding.threshold)}; {finding.outcome.value}"
        ),
    )
