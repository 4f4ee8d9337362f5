"""The verdict of the study `orbits`, and its tables; they read stored results only."""

from __future__ import annotations

import numpy as np

from core.lab import stats
from core.lab.study import Results, Table
from core.lab.tables import number, sweep_table, with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, verdict
from games.orbit import cycle_radius

LEAST_EFFECT = 0.9
"""A radius within a tenth of the start's is not damped."""
TABLE_RATES = (0.01, 0.1)


def _final(
    results: Results, regime: str, name: str, text: str, *, stays: bool, decisive: bool = True
) -> Finding:
    """The final over the starting distance of a tuned variant against `LEAST_EFFECT`."""
    values = stats.interval(results.sweep("tuned").values(regime, name))
    return finding(
        f"{regime}: {name}",
        values,
        above=LEAST_EFFECT if stays else None,
        below=None if stays else LEAST_EFFECT,
        replicas=results.plan.reporting_seeds,
        text=text,
        unit="x the starting distance",
        decisive=decisive,
    )


def _inside(results: Results) -> Finding:
    ((cell, arrays),) = results.measurement("cycle").where(variant="Adam", side="inside")
    return finding(
        "exact field, start inside Adam's cycle",
        stats.ratio(arrays["radius"], arrays["start"]),
        below=LEAST_EFFECT,
        replicas=results.plan.reporting_seeds,
        text=f"Adam at lr {cell['lr']:g} dampens a path from {cell['start']:g} lr away",
        unit="x the starting distance",
    )


def _beside(results: Results) -> list[Finding]:
    """Exactness, what does the damping, and the cures: shown, not judged by."""
    sweep, regime, n = results.sweep("tuned"), results.sweep("tuned").regimes[0], results.plan.reporting_seeds
    found = []
    for play, known in (
        ("simultaneous", "GDA's radius grows by sqrt(1 + lr^2) a step"),
        ("alternating", "alternating GDA conserves x^2 + y^2 - lr x y"),
    ):
        worst = np.max(
            [a["deviation"] for _, a in results.measurement("closed form").where(play=play)], axis=0
        )
        found.append(
            finding(
                f"closed form, {play}",
                (float(worst.max()), 0.0, float(worst.max())),
                below=1e-12,
                replicas=n,
                text=f"{known}, at every learning rate",
                unit="relative deviation",
                decisive=False,
            )
        )
    for other, text in (
        ("Adam, beta1 = 0", "Adam ends nearer than Adam without momentum"),
        ("Adam, shared v", "Adam ends nearer than Adam with one v for both players"),
        ("RMSProp", "Adam ends nearer than RMSProp"),
        ("Sign descent", "Adam ends nearer than sign descent"),
    ):
        ratio = stats.ratio(sweep.values(regime, "Adam"), sweep.values(regime, other))
        found.append(
            finding(
                f"{regime}: Adam against {other}",
                ratio,
                below=1.0,
                replicas=n,
                text=f"{text}, both tuned",
                unit="x the distance",
                decisive=False,
            )
        )
    for name in ("Adam", "RMSProp", "Extragradient", "Optimistic GDA"):
        values = stats.interval(sweep.values(regime, name))
        found.append(
            finding(
                f"{regime}: {name}",
                values,
                below=0.01,
                replicas=n,
                text=f"Tuned {name} converges (to a hundredth)",
                unit="x the starting distance",
                decisive=False,
            )
        )
    return found


def judge(results: Results) -> Verdict:
    """The criterion, regime by regime."""
    names = results.sweep("tuned").regimes
    stays = [
        _final(results, r, "GDA", "Tuned simultaneous GDA does not come nearer", stays=True) for r in names
    ]
    damps = [_final(results, r, "Adam", "Tuned Adam dampens", stays=False) for r in names]
    damps.append(_inside(results))
    beside = _beside(results)
    alternating = _final(
        results,
        names[0],
        "GDA, alternating",
        "Tuned alternating GDA does not come nearer",
        stays=True,
        decisive=False,
    )
    return verdict([*stays, *damps, alternating, *beside], _sentence(stays, damps, beside))


def _sentence(stays: list[Finding], damps: list[Finding], beside: list[Finding]) -> str:
    def regimes(found: list[Finding], outcome: Outcome) -> str:
        return (
            ", ".join(f.regime.removesuffix(": Adam") for f in found if f.outcome is outcome) or "no regime"
        )

    held = sum(f.outcome is Outcome.HOLDS for f in stays)
    exact = next(f for f in beside if f.regime.startswith("closed form, simultaneous"))
    spiral = (
        "a spiral, as in the closed form"
        if exact.outcome is Outcome.HOLDS
        else "not the closed form's spiral"
    )
    open_question = [f for f in damps if f.outcome is Outcome.UNCLEAR]
    part = {f.regime.rpartition("against ")[2]: f.outcome for f in beside if "against" in f.regime}
    momentum = "helps" if part["Adam, beta1 = 0"] is Outcome.HOLDS else "does not help"
    scaling = "does" if part["Adam, shared v"] is Outcome.HOLDS else "does not either"
    return (
        f"Simultaneous GDA does not approach the equilibrium in {held} of {len(stays)} regimes; its exact "
        f"path is {spiral}. Tuned Adam dampens in: {regimes(damps, Outcome.HOLDS)}; not in: "
        f"{regimes(damps, Outcome.FAILS)}"
        + (f"; undecided in: {regimes(damps, Outcome.UNCLEAR)}" if open_question else "")
        + f". Momentum {momentum} with that, a second moment of its own for each player {scaling}."
    )


def tables(results: Results) -> tuple[Table, ...]:
    """Tuned results a regime, turning at common rates, and long-run radii."""
    sweep = results.sweep("tuned")
    return (*(sweep_table(sweep, r) for r in sweep.regimes), _turning_table(results), _cycle_table(results))


def _turning_table(results: Results) -> Table:
    rows = []
    for cell, arrays in results.measurement("turning").where(regime=results.sweep("tuned").regimes[0]):
        for rate in TABLE_RATES:
            column = int(np.argmin(np.abs(arrays["lr"][0] - rate)))
            growth = arrays["growth"][:, column]
            rows.append(
                (
                    str(cell["variant"]),
                    number(rate),
                    number(1000.0 * stats.centre(arrays["turns"][:, column])),
                    "n/a" if np.isnan(growth).any() else with_interval(stats.interval(growth)),
                )
            )
    return Table(
        f"Turning, exact field, {results.plan.sizes['turning_steps']} steps from radius 1. A positive "
        "growth of log radius is a spiral outwards. n/a: less than a twentieth of a turn.",
        ("variant", "learning rate", "turns in 1,000 steps", "growth of log radius a turn"),
        tuple(rows),
    )


def _cycle_table(results: Results) -> Table:
    found = results.measurement("cycle")
    rows = []
    for (cell, inside), (_, outside) in zip(
        found.where(side="inside"), found.where(side="outside"), strict=True
    ):
        rows.append(
            (
                str(cell["variant"]),
                *(with_interval(stats.interval(arrays["radius"])) for arrays in (inside, outside)),
                number(cycle_radius(cell["beta1"], cell["beta2"])),
            )
        )
    starts = " and from ".join(f"{start:g}" for start in sorted({float(c["start"]) for c in found.cells}))
    return Table(
        f"Long-run radius on the exact field, in learning rates ({found.cells[0]['lr']:g}), after "
        f"{found.cells[0]['steps']} steps from {starts}.",
        ("variant", "from inside", "from outside", "averaged over a turn (theory)"),
        tuple(rows),
    )
