"""What a method did on a game, as the rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.lab import stats
from core.lab.experiment import Array
from core.lab.run import Run
from core.lab.tables import number, with_interval
from core.lab.variant import Variant
from games.limit_cycle import LimitCycle
from games.orbit import turning
from games.simplex import MatrixGame
from games.spectrum import Point
from games.theory import factor_rows

Rows = list[tuple[str, str]]


def orbit_rows(point: Point, variant: Variant, run: Run, lr: float, *, exact: bool) -> Rows:
    """Distances, the factor a step by linear theory and as observed, turns and growth a turn.

    Args:
        point: the game at its equilibrium.
        run: with the curve `distance`, maybe `angle`; paths kept.
        exact: whether field and rate are those of the theory (no noise, no decay) at each step of the run.
    """
    distance = run.curves["distance"]
    rows = [
        ("distance at the start", number(float(distance[:, 0].mean()))),
        ("distance at the end", with_interval(stats.interval(_final(run, "distance")))),
        ("replicas that diverged", f"{int(run.diverged.sum())} of {len(distance)}"),
        *factor_rows(point, variant, lr, run.path if exact and _every_step(run) else None),
    ]
    if "angle" in run.curves and _every_step(run):
        turns, growth = turning(distance, run.curves["angle"])
        rows.append(("turns in 1,000 steps", number(1000.0 * stats.centre(turns))))
        if not np.isnan(growth).any():
            rows.append(("growth of log distance a turn", with_interval(stats.interval(growth))))
    return rows


def cycle_of(variant: Variant) -> LimitCycle | None:
    """The averaged motion of Adam and RMSProp on the exact game xy; None for a method without a known law."""
    rule = variant.update_rule
    settings: dict[str, Any] = {**rule.hyper, **variant.hyper}
    if rule.name not in ("adam", "rmsprop") or variant.adjust is not None or variant.schedule is not None:
        return None
    beta1, beta2 = (settings.get("beta1", 0.0), settings["beta2" if rule.name == "adam" else "alpha"])
    try:
        return LimitCycle.of(float(beta1), float(beta2), variant.play)
    except ValueError:
        return None


def cycle_rows(cycle: LimitCycle | None, lr: float) -> Rows:
    """Where the path ends by the law of `games.limit_cycle`."""
    if cycle is None:
        return []
    if cycle.drive <= 0.0:
        said = "none: nothing drives, it collapses to a few learning rates"
    else:
        said = number(lr * cycle.radius()) if cycle.exists else "none: too little damps, the path leaves"
    return [("radius of the limit cycle, by its law", said)]


def matrix_rows(game: MatrixGame, run: Run, of_average: Array) -> Rows:
    """Exploitability of the last and of the average strategies (`of_average` `[R, T]`), and the distance."""
    return [
        ("value of the game", number(game.equilibrium.value, 6)),
        ("exploitability at the start", number(float(run.curves["exploitability"][:, 0].mean()))),
        ("exploitability at the end", with_interval(stats.interval(_final(run, "exploitability")))),
        ("exploitability of the average", with_interval(stats.interval(of_average[:, -1]))),
        ("distance at the end", with_interval(stats.interval(_final(run, "distance")))),
    ]


def gan_rows(run: Run, shown: Sequence[int], measures: Sequence[str]) -> list[tuple[str, ...]]:
    """Measures at the recorded steps `shown`, the step first; mean over replicas, the worst for one that
    diverged."""

    def at(measure: str, index: int) -> str:
        worst = np.inf if measure == "frechet" else 0.0
        values = np.nan_to_num(run.curves[measure][:, index], nan=worst)
        return with_interval(stats.interval(values, "mean"))

    return [(str(run.steps[i]), *(at(m, i) for m in measures)) for i in shown]


def _final(run: Run, measure: str) -> Array:
    return np.where(run.diverged, np.inf, run.curves[measure][:, -1])


def _every_step(run: Run) -> bool:
    return bool(run.steps[-1] == len(run.steps) - 1)
