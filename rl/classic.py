"""Four classic tasks, batched: Acrobot-v1, MountainCar-v0, MountainCarContinuous-v0 and Pendulum-v1.

Gymnasium has only scalar environments for them. Here are their equations on arrays `[n, E]`, in the same
order of operations and the same precision at each place, so that a test can hold them to the scalar
environments step by step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from core.lab.random import Keys
from rl.arrays import Actions, Bools, Floats, Indices

State = tuple[Floats, ...]
"""One array `[n, E]` a coordinate."""


class Dynamics(Protocol):
    """A task's equations."""

    @property
    def id(self) -> str:
        """Gymnasium's name."""

    @property
    def observation_size(self) -> int:
        """O."""

    @property
    def actions(self) -> int:
        """A."""

    @property
    def discrete(self) -> bool:
        """Whether an action is a choice."""

    @property
    def random(self) -> int:
        """Coordinates of the state that are drawn at a start."""

    def start(self, unit: Floats) -> State:
        """A state from uniforms on (0, 1), float64 `[n, E, random]`."""

    def observe(self, state: State) -> Floats:
        """float32 `[n, E, O]`."""

    def step(self, state: State, actions: Actions) -> tuple[State, Floats, Bools]:
        """The next state, rewards and terminations `[n, E]`."""


def _seen(*parts: Floats) -> Floats:
    return np.stack(parts, axis=-1).astype(np.float32, copy=False)


@dataclass(frozen=True)
class Pendulum:
    """Swing a pendulum up and hold it there; the cost is angle^2 + 0.1 speed^2 + 0.001 torque^2 a step."""

    id: str = "Pendulum-v1"
    observation_size: int = 3
    actions: int = 1
    discrete: bool = False
    random: int = 2

    def start(self, unit: Floats) -> State:
        """The angle is uniform on (-pi, pi), the speed on (-1, 1)."""
        return (2.0 * np.pi) * unit[..., 0] - np.pi, 2.0 * unit[..., 1] - 1.0

    def observe(self, state: State) -> Floats:
        """Cosine and sine of the angle, speed."""
        angle, speed = state
        return _seen(np.cos(angle), np.sin(angle), speed)

    def step(self, state: State, actions: Actions) -> tuple[State, Floats, Bools]:
        """See `Dynamics`; the torque is 2 at most."""
        angle, speed = state
        torque = np.clip(np.float32(2.0) * actions[..., 0].astype(np.float32), -2.0, 2.0)
        apart = ((angle + np.pi) % (2 * np.pi)) - np.pi
        costs = apart**2 + 0.1 * speed**2 + 0.001 * torque**2
        moved = speed + (15.0 * np.sin(angle) + 3.0 * torque) * 0.05
        moved = np.clip(moved, -8.0, 8.0)
        return (angle + moved * 0.05, moved), -costs, np.zeros(angle.shape, dtype=np.bool_)


@dataclass(frozen=True)
class Acrobot:
    """Swing the end of a double pendulum up by torques at its middle joint; -1 a step (Sutton 1996).

    The equations of motion are those of Sutton and Barto's book, one step of Runge and Kutta of 0.2 seconds.
    """

    id: str = "Acrobot-v1"
    observation_size: int = 6
    actions: int = 3
    discrete: bool = True
    random: int = 4

    def start(self, unit: Floats) -> State:
        """Each coordinate is uniform on (-0.1, 0.1)."""
        drawn = (0.2 * unit - 0.1).astype(np.float32).astype(np.float64)
        return tuple(np.ascontiguousarray(drawn[..., i]) for i in range(4))

    def observe(self, state: State) -> Floats:
        """Cosine and sine of both angles, both speeds."""
        first, second, speed, turn = state
        return _seen(np.cos(first), np.sin(first), np.cos(second), np.sin(second), speed, turn)

    def step(self, state: State, actions: Actions) -> tuple[State, Floats, Bools]:
        """See `Dynamics`; the torque is -1, 0 or 1."""
        torque = actions.astype(np.float64) - 1.0
        first, second, speed, turn = _runge_kutta(state, torque, 0.2)
        first, second = _wrapped(first), _wrapped(second)
        speed = np.clip(speed, -4 * np.pi, 4 * np.pi)
        turn = np.clip(turn, -9 * np.pi, 9 * np.pi)
        reached = -np.cos(first) - np.cos(second + first) > 1.0
        return (first, second, speed, turn), np.where(reached, 0.0, -1.0), reached


def _accelerations(state: State, torque: Floats) -> State:
    """The time derivative of the acrobot's state."""
    first, second, speed, turn = state
    cosine, sine = np.cos(second), np.sin(second)
    d1 = 0.25 + (1.25 + cosine) + 1.0 + 1.0
    d2 = (0.25 + 0.5 * cosine) + 1.0
    phi2 = 4.9 * np.cos(first + second - np.pi / 2.0)
    phi1 = -0.5 * turn**2 * sine - turn * speed * sine + 1.5 * 9.8 * np.cos(first - np.pi / 2) + phi2
    bend = (torque + d2 / d1 * phi1 - 0.5 * speed**2 * sine - phi2) / (1.25 - d2**2 / d1)
    return speed, turn, -(d2 * bend + phi1) / d1, bend


def _runge_kutta(state: State, torque: Floats, dt: float) -> State:
    """One step of the classic method of fourth order."""

    def moved(slopes: State, by: float) -> State:
        return tuple(x + by * k for x, k in zip(state, slopes, strict=True))

    k1 = _accelerations(state, torque)
    k2 = _accelerations(moved(k1, dt / 2.0), torque)
    k3 = _accelerations(moved(k2, dt / 2.0), torque)
    k4 = _accelerations(moved(k3, dt), torque)
    slopes = zip(state, k1, k2, k3, k4, strict=True)
    return tuple(x + dt / 6.0 * (a + 2 * b + 2 * c + d) for x, a, b, c, d in slopes)


def _wrapped(angle: Floats) -> Floats:
    """The angle in [-pi, pi], by whole turns subtracted one at a time, as Gymnasium does it."""
    whole = 2.0 * np.pi
    while (over := angle > np.pi).any():
        angle = np.where(over, angle - whole, angle)
    while (under := angle < -np.pi).any():
        angle = np.where(under, angle + whole, angle)
    return angle


@dataclass(frozen=True)
class MountainCarContinuous:
    """Drive an underpowered car out of a valley; +100 at the goal, -0.1 force^2 a step (Moore 1990)."""

    id: str = "MountainCarContinuous-v0"
    observation_size: int = 2
    actions: int = 1
    discrete: bool = False
    random: int = 1

    def start(self, unit: Floats) -> State:
        """The car stands still, its place uniform on (-0.6, -0.4)."""
        place = 0.2 * unit[..., 0] - 0.6
        return place, np.zeros_like(place)

    def observe(self, state: State) -> Floats:
        """Place and speed."""
        return _seen(*state)

    def step(self, state: State, actions: Actions) -> tuple[State, Floats, Bools]:
        """See `Dynamics`. The state is float32 after the first step, and so is the arithmetic."""
        position, velocity = state
        force = np.clip(actions[..., 0].astype(np.float32), -1.0, 1.0)
        slope = 0.0025 * np.cos((3 * position).astype(np.float64))
        push = force * np.float32(0.0015) - slope.astype(np.float32)
        velocity = np.clip(velocity + push, -0.07, 0.07)
        position = np.clip(position + velocity, -1.2, 0.6)
        velocity = np.where((position == position.dtype.type(-1.2)) & (velocity < 0), 0.0, velocity)
        reached = (position >= position.dtype.type(0.45)) & (velocity >= 0)
        rewards = np.where(reached, 100.0, 0.0) - force.astype(np.float64) ** 2 * 0.1
        return (position.astype(np.float32), velocity.astype(np.float32)), rewards, reached


@dataclass(frozen=True)
class MountainCar:
    """The same valley with three actions, -1 a step until the goal."""

    id: str = "MountainCar-v0"
    observation_size: int = 2
    actions: int = 3
    discrete: bool = True
    random: int = 1

    def start(self, unit: Floats) -> State:
        """As in `MountainCarContinuous`."""
        return MountainCarContinuous().start(unit)

    def observe(self, state: State) -> Floats:
        """Place and speed."""
        return _seen(*state)

    def step(self, state: State, actions: Actions) -> tuple[State, Floats, Bools]:
        """See `Dynamics`."""
        position, velocity = state
        velocity = velocity + ((actions - 1) * 0.001 + np.cos(3 * position) * -0.0025)
        velocity = np.clip(velocity, -0.07, 0.07)
        position = np.clip(position + velocity, -1.2, 0.6)
        velocity = np.where((position == -1.2) & (velocity < 0), 0.0, velocity)
        reached = (position >= 0.5) & (velocity >= 0)
        return (position, velocity), np.full(position.shape, -1.0), reached


class ClassicEpisodes:
    """All episodes at once; one that has ended moves on."""

    def __init__(self, dynamics: Dynamics, state: State, horizon: int) -> None:
        """Start in `state`."""
        self._dynamics, self._state, self._left = dynamics, state, horizon
        self.stepped = 0
        self.observations: Floats = dynamics.observe(state)

    def step(self, actions: Actions) -> tuple[Floats, Bools, Bools]:
        """See `rl.episodes.Episodes`."""
        self._state, rewards, terminated = self._dynamics.step(self._state, actions)
        self.observations = self._dynamics.observe(self._state)
        self._left -= 1
        self.stepped += rewards.size
        return rewards, terminated, np.full(rewards.shape, self._left <= 0)

    def keep(self, rows: Indices) -> None:
        """See `rl.episodes.Episodes`."""
        self._state = tuple(part[rows] for part in self._state)
        self.observations = self.observations[rows]


@dataclass(frozen=True)
class ClassicTask:
    """A batched classic task.

    Attributes:
        dynamics: its equations.
        horizon: the time limit in steps.
    """

    dynamics: Dynamics
    horizon: int

    @property
    def id(self) -> str:
        """See `rl.episodes.Task`."""
        return self.dynamics.id

    @property
    def observation_size(self) -> int:
        """See `rl.episodes.Task`."""
        return self.dynamics.observation_size

    @property
    def actions(self) -> int:
        """See `rl.episodes.Task`."""
        return self.dynamics.actions

    @property
    def discrete(self) -> bool:
        """See `rl.episodes.Task`."""
        return self.dynamics.discrete

    def limited(self, horizon: int) -> ClassicTask:
        """See `rl.episodes.Task`."""
        return replace(self, horizon=horizon)

    def start(self, keys: Keys, episodes: int) -> ClassicEpisodes:
        """See `rl.episodes.Task`; starts are keyed draws from the task's reset distribution."""
        unit = keys.uniform(episodes, self.dynamics.random, dtype=torch.float64).cpu().numpy()
        state = tuple(np.ascontiguousarray(part) for part in self.dynamics.start(unit))
        return ClassicEpisodes(self.dynamics, state, self.horizon)


CLASSIC: Mapping[str, Dynamics] = {
    dynamics.id: dynamics for dynamics in (Acrobot(), MountainCar(), MountainCarContinuous(), Pendulum())
}
"""By Gymnasium's name."""
