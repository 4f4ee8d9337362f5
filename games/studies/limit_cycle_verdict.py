"""The verdict of the study `limit-cycle`, and its tables; they read stored results only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.lab import stats
from core.lab.experiment import Array
from core.lab.measurement import MeasurementResult
from core.lab.study import Results, Table
from core.lab.tables import number, with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from games.studies.limit_cycle_settings import (
    LAGGING,
    PARTS,
    SIDES,
    predicted,
)

LAW_TOLERANCE, DISTURBED_TOLERANCE = 0.05, 0.10
"""Relative deviation of the radius from the one predicted."""
LOWEST_ORDER = 0.05
"""The law keeps the lowest order in k c; it is judged where that is at most this."""
LEAVES = 1.5
BEYOND = "beyond the law"
COLLAPSED = 10.0
"""Learning rates: a step is no longer small against a turn."""


def deviations(found: MeasurementResult, side: int, keep: Callable[[float], bool]) -> Array:
    """`[S, P]`: relative deviations from the law at every point with a cycle whose k c is to be kept."""
    columns = []
    for cell, arrays in found:
        law = predicted(cell)
        for i, radius in enumerate(law["radius"]):
            if np.isfinite(radius) and keep(law["drive"][i] * law["memory"][i]):
                columns.append(np.abs(arrays["radius"][:, i, side] / radius - 1.0))
    return np.stack(columns, axis=1)


def _follows(
    found: MeasurementResult,
    regime: str,
    text: str,
    *,
    keep: Callable[[float], bool] = lambda kc: kc <= LOWEST_ORDER,
    tolerance: float = LAW_TOLERANCE,
    decisive: bool = True,
) -> list[Finding]:
    """From inside and outside: the largest deviation over all points, against the tolerance."""
    results = []
    for i, side in enumerate(SIDES):
        values = deviations(found, i, keep)
        worst = values[:, int(values.mean(axis=0).argmax())]
        results.append(
            finding(
                f"{regime}, from {side}",
                stats.interval(worst, "mean"),
                below=tolerance,
                replicas=len(worst),
                text=f"{text}: largest deviation from the law, of {values.shape[1]} settings",
                unit="of the radius",
                decisive=decisive,
            )
        )
    return results


def _collapses(found: MeasurementResult, regime: str, text: str) -> Finding:
    """The largest radius left where the law knows no cycle for want of drive."""
    left = []
    for cell, arrays in found:
        for i, drive in enumerate(predicted(cell)["drive"]):
            if drive <= 0.0:
                left.append(arrays["radius"][:, i].max(axis=1))
    worst = np.stack(left, axis=1)
    return finding(
        regime,
        stats.interval(worst.max(axis=1), "mean"),
        below=COLLAPSED,
        replicas=len(worst),
        text=f"{text}: largest radius left, of {worst.shape[1]} settings",
        unit="learning rates",
    )


def _leaves(found: MeasurementResult) -> list[Finding]:
    """Setting by setting with k c >= 1: the radius after four times the steps over that before, from the
    larger start; 2 where r^2 grows steadily, 1 on a cycle."""
    findings = []
    outside = list(SIDES).index("outside")
    for (cell, short), (_, long) in zip(found.where(length="short"), found.where(length="long"), strict=True):
        law = predicted(cell)
        findings.append(
            finding(
                f"{BEYOND}, k c = {number(law['drive'][0] * law['memory'][0], 2)}",
                stats.ratio(long["radius"][:, 0, outside], short["radius"][:, 0, outside]),
                above=LEAVES,
                replicas=len(long["radius"]),
                text="Where the law has no cycle the path leaves: radius after four times the steps",
                unit="x the radius",
                decisive=False,
            )
        )
    return findings


def _noisy(found: MeasurementResult) -> Finding:
    """The mean radius over the law's, both sides and all settings together: a seed's own time average is not
    sharp enough to judge a setting alone.
    """
    ratios = [
        arrays["radius"][:, i].mean(axis=1) / radius
        for cell, arrays in found
        for i, radius in enumerate(predicted(cell)["radius"])
    ]
    mean, low, high = stats.interval(np.mean(ratios, axis=0) - 1.0, "mean")
    least = 0.0 if low <= 0.0 <= high else min(abs(low), abs(high))
    return finding(
        "additive noise",
        (abs(mean), least, max(abs(low), abs(high))),
        below=DISTURBED_TOLERANCE,
        replicas=len(ratios[0]),
        text=f"With noise of 10 to 100 learning rates: mean deviation from the law, {len(ratios)} settings",
        unit="of the radius",
        decisive=False,
    )


def _parts(results: Results) -> list[Finding]:
    """Radius late over early in the run, from the larger start: what damps, what does not."""
    found = []
    for name, variant in PARTS.items():
        radius = results.measurement("parts").only(variant=name)["radius"][:, 1]
        third = radius.shape[1] // 3
        early, late = (np.sqrt((part**2).mean(axis=1)) for part in (radius[:, :third], radius[:, -third:]))
        found.append(
            finding(
                f"parts: {name}",
                stats.ratio(late, early),
                below=1.0,
                replicas=len(radius),
                text=f"{name}{f' ({variant.note})' if variant.note else ''} comes in from 240 learning rates",
                unit="x the radius, last third over first",
                decisive=False,
            )
        )
    return found


def judge(results: Results) -> Verdict:
    """The criterion; eps, noise, parts and the law's limits beside it."""
    law, schemes, strengths, disturbed, beyond = (
        results.measurement(n) for n in ("law", "schemes", "strengths", "disturbed", "beyond")
    )
    decisive = [
        *_follows(law, "Adam", "Adam settles on the cycle"),
        *_follows(schemes, "play schemes", "Adam under other play schemes settles on the cycle"),
        *_follows(strengths, "weak optimism", "Optimism below 1/2 + beta1 / (1 - beta1) leaves the cycle"),
        _collapses(schemes, "play schemes, no drive", "Where the drive is negative, the cycle collapses"),
        _collapses(strengths, "strong optimism", "Optimism above 1/2 + beta1 / (1 - beta1) collapses it"),
    ]
    noisy, with_eps = disturbed.where(eps=0.0), disturbed.where(noise=0.0)
    beside = [
        *_follows(
            law,
            "Adam, large k c",
            "Beyond the lowest order",
            keep=lambda kc: kc > LOWEST_ORDER,
            decisive=False,
        ),
        *_follows(
            with_eps,
            "eps",
            "With eps of 3 to 30 learning rates",
            keep=lambda _: True,
            tolerance=DISTURBED_TOLERANCE,
            decisive=False,
        ),
        *_leaves(beyond),
        _noisy(noisy),
        *_parts(results),
    ]
    return verdict([*decisive, *beside], _sentence(decisive, beside), short=_short(decisive))


def _short(decisive: list[Finding]) -> str:
    radii = [f for f in decisive if f.unit == "of the radius"]
    collapses = [f for f in decisive if f not in radii]
    return (
        f"Adam ends on a cycle of the derived radius in {tally(radii)} checks (largest deviation "
        f"{max(f.effect for f in radii):.2g}); it collapses where the law says so in {tally(collapses)}."
    )


def _sentence(decisive: list[Finding], beside: list[Finding]) -> str:
    radii = [f for f in decisive if f.unit == "of the radius"]
    collapses = [f for f in decisive if f not in radii]
    worst = 100.0 * max(f.effect for f in radii)
    law = "lr sqrt(8c / (k (1 - k c))), k = 1 - beta2, c = 1 + 2 x the mean age of its gradients in steps"
    held = sum(f.outcome is Outcome.HOLDS for f in radii)
    said = (
        f"On exact xy, with k c up to {LOWEST_ORDER:g}, Adam neither converges nor diverges but ends on a "
        f"cycle of radius {law}"
        if held == len(radii)
        else f"The law of Adam's cycle on xy, {law}, holds in {held} of {len(radii)} settings"
    )
    said += f" (within {worst:.2g}%)"
    if all(f.outcome is Outcome.HOLDS for f in collapses):
        said += "; gradients from half a step ahead on average (c <= 0) make it collapse"
    said += f"; {_beyond(beside)}"
    return f"{said}; {_damping(beside)}."


def _beyond(beside: list[Finding]) -> str:
    """What happens where the law has no cycle, from k c = 1 on."""
    found = [f for f in beside if f.regime.startswith(BEYOND)]

    def sizes(outcome: Outcome) -> str:
        return ", ".join(f.regime.rpartition(" ")[2] for f in found if f.outcome is outcome)

    parts = (
        ("leaves", sizes(Outcome.HOLDS)),
        ("stays", sizes(Outcome.FAILS)),
        ("is open", sizes(Outcome.UNCLEAR)),
    )
    said = ", ".join(f"{what} at {at}" for what, at in parts if at)
    return f"from k c = 1 on the law has no cycle, and the path {said}"


def _damping(beside: list[Finding]) -> str:
    """Whether what damps is what the derivation says, or else who comes in and who leaves."""
    part = {f.regime.removeprefix("parts: "): f.outcome for f in beside if f.regime.startswith("parts: ")}
    into, away = ([n for n, o in part.items() if o is asked] for asked in (Outcome.HOLDS, Outcome.FAILS))
    listed = "; ".join(f"{name}: {PARTS[name].note}" for name in away)
    others = len(part) - len(LAGGING)
    if set(into) <= set(LAGGING) and not set(away) & set(LAGGING):
        still_open = [name for name in part if name not in (*into, *away)]
        said = (
            f"{len(into)} of {len(LAGGING)} methods with a second moment of each player that swings with its "
            f"gradient and lags behind it damp, {len(away)} of {others} others leave ({listed})"
        )
        return said + (f", open: {'; '.join(still_open)}" if still_open else "")
    return (
        f"from far outside {'; '.join(into) or 'no method'} come in and {'; '.join(away) or 'none'} leave, "
        "which is not the division that the derivation makes"
    )


def _settled_table(found: MeasurementResult, caption: str) -> Table:
    rows = []
    for cell, arrays in found:
        law = predicted(cell)
        for i, beta1 in enumerate(cell["beta1"]):
            rows.append(
                (
                    str(cell["scheme"]),
                    number(beta1),
                    number(cell["beta2"], 4),
                    number(cell["eps"]),
                    number(cell["noise"]),
                    number(law["drive"][i]),
                    number(law["drive"][i] * law["memory"][i], 2),
                    "collapse" if law["drive"][i] <= 0.0 else number(law["radius"][i], 4),
                    *(
                        with_interval(stats.interval(arrays["radius"][:, i, side], "mean"), 4)
                        for side in range(len(SIDES))
                    ),
                )
            )
    columns = (
        "scheme",
        "beta1",
        "beta2",
        "eps / lr",
        "noise / lr",
        "c",
        "k c",
        "law",
        "from inside",
        "from outside",
    )
    return Table(caption, columns, tuple(rows))


def tables(results: Results) -> tuple[Table, ...]:
    """Every measured radius beside the law."""
    unit = "Radius after a long run, in learning rates, mean over seeds with 95% bootstrap intervals"
    return (
        _settled_table(results.measurement("law"), f"Adam. {unit}."),
        _settled_table(results.measurement("schemes"), f"Adam under other play schemes. {unit}."),
        _settled_table(results.measurement("strengths"), f"Optimism of growing strength. {unit}."),
        _settled_table(results.measurement("disturbed"), f"With eps and with additive noise. {unit}."),
        _settled_table(results.measurement("beyond"), f"At k c >= 1, where the law has no cycle. {unit}."),
    )
