"""Verdicts follow from intervals: every combination of outcomes, and too few seeds said apart."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.lab.verdict import Finding, Label, Outcome, finding, tally, verdict

numbers = st.floats(allow_nan=False)


def made(outcome: Outcome, *, replicas: int = 20, decisive: bool = True, regime: str = "r") -> Finding:
    low = {Outcome.HOLDS: 1.0, Outcome.FAILS: -2.0, Outcome.UNCLEAR: -1.0}[outcome]
    return finding(regime, (0.0, low, low + 1.5), above=0.0, replicas=replicas, text="", decisive=decisive)


@given(st.tuples(numbers, numbers).map(sorted), numbers)
def test_a_finding_is_judged_by_its_whole_interval(ends: list[float], threshold: float) -> None:
    low, high = ends
    above = finding("r", (low, low, high), above=threshold, replicas=5, text="").outcome
    below = finding("r", (low, low, high), below=threshold, replicas=5, text="").outcome
    everything_above, everything_below = low > threshold, high < threshold
    assert (above is Outcome.HOLDS) == everything_above
    assert (below is Outcome.HOLDS) == everything_below
    assert (above is Outcome.FAILS) == (high <= threshold)
    assert (below is Outcome.FAILS) == (low >= threshold)
    if low < threshold < high:
        assert above is below is Outcome.UNCLEAR


@pytest.mark.parametrize("interval", [(0.0, math.nan, 1.0), (0.0, 1.0, math.nan), (math.nan,) * 3])
def test_no_number_decides_nothing(interval: tuple[float, float, float]) -> None:
    assert finding("r", interval, above=0.0, replicas=5, text="").outcome is Outcome.UNCLEAR


@pytest.mark.parametrize("sides", [{}, {"above": 0.0, "below": 1.0}])
def test_one_threshold_and_one_only(sides: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        finding("r", (0, 0, 0), replicas=5, text="", **sides)  # type: ignore[arg-type]


@pytest.mark.parametrize("outcomes", [c for n in (1, 2, 3) for c in itertools.product(Outcome, repeat=n)])
def test_every_combination_of_outcomes(outcomes: tuple[Outcome, ...]) -> None:
    beside = made(Outcome.FAILS, replicas=1, decisive=False)
    result = verdict([*(made(o, regime=str(i)) for i, o in enumerate(outcomes)), beside], "So it is.")
    held, failed = outcomes.count(Outcome.HOLDS), outcomes.count(Outcome.FAILS)
    if held == len(outcomes):
        expected = Label.SUPPORTED
    elif failed == len(outcomes):
        expected = Label.REFUTED
    elif held and failed:
        expected = Label.CONDITIONAL
    else:
        expected = Label.INCONCLUSIVE
    assert result.label is expected
    assert not result.few_seeds
    assert result.sentence == "So it is."
    assert (len(result.holds_in), len(result.fails_in)) == (held, failed)
    assert result.findings[-1] is beside
    assert tally(result.findings[:-1]) == f"{held} of {len(outcomes)}"
    assert tally(result.findings[:-1], Outcome.FAILS) == f"{failed} of {len(outcomes)}"


@pytest.mark.parametrize("outcome", Outcome)
def test_too_few_seeds_are_said_apart(outcome: Outcome) -> None:
    enough, few = made(outcome, replicas=10), made(outcome, replicas=9)
    assert not verdict([enough], "x").few_seeds
    result = verdict([enough, few], "x")
    assert result.few_seeds
    assert result.label is Label.INCONCLUSIVE
    assert "too few seeds" in result.sentence.lower()
    assert not verdict([few], "x", least_replicas=9).few_seeds


def test_a_verdict_needs_something_decisive() -> None:
    for findings in ([], [made(Outcome.HOLDS, decisive=False)]):
        with pytest.raises(ValueError, match="decisive"):
            verdict(findings, "x")
