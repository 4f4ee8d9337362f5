"""Environment steps a second of whole training on CartPole-v1, against plain one-environment REINFORCE loops.

Two loops are what one writes by hand, with `gym.make`, a small `nn.Sequential` and `torch.optim.Adam`, one
run at a time. The textbook loop keeps the graph of each `torch.distributions.Categorical` (as PyTorch's own
example does); the careful loop acts without a graph and goes through the network once more for an update. All
sides have the same network, the same number of episodes an update, the same estimator (leave-one-out
baseline) and learning rate, count steps inside episodes only, and run on one thread. They take turns, and the
ratio of each turn is taken, so that a machine that slows down slows all.

With the extra `bench`, Stable-Baselines3's A2C with 8 environments and the same network takes turns as well:
it updates every 5 steps, with a value network beside the policy.

Shown beside them: how fast Gymnasium's own vectorised environment, and ours, step a batch of that size with
ready-made actions (the floor), and which share of the environment steps taken lie inside an episode.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
import tyro
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab.benchmark import Benchmark, Measured
from core.lab.experiment import Array
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from rl.environments import CartPole
from rl.problems import cartpole
from scripts.bench.timing import Times, command, finish, missing_peer

LR = 0.01

GOALS = {
    "textbook": {1: 8.0, 20: 50.0, 200: 150.0},
    "careful": {1: 8.0, 20: 50.0, 200: 150.0},
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


def stable_baselines(steps: int, seed: int) -> tuple[int, float]:
    """Stable-Baselines3's A2C with 8 environments: steps, seconds."""
    from stable_baselines3 import A2C
    from stable_baselines3.common.env_util import make_vec_env

    envs = make_vec_env("CartPole-v1", n_envs=8, seed=seed)
    model = A2C("MlpPolicy", envs, policy_kwargs={"net_arch": [32]}, seed=seed, device="cpu")
    start = time.perf_counter()
    model.learn(total_timesteps=steps)
    seconds = time.perf_counter() - start
    envs.close()
    return int(model.num_timesteps), seconds


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


def measure(args: Args, replicas: int) -> list[Measured]:
    """A row against each contestant, for one number of runs."""
    styles: dict[str, type[Textbook | Careful]] = {"textbook": Textbook, "careful": Careful}
    peer = "Stable-Baselines3"
    seconds: dict[str, list[float]] = {"ours": [], **{style: [] for style in styles}}
    if missing_peer("stable_baselines3") is None:
        seconds[peer] = []
    for turn in range(args.turns):
        steps, spent = ours(replicas, args.episodes, args.updates, turn)
        seconds["ours"].append(spent / steps)
        for style, agent in styles.items():
            steps, spent = loop(agent, args.episodes, args.updates, turn)
            seconds[style].append(spent / steps)
        if peer in seconds:
            steps, spent = stable_baselines(10_000, turn)
            seconds[peer].append(spent / steps)
    times = Times(seconds)
    own, theirs = bare(replicas, args.episodes)
    beside = {
        "steps a second": f"{1 / times.median('ours'):,.0f}",
        "bare environment": f"{own:,.0f}",
        "Gymnasium's": f"{theirs:,.0f}",
        "inside episodes": f"{useful_share(min(replicas, 200), args.episodes, args.updates):.0%}",
    }
    return [
        Measured(
            f"{replicas:,} run{'s' if replicas > 1 else ''} at once",
            f"against the {style} loop" if style in styles else f"against {style}",
            times.ratio(style, "ours"),
            GOALS[style].get(replicas),
            {**beside, "the contestant's": f"{1 / times.median(style):,.0f}"},
        )
        for style in seconds
        if style != "ours"
    ]


def main(args: Args) -> None:
    """Measure, print and store."""
    torch.set_num_threads(1)
    ours(2, args.episodes, 2, 0)
    loop(Careful, args.episodes, 1, 0)
    benchmark = Benchmark(
        name="rl-throughput",
        title="REINFORCE on CartPole",
        about=(
            "Environment steps a second of whole training on CartPole-v1: runs at once in one program, "
            "against loops of one run with gym.make and torch.optim.Adam, on one thread. The textbook loop "
            "keeps the graph of each distribution; the careful loop acts without a graph; "
            "Stable-Baselines3 is its A2C with 8 environments. Beside the ratio: the bare environment with "
            "ready-made actions, ours and Gymnasium's vectorised one, and the share of the environment steps "
            "taken that lie inside an episode."
        ),
        unit="environment steps a second, contestant = 1",
        faster="up",
        rows=tuple(row for replicas in args.replicas for row in measure(args, replicas)),
        turns=args.turns,
        command=command(),
        missing=tuple(line for line in [missing_peer("stable_baselines3")] if line is not None),
    )
    finish(benchmark, args.out)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
