"""How runs of training went: what they returned, when they reached a return, and whether they failed.

A run that diverged counts everywhere as one that has learned nothing: it returns what its own policy returned
before the first update, it never reached any level, and it has failed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.lab import stats
from core.lab.experiment import Array
from core.lab.run import Run
from core.lab.study import Table
from core.lab.sweep import SweepResult
from core.lab.tables import with_interval

SOLVING = 195.0
"""A return of CartPole-v1 below which a run has failed: what its first version counted as solved."""


def returns(result: SweepResult, regime: str, variant: str) -> Array:
    """`[seeds]`: the mean return over training; of a run that diverged, that of its first episodes."""
    values = result.values(regime, variant)
    return np.where(np.isfinite(values), values, untrained(result.run(regime, variant)))


def untrained(run: Run) -> Array:
    """`[seeds]`: the return of the first training episodes, before any update."""
    return np.asarray(run.curves["field/return"][:, 0])


def first_reached(run: Run, level: float) -> Array:
    """`[seeds]`: the first recorded update at which training episodes returned `level`; else infinite."""
    reached = np.nan_to_num(run.curves["field/return"][:, 1:], nan=-np.inf) >= level
    steps = run.steps[1:].astype(np.float64)
    return np.where(reached.any(axis=1), steps[reached.argmax(axis=1)], np.inf)


def speed(run: Run, level: float) -> Array:
    """`[seeds]`: minus log2 of `first_reached`; runs that never got there count as twice the budget."""
    first = first_reached(run, level)
    return np.asarray(-np.log2(np.where(np.isfinite(first), first, 2.0 * run.steps[-1])))


def ended_below(run: Run, level: float) -> Array:
    """bool `[seeds]`: the last recorded training episodes returned less than `level`, or the run diverged."""
    return np.asarray(~(run.curves["field/return"][:, -1] >= level))


Column = tuple[str, Callable[[str], str]]
"""A head, and the text of a variant's row."""


def outcome_table(
    result: SweepResult,
    regime: str,
    *,
    learned: float,
    failed: float = SOLVING,
    more: tuple[Column, ...] = (),
) -> Table:
    """The IQM of the objective, the share of failures and the updates to a threshold, a row a variant.

    Args:
        learned: the return of training episodes whose first update is given.
        failed: see `ended_below`.
        more: further columns.
    """
    rows = []
    for name in result.variants:
        run, values = result.run(regime, name), returns(result, regime, name)
        steps = first_reached(run, learned)
        rows.append(
            (
                name,
                with_interval(stats.interval(values)),
                with_interval(stats.proportion(ended_below(run, failed)), 2),
                with_interval(stats.interval(steps, "median")),
                with_interval(stats.proportion(np.isinf(steps)), 2),
                *(text(name) for _, text in more),
            )
        )
    return Table(
        f"{regime}: IQM of the mean return over training; the share of runs whose last recorded training "
        f"episodes returned less than {failed:g}; median updates until training episodes returned "
        f"{learned:g}, and the share of runs in which they never did. A run that diverged counts as "
        f"untrained. {result.sweep.reporting_seeds} fresh seeds, 95% intervals by bootstrap, of shares "
        "by Wilson.",
        ("variant", "IQM", "share failed", f"updates to {learned:g}", "never", *(head for head, _ in more)),
        tuple(rows),
    )
