"""The verdict and the tables of the study of learning curves."""

from __future__ import annotations

import math

import numpy as np

from core.lab import stats
from core.lab.experiment import Array
from core.lab.study import Results, Table
from core.lab.tables import sweep_table, with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, verdict
from rl.shares import logit
from rl.studies.learning_published import published_table
from rl.studies.learning_settings import (
    EVALUATED,
    TASKS,
    Task,
    final,
    first_learned,
    returns,
    rival_of,
    speed,
)
from rl.studies.settings import ADAM, DESCENTS

NEAR = 0.8
"""A learning rate is good if it reaches this share of the way from the worst to the best score."""


def variants_of(results: Results) -> tuple[str, ...]:
    """Names, in the sweeps' order."""
    return results.sweep(TASKS[0].id).variants


def failed(results: Results, task: Task, variant: str) -> Array:
    """bool `[seeds]`: the policy after training returns less than counts as learned, or the run diverged."""
    return np.asarray(~(final(results, task, variant) >= task.learned))


def unbounded(results: Results, task: Task, variant: str) -> Array:
    """`[seeds]`: the logit of the score, a scale without a ceiling."""
    return logit(task.score(returns(results, task, variant)), 1.0)


SCALES = {
    "return": "mean return",
    "logit": "logit of the score",
    "speed": "doublings of speed",
}
"""On which a lead is shown: raw, and two without a ceiling."""


def lead(results: Results, task: Task, rival: str, scale: str = "return") -> stats.Interval:
    """Adam's lead over a rival, on one of `SCALES`."""

    def well(name: str) -> Array:
        if scale == "speed":
            return speed(results, task, name)
        return unbounded(results, task, name) if scale == "logit" else returns(results, task, name)

    return stats.paired_difference(well(ADAM), well(rival), "mean")


def _decisive(results: Results, task: Task, rival: str) -> list[Finding]:
    """What the criterion speaks of."""
    adam, other = (-speed(results, task, name) for name in (ADAM, rival))
    return [
        finding(
            f"{task.id}: return",
            lead(results, task, rival),
            above=0.0,
            replicas=results.plan.reporting_seeds,
            text=f"Adam's mean return over training less that of {rival.lower()}, both tuned",
            unit="return",
        ),
        finding(
            f"{task.id}: steps",
            stats.paired_difference(adam, other, "mean"),
            below=0.0,
            replicas=results.plan.reporting_seeds,
            text=f"log2 of Adam's updates to a return of {task.learned:g} less that of {rival.lower()}",
            unit="doublings",
        ),
    ]


def _beside(results: Results, task: Task, rival: str) -> list[Finding]:
    """The lead on a scale without a ceiling, as a probability, over the other variants; and failures."""
    losses = [-returns(results, task, name) for name in (ADAM, rival)]
    fails = [failed(results, task, name).astype(np.float64) for name in (ADAM, rival)]
    shown = [
        (
            "no ceiling",
            lead(results, task, rival, "logit"),
            0.0,
            f"Adam's lead over {rival.lower()} on a scale without a ceiling",
            "logit of the score",
        ),
        (
            "chance",
            stats.probability_of_improvement(losses[0], losses[1]),
            0.5,
            f"probability that a run of Adam has a better mean return than one of {rival.lower()}",
            "probability",
        ),
        (
            "failures avoided",
            stats.paired_difference(fails[1], fails[0], "mean"),
            0.0,
            f"share of failed runs of {rival.lower()} ({fails[1].mean():.0%}) less Adam's "
            f"({fails[0].mean():.0%})",
            "share of seeds",
        ),
        *(
            (
                "others",
                lead(results, task, name, scale),
                0.0,
                f"Adam's lead over {name}",
                words,
            )
            for name in variants_of(results)
            if name not in (ADAM, rival)
            for scale, words in SCALES.items()
        ),
    ]
    return [
        finding(
            f"{task.id}: {part}",
            values,
            above=bound,
            replicas=results.plan.reporting_seeds,
            text=text,
            unit=unit,
            decisive=False,
        )
        for part, values, bound, text, unit in shown
    ]


def judge(results: Results) -> Verdict:
    """The criterion, task by task."""
    rivals = {task: rival_of(results, task, DESCENTS) for task in TASKS}
    decisive = [f for task in TASKS for f in _decisive(results, task, rivals[task])]
    beside = [f for task in TASKS for f in _beside(results, task, rivals[task])]
    return verdict([*decisive, *beside], _sentence(results, decisive), short=_short(decisive))


def _short(found: list[Finding]) -> str:
    words = {Outcome.HOLDS: "ahead", Outcome.FAILS: "behind", Outcome.UNCLEAR: "not told apart"}
    parts = ", ".join(
        f"{words[f.outcome]} on {task.id} ({f.effect:+.3g})"
        for task, f in zip(TASKS, found[::2], strict=True)
    )
    return f"In mean return, against the better tuned descent, Adam is {parts}."


def _sentence(results: Results, found: list[Finding]) -> str:
    words = {Outcome.HOLDS: "ahead of", Outcome.FAILS: "behind", Outcome.UNCLEAR: "not told from"}
    parts = []
    for task, leads in zip(TASKS, found[::2], strict=True):
        rival = rival_of(results, task, DESCENTS)
        share = [failed(results, task, name).mean() for name in (ADAM, rival)]
        parts.append(
            f"{words[leads.outcome]} {rival.lower()} on {task.id} ({leads.effect:+.3g} in mean return, "
            f"{share[0]:.0%} against {share[1]:.0%} of runs fail)"
        )
    ahead = sum(f.outcome is Outcome.HOLDS for f in found[::2])
    return f"With a leave-one-out baseline and every rate tuned, Adam is {'; '.join(parts)}. " + (
        "Its lead is there on every task."
        if ahead == len(TASKS)
        else f"Its lead over descent is a matter of the task: {ahead} of {len(TASKS)} show one."
    )


def good_rates(results: Results, task: Task, variant: str) -> tuple[float, bool]:
    """Decades of learning rates that are good (see `NEAR`), from the grid's points; and whether the least or
    the largest rate tried is still good, so that there may be more beyond.
    """
    tuned = results.sweep(task.id).tuned[task.id, variant]
    scores = np.array([s if math.isfinite(s) else task.untrained for s in tuned.scores])
    reference = max(float(np.max(t.scores)) for t in results.sweep(task.id).tuned.values())
    good = scores >= task.untrained + NEAR * (reference - task.untrained)
    grid = results.sweep(task.id).sweep.variants[0].lr
    return float(good.sum()) / (grid.per_decade if grid is not None else 1), bool(good[0] or good[-1])


def _good_text(results: Results, task: Task, variant: str) -> str:
    decades, more = good_rates(results, task, variant)
    return f"{'≥ ' if more else ''}{decades:.2g}"


def scores_table(results: Results) -> Table:
    """All tasks together."""
    rows = []
    for name in variants_of(results):
        strata = [task.score(returns(results, task, name)) for task in TASKS]
        chances = [
            stats.probability_of_improvement(
                -returns(results, task, name), -returns(results, task, DESCENTS[0])
            )
            for task in TASKS
        ]
        rows.append(
            (
                name,
                with_interval(stats.interval(strata)),
                *(with_interval(c, 2) for c in chances),
                *(_good_text(results, task, name) for task in TASKS),
            )
        )
    return Table(
        "All tasks: IQM of the score (0 untrained, 1 the best) with 95% stratified bootstrap intervals; the "
        f"probability to improve on {DESCENTS[0].lower()}; and decades of learning rates that reach "
        f"{NEAR:.0%} of the way to the best score of any variant (≥ where a rate at the end of those tried "
        "still does: beyond it nothing is known).",
        (
            "variant",
            "score",
            *(f"P(better), {t.id}" for t in TASKS),
            *(f"good decades, {t.id}" for t in TASKS),
        ),
        tuple(rows),
    )


def failure_table(results: Results, task: Task) -> Table:
    """Return after training, the share of runs that failed, and the steps to the threshold."""
    rows = []
    for name in variants_of(results):
        steps = first_learned(results, task, name)
        rows.append(
            (
                name,
                with_interval(stats.interval(final(results, task, name))),
                with_interval(stats.proportion(failed(results, task, name)), 2),
                with_interval(stats.interval(steps, "median")),
                with_interval(stats.proportion(np.isinf(steps)), 2),
            )
        )
    return Table(
        f"{task.id}: IQM of the return after training, on {EVALUATED} fresh episodes, and the share of runs "
        f"below {task.learned:g}; median updates until training episodes returned that, and the share of "
        "runs in which they never did. 95% intervals by bootstrap, of shares by Wilson.",
        ("variant", "final return", "share failed", "updates to threshold", "never"),
        tuple(rows),
    )


def tables(results: Results) -> tuple[Table, ...]:
    """All tasks together, published figures, then two tables a task."""
    return (
        scores_table(results),
        published_table(results),
        *(failure_table(results, task) for task in TASKS),
        *(sweep_table(results.sweep(task.id), task.id) for task in TASKS),
    )
