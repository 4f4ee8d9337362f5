"""The verdict of the study `orbits`, and its tables; they read stored results only."""

from __future__ import annotations

import math

import numpy as np

from core.lab import stats
from core.lab.experiment import Array
from core.lab.study import Results, Table
from core.lab.tables import number, with_interval
from core.lab.verdict import Finding, Verdict, finding, tally, verdict
from games.orbit import descent_growth

EXACT = 1e-12
AGREES = 1e-6
LEAVES = 1.01


def _largest(values: Array) -> tuple[float, float, float]:
    """The largest of deviations that leave no uncertainty, from zero."""
    worst = float(values.max())
    return worst, 0.0, worst


def _exact(results: Results, play: str, text: str) -> list[Finding]:
    """The largest deviation from a closed form at each learning rate."""
    return [
        finding(
            f"{play}, lr {cell['lr']:g}",
            _largest(arrays["deviation"]),
            below=EXACT,
            replicas=len(arrays["deviation"]),
            text=text,
            unit="relative deviation",
        )
        for cell, arrays in results.measurement("closed form").where(play=play)
    ]


def _theory(results: Results) -> list[Finding]:
    """The contraction observed on paths against the largest eigenvalue of a round, method by method."""
    found = results.measurement("theory")
    return [
        finding(
            f"linear theory: {cell['variant']}",
            _largest(np.abs(arrays["observed"] / arrays["predicted"] - 1.0)),
            below=AGREES,
            replicas=len(arrays["observed"]),
            text="The factor a round seen on paths is the modulus of the largest eigenvalue",
            unit="relative deviation",
            decisive=False,
        )
        for cell, arrays in found
    ]


def _turns(results: Results) -> list[Finding]:
    """Is it a circle: growth of the radius in a turn at a learning rate of 0.1."""
    found = []
    for cell, arrays in results.measurement("turning"):
        column = int(np.argmin(np.abs(arrays["lr"][0] - 0.1)))
        growth = np.exp(arrays["growth"][:, column])
        found.append(
            finding(
                f"{cell['variant']}, lr 0.1",
                stats.interval(growth) if np.isfinite(growth).all() else (math.nan,) * 3,
                below=LEAVES,
                replicas=len(growth),
                text=f"{cell['variant']} comes back to its radius after a turn, to one per cent",
                unit="x the radius, a turn",
                decisive=False,
            )
        )
    return found


def judge(results: Results) -> Verdict:
    """The criterion, rate by rate; circles and linear theory beside it."""
    decisive = [
        *_exact(results, "simultaneous", "GDA's radius grows by sqrt(1 + lr^2) a step"),
        *_exact(results, "alternating", "Alternating GDA conserves x^2 + y^2 - lr x y"),
    ]
    turns, theory = _turns(results), _theory(results)
    sentence = _sentence(decisive, turns, theory)
    return verdict([*decisive, *turns, *theory], sentence, short=_short(decisive, turns))


def _a_turn(turns: list[Finding]) -> str:
    spiral = next(f for f in turns if f.text.startswith("GDA comes"))
    return f"{100.0 * (spiral.effect - 1.0):.0f}%"


def _short(decisive: list[Finding], turns: list[Finding]) -> str:
    leaves, stays = (
        tally([f for f in decisive if f.regime.startswith(play)]) for play in ("simultaneous", "alternating")
    )
    return (
        f"Simultaneous GDA spirals out by sqrt(1 + lr^2) a step at {leaves} rates ({_a_turn(turns)} a turn "
        f"at lr 0.1); alternating GDA keeps its ellipse at {stays}."
    )


def _sentence(decisive: list[Finding], turns: list[Finding], theory: list[Finding]) -> str:
    return (
        f"Simultaneous GDA never circles xy: it spirals out by exactly sqrt(1 + lr^2) a step (at lr 0.1 by "
        f"{_a_turn(turns)} a turn) and the smallest rate only makes it slow; alternating "
        f"GDA circles, on an ellipse that it does not leave (closed forms to {EXACT:g} in {tally(decisive)}; "
        f"linear theory to {AGREES:g} in {tally(theory)} methods)."
    )


def tables(results: Results) -> tuple[Table, ...]:
    """Deviations from closed forms, and predicted and observed factors."""
    closed = tuple(
        (
            str(cell["play"]),
            number(cell["lr"]),
            number(descent_growth(cell["lr"]), 6) if cell["play"] == "simultaneous" else "1 (conserved)",
            number(float(arrays["deviation"].max()), 2),
        )
        for cell, arrays in results.measurement("closed form")
    )
    rates = [
        (
            str(cell["variant"]),
            number(rate),
            number(float(arrays["predicted"][0, i]), 8),
            with_interval(stats.interval(arrays["observed"][:, i]), 8),
        )
        for cell, arrays in results.measurement("theory")
        for i, rate in enumerate(cell["rates"])
    ]
    return (
        Table(
            "Closed forms on xy: factor of the radius (simultaneous) or of the quadratic form (alternating) "
            "a step, and the largest relative deviation over all steps and starts.",
            ("play", "learning rate", "factor", "largest deviation"),
            closed,
        ),
        Table(
            "Linear theory on xy: factor a round by the spectrum of the step's Jacobian, and as seen on "
            "paths.",
            ("method", "learning rate", "predicted", "observed"),
            tuple(rates),
        ),
    )
