"""Bilinear games, whose dynamics are known in closed form.

    min over x, max over y of   x'Ay + (mu / 2) |x|^2 - (mu / 2) |y|^2

with x and y of one dimension d. The field is what both players descend along: (Ay + mu x, -A'x + mu y). Its
only zero, and the game's only equilibrium, is the origin. With d = 1, A = (1), mu = 0 this is the game xy,
whose field (y, -x) turns about the origin and never points at it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from core.lab.problem import Field
from core.lab.random import Keys
from games.angle import angle
from games.noise import Noise, noisy, sphere

__all__ = ["BilinearGame", "Noise"]


@dataclass(frozen=True)
class BilinearGame:
    """A bilinear game; parameters are float64 `[R, 2d]`, player x and then player y.

    Attributes:
        size: d, the dimension of each player.
        condition: largest over smallest singular value of A. The largest is 1, the others are spaced evenly
            in their logarithms; the singular vectors are drawn from `seed`. With d = 1, A is (1).
        regularization: mu >= 0; the game is strongly convex and strongly concave where it is positive.
        noise: `additive`, independent normal noise of standard deviation `noise_scale` on each coordinate of
            the field; `multiplicative`, each coordinate is multiplied by 1 + `noise_scale` times an
            independent standard normal number. Both leave the field's mean as it is.
        noise_scale: see `noise`.
        radius: distance from the origin at which players start, in a direction that is uniform and keyed.
        seed: of the singular vectors.
        device: where parameters and keys live.

    Raises:
        ValueError: for a size below 1, a condition below 1 (or other than 1 for d = 1), or a negative radius,
            noise or regularization.
    """

    size: int = 1
    condition: float = 1.0
    regularization: float = 0.0
    noise: Noise = "none"
    noise_scale: float = 0.0
    radius: float = 1.0
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a bilinear game needs size >= 1, got {self.size}")
        if not 1.0 <= self.condition < math.inf or (self.size == 1 and self.condition != 1.0):
            raise ValueError(
                f"condition is at least 1, and 1 for size 1; got {self.condition} for size {self.size}"
            )
        if not all(0.0 <= x < math.inf for x in (self.regularization, self.noise_scale, self.radius)):
            raise ValueError("regularization, noise_scale and radius are numbers of 0 or more")

    @property
    def dim(self) -> int:
        return 2 * self.size

    @property
    def players(self) -> tuple[slice, ...]:
        """x, y."""
        return slice(0, self.size), slice(self.size, 2 * self.size)

    @cached_property
    def payoff(self) -> Tensor:
        """A, float64 `[d, d]`."""
        rng = np.random.default_rng(self.seed)
        singular = np.geomspace(1.0, 1.0 / self.condition, self.size)
        if self.size == 1:
            return torch.ones(1, 1, dtype=torch.float64, device=self.device)
        left, right = (np.linalg.qr(rng.standard_normal((self.size, self.size)))[0] for _ in range(2))
        return torch.from_numpy((left * singular) @ right.T).to(self.device)

    @cached_property
    def _quarter_turn(self) -> Tensor:
        return torch.tensor([1.0, -1.0], dtype=torch.float64, device=self.device)

    @cached_property
    def _jacobian(self) -> Tensor:
        """Of the mean field, `[2d, 2d]`: one product with it, half of it zeros, takes a third of the time of
        two products with A."""
        own = self.regularization * torch.eye(self.size, dtype=torch.float64, device=self.device)
        return torch.cat([torch.cat([own, self.payoff], 1), torch.cat([-self.payoff.T, own], 1)])

    def init(self, keys: Keys) -> Tensor:
        """`[R, 2d]` float64, uniform on the sphere of the game's radius."""
        return sphere(keys, self.dim, self.radius)

    def mean_field(self, params: Tensor) -> Tensor:
        """`[R, 2d]`, without noise."""
        if self.size > 1:
            jacobian = self._jacobian.T.to(params.dtype).expand(len(params), -1, -1)
            return torch.bmm(params[:, None], jacobian)[:, 0]
        values = params.flip(1) * self._quarter_turn.to(params)
        return values if self.regularization == 0.0 else values + self.regularization * params

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """A sample of the field; unbiased."""
        return Field(noisy(self.mean_field(params), keys, step, self.noise, self.noise_scale))

    @property
    def equilibrium(self) -> Tensor:
        """`[2d]`: the origin."""
        return torch.zeros(self.dim, dtype=torch.float64, device=self.device)

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:  # noqa: ARG002
        """`distance` to the equilibrium; for d = 1 also `angle` in (-pi, pi], counted from the axis of x to
        that of y.
        """
        distance = params.norm(dim=1)
        if self.size > 1:
            return {"distance": distance}
        return {"distance": distance, "angle": angle(params[:, 0], params[:, 1])}
