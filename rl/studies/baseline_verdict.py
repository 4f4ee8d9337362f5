"""The verdict and the tables of the study of baselines."""

from __future__ import annotations

from dataclasses import dataclass

from core.lab import stats
from core.lab.study import Results, Table
from core.lab.tables import sweep_table, with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, verdict
from rl.outcomes import outcome_table
from rl.studies.baseline_noise import MEMORYLESS
from rl.studies.baseline_settings import (
    BASELINES,
    BATCHES,
    DIAL,
    LEARNED,
    REGIMES,
    WITHOUT,
    batch_name,
    best_descent,
    gap,
    gaps_of,
)

SCALES = {
    "return": "mean return over training",
    "logit": "logit of return / 500",
    "speed": "doublings of speed",
}
DECISIVE = ("return", "logit")


ALL = tuple(name for name in BASELINES if name != WITHOUT)


@dataclass(frozen=True)
class Change:
    """Two settings of a sweep whose gaps are compared.

    Attributes:
        name: of the less noisy setting.
        sweep: where.
        regimes: the less noisy ones, their gaps averaged.
        noisier: the noisier one.
        decisive: whether the criterion speaks of it.
    """

    name: str
    sweep: str
    regimes: tuple[str, ...]
    noisier: str
    decisive: bool = False


CHANGES = (
    Change("any baseline", "baselines", ALL, WITHOUT, decisive=True),
    *(Change(name, "baselines", (name,), WITHOUT) for name in ALL),
    *(
        Change(batch_name(e), "episodes", (batch_name(e),), batch_name(BATCHES[0]), e == BATCHES[-1])
        for e in BATCHES[1:]
    ),
)


def _lead(results: Results, sweep: str, regime: str, scale: str) -> Finding:
    rival = best_descent(results, sweep, regime)
    return finding(
        f"{regime}: lead",
        stats.interval(gap(results, sweep, regime, scale), "mean"),
        above=0.0,
        replicas=results.plan.reporting_seeds,
        text=f"Adam less {rival.lower()}, both tuned",
        unit=SCALES[scale],
        decisive=False,
    )


def change(results: Results, what: Change, scale: str) -> Finding:
    """How much larger the gap is than in the noisier regime: the claim needs it smaller."""
    less, more = (gaps_of(results, what.sweep, names, scale) for names in (what.regimes, (what.noisier,)))
    return finding(
        f"{what.name} for {what.noisier}",
        stats.paired_difference(less, more, "mean"),
        below=0.0,
        replicas=results.plan.reporting_seeds,
        text="Adam's lead over the better descent with less noise, less the lead with more",
        unit=SCALES[scale],
        decisive=what.decisive and scale in DECISIVE,
    )


def judge(results: Results) -> Verdict:
    """The criterion: a baseline and a large batch must shrink Adam's lead, on both scales."""
    found = [change(results, what, scale) for scale in SCALES for what in CHANGES]
    leads = [
        _lead(results, sweep, regime.name, scale)
        for sweep, regimes in (("baselines", REGIMES), ("episodes", DIAL))
        for regime in regimes
        for scale in SCALES
    ]
    decisive = [f for f in found if f.decisive]
    beside = [f for f in found if not f.decisive]
    return verdict([*decisive, *leads, *beside], _sentence(results, decisive))


def _sentence(results: Results, found: list[Finding]) -> str:
    def mean(sweep: str, regime: str) -> float:
        return float(gap(results, sweep, regime, "return").mean())

    with_baseline = ", ".join(
        f"{mean('baselines', name):+.0f} with {name}" for name in BASELINES if name != WITHOUT
    )
    dial = ", ".join(f"{mean('episodes', batch_name(e)):+.0f} at {e}" for e in BATCHES)
    everywhere = [change(results, what, scale) for scale in DECISIVE for what in CHANGES]
    shrunk, grown = (
        sum(f.outcome is outcome for f in everywhere) for outcome in (Outcome.HOLDS, Outcome.FAILS)
    )
    conclusion = (
        "Adam does not stand in for a baseline, it gains from one."
        if all(f.outcome is Outcome.FAILS for f in found)
        else "A lead that is there for noise's sake would shrink in all."
    )
    return (
        f"Adam's lead over tuned descent, in mean return, is {mean('baselines', WITHOUT):+.0f} without a "
        f"baseline and {with_baseline}; with episodes an update it goes {dial}. Of {len(everywhere)} "
        f"comparisons, raw and without the ceiling, less noise shrinks the lead in {shrunk} and lets it grow "
        f"in {grown}. {conclusion}"
    )


def noise_table(results: Results) -> Table:
    """Noise of the direction, and the leads."""
    noise = results.measurement("noise").arrays[0]
    rows = []
    for sweep, regimes in (("baselines", REGIMES), ("episodes", DIAL)):
        for name in (regime.name for regime in regimes):
            known = sweep == "episodes" or name in MEMORYLESS
            rows.append(
                (
                    name,
                    with_interval(stats.interval(noise[name], "mean")) if known else "",
                    *(with_interval(stats.interval(gap(results, sweep, name, s), "mean")) for s in SCALES),
                )
            )
    return Table(
        f"Share of the gradient estimate's direction that is noise, at {results.plan.sizes['policies']} "
        "partly trained policies, and Adam's lead over the better tuned descent: means with 95% intervals.",
        ("regime", "noise in the direction", *(f"lead, {words}" for words in SCALES.values())),
        tuple(rows),
    )


def tables(results: Results) -> tuple[Table, ...]:
    """Noise and leads, then two tables a regime."""
    return (
        noise_table(results),
        *(
            table
            for name in ("baselines", "episodes")
            for regime in results.sweep(name).regimes
            for table in (
                outcome_table(results.sweep(name), regime, learned=LEARNED),
                sweep_table(results.sweep(name), regime),
            )
        ),
    )
