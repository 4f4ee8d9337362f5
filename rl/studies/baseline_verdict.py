"""The verdict and the tables of the study of baselines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.lab import stats
from core.lab.study import Results, Table
from core.lab.tables import sweep_table, with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from rl.outcomes import outcome_table
from rl.shares import change_of_share, share_of_gain
from rl.studies.baseline_settings import (
    BASELINES,
    BATCHES,
    CELLS,
    EQUAL,
    NORMALIZED,
    SPENT,
    WITHOUT,
    Cell,
    batch_name,
    gap,
    gaps_of,
    rival_of,
    spent_name,
    trio,
)
from rl.studies.settings import LEARNED

SCALES = {
    "return": "mean return over training",
    "logit": "logit of return / 500",
    "speed": "doublings of speed",
}
"""On which a lead is shown, seed by seed."""
SHARE = "share"
"""A scale with neither ceiling nor floor: descent's gain over an untrained policy, over Adam's."""
JUDGED = {"return": SCALES["return"], "logit": SCALES["logit"], SHARE: "descent's share of Adam's gain"}
SHOWN = {**JUDGED, "speed": SCALES["speed"]}

ALL = tuple(name for name in BASELINES if name != WITHOUT)
_NONE: Cell = ("baselines", WITHOUT)


@dataclass(frozen=True)
class Change:
    """Two settings whose gaps are compared.

    Attributes:
        name: what is compared.
        less: the less noisy settings, their gaps averaged.
        more: the noisier one.
        decisive: whether the criterion speaks of it.
    """

    name: str
    less: tuple[Cell, ...]
    more: Cell
    decisive: bool = False


def _dial(episodes: int) -> Cell:
    return "episodes", batch_name(episodes)


def _spent(episodes: int) -> Cell:
    return spent_name(episodes), spent_name(episodes)


CHANGES = (
    Change(f"any baseline for {WITHOUT}", tuple(("baselines", name) for name in ALL), _NONE, decisive=True),
    *(Change(f"{name} for {WITHOUT}", (("baselines", name),), _NONE) for name in ALL),
    Change(f"{NORMALIZED} for {WITHOUT}", (("normalised", NORMALIZED),), _NONE),
    *(
        Change(f"{e} episodes for {BATCHES[0]}", (_dial(e),), _dial(BATCHES[0]), e == BATCHES[-1])
        for e in BATCHES[1:]
    ),
    *(
        Change(f"{EQUAL} episodes for {e} with more updates", (_dial(EQUAL),), _spent(e), e == SPENT[0])
        for e in SPENT
    ),
)


def _lead(results: Results, cell: Cell, scale: str) -> Finding:
    rival = rival_of(results, cell)
    return finding(
        f"{cell[1]}: lead",
        stats.interval(gap(results, cell, scale), "mean"),
        above=0.0,
        replicas=results.plan.reporting_seeds,
        text=f"Adam less {rival.lower()}, both tuned",
        unit=SCALES[scale],
        decisive=False,
    )


def change(results: Results, what: Change, scale: str) -> Finding:
    """How Adam's lead differs from that in the noisier setting: the claim needs it smaller, or descent's
    share of Adam's gain larger.
    """
    decisive = what.decisive and scale in JUDGED
    replicas = results.plan.reporting_seeds
    if scale == SHARE:
        return finding(
            what.name,
            change_of_share([trio(results, cell) for cell in what.less], trio(results, what.more)),
            above=0.0,
            replicas=replicas,
            text="descent's share of Adam's gain over an untrained policy, with less noise less with more",
            unit=SHOWN[scale],
            decisive=decisive,
        )
    less, more = (gaps_of(results, cells, scale) for cells in (what.less, (what.more,)))
    return finding(
        what.name,
        stats.paired_difference(less, more, "mean"),
        below=0.0,
        replicas=replicas,
        text="Adam's lead over the better descent with less noise, less the lead with more",
        unit=SHOWN[scale],
        decisive=decisive,
    )


def judge(results: Results) -> Verdict:
    """The criterion: a baseline and a large batch must shrink Adam's lead, on all three scales."""
    found = [change(results, what, scale) for scale in SHOWN for what in CHANGES]
    leads = [_lead(results, cell, scale) for cell in CELLS for scale in SCALES]
    decisive = [f for f in found if f.decisive]
    beside = [f for f in found if not f.decisive]
    sentence, short = _sentence(results, decisive), _short(results, decisive)
    return verdict([*decisive, *leads, *beside], sentence, short=short)


def _short(results: Results, found: list[Finding]) -> str:
    less, more = (
        float(np.mean([gap(results, ("baselines", name), "return").mean() for name in names]))
        for names in (ALL, (WITHOUT,))
    )
    return (
        f"Less noise shrinks Adam's lead over tuned descent in {tally(found)} comparisons and lets it grow "
        f"in {tally(found, Outcome.FAILS)}: in return, {more:+.0f} without a baseline, {less:+.0f} with one."
    )


def _share(results: Results, cell: Cell) -> float:
    return share_of_gain(*trio(results, cell))[0]


def _sentence(results: Results, found: list[Finding]) -> str:
    def mean(cell: Cell) -> float:
        return float(gap(results, cell, "return").mean())

    with_baseline = ", ".join(f"{mean(('baselines', name)):+.0f} with {name}" for name in ALL)
    dial = ", ".join(f"{mean(_dial(e)):+.0f} at {e}" for e in BATCHES)
    spent = ", ".join(f"{mean(cell):+.0f} at {e}" for e, cell in _at_equal_cost())
    baseline_share = np.mean([_share(results, ("baselines", name)) for name in ALL])
    shrunk, grown = (sum(f.outcome is outcome for f in found) for outcome in (Outcome.HOLDS, Outcome.FAILS))
    if shrunk == len(found):
        conclusion = "That is what a lead that is there for noise's sake would do."
    elif grown == len(found):
        conclusion = "So here noise is not what Adam's lead comes from; what it comes from this cannot say."
    else:
        conclusion = "So how much of Adam's lead is owed to noise depends on the scale and on what is varied."
    return (
        f"Adam's lead over tuned descent, in mean return, is {mean(_NONE):+.0f} without a baseline and "
        f"{with_baseline}; with episodes an update it goes {dial} at equal updates and {spent} at equal "
        f"episodes in all. Descent has {_share(results, _NONE):.0%} of Adam's gain over an untrained policy "
        f"without a baseline and {baseline_share:.0%} with one, {_share(results, _dial(BATCHES[0])):.0%} at "
        f"{BATCHES[0]} episodes and {_share(results, _dial(BATCHES[-1])):.0%} at {BATCHES[-1]}. Of "
        f"{len(found)} judged comparisons less noise shrinks the lead in {shrunk} and lets it grow in "
        f"{grown}. {conclusion}"
    )


def _at_equal_cost() -> list[tuple[int, Cell]]:
    """Batches whose episodes in all are equal."""
    return [*((e, _spent(e)) for e in SPENT), (EQUAL, _dial(EQUAL))]


def noise_table(results: Results) -> Table:
    """Noise of the direction, the leads, and descent's share of Adam's gain."""
    noise = results.measurement("noise").arrays[0]
    known = {**noise, **{spent_name(e): noise[batch_name(e)] for e in SPENT}}
    rows = [
        (
            cell[1],
            with_interval(stats.interval(known[cell[1]], "mean")) if cell[1] in known else "",
            *(with_interval(stats.interval(gap(results, cell, s), "mean")) for s in SCALES),
            with_interval(share_of_gain(*trio(results, cell)), 2),
        )
        for cell in CELLS
    ]
    return Table(
        f"Share of the gradient estimate's direction that is noise, at {results.plan.sizes['policies']} "
        "partly trained policies; Adam's lead over the better tuned descent; and descent's gain over an "
        "untrained policy as a share of Adam's. Means with 95% intervals.",
        ("regime", "noise in the direction", *(f"lead, {words}" for words in SCALES.values()), JUDGED[SHARE]),
        tuple(rows),
    )


def tables(results: Results) -> tuple[Table, ...]:
    """Noise and leads, then two tables a regime."""
    return (
        noise_table(results),
        *(
            table
            for sweep, regime in CELLS
            for table in (
                outcome_table(results.sweep(sweep), regime, learned=LEARNED),
                sweep_table(results.sweep(sweep), regime),
            )
        ),
    )
