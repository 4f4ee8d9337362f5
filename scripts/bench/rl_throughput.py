"""Environment steps a second of whole training on CartPole-v1, against plain one-environment REINFORCE loops.

Two loops are what one writes by hand, with `gym.make`, a small `nn.Sequential` and `torch.optim.Adam`, one
run at a time. The textbook loop keeps the graph of each `torch.distributions.Categorical` (as PyTorch's own
example does); the careful loop acts without a graph and goes through the network once more for an update. All
sides have the same network, the same number of episodes an update, the same estimator (leave-one-out
baseline) and learning rate, count steps inside episodes only, and run on one thread. They take turns, and the
ratio of each turn is taken, so that a machine that slows down slows all.

Shown beside them: how fast the bare vectorised environment steps a batch of that size with ready-made actions
(the floor), and which share of the environment steps taken lie inside an episode.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
import tyro
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab.experiment import Array
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.study import Table
from core.lab.tables import text_table
from core.lab.train import Block, train
from core.lab.variant import Variant
from rl.environments import CartPole
from rl.problems import cartpole

LR = 0.01


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


class Textbook:
    """Acts through a distribution object and keeps its graph until the update."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.logs: list[Tensor] = []

    def act(self, observation: Array) -> int:
        """One action."""
        policy = torch.distributions.Categorical(logits=self.model(torch.from_numpy(observation)))
        action = policy.sample()  # type: ignore[no-untyped-call]
        self.logs.append(policy.log_prob(action))  # type: ignore[no-untyped-call]
        return int(action)

    def scores(self) -> Tensor:
        """Log probabilities of all actions since the last call."""
        logs, self.logs = torch.stack(self.logs), []
        return logs


class Careful:
    """Acts without a graph, and goes through the network once more at the update."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.seen: list[Array] = []
        self.actions: list[Tensor] = []

    @torch.no_grad()
    def act(self, observation: Array) -> int:
        """One action."""
        chances = torch.softmax(self.model(torch.from_numpy(observation)), dim=0)
        action = torch.multinomial(chances, 1)
        self.seen.append(observation)
        self.actions.append(action)
        return int(action)

    def scores(self) -> Tensor:
        """Log probabilities of all actions since the last call."""
        logs = torch.log_softmax(self.model(torch.from_numpy(np.array(self.seen))), dim=1)
        chosen = logs.gather(1, torch.stack(self.actions))[:, 0]
        self.seen, self.actions = [], []
        return chosen


def loop(style: type[Textbook | Careful], episodes: int, updates: int, seed: int) -> tuple[int, float]:
    """One ordinary run: steps in episodes, seconds."""
    torch.manual_seed(seed)
    env = gym.make("CartPole-v1")
    model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))
    agent = style(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    steps, start = 0, time.perf_counter()
    for update in range(updates):
        returns = torch.zeros(episodes, 500)
        for episode in range(episodes):
            observation, _ = env.reset(seed=seed if update == episode == 0 else None)
            rewards, over = [], False
            while not over:
                observation, reward, terminated, truncated, _ = env.step(agent.act(observation))
                rewards.append(float(reward))
                over = terminated or truncated
            returns[episode, : len(rewards)] = torch.tensor(rewards).flip(0).cumsum(0).flip(0)
            steps += len(rewards)
        advantages = returns - (returns.sum(0) - returns) / (episodes - 1)
        # Each step has a reward of 1, so returns-to-go are positive inside episodes and zero outside.
        loss = -(advantages[returns > 0] * agent.scores()).sum() / episodes
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return steps, time.perf_counter() - start


def ours(replicas: int, episodes: int, updates: int, seed: int) -> tuple[int, float]:
    """R runs at once: steps in episodes, seconds."""
    problem = cartpole(episodes=episodes, baseline="loo", evaluation_episodes=1)
    keys = Keys.of(range(seed * replicas, (seed + 1) * replicas))
    lr = torch.full((replicas,), LR, dtype=torch.float64)
    block = Block(Variant("Adam", "adam"), slice(0, replicas), {"lr": lr})
    start = time.perf_counter()
    run = train(problem, [block], keys, steps=updates, recording=Recording(1))
    seconds = time.perf_counter() - start
    # Mean steps an update, over all updates but the first, which is recorded by itself.
    curve = run.curves["field/steps"]
    return int((curve[:, 0] + curve[:, 1] * (updates - 1)).sum()), seconds


def bare(replicas: int, episodes: int, steps: int = 300) -> float:
    """Steps a second of the vectorised environment alone, with ready-made actions."""
    running = CartPole().start(Keys.of(range(replicas)), episodes)
    actions = np.random.default_rng(0).integers(0, 2, (steps, replicas, episodes))
    start = time.perf_counter()
    for act in actions:
        running.step(act)
    return actions.size / (time.perf_counter() - start)


def useful_share(replicas: int, episodes: int, updates: int) -> float:
    """The share of steps taken that lie inside an episode, over a training run of some replicas."""
    problem = cartpole(episodes=episodes, baseline="loo")
    keys = Keys.of(range(replicas))
    rule = Variant("Adam", "adam").update_rule
    params = problem.init(keys)
    state, inside, taken = rule.init(params), 0, 0
    for step in range(updates):
        batch = problem.batch(params, keys, step)
        inside, taken = inside + int(batch.lengths.sum()), taken + batch.stepped
        params, state = rule.step(params, problem.gradient(params, batch), state, lr=LR)
    return inside / taken


def row(args: Args, replicas: int) -> tuple[str, ...]:
    """Medians over the turns for one size."""
    turns = []
    for turn in range(args.turns):
        results = (
            loop(Textbook, args.episodes, args.updates, turn),
            loop(Careful, args.episodes, args.updates, turn),
            ours(replicas, args.episodes, args.updates, turn),
        )
        textbook, careful, own = (steps / seconds for steps, seconds in results)
        turns.append((textbook, careful, own, own / textbook, own / careful))
    textbook, careful, own, first, second = np.median(turns, axis=0)
    floor = bare(replicas, args.episodes)
    share = useful_share(min(replicas, 200), args.episodes, args.updates)
    rates = (textbook, careful, own, floor)
    return (str(replicas), *(f"{x:,.0f}" for x in rates), f"{first:.1f}x", f"{second:.1f}x", f"{share:.0%}")


def main(args: Args) -> None:
    """A table of environment steps a second and ratios."""
    torch.set_num_threads(1)
    ours(2, args.episodes, 2, 0)
    loop(Careful, args.episodes, 1, 0)
    heads = (
        "runs at once",
        "textbook",
        "careful",
        "vhat",
        "bare env",
        "vhat / textbook",
        "vhat / careful",
        "useful",
    )
    rows = tuple(row(args, replicas) for replicas in args.replicas)
    print(text_table(Table("", heads, rows)))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
