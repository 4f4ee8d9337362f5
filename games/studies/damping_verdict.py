"""The verdict of the study `damping`, and its tables; they read stored results only."""

from __future__ import annotations

import numpy as np

from core.lab import stats
from core.lab.experiment import Array
from core.lab.study import Results, Table
from core.lab.sweep import SweepResult
from core.lab.tables import number, sweep_table, with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, verdict
from games.studies.damping_settings import DECAYED
from games.studies.method_map import FLOOR
from games.studies.swing_sweep import MEASURES, swing

LEAST_EFFECT = 0.9
"""A radius within a tenth of the start's, or of the other method's, is not damped."""
MEASURED = (
    "GDA",
    "Adam",
    "Adam, beta1 = 0.5",
    "Adam, beta1 = 0",
    "Adam, beta1 = -0.5",
    "Adam, alternating",
    "Adam, beta1 = 0, alternating",
    f"Adam {DECAYED}",
    "RMSProp",
    "Adam, shared v",
    "Sign descent",
    "Normalised descent",
    "GDA, alternating",
    "Optimistic GDA",
    "Adam, beta1 = 0, optimistic",
)
"""Methods whose oscillation is tabled."""
PARTS = (
    ("Adam, beta1 = 0", "Adam", "Momentum: Adam without it ends nearer than with it"),
    ("Adam, beta1 = 0", "Adam, shared v", "Scaling: Adam without momentum ends nearer than Adam with one v"),
    ("Adam, beta1 = 0", "Sign descent", "Memory: Adam without momentum ends nearer than sign descent"),
    ("Normalised descent", "GDA", "Normalisation alone: it ends nearer than GDA"),
    ("Adam, beta1 = 0", "RMSProp", "Longer memory: Adam without momentum ends nearer than RMSProp"),
    ("Adam, alternating", "Adam", "Alternation: alternating Adam ends nearer than simultaneous Adam"),
    (
        "Adam, beta1 = 0, alternating",
        "Adam, beta1 = 0",
        "Alternation without momentum: it brings Adam without momentum nearer",
    ),
    ("Adam, beta1 = 0, optimistic", "Adam, beta1 = 0", "Optimism brings Adam without momentum nearer"),
    (f"GDA {DECAYED}", "GDA", "Decay alone: GDA with decay ends nearer than GDA"),
    (f"Adam {DECAYED}", "Adam", "Adam with decay ends nearer than Adam"),
    ("Adam", "Optimistic GDA", "Adam ends nearer than optimistic GDA"),
)


def _final(sweep: SweepResult, regime: str, name: str) -> Array:
    return np.maximum(sweep.values(regime, name), FLOOR)


def _damps(sweep: SweepResult, regime: str) -> Finding:
    values = _final(sweep, regime, "Adam")
    return finding(
        regime,
        stats.interval(values),
        below=LEAST_EFFECT,
        replicas=len(values),
        text="Tuned Adam comes in",
        unit="x the starting distance",
    )


def _better(sweep: SweepResult, regime: str) -> Finding:
    adam, descent = (_final(sweep, regime, v) for v in ("Adam", "GDA"))
    return finding(
        regime,
        stats.ratio(adam, descent),
        below=LEAST_EFFECT,
        replicas=len(adam),
        text="Tuned Adam ends nearer than tuned GDA",
        unit="x the distance",
    )


def _part(sweep: SweepResult, a: str, b: str, text: str) -> Finding:
    """Final distance of `a` over that of `b`, over all regimes (each resampled by itself)."""
    strata = [
        stats.differences(np.log10(_final(sweep, r, a)), np.log10(_final(sweep, r, b))) for r in sweep.regimes
    ]
    mid, low, high = (float(10.0**x) for x in stats.interval(strata, "iqm"))
    return finding(
        f"all regimes: {a} against {b}",
        (mid, low, high),
        below=1.0,
        replicas=len(strata[0]),
        text=text,
        unit="x the distance",
        decisive=False,
    )


def judge(results: Results) -> Verdict:
    """The criterion, regime by regime; the parts beside it."""
    sweep = results.sweep("tuned")
    damps = [_damps(sweep, r) for r in sweep.regimes]
    better = [_better(sweep, r) for r in sweep.regimes]
    parts = [_part(sweep, *part) for part in PARTS]
    return verdict([*damps, *better, *parts], _sentence(damps, better, parts))


def _sentence(damps: list[Finding], better: list[Finding], parts: list[Finding]) -> str:
    def count(found: list[Finding]) -> str:
        return f"{sum(f.outcome is Outcome.HOLDS for f in found)} of {len(found)}"

    momentum, scaling = parts[0], parts[1]
    helps = {Outcome.HOLDS: "works against it", Outcome.FAILS: "helps", Outcome.UNCLEAR: "is open"}
    helped = {Outcome.HOLDS: "is what damps", Outcome.FAILS: "does not damp", Outcome.UNCLEAR: "is open"}
    return (
        f"Tuned Adam damps in {count(damps)} regimes and better than tuned GDA in {count(better)}; momentum "
        f"{helps[momentum.outcome]} (without it Adam ends at {momentum.effect:.2g} times the distance), a "
        f"second moment for each player {helped[scaling.outcome]} (at {scaling.effect:.2g} times the "
        "distance of Adam with one for both)."
    )


def tables(results: Results) -> tuple[Table, ...]:
    """Tuned results and oscillation, a regime each."""
    sweep = results.sweep("tuned")
    found = []
    for regime in sweep.regimes:
        found += [sweep_table(sweep, regime), _swing_table(sweep, regime)]
    return tuple(found)


def _swing_table(sweep: SweepResult, regime: str) -> Table:
    def cell(values: Array) -> str:
        return "n/a" if np.isnan(values).any() else with_interval(stats.interval(values))

    rows = []
    for name in MEASURED:
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
