"""The verdict of the study `damping`, and its tables; they read stored results only."""

from __future__ import annotations

import numpy as np

from core.lab import stats
from core.lab.experiment import Array
from core.lab.study import Results, Table
from core.lab.sweep import SweepResult
from core.lab.tables import number, sweep_table, with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from games.studies.damping_parts import (
    LEAST_EFFECT,
    MOMENTUM,
    PARTS,
    SCALING,
    SCALING_WITH_MOMENTUM,
    Part,
    counted,
    final,
    judged,
    parts_table,
    standing,
)
from games.studies.damping_theory import theory_table
from games.studies.swing_sweep import MEASURES, swing


def _damps(sweep: SweepResult, regime: str) -> Finding:
    values = final(sweep, regime, "Adam")
    return finding(
        regime,
        stats.interval(values),
        below=LEAST_EFFECT,
        replicas=len(values),
        text="Tuned Adam comes in",
        unit="x the starting distance",
    )


def _better(sweep: SweepResult, regime: str) -> Finding:
    adam, descent = (final(sweep, regime, v) for v in ("Adam", "GDA"))
    return finding(
        regime,
        stats.ratio(adam, descent),
        below=LEAST_EFFECT,
        replicas=len(adam),
        text="Tuned Adam ends nearer than tuned GDA",
        unit="x the distance",
    )


def judge(results: Results) -> Verdict:
    """The criterion, regime by regime; the parts beside it."""
    sweep = results.sweep("tuned")
    damps = [_damps(sweep, r) for r in sweep.regimes]
    better = [_better(sweep, r) for r in sweep.regimes]
    parts = {part: judged(results, part) for part in PARTS}
    sentence, short = _sentence(results, damps, better, parts), _short(damps, better, parts[MOMENTUM])
    return verdict([*damps, *better, *parts.values()], sentence, short=short, main=better[0])


_HELPS = {Outcome.HOLDS: "works against it", Outcome.FAILS: "helps", Outcome.UNCLEAR: "is open"}


def _short(damps: list[Finding], better: list[Finding], momentum: Finding) -> str:
    return (
        f"Tuned Adam damps the oscillation in {tally(damps)} regimes and ends nearer than tuned GDA in "
        f"{tally(better)}; its momentum {_HELPS[momentum.outcome]}."
    )


def _sentence(
    results: Results, damps: list[Finding], better: list[Finding], parts: dict[Part, Finding]
) -> str:
    def measured(part: Part) -> str:
        return f"{parts[part].effect:.2g} times the distance, {counted(results, part)}"

    return (
        f"Tuned Adam damps in {tally(damps)} regimes and better than tuned GDA in {tally(better)}; momentum "
        f"{_HELPS[parts[MOMENTUM].outcome]} (Adam without it ends at {measured(MOMENTUM)}); a second moment "
        f"for each player instead of one for both {_scaling(parts)} (without momentum: {measured(SCALING)}; "
        f"with it: {measured(SCALING_WITH_MOMENTUM)}{_still(results.sweep('tuned'))})."
    )


def _scaling(parts: dict[Part, Finding]) -> str:
    """What both comparisons at equal momentum say."""
    found = [parts[part].outcome for part in (SCALING, SCALING_WITH_MOMENTUM)]
    if found[0] is found[1]:
        said = {Outcome.HOLDS: "brings it nearer", Outcome.FAILS: "does not help", Outcome.UNCLEAR: "is open"}
        return said[found[0]]
    if Outcome.HOLDS in found:
        return f"brings it nearer {'without' if found[0] is Outcome.HOLDS else 'with'} momentum only"
    return "does not surely help"


def _still(sweep: SweepResult) -> str:
    """Where the control with one v has no rate at which it comes in, and so is best at standing still."""
    without, with_momentum = (standing(sweep, part.b) for part in (SCALING, SCALING_WITH_MOMENTUM))
    if not without + with_momentum:
        return ""
    return (
        f"; with one for both it is best at the lowest rate, standing still, in {without} regimes without "
        f"momentum and in {with_momentum} with it"
    )


def tables(results: Results) -> tuple[Table, ...]:
    """The parts by regime; tuned results and oscillation, a regime each; theory beside tuning."""
    sweep = results.sweep("tuned")
    found = [parts_table(results)]
    for regime in sweep.regimes:
        found += [sweep_table(sweep, regime), _swing_table(sweep, regime)]
    return (*found, theory_table(sweep))


def _swing_table(sweep: SweepResult, regime: str) -> Table:
    def cell(values: Array) -> str:
        return "n/a" if np.isnan(values).any() else with_interval(stats.interval(values))

    rows = []
    for name in sweep.variants:
        measured = swing(sweep.run(regime, name))
        lr = number(sweep.tuned[regime, name].best["lr"])
        rows.append((name, lr, *(cell(measured[k]) for k in MEASURES)))
    return Table(
        f"{regime}: oscillation of the tuned paths. n/a: a path makes less than a twentieth of a turn.",
        (
            "method",
            "learning rate",
            "turns in 1,000 steps",
            "growth of log radius a turn",
            "spectral peak [turns in 1,000 steps]",
            "its share of the power",
        ),
        tuple(rows),
    )
