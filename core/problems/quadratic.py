"""Quadratic bowls with a chosen condition number and orientation."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from core.lab.errors import VhatError
from core.lab.problem import Field
from core.lab.random import Keys


class Canyon:
    """f(x) = (condition * u^2 + w^2) / 2 in the plane, where (u, w) is x turned by `degrees`; the minimum 0
    is at 0.

    Starts lie on the unit circle at keyed angles. The field is the exact gradient, or that plus normal noise.
    float64.

    Args:
        condition: curvature across the canyon over curvature along it (at least 1).
        degrees: how far the canyon's axes are turned away from the coordinate axes.
        noise: standard deviation of the noise on each coordinate of the gradient.
        device: of the run.

    Raises:
        VhatError: for a condition below 1 or a negative noise.
    """

    dim = 2

    def __init__(
        self, condition: float = 100.0, degrees: float = 0.0, noise: float = 0.0, device: str = "cpu"
    ) -> None:
        if condition < 1 or noise < 0:
            raise VhatError(f"a canyon needs condition >= 1 and noise >= 0, got {condition} and {noise}")
        self.condition, self.noise = condition, noise
        self.cos, self.sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        self.device = device

    def _turned(self, params: Tensor) -> tuple[Tensor, Tensor]:
        x, y = params[:, 0], params[:, 1]
        return self.cos * x + self.sin * y, self.cos * y - self.sin * x

    def init(self, keys: Keys) -> Tensor:
        """`[R, 2]` on the unit circle."""
        angle = keys.fold("start").uniform(dtype=torch.float64).mul(2 * math.pi)
        return torch.stack([angle.cos(), angle.sin()], dim=1)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """The gradient `[R, 2]`."""
        across, along = self._turned(params)
        across = across * self.condition
        gradient = torch.stack(
            [self.cos * across - self.sin * along, self.sin * across + self.cos * along], dim=1
        )
        if self.noise:
            gradient = gradient + self.noise * keys.fold("noise").at(step).normal(2, dtype=params.dtype)
        return Field(gradient)

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:  # noqa: ARG002
        """`gap` f(x) - f(0), and `distance` to the minimum."""
        across, along = self._turned(params)
        return {
            "gap": 0.5 * (self.condition * across**2 + along**2),
            "distance": (params**2).sum(dim=1).sqrt(),
        }
