"""Environment steps a second of whole training on CartPole-v1, against plain loops and libraries.

The contestants are those of `rl_peers.py`. All count steps inside episodes only, the trainer's own work is in
the time, and all run on one thread. They take turns, all sizes among them, and the ratio of each turn is
taken, so that a machine that slows down slows all.

Beside them: training with the learned value function (a ridge regression) against training with the
leave-one-out mean, which is to cost less than training itself; training against the environment alone, ours
and Gymnasium's vectorised one, stepped in a batch of that size with random actions; the share of the steps
taken that lie inside an episode; and where the time goes (`rl_phases.py`).

At one run a step of the environments takes two dozen calls of numpy on eight numbers each, and acting half a
dozen on as many rows: calls, not arithmetic, are what is paid for, and they are few only because rows that go
through the same operation lie side by side, and because chances are turned into thresholds for the logits
beforehand. Many runs share the calls; there the environment's sines and the network's products take the time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab.benchmark import Benchmark, Measured, ratio_text
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from rl.cartpole import CartPole
from rl.problems import cartpole
from rl.rollout import Batch
from scripts.bench.rl_peers import LR, Careful, Contestant, contestants, loop
from scripts.bench.rl_phases import Clock, watched
from scripts.bench.timing import Times, command, finish

PLAIN = {1: 8.0, 20: 50.0, 200: 150.0}
GOALS: dict[str, dict[int, float]] = {
    "the textbook loop": PLAIN,
    "the loop in CleanRL's style": PLAIN,
    "the careful loop": PLAIN,
    "Stable-Baselines3": {200: 70.0},
}
"""Ratios to reach, by contestant and runs at once."""
VALUE_GOAL = 0.5
"""Of the speed without one: a learned value function is not to cost most of the time."""
_BARE_STEPS = 300


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


@dataclass
class Count:
    """Steps inside episodes, and all that were taken, of the batches of a training run."""

    inside: int = 0
    taken: int = 0

    def __call__(self, batch: Batch) -> None:
        self.inside += int(batch.lengths.sum())
        self.taken += batch.stepped


def ours(
    replicas: int, baseline: str, episodes: int, updates: int, seed: int, *, count: Count | None = None
) -> tuple[int, float]:
    """R runs at once: steps in episodes, seconds."""
    count = Count() if count is None else count
    problem = replace(cartpole(episodes=episodes, baseline=baseline, evaluation_episodes=1), watch=count)
    keys = Keys.of(range(seed * replicas, (seed + 1) * replicas))
    lr = torch.full((replicas,), LR, dtype=torch.float64)
    block = Block(Variant("Adam", "adam"), slice(0, replicas), {"lr": lr})
    start = time.perf_counter()
    train(problem, [block], keys, steps=updates, recording=Recording(1))
    return count.inside, time.perf_counter() - start


def _random_actions(replicas: int, episodes: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (_BARE_STEPS, replicas, episodes))


def bare(replicas: int, episodes: int, updates: int, seed: int) -> tuple[int, float]:  # noqa: ARG001
    """Our environment alone: steps, seconds."""
    running = CartPole().start(Keys.of(range(replicas)), episodes)
    actions = _random_actions(replicas, episodes, seed)
    start = time.perf_counter()
    for act in actions:
        running.step(act)
    return actions.size, time.perf_counter() - start


def gymnasium(replicas: int, episodes: int, updates: int, seed: int) -> tuple[int, float]:  # noqa: ARG001
    """Gymnasium's vectorised environment alone: steps, seconds."""
    count = replicas * episodes
    env = gym.make_vec("CartPole-v1", num_envs=count, vectorization_mode="vector_entry_point")
    env.reset(seed=seed)
    actions = _random_actions(replicas, episodes, seed).reshape(-1, count)
    start = time.perf_counter()
    for act in actions:
        env.step(act)
    return actions.size, time.perf_counter() - start


def measured(args: Args, rivals: Mapping[str, Contestant]) -> Times:
    """Seconds a step of everyone, all sizes among them, turn by turn."""
    sides: dict[str, Contestant] = dict(rivals)
    for r in args.replicas:
        sides |= {
            f"ours {r}": partial(ours, r, "loo"),
            f"value {r}": partial(ours, r, "value"),
            f"bare {r}": partial(bare, r),
            f"gymnasium {r}": partial(gymnasium, r),
        }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for turn in range(args.turns):
        for name in order:
            steps, spent = sides[name](args.episodes, args.updates, turn)
            seconds[name].append(spent / steps)
        order = order[1:] + order[:1]
    return Times(seconds)


def phases(replicas: int, baseline: str, episodes: int, updates: int) -> dict[str, str]:
    """Where the time of a training run goes, and how many of its steps lie inside an episode."""
    clock, count = Clock(), Count()
    with watched(clock):
        _, seconds = ours(replicas, baseline, episodes, updates, 0, count=count)
    return {"inside episodes": f"{count.inside / count.taken:.0%}", "where the time goes": clock.of(seconds)}


def rows(args: Args, times: Times, rivals: Sequence[str], replicas: int) -> list[Measured]:
    """Of one number of runs: against each contestant and the bare environments, and with a value function."""
    case = f"{replicas:,} run{'s' if replicas > 1 else ''} at once"

    def row(case: str, side: str, name: str, words: str, goal: float | None, **beside: str) -> Measured:
        speeds = {
            "steps a second": f"{1 / times.median(side):,.0f}",
            "the contestant's": f"{1 / times.median(name):,.0f}",
        }
        return Measured(case, words, times.ratio(name, side), goal, {**speeds, **beside})

    plain, value, alone = f"ours {replicas}", f"value {replicas}", "environment alone, random actions"
    against = [
        row(case, plain, name, f"against {name}", GOALS.get(name, {}).get(replicas)) for name in rivals
    ]
    spent = {name: phases(replicas, name, args.episodes, args.updates) for name in ("loo", "value")}
    return [
        *against,
        row(case, plain, f"bare {replicas}", f"of our {alone}", None, **spent["loo"]),
        row(case, plain, f"gymnasium {replicas}", f"of Gymnasium's vectorised {alone}", None),
        row(f"{case}, value function", value, plain, "of leave-one-out", VALUE_GOAL, **spent["value"]),
    ]


def distance(found: Sequence[Measured]) -> str:
    """Which goals were missed, and by how much, in a sentence."""
    missed = [
        f"{row.case} {row.contestant} {ratio_text(row.ratio.median)} of {ratio_text(row.goal)}"
        for row in found
        if row.goal is not None and row.ratio.median < row.goal
    ]
    return f"Short of its goal: {'; '.join(missed)}." if missed else "Every goal was reached."


def main(args: Args) -> None:
    """Measure, print and store."""
    torch.set_num_threads(1)
    rivals, missing = contestants()
    ours(2, "loo", args.episodes, 2, 0)
    loop(Careful, args.episodes, 1, 0)
    times = measured(args, rivals)
    found = [row for replicas in args.replicas for row in rows(args, times, list(rivals), replicas)]
    benchmark = Benchmark(
        name="rl-throughput",
        title="REINFORCE on CartPole",
        about=(
            "Environment steps a second of whole training on CartPole-v1: runs at once in one program, "
            "against loops of one run with gym.make and torch.optim.Adam, on one thread. The textbook loop "
            "keeps the graph of each distribution; the loop in CleanRL's style acts through a distribution "
            "without a graph and goes through the network again for an update; the careful loop does so "
            "without the distribution; Stable-Baselines3 is its A2C, Tianshou its Reinforce, with 8 "
            "environments each. Then: the speed of whole training as a part of that of the bare environment "
            "in a batch of the same size; and training with a learned value function (ridge regression on "
            "the other episodes) as a part of the speed with the leave-one-out mean. " + distance(found)
        ),
        unit="environment steps a second, contestant = 1",
        faster="up",
        rows=tuple(found),
        turns=args.turns,
        command=command(),
        missing=missing,
    )
    finish(benchmark, args.out)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
