"""The verdict of the study `equilibrium`, and its tables; they read stored results only."""

from __future__ import annotations

import numpy as np

from core.lab import stats
from core.lab.study import Results, Table
from core.lab.tables import number, with_interval
from core.lab.verdict import Finding, Verdict, finding, tally, verdict
from games.studies.equilibrium_settings import ITERATES, METHODS, REGIMES, tuned

LEAST_EFFECT = 0.9
PARTS = (
    ("last", "Adam, beta1 = 0", "Adam", "Momentum: without it Adam's last iterate is less exploitable"),
    (
        "last",
        "Adam, beta1 = 0",
        "Adam, beta1 = 0, shared v",
        "Scaling, without momentum: a v a coordinate is less exploitable than one v",
    ),
    (
        "last",
        "Adam",
        "Adam, shared v",
        "Scaling, with momentum: a v a coordinate is less exploitable than one v",
    ),
    ("last", "GDA with lr decay", "GDA", "Decay alone: it makes GDA's last iterate less exploitable"),
    ("last", "Adam with lr decay", "Adam", "Decay makes Adam's last iterate less exploitable"),
    ("last", "Adam, alternating", "Adam", "Alternation makes Adam's last iterate less exploitable"),
    ("last", "Optimistic GDA", "Adam", "Optimistic GDA's last iterate is less exploitable than Adam's"),
    (
        "average",
        "Adam with lr decay",
        "GDA with lr decay",
        "Both decayed, Adam's average is less exploitable",
    ),
)


def _better(results: Results, regime: str, iterate: str) -> Finding:
    adam, descent = (results.once(tuned, regime, m, iterate).final for m in ("Adam", "GDA"))
    return finding(
        f"{regime}: {iterate} iterate",
        stats.ratio(adam, descent),
        below=LEAST_EFFECT,
        replicas=len(adam),
        text=f"Tuned Adam's {iterate} iterate is less exploitable than tuned GDA's",
        unit="x the exploitability",
    )


def _over_games(results: Results, a: tuple[str, str], b: tuple[str, str], text: str) -> Finding:
    """Exploitability of (method, iterate) `a` over that of `b`, over all games (each resampled by itself),
    with the games on either side counted by whole intervals, and those in which a rate is the lowest."""
    pairs = [[results.once(tuned, r.name, method, iterate) for method, iterate in (a, b)] for r in REGIMES]
    strata = [stats.differences(*(np.log10(side.final) for side in pair)) for pair in pairs]
    mid, low, high = (float(10.0**x) for x in stats.interval(strata, "iqm"))
    ratios = [stats.ratio(pair[0].final, pair[1].final) for pair in pairs]
    less, more = sum(x[2] < 1.0 for x in ratios), sum(x[1] > 1.0 for x in ratios)
    said = [f"{text} (less in {less}, more in {more} of {len(ratios)} games)"]
    for side, (method, _) in enumerate((a, b)):
        lowest = sum(pair[side].lowest for pair in pairs)
        said += [f"{method} is best at the lowest rate, standing still, in {lowest}"] if lowest else []
    return finding(
        f"all games: {a[0]}, {a[1]}, against {b[0]}, {b[1]}",
        (mid, low, high),
        below=1.0,
        replicas=len(strata[0]),
        text="; ".join(said),
        unit="x the exploitability",
        decisive=False,
    )


def judge(results: Results) -> Verdict:
    """The criterion, game by game; the parts beside it."""
    decisive = [_better(results, r.name, iterate) for iterate in ITERATES for r in REGIMES]
    averaging = [
        _over_games(results, (m, "average"), (m, "last"), f"Averaging makes {m} less exploitable")
        for m in ("GDA", "Adam")
    ]
    parts = [_over_games(results, (a, it), (b, it), text) for it, a, b, text in PARTS]
    sentence = _sentence(decisive, averaging, parts)
    return verdict([*decisive, *averaging, *parts], sentence, short=_short(decisive))


def _of(decisive: list[Finding], iterate: str) -> str:
    """In how many games Adam's iterate is the less exploitable one."""
    return tally([f for f in decisive if f.regime.endswith(f"{iterate} iterate")])


def _short(decisive: list[Finding]) -> str:
    return (
        f"Tuned Adam is less exploitable than tuned GDA in {_of(decisive, 'last')} games by its last iterate "
        f"and in {_of(decisive, 'average')} by its average."
    )


def _sentence(decisive: list[Finding], averaging: list[Finding], parts: list[Finding]) -> str:
    descent, adam = averaging
    optimistic = next(f for f in parts if f.text.startswith("Optimistic"))
    return (
        f"{_short(decisive).removesuffix('.')}; averaging leaves {descent.effect:.2g} (GDA) and "
        f"{adam.effect:.2g} (Adam) of the exploitability, and optimistic GDA's last iterate has "
        f"{optimistic.effect:.2g} of Adam's."
    )


def tables(results: Results) -> tuple[Table, ...]:
    """Every method in every game: exploitability and distance of both iterates."""
    found = []
    for regime in REGIMES:
        rows = []
        for method in METHODS:
            cells: list[str] = [method.name]
            for iterate in ITERATES:
                got = results.once(tuned, regime.name, method.name, iterate)
                cells += [
                    number(got.lr) + (" (edge of grid)" if got.edge else ""),
                    with_interval(stats.interval(got.final)),
                    with_interval(stats.interval(got.distance)),
                ]
            rows.append(tuple(cells))
        heads = tuple(f"{it}: {what}" for it in ITERATES for what in ("lr", "exploitability", "distance"))
        found.append(
            Table(
                f"{regime.name}: interquartile mean over {results.plan.reporting_seeds} fresh seeds with 95% "
                f"bootstrap intervals after {results.plan.steps} steps; tuned on "
                f"{results.plan.tuning_seeds} others.",
                ("method", *heads),
                tuple(rows),
            )
        )
    return tuple(found)
