"""The tables of the study of variance reduction."""

from __future__ import annotations

import numpy as np

from core.lab import stats
from core.lab.study import Results, Table
from core.lab.tables import sweep_table, with_interval
from rl.oracle import LEAST_SIGNAL
from rl.outcomes import Column, outcome_table
from rl.studies.settings import BASELINES, LEARNED
from rl.studies.variance_reduction_settings import AVERAGED, BASE
from rl.studies.variance_reduction_verdict import NOISE, SCALES, gain_shared, learned, stages

_COLUMNS = (
    ("noise", "noise in the update"),
    (NOISE, "noise in its direction"),
    ("noise together", "noise in 25 updates together"),
    ("cosine", "cosine"),
    ("improvement to noise", "improvement to noise"),
    ("downhill", "share downhill"),
    ("signal to noise", "signal to noise"),
    ("measured gain", "measured gain"),
    ("measured gain, logit", "the same, logit"),
)


def _frozen_table(results: Results, regime: str, stage: str, baseline: str) -> Table:
    names = dict.fromkeys(
        key.split("/")[1]
        for key in results.measurement("updates").only(stage=stage)
        if key.startswith(f"{baseline}/")
    )
    arrays = results.measurement("updates").only(stage=stage)
    missed = int((arrays["reached"] == 0).sum())
    rows = tuple(
        (
            name,
            *(
                with_interval(stats.interval(arrays[key], "mean"), 2) if key in arrays else ""
                for key in (f"{baseline}/{name}/{measure}" for measure, _ in _COLUMNS)
            ),
        )
        for name in names
    )
    return Table(
        f"{regime}: what updates are like. Means over {results.plan.sizes['policies']} frozen policies "
        f"({missed} of which never returned what the stage is named for) with "
        "95% bootstrap intervals; cosine with the true gradient, mean over standard deviation of the "
        "first-order improvement, root mean square signal-to-noise of a coordinate, and the change in return "
        "after one update of equal length, raw and as logit of return / 500.",
        ("rule", *(head for _, head in _COLUMNS)),
        rows,
    )


def _shares_table(results: Results, regime: str) -> Table:
    """How each variant learned, and its share of Adam's gain on three scales."""

    def share(scale: str) -> Column:
        return (
            f"share of Adam's gain, {scale}",
            lambda name: "" if name == BASE else with_interval(gain_shared(results, regime, name, scale), 2),
        )

    more = tuple(share(scale) for scale in SCALES)
    return outcome_table(results.sweep("learning"), regime, learned=LEARNED, more=more)


def _oracle_table(results: Results) -> Table:
    """How the oracles learned, and how often their moment was too small to be measured."""
    sweep = results.sweep("oracles")
    rows = []
    for name in sweep.regimes:
        clipped = np.nan_to_num(sweep.run(name, AVERAGED).curves["field/clipped"]).mean(axis=1)
        shares = (gain_shared(results, BASELINES["none"], name, scale) for scale in SCALES)
        rows.append(
            (
                name,
                with_interval(stats.interval(learned(results, "", name), "mean")),
                *(with_interval(share, 2) for share in shares),
                with_interval(stats.interval(clipped, "mean"), 2),
            )
        )
    return Table(
        f"Oracles, measured at every step on {results.plan.sizes['measured_on']} other episodes, without "
        "baseline: mean return over training; share of Adam's gain; and the share of coordinates whose mean² "
        f"was measured below {LEAST_SIGNAL:g} of the variance and put there, mean over training. Where that "
        "share is large, the oracle of mean² says little. Means over fresh seeds with 95% bootstrap "
        "intervals.",
        ("oracle", "mean return", *(f"share of Adam's gain, {scale}" for scale in SCALES), "share clipped"),
        tuple(rows),
    )


def tables(results: Results) -> tuple[Table, ...]:
    """Learning first, then the updates at each frozen policy."""
    learning, oracles = results.sweep("learning"), results.sweep("oracles")
    return (
        *(_shares_table(results, regime) for regime in learning.regimes),
        _oracle_table(results),
        *(sweep_table(learning, regime) for regime in learning.regimes),
        *(sweep_table(oracles, regime) for regime in oracles.regimes),
        *(_frozen_table(results, *where) for where in stages()),
    )
