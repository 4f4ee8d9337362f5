"""Environment steps until CartPole-v1 returns 475, beside what others have published."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.lab import stats
from core.lab.experiment import Array
from core.lab.run import Run
from core.lab.study import Results, Table
from rl.studies.learning_settings import TASKS

SOLVED = 475.0
"""The return at which Gymnasium calls CartPole-v1 solved, as a mean over 100 consecutive episodes."""
EPISODES = 100
WINDOW = 50_000.0
"""Environment steps over which SLM Lab averages: 100 points of its log, one every 500 steps."""


@dataclass(frozen=True)
class Published:
    """What somebody else has measured on CartPole-v1.

    Attributes:
        what: who, and which algorithm.
        runs: how many.
        alike: environment steps until the published curve, averaged over its last `WINDOW` steps, first
            shows 475.
        other: the same where it is averaged in another way.
        later: a return that is published, and after how many environment steps.
        terms: how it was counted.
    """

    what: str
    runs: str
    alike: str
    other: str
    later: str
    terms: str


_SLM = "mean curve of the runs, read off the published figure"
_CLEAN = "mean over the runs; steps to 475 read off the published figure"
_ZOO = "one run, its budget; tested with the most likely action"

PUBLISHED = (
    Published("SLM Lab, REINFORCE", "4", "184,000", "", "483 at 200,000", _SLM),
    Published("SLM Lab, A2C", "4", "157,000", "", "497 at 200,000", _SLM),
    Published("SLM Lab, PPO", "4", "93,000", "", "499 at 200,000", _SLM),
    Published("SLM Lab, DDQN with prioritised replay", "4", "never", "", "452 at 200,000", _SLM),
    Published("CleanRL, PPO", "3", "", "265,000", "490 ± 6 at 500,000", _CLEAN),
    Published("CleanRL, DQN", "3", "", "", "489 ± 16 at 500,000", _CLEAN),
    Published("RL Baselines3 Zoo, ARS", "1", "", "", "500 at 50,000", _ZOO),
    Published("RL Baselines3 Zoo, DQN", "1", "", "", "500 at 50,000", _ZOO),
    Published("RL Baselines3 Zoo, PPO", "1", "", "", "500 at 100,000", _ZOO),
    Published("RL Baselines3 Zoo, A2C", "1", "", "", "500 at 500,000", _ZOO),
)
"""github.com/kengz/SLM-Lab, docs/BENCHMARKS.md and its figure for CartPole-v1 (96be393, March 2026);
github.com/vwxyzjn/cleanrl, docs/rl-algorithms/ppo.md and dqn.md with their figures (fe8d8a0, April 2026);
github.com/DLR-RM/rl-baselines3-zoo, benchmark.md (0088472). SLM Lab's REINFORCE has two layers of 128 tanh
units, Adam at 0.002, discount 0.99, centred returns; CleanRL's PPO 64 twice, its DQN 120 and 84."""


def trailing(values: Array, sizes: Array, least: float) -> Array:
    """`[S, T]`: the mean of `values` `[S, T]`, weighted by `sizes`, over the shortest stretch that ends there
    and has a size of at least `least`; NaN where even all before it are smaller.
    """
    total, size = (
        np.concatenate([np.zeros((len(x), 1)), np.cumsum(x, axis=1)], axis=1) for x in (values * sizes, sizes)
    )
    means = np.full(values.shape, np.nan)
    rows = np.arange(len(values))
    for end in range(1, size.shape[1]):
        enough = size[:, end, None] - size[:, :end] >= least
        start = end - 1 - enough[:, ::-1].argmax(axis=1)
        with np.errstate(invalid="ignore"):
            mean = (total[:, end] - total[rows, start]) / (size[:, end] - size[rows, start])
        means[:, end - 1] = np.where(enough.any(axis=1), mean, np.nan)
    return means


def _recorded(run: Run) -> tuple[Array, Array, Array]:
    """Updates behind each recorded point `[T]`, their mean environment steps and returns `[S, T]`.

    A point stands for the updates since the point before, itself included; the last update is followed by
    none.
    """
    updates = np.diff(run.steps, prepend=-1).astype(np.float64)
    updates[-1] = max(1.0, updates[-1] - 1.0)
    return updates, run.curves["field/steps"], run.curves["field/return"]


def steps_to_solve(run: Run, episodes: int, *, within: float | None = None) -> Array:
    """`[seeds]`: environment steps of training until the mean return of at least `EPISODES` consecutive
    training episodes is `SOLVED`; infinite where it never is.

    Args:
        episodes: whole episodes an update.
        within: average over so many environment steps instead.
    """
    updates, steps, returns = _recorded(run)
    spent = updates * steps
    means = (
        trailing(returns, np.broadcast_to(updates * episodes, returns.shape), EPISODES)
        if within is None
        else trailing(returns, spent, within)
    )
    reached = means >= SOLVED
    first = np.take_along_axis(np.cumsum(spent, axis=1), reached.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.where(reached.any(axis=1), first, np.inf)


def _steps(values: Array) -> str:
    """The median with its interval."""
    centre, low, high = ("never" if np.isinf(x) else f"{x:,.0f}" for x in stats.interval(values, "median"))
    return centre if low == high else f"{centre} [{low}, {high}]"


def published_table(results: Results) -> Table:
    """Ours on two terms, then what is published."""
    task = TASKS[0]
    sweep = results.sweep(task.id)
    rows = []
    for name in sweep.variants:
        run = sweep.run(task.id, name)
        ours, theirs = (steps_to_solve(run, task.episodes, within=w) for w in (None, WINDOW))
        updates, steps, returns = _recorded(run)
        end = np.where(np.isfinite(returns[:, -1]), returns[:, -1], task.untrained).mean()
        budget = np.median(np.nansum(updates * steps, axis=1))
        rows.append(
            (
                f"here: REINFORCE, {name}",
                str(len(ours)),
                _steps(ours),
                _steps(theirs),
                "",
                f"{end:.0f} at {budget:,.0f}",
                f"median over runs; {np.isinf(ours).mean():.0%} of them never",
            )
        )
    rows += [(p.what, p.runs, "", p.alike, p.other, p.later, p.terms) for p in PUBLISHED]
    return Table(
        f"{task.id}: environment steps of training until training episodes return {SOLVED:g}: as a mean over "
        f"at least {EPISODES} consecutive episodes of a run (Gymnasium's terms), and over its last "
        f"{WINDOW:,.0f} steps (SLM Lab's terms), beside published figures. Not alike: networks (here 32 "
        "units, there 64 to 128 twice), algorithms (all but REINFORCE learn values or search at random), "
        "discounts, and how rates were chosen (here for this task, on other seeds); a median over runs comes "
        "earlier than a mean curve; published figures have 1 to 4 runs and no interval. Sources: SLM Lab, "
        "docs/BENCHMARKS.md and its figure (March 2026); CleanRL, docs/rl-algorithms/ppo.md and dqn.md with "
        "their figures (April 2026); RL Baselines3 Zoo, benchmark.md.",
        (
            "who, and what learns",
            "runs",
            f"steps, {EPISODES} episodes",
            f"steps, last {WINDOW:,.0f}",
            "steps, other terms",
            "return at the end",
            "terms",
        ),
        tuple(rows),
    )
