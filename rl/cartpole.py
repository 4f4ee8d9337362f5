"""CartPole-v1, batched: the task that most runs are spent on.

Gymnasium has a vectorised environment for it, with the same equations. Half of a step there goes into checks,
copies, and resets from one generator that all environments share, so that environment 0 would change with
their number. Here are its equations alone, in the same order of operations; tests hold them to Gymnasium's
scalar and its vectorised environment, bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from core.lab.random import Keys
from rl.arrays import Actions, Bools, Floats, Indices

# As arrays: numpy's functions take them quicker than numbers.
_TAU, _TOTAL_MASS, _HALF_POLE = np.array(0.02), np.array(0.1 + 1.0), np.array(0.5)
_POLE_MASS_LENGTH, _FOUR_THIRDS = np.array(0.1 * 0.5), np.array(4.0 / 3.0)
_GRAVITY = 9.8
_FORCES = np.array([-10.0, 10.0])
"""By action."""
_MASSES = np.array([[0.1 * 0.5], [0.1]])
"""Of the pole, times its length and by itself."""
_LIMITS = np.array([[2.4], [12 * 2 * np.pi / 360]])
"""Of the cart's place and the pole's angle."""


class CartPoleEpisodes:
    """Column r * E + e is episode e of replica r; rows are place, angle, and the speeds of both."""

    def __init__(self, states: Floats, horizon: int) -> None:
        """Start in `states`, float64 `[4, R, E]`, in Gymnasium's order (speeds after places)."""
        _, self._rows, self._episodes = states.shape
        self._left = horizon
        self.stepped = 0
        self._prepare(states[[0, 2, 1, 3]])

    def _prepare(self, state: Floats) -> None:
        """Take a state, and make room for the work of a step, with views of all that it touches.

        For few episodes a call of numpy costs more than its work, so rows that go through the same operation
        lie evenly spaced, and one call serves two or four of them.
        """
        shape = self._rows, self._episodes
        count = self._rows * self._episodes
        room = np.empty((13, count))  # one row is left over
        room[:4] = np.reshape(state, (4, count))
        room[9] = _GRAVITY
        self._state, self._places, self._changes = room[:4], room[:2], room[2:6]
        self._angle, self._turn, self._x_acc, self._turn_acc = room[1], room[3], room[4], room[5]
        self._cosine, self._sine, self._temp, self._below = room[7], room[6], room[10], room[12]
        self._turn_and_cosine, self._temp_and_below = room[3:8:4], room[10:13:2]
        self._sine_and_cosine, self._gravity_and_temp = room[6:8], room[9:11]
        self._work, self._pulls = room[8], np.empty((2, count))
        self._pull, self._push = self._pulls
        self._moved = np.empty((4, count))
        self._beyond = np.empty((2, count), dtype=np.bool_)
        self._too_far, self._too_steep = self._beyond.reshape(2, *shape)
        self._over = np.empty(shape, dtype=np.bool_)
        self._cut = np.zeros(shape, dtype=np.bool_)
        self._rewards = np.ones(shape, dtype=np.float32)
        self.observations: Floats = np.empty((*shape, 4), dtype=np.float32)
        # Place, speed, angle, its speed; the state has speeds after places.
        self._seen = self.observations.reshape(count, 2, 2).transpose(2, 1, 0)
        self._shown = self._state.reshape(2, 2, count)
        np.copyto(self._seen, self._shown)

    def step(self, actions: Actions) -> tuple[Floats, Bools, Bools]:
        """See `rl.episodes.Episodes`. An episode that has ended moves on and stays finite, without walls."""
        cosine, temp, below, work = self._cosine, self._temp, self._below, self._work
        x_acc, turn_acc = self._x_acc, self._turn_acc
        np.cos(self._angle, cosine)
        np.sin(self._angle, self._sine)
        # temp = (force + pole mass length * angular speed^2 * sine) / total mass
        # below = half pole (4/3 - pole mass cosine^2 / total mass)
        both = self._temp_and_below
        np.square(self._turn_and_cosine, both)
        np.multiply(both, _MASSES, both)
        np.multiply(temp, self._sine, temp)
        _FORCES.take(actions.reshape(-1), out=work, mode="clip")
        np.add(temp, work, temp)
        np.divide(both, _TOTAL_MASS, both)
        np.subtract(_FOUR_THIRDS, below, below)
        np.multiply(below, _HALF_POLE, below)
        # angular acceleration = (g sine - cosine temp) / below
        np.multiply(self._sine_and_cosine, self._gravity_and_temp, self._pulls)
        np.subtract(self._pull, self._push, turn_acc)
        np.divide(turn_acc, below, turn_acc)
        # acceleration = temp - pole mass length * angular acceleration * cosine / total mass
        np.multiply(turn_acc, _POLE_MASS_LENGTH, x_acc)
        np.multiply(x_acc, cosine, x_acc)
        np.divide(x_acc, _TOTAL_MASS, x_acc)
        np.subtract(temp, x_acc, x_acc)
        np.multiply(self._changes, _TAU, self._moved)
        np.add(self._state, self._moved, self._state)
        np.abs(self._places, self._pulls)
        np.greater(self._pulls, _LIMITS, self._beyond)
        np.logical_or(self._too_far, self._too_steep, self._over)
        np.copyto(self._seen, self._shown)
        self._left -= 1
        if self._left <= 0:
            self._cut[:] = True
        self.stepped += self._cut.size
        return self._rewards, self._over, self._cut

    def keep(self, rows: Indices) -> None:
        """See `rl.episodes.Episodes`."""
        kept = self._state.reshape(4, self._rows, self._episodes)[:, rows]
        self._rows = len(rows)
        self._prepare(kept)


@dataclass(frozen=True)
class CartPole:
    """CartPole-v1: keep a pole upright on a cart, +1 a step (Barto, Sutton and Anderson 1983).

    Attributes:
        horizon: the time limit in steps.
    """

    horizon: int = 500

    @property
    def id(self) -> str:
        """See `rl.episodes.Task`."""
        return "CartPole-v1"

    @property
    def observation_size(self) -> int:
        """Position, velocity, angle, angular velocity."""
        return 4

    @property
    def actions(self) -> int:
        """Push left, push right."""
        return 2

    @property
    def discrete(self) -> bool:
        """True."""
        return True

    def limited(self, horizon: int) -> CartPole:
        """See `rl.episodes.Task`."""
        return replace(self, horizon=horizon)

    def start(self, keys: Keys, episodes: int) -> CartPoleEpisodes:
        """See `rl.episodes.Task`; starts are uniform on (-0.05, 0.05), as by the task's `reset`."""
        unit = keys.uniform(episodes, 4, dtype=torch.float64).cpu().numpy()
        return CartPoleEpisodes(np.moveaxis(unit * 0.1 - 0.05, 2, 0), self.horizon)
