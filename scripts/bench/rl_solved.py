"""How many environment steps until CartPole-v1 is solved: Adam, leave-one-out baseline, fresh seeds.

A policy solves the task if the mean return of 100 held-out episodes of it, as it samples its actions, is at
least 475. It is put to the test every few updates, and no more often when a run comes to its budget's end;
the first test that it passes counts, with all steps of training before it. The policy that the budget ends
with is put to a test of its own, which does not count for that. The learning rate was chosen on seeds of its
own (`--study tuning`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab import stats
from core.lab.experiment import Array
from core.lab.random import Keys
from core.lab.study import Table
from core.lab.tables import text_table, with_interval
from core.optim.rules import RULES
from rl.problems import cartpole

SOLVED = 475.0
TESTED = 100


@dataclass
class Args:
    """Steps to a return of 475 on CartPole-v1."""

    seeds: int = 50
    """runs"""
    budget: int = 90_000
    """environment steps of training a run"""
    lr: float = 0.02
    """learning rate of Adam"""
    episodes: int = 8
    """whole episodes an update"""
    baseline: str = "loo"
    """see rl.baselines"""
    every: int = 3
    """updates between tests"""
    study: str = "reporting"
    """names the seeds: another word, other seeds"""


def steps_to_solve(args: Args) -> tuple[Array, Array]:
    """`[seeds]`: steps of training until the task is solved (infinity: not within the budget), and the mean
    return of the policy that the budget ends with.
    """
    problem = cartpole(episodes=args.episodes, baseline=args.baseline, evaluation_episodes=TESTED)
    rule, keys = RULES["adam"], Keys.of(range(args.seeds), study=f"solved {args.study}")
    params = problem.init(keys)
    state = rule.init(params)
    used, solved = np.zeros(args.seeds), np.full(args.seeds, np.inf)
    update = 0
    while (used < args.budget).any():
        sample = problem.field(params, keys, update)
        moved, state = rule.step(params, sample.values, state, lr=args.lr)
        steps = sample.measures["steps"].numpy()
        within = used + steps <= args.budget
        used = used + np.where(used < args.budget, np.where(within, steps, args.budget), 0.0)
        params = torch.where(torch.from_numpy(within)[:, None], moved, params)
        update += 1
        if update % args.every == 0:
            returns = problem.measure(params, keys.at(update))["return"].numpy()
            solved = np.where(np.isinf(solved) & within & (returns >= SOLVED), used, solved)
    return solved, problem.measure(params, keys.fold("end"))["return"].numpy()


def main(args: Args) -> None:
    """A table."""
    torch.set_num_threads(1)
    solved, last = steps_to_solve(args)
    within = solved <= args.budget
    rows = (
        ("share solved within the budget", with_interval(stats.proportion(within))),
        ("median steps to solve", with_interval(stats.interval(solved, "median"))),
        ("slowest of those", f"{solved[within].max(initial=0):,.0f}"),
        ("share that ends the budget solved", with_interval(stats.proportion(last >= SOLVED))),
    )
    heads = (
        f"Adam, lr {args.lr:g}, baseline {args.baseline}, {args.episodes} episodes",
        f"{args.seeds} seeds",
    )
    print(text_table(Table("", heads, rows)))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
