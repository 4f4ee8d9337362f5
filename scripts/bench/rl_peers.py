"""What the REINFORCE benchmark compares with: plain loops of one run, and two libraries.

The loops are what one writes by hand, with `gym.make`, a small `nn.Sequential` and `torch.optim.Adam`. The
textbook loop keeps the graph of each `torch.distributions.Categorical` (as PyTorch's own example does). The
loop in CleanRL's style acts through the same object without a graph, keeps what it saw, and goes through the
network once more for an update. The careful loop does that without the object. All have the same network, the
same number of episodes an update, the same estimator (leave-one-out baseline) and learning rate.

Stable-Baselines3's A2C and Tianshou's Reinforce have 8 environments and the same network. A2C updates every 5
steps, with a value network beside the policy; Reinforce standardises returns, and updates every 8 episodes.

Tianshou is no part of the extra `bench`: its newest version, 2.0.1, requires pandas below 3, and
constraints.txt pins pandas 3. It takes part in a virtual environment of its own, where `pip install -e
'.[bench]'` comes first and `pip install tianshou`, which puts pandas back to 2, after it.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from core.lab.experiment import Array
from scripts.bench.timing import missing_peer

LR = 0.01
_LIBRARY_STEPS = 10_000

Contestant = Callable[[int, int, int], tuple[int, float]]
"""From episodes an update, updates and a seed to environment steps in episodes, and seconds."""


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


class CleanRL:
    """Acts through a distribution object without a graph, and through another one for the update."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.seen: list[Tensor] = []
        self.actions: list[Tensor] = []

    def policy(self, observations: Tensor) -> torch.distributions.Categorical:
        """The distribution over actions."""
        return torch.distributions.Categorical(logits=self.model(observations))

    @torch.no_grad()
    def act(self, observation: Array) -> int:
        """One action."""
        seen = torch.as_tensor(observation)
        action = self.policy(seen).sample()  # type: ignore[no-untyped-call]
        self.seen.append(seen)
        self.actions.append(action)
        return int(action)

    def scores(self) -> Tensor:
        """Log probabilities of all actions since the last call."""
        policy, actions = self.policy(torch.stack(self.seen)), torch.stack(self.actions)
        self.seen, self.actions = [], []
        logs: Tensor = policy.log_prob(actions)  # type: ignore[no-untyped-call]
        return logs


class Careful:
    """Acts without a graph and without a distribution object."""

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


def loop(
    style: type[Textbook | CleanRL | Careful], episodes: int, updates: int, seed: int
) -> tuple[int, float]:
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


def stable_baselines(episodes: int, updates: int, seed: int) -> tuple[int, float]:  # noqa: ARG001
    """Stable-Baselines3's A2C with 8 environments: steps, seconds."""
    from stable_baselines3 import A2C
    from stable_baselines3.common.env_util import make_vec_env

    envs = make_vec_env("CartPole-v1", n_envs=8, seed=seed)
    model = A2C("MlpPolicy", envs, policy_kwargs={"net_arch": [32]}, seed=seed, device="cpu")
    start = time.perf_counter()
    model.learn(total_timesteps=_LIBRARY_STEPS)
    seconds = time.perf_counter() - start
    envs.close()
    return int(model.num_timesteps), seconds


def tianshou(episodes: int, updates: int, seed: int) -> tuple[int, float]:  # noqa: ARG001
    """Tianshou's Reinforce with 8 environments: steps, seconds."""
    from tianshou.algorithm import Reinforce
    from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import Collector, VectorReplayBuffer
    from tianshou.env import DummyVectorEnv
    from tianshou.trainer import OnPolicyTrainerParams
    from tianshou.utils.net.common import Net

    torch.manual_seed(seed)
    np.random.seed(seed)
    envs: Any = DummyVectorEnv([lambda: gym.make("CartPole-v1")] * 8)
    envs.seed(seed)
    network = Net(state_shape=(4,), action_shape=2, hidden_sizes=(32,), activation=nn.Tanh)
    one = gym.make("CartPole-v1")
    policy = DiscreteActorPolicy(
        actor=network, action_space=one.action_space, observation_space=one.observation_space
    )
    algorithm = Reinforce(
        policy=policy, optim=AdamOptimizerFactory(lr=LR), gamma=1.0, return_standardization=True
    )
    collector = Collector(algorithm, envs, VectorReplayBuffer(20_000, 8))
    parameters = OnPolicyTrainerParams(
        training_collector=collector,
        max_epochs=1,
        epoch_num_steps=_LIBRARY_STEPS,
        collection_step_num_episodes=episodes,
        collection_step_num_env_steps=None,
        batch_size=None,
        verbose=False,
        show_progress=False,
    )
    start = time.perf_counter()
    algorithm.run_training(parameters)
    return int(collector.collect_step), time.perf_counter() - start


def _plain(style: type[Textbook | CleanRL | Careful]) -> Contestant:
    return lambda episodes, updates, seed: loop(style, episodes, updates, seed)


def contestants() -> tuple[dict[str, Contestant], tuple[str, ...]]:
    """All that are installed, by name; and a line for each library that is not."""
    found: dict[str, Contestant] = {
        "the textbook loop": _plain(Textbook),
        "the loop in CleanRL's style": _plain(CleanRL),
        "the careful loop": _plain(Careful),
    }
    missing = missing_peer("stable_baselines3")
    lines = [] if missing is None else [missing]
    if missing is None:
        found["Stable-Baselines3"] = stable_baselines
    if importlib.util.find_spec("tianshou") is not None:
        found["Tianshou"] = tianshou
    else:
        lines.append(
            "tianshou is not installed: it wants pandas below 3, and vhat is pinned to 3; see "
            "the docstring of scripts/bench/rl_peers.py"
        )
    return found, tuple(lines)
