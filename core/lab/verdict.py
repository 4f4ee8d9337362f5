"""Verdicts: what a study's own criterion says of its claim, from intervals alone."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

SO_FAR = "Too few seeds to decide. So far: "
"""What a verdict begins with whose plan is too small."""


class Label(StrEnum):
    """The four answers to a claim."""

    SUPPORTED = "supported"
    CONDITIONAL = "conditional"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"


class Outcome(StrEnum):
    """What one finding says: the criterion holds, fails, or the interval does not decide it."""

    HOLDS = "holds"
    FAILS = "fails"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Finding:
    """One judged comparison: an effect with its interval against the threshold that the criterion names.

    Attributes:
        regime: the setting that is judged.
        effect: the point estimate, in `unit`.
        low, high: the interval's ends (equal to `effect` where a closed form leaves no uncertainty).
        threshold: what the criterion asks of the effect.
        replicas: how many independent replicas the interval rests on.
        outcome: see `judge`.
        text: one sentence for the reader.
        decisive: False for findings that are shown beside the verdict and do not enter it (controls,
            sensitivity).
    """

    regime: str
    effect: float
    low: float
    high: float
    threshold: float
    replicas: int
    outcome: Outcome
    text: str
    unit: str = ""
    decisive: bool = True


@dataclass(frozen=True)
class Verdict:
    """The answer to a claim.

    Attributes:
        label: supported, conditional, refuted or inconclusive.
        sentence: the answer in one sentence that a reader remembers.
        findings: what it rests on, in the order in which it is shown.
        few_seeds: True where the plan is too small to decide, which is not the same as a claim that holds in
            part.
        short: the answer in at most some 25 words, for tables; empty where the first sentence will do.
        chosen: the finding that stands for all of them in tables, where the judge has named one.
    """

    label: Label
    sentence: str
    findings: tuple[Finding, ...]
    few_seeds: bool = False
    short: str = ""
    chosen: Finding | None = None

    @property
    def brief(self) -> str:
        """The answer as tables show it."""
        return self.short or first_sentence(self.sentence)

    @property
    def main(self) -> Finding | None:
        """The finding that stands for all: the chosen one, or the first of the commonest outcome."""
        decisive = [f for f in self.findings if f.decisive]
        if self.chosen is not None or not decisive:
            return self.chosen
        commonest = Counter(f.outcome for f in decisive).most_common(1)[0][0]
        return next(f for f in decisive if f.outcome is commonest)

    @property
    def holds_in(self) -> tuple[str, ...]:
        """The regimes in which the claim holds."""
        return tuple(f.regime for f in self.findings if f.decisive and f.outcome is Outcome.HOLDS)

    @property
    def fails_in(self) -> tuple[str, ...]:
        """The regimes in which it does not."""
        return tuple(f.regime for f in self.findings if f.decisive and f.outcome is Outcome.FAILS)


def tally(findings: Sequence[Finding], outcome: Outcome = Outcome.HOLDS) -> str:
    """`3 of 4`: how many findings have an outcome."""
    return f"{sum(f.outcome is outcome for f in findings)} of {len(findings)}"


def first_sentence(text: str) -> str:
    """What stands before the first full stop that a capital follows, outside of brackets."""
    for stop in re.finditer(r"(?<=\.)\s+(?=[A-Z])", text):
        before = text[: stop.start()]
        if before.count("(") == before.count(")"):
            return before
    return text


def finding(
    regime: str,
    interval: tuple[float, float, float],
    *,
    above: float | None = None,
    below: float | None = None,
    replicas: int,
    text: str,
    unit: str = "",
    decisive: bool = True,
) -> Finding:
    """Judge one effect: the criterion asks that it lie `above` or `below` a threshold.

    It holds when the whole interval lies on the asked side, fails when the whole interval lies on the other
    side, and is unclear otherwise, as it is when the interval is not a number.

    Args:
        interval: (effect, low, high).

    Raises:
        ValueError: unless exactly one of `above` and `below` is given.
    """
    if (above is None) == (below is None):
        raise ValueError("a finding is judged against exactly one of above= and below=")
    effect, low, high = interval
    threshold = above if above is not None else below
    assert threshold is not None
    if math.isnan(low) or math.isnan(high):
        outcome = Outcome.UNCLEAR
    elif (low > threshold) if above is not None else (high < threshold):
        outcome = Outcome.HOLDS
    elif (high <= threshold) if above is not None else (low >= threshold):
        outcome = Outcome.FAILS
    else:
        outcome = Outcome.UNCLEAR
    return Finding(regime, effect, low, high, threshold, replicas, outcome, text, unit, decisive)


def verdict(
    findings: Sequence[Finding],
    sentence: str,
    *,
    least_replicas: int = 10,
    short: str = "",
    main: Finding | None = None,
) -> Verdict:
    """The verdict that follows from the decisive findings.

    All hold: supported. All fail: refuted. Some hold and some fail: conditional on the regimes. Otherwise (an
    undecided finding and no split between regimes) inconclusive. With fewer than `least_replicas` replicas
    behind any decisive finding, the verdict is inconclusive for want of seeds, and says so.

    Args:
        short: the sentence for tables, computed from the findings too.
        main: the finding that stands for all in tables, if not the first of the commonest outcome.

    Raises:
        ValueError: without a decisive finding.
    """
    decisive = [f for f in findings if f.decisive]
    if not decisive:
        raise ValueError("a verdict needs at least one decisive finding")
    outcomes = {f.outcome for f in decisive}
    few = min(f.replicas for f in decisive) < least_replicas
    if few:
        label = Label.INCONCLUSIVE
    elif outcomes == {Outcome.HOLDS}:
        label = Label.SUPPORTED
    elif outcomes == {Outcome.FAILS}:
        label = Label.REFUTED
    elif {Outcome.HOLDS, Outcome.FAILS} <= outcomes:
        label = Label.CONDITIONAL
    else:
        label = Label.INCONCLUSIVE
    if few:
        sentence, short = SO_FAR + sentence, SO_FAR + (short or first_sentence(sentence))
    return Verdict(label, sentence, tuple(findings), few, short, main)
