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
_GRAVITY, _FORCE, _TWICE_THE_FORCE, _TAU = np.array(9.8), np.array(10.0), np.array(20.0), np.array(0.02)
_POLE_MASS, _TOTAL_MASS, _HALF_POLE = np.array(0.1), np.array(0.1 + 1.0), np.array(0.5)
_POLE_MASS_LENGTH, _FOUR_THIRDS = np.array(0.1 * 0.5), np.array(4.0 / 3.0)
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
        """Take a state, and make room for the work of a step, with views of all that it touches."""
        shape = self._rows, self._episodes
        state = np.array(state, dtype=np.float64, order="C").reshape(4, -1)
        self._state, self._places, self._speeds = state, state[:2], state[2:]
        _, self._angle, _, self._turn = state
        room = np.empty((6, state.shape[1]))
        self._room, self._moved, self._accelerations = tuple(room), room[:2], room[4:]
        beyond = np.empty((2, state.shape[1]), dtype=np.bool_)
        self._beyond, self._too_far, self._too_steep = beyond, *beyond.reshape(2, *shape)
        self._over = np.empty(shape, dtype=np.bool_)
        self._cut = np.zeros(shape, dtype=np.bool_)
        self._rewards = np.ones(shape, dtype=np.float32)
        self.observations: Floats = np.empty((*shape, 4), dtype=np.float32)
        seen = self.observations.reshape(-1, 4).T
        self._shown = (seen[0::2], self._places), (seen[1::2], self._speeds)
        self._show()

    def _show(self) -> None:
        for seen, state in self._shown:
            seen[...] = state

    def step(self, actions: Actions) -> tuple[Floats, Bools, Bools]:
        """See `rl.episodes.Episodes`. An episode that has ended moves on and stays finite, without walls."""
        places, speeds = self._places, self._speeds
        angle, turn = self._angle, self._turn
        work, cosine, sine, temp, x_acc, turn_acc = self._room
        moved, accelerations = self._moved, self._accelerations
        np.cos(angle, cosine)
        np.sin(angle, sine)
        # temp = (force + pole mass length * angular speed^2 * sine) / total mass
        np.square(turn, temp)
        np.multiply(temp, _POLE_MASS_LENGTH, temp)
        np.multiply(temp, sine, temp)
        np.multiply(actions.reshape(-1), _TWICE_THE_FORCE, work)
        np.subtract(work, _FORCE, work)
        np.add(temp, work, temp)
        np.divide(temp, _TOTAL_MASS, temp)
        # angular acceleration = (g sine - cosine temp) / (half pole (4/3 - pole mass cosine^2 / total mass))
        np.square(cosine, work)
        np.multiply(work, _POLE_MASS, work)
        np.divide(work, _TOTAL_MASS, work)
        np.subtract(_FOUR_THIRDS, work, work)
        np.multiply(work, _HALF_POLE, work)
        np.multiply(cosine, temp, turn_acc)
        np.multiply(sine, _GRAVITY, sine)
        np.subtract(sine, turn_acc, turn_acc)
        np.divide(turn_acc, work, turn_acc)
        # acceleration = temp - pole mass length * angular acceleration * cosine / total mass
        np.multiply(turn_acc, _POLE_MASS_LENGTH, x_acc)
        np.multiply(x_acc, cosine, x_acc)
        np.divide(x_acc, _TOTAL_MASS, x_acc)
        np.subtract(temp, x_acc, x_acc)
        np.multiply(speeds, _TAU, moved)
        np.add(places, moved, places)
        np.multiply(accelerations, _TAU, accelerations)
        np.add(speeds, accelerations, speeds)
        np.abs(places, moved)
        np.greater(moved, _LIMITS, self._beyond)
        np.logical_or(self._too_far, self._too_steep, self._over)
        self._show()
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
    """CartPole-v1: keep a pole upright on a cart, +1 a step (Barto, Sutton and Anderson 1983)."""

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
