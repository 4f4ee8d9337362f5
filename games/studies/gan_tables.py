"""Tables of the study `gan`; they read stored results only."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from core.lab import stats
from core.lab.experiment import Array
from core.lab.study import Results, Table
from core.lab.tables import number, sweep_table, with_interval
from games.studies.gan_compared import STEADINESS, Compared, budgets, regained
from games.studies.gan_settings import CONTINUED, LINEAR

QUALITIES = {
    "quality": "good samples",
    "energy": "energy distance",
    "sliced": "sliced Wasserstein distance",
    "frechet": "Fréchet distance",
}
"""Of samples, by measure; those that a law has."""


def tables(results: Results) -> tuple[Table, ...]:
    """Tuned modes, quality and distances, steadiness, and ranks beside the linear game."""
    found: list[Table] = []
    for budget in budgets(results):
        of = Compared.of(results, budget)
        for regime in of.regimes:
            found += [sweep_table(part, regime) for part in of.parts]
            found += [_quality(of, regime, budget), _steadiness(of, regime, budget)]
    found += [_continued(results, r) for r in Compared.continued(results).regimes]
    return (*found, *(_ranks(results, game.name) for game in LINEAR))


def _with(values: Array) -> str:
    return with_interval(stats.interval(np.nan_to_num(values, nan=np.inf)))


def _quality(of: Compared, regime: str, budget: str) -> Table:
    names = [n for n in QUALITIES if n in of.run(regime, of.methods[0]).curves]
    rows = [(m, *(_with(of.run(regime, m).curves[n][:, -1]) for n in names)) for m in of.methods]
    return Table(
        f"{regime}, {budget} budget, at the end: share of good samples (on a mixture within 3 standard "
        "deviations of a mode, 0.989 for the data itself), and distances to the data (lower is better).",
        ("method", *(QUALITIES[n] for n in names)),
        tuple(rows),
    )


def _steadiness(of: Compared, regime: str, budget: str) -> Table:
    rows = [
        (
            m,
            *(_with(measure(of.run(regime, m))) for measure in STEADINESS.values()),
            with_interval(stats.proportion(of.run(regime, m).diverged), 2),
        )
        for m in of.methods
    ]
    return Table(
        f"{regime}, {budget} budget: oscillation during training, from 40 records (who covers few modes has "
        "few to lose; modes regained: counted over all of training, the rest over its second half).",
        ("method", *STEADINESS, "share diverged"),
        tuple(rows),
    )


def _continued(results: Results, regime: str) -> Table:
    """Slower, or less stable? The same paths, seven times as long."""
    short, long = Compared.of(results, "short"), Compared.continued(results)
    names = [n for n in QUALITIES if n in short.run(regime, CONTINUED[0]).curves and n != "energy"]
    rows = []
    for name in CONTINUED:
        runs = [of.run(regime, name) for of in (short, long)]
        rows.append(
            (
                name,
                number(short.part(name).tuned[regime, name].best["lr"]),
                *(with_interval(stats.interval(of.final(regime, name), "mean")) for of in (short, long)),
                *(_with(run.curves[n][:, -1]) for n in names for run in runs),
                _with(regained(runs[1])),
            )
        )
    return Table(
        f"{regime}: the same paths at the end of the short budget (1x) and after seven times as many "
        "evaluations (7x), at the rate tuned for the short one. Modes regained: from 40 records over all of "
        "the long run.",
        (
            "method",
            "learning rate",
            "modes, 1x",
            "modes, 7x",
            *(f"{QUALITIES[n]}, {times}" for n in names for times in ("1x", "7x")),
            "modes regained, 7x",
        ),
        tuple(rows),
    )


def _ranks(results: Results, game: str) -> Table:
    """Where the ranking of a linear game carries over, and where it turns over."""
    linear = Compared.of(results, "linear")
    budget = budgets(results)[-1]
    of = Compared.of(results, budget)
    regime = of.regimes[0]
    near = [stats.centre(linear.final(game, m)) for m in of.methods]
    covered = [float(of.final(regime, m).mean()) for m in of.methods]
    places = [rankdata(x, method="min").astype(int) for x in (np.array(near), -np.array(covered))]
    rows = [
        (m, number(near[i]), str(places[0][i]), number(covered[i]), str(places[1][i]))
        for i, m in sorted(enumerate(of.methods), key=lambda pair: near[pair[0]])
    ]
    return Table(
        f"Places in the game {game} and in the GAN ({regime}, {budget} budget), each method tuned in each; "
        "equals share a place.",
        ("method", "final distance from the equilibrium", "place", "modes covered", "place"),
        tuple(rows),
    )
