"""Environment steps a second of whole training on CartPole-v1, against plain loops and libraries.

The contestants are those of `rl_peers.py`. All count steps inside episodes only and run on one thread. They
take turns, and the ratio of each turn is taken, so that a machine that slows down slows all.

Shown beside them: how fast Gymnasium's own vectorised environment, and ours, step a batch of that size with
ready-made actions (the floor); which share of the environment steps taken lie inside an episode; the speed
with the value function as baseline; and where the time goes.

Tianshou wants another pandas than the rest, so it is measured from an environment of its own: a virtual
environment, then `pip install -e '.[bench]'` and `pip install tianshou`, which puts pandas back to 2; this
benchmark does not mind.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab.benchmark import Benchmark, Measured
from core.lab.experiment import Array
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from rl.cartpole import CartPole, CartPoleEpisodes
from rl.policies import Act, CategoricalMLP
from rl.problems import cartpole
from scripts.bench.rl_peers import LR, Careful, Contestant, contestants, loop
from scripts.bench.timing import Times, command, finish

PLAIN = {1: 8.0, 20: 50.0, 200: 150.0}
GOALS: dict[str, dict[int, float]] = {
    "the textbook loop": PLAIN,
    "the loop in CleanRL's style": PLAIN,
    "the careful loop": PLAIN,
    "Stable-Baselines3": {200: 70.0},
}
"""Ratios to reach, by contestant and runs at once."""


@dataclass
class Args:
    """Environment steps a second of whole training, ours over plain loops."""

    replicas: tuple[int, ...] = (1, 20, 200, 1000)
    """runs at once"""
    episodes: int = 8
    """whole episodes an update"""
    updates: int = 40
    """updates a turn, from a new policy on"""
    turns: int = 3
    """how often all sides take turns"""
    out: Path = field(default_factory=lambda: Path("out"))
    """folder of the results and the report"""


def ours(replicas: int, episodes: int, updates: int, seed: int, baseline: str = "loo") -> tuple[int, float]:
    """R runs at once: steps in episodes, seconds."""
    problem = cartpole(episodes=episodes, baseline=baseline, evaluation_episodes=1)
    keys = Keys.of(range(seed * replicas, (seed + 1) * replicas))
    lr = torch.full((replicas,), LR, dtype=torch.float64)
    block = Block(Variant("Adam", "adam"), slice(0, replicas), {"lr": lr})
    start = time.perf_counter()
    run = train(problem, [block], keys, steps=updates, recording=Recording(1))
    seconds = time.perf_counter() - start
    # Mean steps an update, over all updates but the first, which is recorded by itself.
    curve = run.curves["field/steps"]
    return int((curve[:, 0] + curve[:, 1] * (updates - 1)).sum()), seconds


def bare(replicas: int, episodes: int, steps: int = 300) -> tuple[float, float]:
    """Steps a second of the environment alone, with ready-made actions: ours, and Gymnasium's vectorised."""
    running = CartPole().start(Keys.of(range(replicas)), episodes)
    actions = np.random.default_rng(0).integers(0, 2, (steps, replicas, episodes))
    start = time.perf_counter()
    for act in actions:
        running.step(act)
    ours = time.perf_counter() - start
    count = replicas * episodes
    env = gym.make_vec("CartPole-v1", num_envs=count, vectorization_mode="vector_entry_point")
    env.reset(seed=0)
    start = time.perf_counter()
    for act in actions.reshape(steps, count):
        env.step(act)
    theirs = time.perf_counter() - start
    return actions.size / ours, actions.size / theirs


@dataclass
class Clock:
    """Seconds, by what they were spent on."""

    spent: dict[str, float] = field(default_factory=dict)

    def timed(self, name: str, go: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its time added up under `name`."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = go(*args, **kwargs)
            self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - start
            return result

        return timed


@dataclass(frozen=True)
class TimedTask(CartPole):
    """CartPole whose steps are timed."""

    clock: Clock = field(default_factory=Clock)

    def start(self, keys: Keys, episodes: int) -> CartPoleEpisodes:
        """As the task."""
        running = super().start(keys, episodes)
        running.step = self.clock.timed("environment", running.step)  # type: ignore[method-assign]
        return running


@dataclass(frozen=True)
class TimedPolicy(CategoricalMLP):
    """A policy whose acting and chances are timed."""

    clock: Clock = field(default_factory=Clock)

    def noise(self, *args: Any) -> Tensor:
        """As the policy."""
        drawn: Tensor = self.clock.timed("chances", super().noise)(*args)
        return drawn

    def acting(self, params: Array, episodes: int) -> Act:
        """As the policy."""
        return self.clock.timed("acting", super().acting(params, episodes))


def phases(replicas: int, episodes: int, updates: int) -> tuple[float, str]:
    """The share of steps taken that lie inside an episode, and where the time goes, over a training run."""
    clock = Clock()
    plain = cartpole(episodes=episodes, baseline="loo")
    problem = replace(plain, task=TimedTask(clock=clock), policy=TimedPolicy(plain.policy.sizes, clock))
    rule = Variant("Adam", "adam").update_rule
    batch_of, gradient_of = clock.timed("rollout", problem.batch), clock.timed("gradient", problem.gradient)
    step_of = clock.timed("Adam", rule.step)
    keys = Keys.of(range(replicas))
    params = problem.init(keys)
    state, inside, taken = rule.init(params), 0, 0
    for step in range(updates):
        batch = batch_of(params, keys, step)
        inside, taken = inside + int(batch.lengths.sum()), taken + batch.stepped
        params, state = step_of(params, gradient_of(params, batch), state, lr=LR)
    spent = clock.spent
    parts = ("environment", "acting", "chances")
    whole = {**spent, "recording": spent["rollout"] - sum(spent[part] for part in parts)}
    del whole["rollout"]
    total = sum(whole.values())
    return inside / taken, ", ".join(f"{name} {part / total:.0%}" for name, part in whole.items())


def measure(args: Args, rivals: Mapping[str, Contestant], replicas: int) -> list[Measured]:
    """A row against each contestant, for one number of runs."""
    seconds: dict[str, list[float]] = {name: [] for name in ("ours", "value", *rivals)}
    sides: dict[str, Contestant] = {
        "ours": partial(ours, replicas),
        "value": partial(ours, replicas, baseline="value"),
        **rivals,
    }
    for turn in range(args.turns):
        for name, side in sides.items():
            steps, spent = side(args.episodes, args.updates, turn)
            seconds[name].append(spent / steps)
    times = Times(seconds)
    own, theirs = bare(replicas, args.episodes)
    inside, parts = phases(min(replicas, 200), args.episodes, args.updates)
    beside = {
        "steps a second": f"{1 / times.median('ours'):,.0f}",
        "with a value baseline": f"{1 / times.median('value'):,.0f}",
        "bare environment": f"{own:,.0f}",
        "Gymnasium's": f"{theirs:,.0f}",
        "inside episodes": f"{inside:.0%}",
        "time": parts,
    }
    return [
        Measured(
            f"{replicas:,} run{'s' if replicas > 1 else ''} at once",
            f"against {name}",
            times.ratio(name, "ours"),
            GOALS.get(name, {}).get(replicas),
            {**beside, "the contestant's": f"{1 / times.median(name):,.0f}"},
        )
        for name in rivals
    ]


def main(args: Args) -> None:
    """Measure, print and store."""
    torch.set_num_threads(1)
    rivals, missing = contestants()
    ours(2, args.episodes, 2, 0)
    loop(Careful, args.episodes, 1, 0)
    benchmark = Benchmark(
        name="rl-throughput",
        title="REINFORCE on CartPole",
        about=(
            "Environment steps a second of whole training on CartPole-v1: runs at once in one program, "
            "against loops of one run with gym.make and torch.optim.Adam, on one thread. The textbook loop "
            "keeps the graph of each distribution; the loop in CleanRL's style acts through a distribution "
            "without a graph and goes through the network again for an update; the careful loop does so "
            "without the distribution; Stable-Baselines3 is its A2C, Tianshou its Reinforce, with 8 "
            "environments each. Beside the ratio: the speed with a value function as baseline; the bare "
            "environment with ready-made actions, ours and Gymnasium's vectorised one; the share of the "
            "environment steps taken that lie inside an episode; and where the time goes (of at most 200 "
            "runs)."
        ),
        unit="environment steps a second, contestant = 1",
        faster="up",
        rows=tuple(row for replicas in args.replicas for row in measure(args, rivals, replicas)),
        turns=args.turns,
        command=command(),
        missing=missing,
    )
    finish(benchmark, args.out)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
