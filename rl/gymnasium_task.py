"""Any Gymnasium task, one of its own scalar environments an episode.

That is a loop in Python, and slow; it is about as fast as Gymnasium's vector environments over the same
scalar ones, which loop as well, but go on with episodes that have ended and reset them on the way, with a
step that counts for nothing.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from core.lab.errors import VhatError
from core.lab.random import Keys
from rl.arrays import Actions, Bools, Floats, Indices

_EXTRAS = ("box2d", "mujoco")
"""Families of tasks with an extra of their own."""


def make(task_id: str, **settings: Any) -> Any:
    """One scalar environment.

    Raises:
        VhatError: one line, which names the extra to install where one is missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to those who choose a version of a task
            return gym.make(task_id, disable_env_checker=True, **settings)
    except gym.error.DependencyNotInstalled as missing:
        where = str(gym.spec(task_id).entry_point)
        extra = next((e for e in _EXTRAS if f"envs.{e}" in where), None)
        if extra is None:
            raise VhatError(f"{task_id} cannot be made: {missing}") from missing
        raise VhatError(f"{task_id} needs the extra '{extra}': pip install -e '.[{extra}]'") from missing
    except Exception as error:  # whatever a task's own code raises
        raise VhatError(f"{task_id} cannot be made: {error}") from error


class ScalarEpisodes:
    """One Gymnasium environment an episode; those whose episode has ended are not stepped."""

    def __init__(self, task: ScalarTask, seeds: Indices) -> None:
        """One environment for each of `seeds` `[R, E]`, reset with it."""
        self._task = task
        self._envs = np.empty(seeds.shape, dtype=object)
        self._running = np.ones(seeds.shape, dtype=np.bool_)
        self._held = True
        self.stepped = 0
        first = []
        for at, seed in np.ndenumerate(seeds):
            self._envs[at] = env = task.borrow()
            first.append(task.seen(env.reset(seed=int(seed))[0]))
        self.observations: Floats = np.array(first, dtype=np.float32).reshape(*seeds.shape, -1)

    def step(self, actions: Actions) -> tuple[Floats, Bools, Bools]:
        """See `rl.episodes.Episodes`."""
        shape = self._running.shape
        rewards = np.zeros(shape, dtype=np.float32)
        terminated, truncated = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
        observations = self.observations.copy()
        chosen = self._task.native(actions)
        for row, episode in np.argwhere(self._running):
            at = (int(row), int(episode))
            seen, rewards[at], terminated[at], truncated[at], _ = self._envs[at].step(chosen[at])
            observations[at] = self._task.seen(seen)
        self.observations = observations
        self.stepped += int(self._running.sum())
        self._running &= ~(terminated | truncated)
        if self._held and not self._running.any():
            # Once only: an environment that is idle twice over would serve two episodes at a time.
            self._task.give_back(self._envs)
            self._held = False
        return rewards, terminated, truncated

    def keep(self, rows: Indices) -> None:
        """See `rl.episodes.Episodes`."""
        if self._held:
            self._task.give_back(np.delete(self._envs, rows, axis=0))
        self._envs, self._running = self._envs[rows], self._running[rows]
        self.observations = self.observations[rows]


@dataclass(frozen=True)
class ScalarTask:
    """Any Gymnasium task whose actions are choices or vectors.

    Attributes:
        id: Gymnasium's name of the task.
        horizon: the time limit in steps.
        action_space, observation_space: Gymnasium's. Observations that are no vectors are flattened as
            `gymnasium.spaces.flatten` does it, choices one-hot.
    """

    id: str
    horizon: int
    action_space: spaces.Discrete | spaces.Box
    observation_space: spaces.Space[Any]
    # Environments to use again, since making one costs up to 20 ms: a reset with a seed leaves no trace of
    # earlier episodes.
    _idle: list[Any] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def observation_size(self) -> int:
        """See `rl.episodes.Task`."""
        return spaces.flatdim(self.observation_space)

    @property
    def actions(self) -> int:
        """See `rl.episodes.Task`."""
        space = self.action_space
        return int(space.n) if isinstance(space, spaces.Discrete) else int(np.prod(space.shape))

    @property
    def discrete(self) -> bool:
        """See `rl.episodes.Task`."""
        return isinstance(self.action_space, spaces.Discrete)

    def limited(self, horizon: int) -> ScalarTask:
        """See `rl.episodes.Task`."""
        return replace(self, horizon=horizon)

    def start(self, keys: Keys, episodes: int) -> ScalarEpisodes:
        """See `rl.episodes.Task`; each environment is seeded with a keyed draw."""
        return ScalarEpisodes(self, self.seeds(keys, episodes))

    def seeds(self, keys: Keys, episodes: int) -> Indices:
        """The seed of each environment's reset, `[R, episodes]`."""
        seeds: Indices = keys.integers(2**31, episodes).cpu().numpy()
        return seeds

    def native(self, actions: Actions) -> Any:
        """Actions as the task wants them; vectors are scaled from -1..1 to its box, and clipped."""
        space = self.action_space
        if isinstance(space, spaces.Discrete):
            return actions + space.start
        # A policy that has blown up may act in NaN, which some simulators do not survive.
        shaped = np.nan_to_num(actions.reshape(*actions.shape[:-1], *space.shape))
        if not space.is_bounded():
            return shaped.astype(space.dtype)
        centre, half = (space.high + space.low) / 2.0, (space.high - space.low) / 2.0
        return np.clip(centre + half * shaped, space.low, space.high).astype(space.dtype)

    def seen(self, observation: Any) -> Floats:
        """An observation as a flat vector `[O]`."""
        if isinstance(self.observation_space, spaces.Box):
            return np.ravel(observation)
        return np.asarray(spaces.flatten(self.observation_space, observation))

    def borrow(self) -> Any:
        """An environment to reset."""
        return self._idle.pop() if self._idle else make(self.id, max_episode_steps=self.horizon)

    def give_back(self, envs: Any) -> None:
        """Environments that are no longer needed."""
        self._idle.extend(envs.flat)


def scalar_task(task_id: str, horizon: int) -> ScalarTask:
    """The task of that Gymnasium id.

    Raises:
        VhatError: if it cannot be made, or if its spaces do not fit.
    """
    env = make(task_id)
    actions, observed = env.action_space, env.observation_space
    env.close()
    floating = isinstance(actions, spaces.Box) and np.issubdtype(actions.dtype, np.floating)
    if not (isinstance(actions, spaces.Discrete) or floating):
        raise VhatError(f"{task_id} has actions {actions}; a policy needs Discrete(n) or a Box of floats")
    if not observed.is_np_flattenable:
        raise VhatError(f"{task_id} has observations {observed}, which cannot be flattened to a vector")
    return ScalarTask(task_id, horizon, actions, observed)
