"""Matrix games: min over x, max over y of x'Ay, with x and y on the simplex.

Two parametrisations. `projection`: the parameters are the strategies, the field is (Ay, -A'x), and each step
ends with the Euclidean projection onto the simplices. `softmax`: the parameters are logits u, x = softmax(u),
and the field is the gradient by the logits, x * (Ay - x'Ay) for the first player: the simplex's inside only,
with a field that fades towards its faces.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from core.lab.errors import VhatError
from core.lab.problem import Field
from core.lab.random import Keys
from core.optim.projection import project_to_simplex
from games.equilibrium import Equilibrium, duality_gap, matrix_equilibrium, payoffs
from games.noise import Noise, noisy

Payoff = Literal["rock-paper-scissors", "random"]
Parametrisation = Literal["softmax", "projection"]


@dataclass(frozen=True)
class MatrixGame:
    """A matrix game; parameters are float64 `[R, n + m]`, the first player's and then the second's.

    Attributes:
        payoff: `rock-paper-scissors`; or `random`, independent standard normal entries from `seed`. Both are
            scaled to a largest singular value of 1.
        actions: n and m; three each for rock-paper-scissors.
        parametrisation: see the module's text.
        noise, noise_scale: of the field, see `games.noise`.
        spread: players start at softmax(spread * z) with z standard normal and keyed; 0 starts at the middle.
        seed: of a random payoff.
        device: where parameters and keys live.

    Raises:
        VhatError: for a game without two actions a player, rock-paper-scissors of another size, or a negative
            spread or noise.
    """

    payoff: Payoff = "rock-paper-scissors"
    actions: tuple[int, int] = (3, 3)
    parametrisation: Parametrisation = "projection"
    noise: Noise = "none"
    noise_scale: float = 0.0
    spread: float = 1.0
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "actions", tuple(self.actions))
        if len(self.actions) != 2 or min(self.actions) < 2:
            raise VhatError(f"a matrix game needs two actions a player at least, got {self.actions}")
        if self.payoff == "rock-paper-scissors" and self.actions != (3, 3):
            raise VhatError(f"rock-paper-scissors has (3, 3) actions, got {self.actions}")
        if not all(0.0 <= x < math.inf for x in (self.spread, self.noise_scale)):
            raise VhatError("spread and noise_scale of a matrix game are numbers of 0 or more")

    @property
    def dim(self) -> int:
        return sum(self.actions)

    @property
    def players(self) -> tuple[slice, ...]:
        """x, y."""
        return slice(0, self.actions[0]), slice(self.actions[0], self.dim)

    @cached_property
    def matrix(self) -> Tensor:
        """A, float64 `[n, m]`: what the first player pays the second."""
        if self.payoff == "rock-paper-scissors":
            found = np.array([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
        else:
            found = np.random.default_rng(self.seed).standard_normal(self.actions)
        return torch.from_numpy(found / np.linalg.norm(found, 2)).to(self.device)

    @cached_property
    def equilibrium(self) -> Equilibrium:
        """By linear programming; unique for almost all payoffs."""
        return matrix_equilibrium(self.matrix.cpu().numpy())

    def init(self, keys: Keys) -> Tensor:
        """`[R, n + m]` float64; the same strategies in both parametrisations."""
        logits = self.spread * keys.fold("start").normal(self.dim, dtype=torch.float64)
        return logits if self.parametrisation == "softmax" else self._softmax(logits)

    def strategies(self, params: Tensor) -> Tensor:
        """`[R, n + m]`: x and y, which lie on the simplex."""
        return self._softmax(params) if self.parametrisation == "softmax" else params

    def _softmax(self, logits: Tensor) -> Tensor:
        return torch.cat([torch.softmax(logits[:, p], dim=1) for p in self.players], dim=1)

    def project(self, params: Tensor) -> Tensor:
        """Onto the simplices; logits are free."""
        if self.parametrisation == "softmax":
            return params
        return torch.cat([project_to_simplex(params[:, p]) for p in self.players], dim=1)

    def mean_field(self, params: Tensor) -> Tensor:
        """`[R, n + m]`, without noise."""
        x, y = (self.strategies(params)[:, p] for p in self.players)
        to_x, to_y = payoffs(self.matrix, x, y)
        if self.parametrisation == "projection":
            return torch.cat([to_x, -to_y], dim=1)
        value = (x * to_x).sum(dim=1, keepdim=True)
        return torch.cat([x * (to_x - value), -y * (to_y - value)], dim=1)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """A sample of the field; unbiased."""
        return Field(noisy(self.mean_field(params), keys, step, self.noise, self.noise_scale))

    def gap(self, both: Tensor) -> Tensor:
        """`[R]`, the duality gap of strategies `[R, n + m]`."""
        return duality_gap(self.matrix, *(both[:, p] for p in self.players))

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Of the strategies: `gap`, see `games.equilibrium.duality_gap`; `exploitability`, half of it, a
        player's mean gain by a best response; Euclidean `distance` to the equilibrium."""
        both = self.strategies(params)
        gap = self.gap(both)
        found = self.equilibrium
        target = torch.from_numpy(np.concatenate([found.x, found.y])).to(both)
        return {"gap": gap, "exploitability": 0.5 * gap, "distance": (both - target).norm(dim=1)}
