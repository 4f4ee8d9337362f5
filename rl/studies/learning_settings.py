"""The tasks and the variants of the study of learning curves, and how a run is scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from core.lab.experiment import Array
from core.lab.study import Results
from core.lab.sweep import Regime
from core.lab.variant import Grid, Variant
from rl import outcomes
from rl.problems import reinforce
from rl.studies.settings import ADAM, DESCENT, EPISODES, RATES, best_of

EVALUATED = 4
"""Fresh episodes that a trained policy is judged by."""
_RULES = {
    DESCENT: "sgd",
    "Momentum": "momentum",
    "RMSProp": "rmsprop",
    ADAM: "adam",
    "AMSGrad": "amsgrad",
    "Sign descent": "signsgd",
}
_NOTES = {"Sign descent": "removes averaging and v; under noise its mean step is nearly Adam's"}


@dataclass(frozen=True)
class Task:
    """A task of the study.

    Attributes:
        id: Gymnasium's name.
        episodes: whole episodes an update.
        share: updates of training, as a share of the plan's steps.
        untrained: the return of a policy at its start.
        best: the return of a policy that has learned all there is to learn here.
        learned: the return from which a policy counts as having learned.
        rates: the learning rates at which each variant's grid begins and ends.
        note: one phrase for the reader.
    """

    id: str
    episodes: int
    share: float
    untrained: float
    best: float
    learned: float
    rates: Mapping[str, tuple[float, float]] = field(hash=False)
    note: str = ""

    def regime(self) -> Regime:
        """With a leave-one-out baseline."""
        settings = {
            "task_id": self.id,
            "episodes": self.episodes,
            "baseline": "loo",
            "evaluation_episodes": EVALUATED,
        }
        return Regime(self.id, reinforce, settings, self.note)

    def steps(self, steps: int) -> int:
        """Updates of a run."""
        return max(2, round(self.share * steps))

    def variants(self, per_decade: int) -> tuple[Variant, ...]:
        """All variants, each with a grid of its own."""
        return tuple(
            Variant(
                name,
                rule,
                lr=Grid.between(*self.rates[name], per_decade=per_decade),
                control=name in _NOTES,
                note=_NOTES.get(name, ""),
            )
            for name, rule in _RULES.items()
        )

    def score(self, returns: Array) -> Array:
        """0 for an untrained policy, 1 for the best, `[...]` to `[...]`."""
        return np.asarray((returns - self.untrained) / (self.best - self.untrained))


TASKS = (
    Task(
        "CartPole-v1",
        episodes=EPISODES,
        share=1.0,
        untrained=22.0,
        best=500.0,
        learned=195.0,
        rates=RATES,
    ),
    Task(
        "Acrobot-v1",
        episodes=EPISODES,
        share=0.32,
        untrained=-499.0,
        best=-80.0,
        learned=-150.0,
        rates={
            DESCENT: (1e-4, 3.17e-3),
            "Momentum": (1e-5, 3.17e-4),
            "RMSProp": (1e-3, 3.17e-2),
            ADAM: (1e-2, 1e-1),
            "AMSGrad": (1e-2, 1e-1),
            "Sign descent": (3.16e-3, 3.17e-2),
        },
        note="a rare first success, then ever shorter episodes",
    ),
    Task(
        "MountainCarContinuous-v0",
        episodes=4,
        share=0.4,
        untrained=-31.0,
        best=0.0,
        learned=-10.0,
        rates={
            DESCENT: (1e-3, 3.17e-2),
            "Momentum": (1e-4, 3.17e-3),
            "RMSProp": (3.16e-3, 1e-1),
            ADAM: (3.16e-2, 3.17e-1),
            "AMSGrad": (3.16e-2, 3.17e-1),
            "Sign descent": (1e-2, 1e-1),
        },
        note="what is learned is to spend no effort: a smooth way that need not favour anyone",
    ),
)


def returns(results: Results, task: Task, variant: str) -> Array:
    """`[seeds]`: mean return over training, see `rl.outcomes.returns`."""
    return outcomes.returns(results.sweep(task.id), task.id, variant)


def final(results: Results, task: Task, variant: str) -> Array:
    """`[seeds]`: return of the policy after training, on fresh episodes; of the policy before training
    where a run diverged.
    """
    curve = results.sweep(task.id).run(task.id, variant).curves["return"]
    return np.where(np.isfinite(curve[:, -1]), curve[:, -1], curve[:, 0])


def first_learned(results: Results, task: Task, variant: str) -> Array:
    """`[seeds]`: the first recorded update at which training episodes returned `learned`; else infinite."""
    return outcomes.first_reached(results.sweep(task.id).run(task.id, variant), task.learned)


def speed(results: Results, task: Task, variant: str) -> Array:
    """`[seeds]`: how fast training episodes came to return `learned`, see `rl.outcomes.speed`."""
    return outcomes.speed(results.sweep(task.id).run(task.id, variant), task.learned)


def rival_of(results: Results, task: Task, names: tuple[str, ...]) -> str:
    """The best of some variants on the tuning seeds."""
    return best_of(results.sweep(task.id), task.id, names)
