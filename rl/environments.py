"""Whole episodes on Gymnasium tasks, for all replicas at once.

Each replica owns E environments and runs each of them for exactly one episode, so that no episode is left out
for being long: taking the first N episodes that end would favour short ones. An environment whose episode has
ended is stepped on until its replica is done, and those steps are masked by the caller; a replica whose
episodes have all ended is dropped from the batch by `keep`.

An episode ends because the task is over (*terminated*: the pole fell) or because the time limit was reached
(*truncated*). Truncation is no failure. The objective here is the return within the time limit, so a
truncated episode's return-to-go is the plain sum of its rewards up to the limit, with nothing bootstrapped in
its place.

A replica's episodes depend on its key alone. Gymnasium's vectorised CartPole draws all its starts from one
generator, so that environment 0 would change with the number of environments; here the starts are keyed draws
from the task's own reset distribution, written into the environment. A test holds it to the scalar task, step
by step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector.utils import batch_space

from core.lab.errors import VhatError, nearest
from core.lab.random import Keys
from rl.arrays import Bools, Floats, Indices


class Episodes(Protocol):
    """One running episode in each of n x E environments; rows are replicas."""

    observations: Floats
    """`[n, E, O]`, what each agent sees now."""

    def step(self, actions: Indices) -> tuple[Floats, Bools, Bools]:
        """Act once everywhere: `(rewards, terminated, truncated)`, each `[n, E]`.

        What is returned for an episode that ended earlier is finite and has no meaning.
        """

    def keep(self, rows: Indices) -> None:
        """Drop all replicas but `rows` (ascending positions among those still here)."""


class Task(Protocol):
    """A Gymnasium task with a discrete action space."""

    @property
    def observation_size(self) -> int:
        """O, numbers in an observation."""

    @property
    def actions(self) -> int:
        """A, the number of actions."""

    @property
    def horizon(self) -> int:
        """The time limit in steps."""

    def start(self, keys: Keys, episodes: int) -> Episodes:
        """`episodes` fresh environments for each of the R rows of `keys`."""


class CartPoleEpisodes:
    """CartPole-v1 by Gymnasium's own vectorised environment; column r * E + e is episode e of replica r."""

    def __init__(self, states: Floats, horizon: int) -> None:
        """Start in `states`, float64 `[4, R, E]`."""
        _, self._rows, self._episodes = states.shape
        count = self._rows * self._episodes
        env = gym.make_vec(
            "CartPole-v1", num_envs=count, vectorization_mode="vector_entry_point", max_episode_steps=horizon
        ).unwrapped
        assert isinstance(env, CartPoleVectorEnv)
        self._env = cast("Any", env)  # its annotations leave out that the state is an array
        self._env.state = states.reshape(4, count)
        self._never = np.zeros(count, dtype=np.bool_)
        self.observations: Floats = self._shape(self._env.state.T.astype(np.float32))

    def _shape(self, values: Any) -> Any:
        return values.reshape(self._rows, self._episodes, *values.shape[1:])

    def step(self, actions: Indices) -> tuple[Floats, Bools, Bools]:
        """See `Episodes`. An episode that has ended moves on, and stays finite: the cart has no walls."""
        # Without this the environment would reset itself at the next step, from the generator that all share.
        self._env.prev_done = self._never
        observations, rewards, terminated, truncated, _ = self._env.step(actions.reshape(-1))
        self.observations = self._shape(observations)
        return self._shape(rewards), self._shape(terminated), self._shape(truncated)

    def keep(self, rows: Indices) -> None:
        """See `Episodes`."""
        env = self._env
        env.state = self._shape(env.state.T)[rows].reshape(-1, 4).T.copy()
        env.steps = self._shape(env.steps)[rows].reshape(-1)
        self.observations = self.observations[rows]
        self._rows = len(rows)
        self._never = np.zeros(env.steps.size, dtype=np.bool_)
        env.num_envs = env.steps.size
        env.action_space = batch_space(env.single_action_space, env.num_envs)


@dataclass(frozen=True)
class CartPole:
    """CartPole-v1: keep a pole upright on a cart, +1 a step (Barto, Sutton and Anderson 1983)."""

    horizon: int = 500

    @property
    def observation_size(self) -> int:
        """Position, velocity, angle, angular velocity."""
        return 4

    @property
    def actions(self) -> int:
        """Push left, push right."""
        return 2

    def start(self, keys: Keys, episodes: int) -> CartPoleEpisodes:
        """See `Task`; starts are uniform on (-0.05, 0.05) in each coordinate, as by the task's `reset`."""
        unit = keys.uniform(episodes, 4, dtype=torch.float64).cpu().numpy()
        return CartPoleEpisodes(np.ascontiguousarray(np.moveaxis(unit * 0.1 - 0.05, 2, 0)), self.horizon)


class ScalarEpisodes:
    """Any task, one Gymnasium environment an episode; those whose episode has ended are not stepped."""

    def __init__(self, task_id: str, seeds: Indices, horizon: int) -> None:
        """One environment for each of `seeds` `[R, E]`, reset with it."""
        self._envs = np.empty(seeds.shape, dtype=object)
        self._running = np.ones(seeds.shape, dtype=np.bool_)
        first = []
        for at, seed in np.ndenumerate(seeds):
            self._envs[at] = env = gym.make(task_id, max_episode_steps=horizon)
            first.append(np.ravel(env.reset(seed=int(seed))[0]))
        self.observations: Floats = np.array(first, dtype=np.float32).reshape(*seeds.shape, -1)

    def step(self, actions: Indices) -> tuple[Floats, Bools, Bools]:
        """See `Episodes`."""
        rewards = np.zeros(actions.shape, dtype=np.float32)
        terminated = np.zeros(actions.shape, dtype=np.bool_)
        truncated = np.zeros(actions.shape, dtype=np.bool_)
        observations = self.observations.copy()
        for row, episode in np.argwhere(self._running):
            at = (int(row), int(episode))
            seen, rewards[at], terminated[at], truncated[at], _ = self._envs[at].step(actions[at])
            observations[at] = np.ravel(seen)
        self.observations = observations
        self._running &= ~(terminated | truncated)
        return rewards, terminated, truncated

    def keep(self, rows: Indices) -> None:
        """See `Episodes`."""
        dropped = np.delete(self._envs, rows, axis=0)
        for env in dropped.flat:
            env.close()
        self._envs, self._running = self._envs[rows], self._running[rows]
        self.observations = self.observations[rows]


@dataclass(frozen=True)
class ScalarTask:
    """Any Gymnasium task with discrete actions, one Python object an episode: slow.

    Attributes:
        id: Gymnasium's name of the task.
        observation_size, actions, horizon: see `Task`.
    """

    id: str
    observation_size: int
    actions: int
    horizon: int

    def start(self, keys: Keys, episodes: int) -> ScalarEpisodes:
        """See `Task`; each environment is seeded with a keyed draw."""
        seeds = keys.integers(2**31, episodes).cpu().numpy()
        return ScalarEpisodes(self.id, seeds, self.horizon)


def task(task_id: str, horizon: int | None = None) -> Task:
    """The task of that Gymnasium id, with its registered time limit unless `horizon` is given.

    Raises:
        VhatError: if Gymnasium does not know the task, or if its actions are not discrete, its observations
            not arrays of numbers, or no time limit is given.
    """
    if task_id not in gym.registry:
        raise VhatError(nearest(task_id, gym.registry.keys(), kind="Gymnasium task"))
    limit = horizon or gym.spec(task_id).max_episode_steps
    if limit is None:
        raise VhatError(f"{task_id} has no time limit of its own: give one with horizon=")
    if task_id == "CartPole-v1":
        return CartPole(limit)
    try:
        env = gym.make(task_id)
    except gym.error.DependencyNotInstalled as missing:
        raise VhatError(f"{task_id} cannot be made: {missing}") from missing
    space, observed = env.action_space, env.observation_space
    env.close()
    if not isinstance(space, gym.spaces.Discrete) or space.start != 0:
        raise VhatError(
            f"{task_id} has actions {space}; the categorical policy needs Discrete(n) that starts at 0"
        )
    if not isinstance(observed, gym.spaces.Box):
        raise VhatError(f"{task_id} has observations {observed}; the policy needs a Box")
    return ScalarTask(task_id, int(np.prod(observed.shape)), int(space.n), limit)
