"""Curved, non-convex valleys with a known lowest value: Rosenbrock's, Beale's, and a logistic ravine.

All start uniformly in a box around the valley, have exact gradients, and run in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from core.lab.errors import VhatError, nearest
from core.lab.problem import Field
from core.lab.random import Keys

Landscape = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From `[R, D]` to the height above the lowest value `[R]` and the gradient `[R, D]`."""

TARGET = 0.8
PENALTY = 1e-3


def rosenbrock(x: Tensor) -> tuple[Tensor, Tensor]:
    r"""The chained form of Rosenbrock's (1960) valley.

    .. math:: \sum_{i<D} 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2

    Of points `[R, D]`: the value `[R]` and its gradient `[R, D]`. The minimum 0 is at ones; from D = 4 on
    there is a local one near (-1, 1, ..., 1) (Shang and Qiu 2006).
    """
    head, tail = x[:, :-1], x[:, 1:]
    across, along = tail - head**2, 1.0 - head
    gradient = torch.zeros_like(x)
    gradient[:, :-1] += -400.0 * head * across - 2.0 * along
    gradient[:, 1:] += 200.0 * across
    return (100.0 * across**2 + along**2).sum(dim=1), gradient


def beale(x: Tensor) -> tuple[Tensor, Tensor]:
    r"""Beale's function (1958) of each pair of coordinates, summed over pairs.

    .. math:: (1.5 - x + x y)^2 + (2.25 - x + x y^2)^2 + (2.625 - x + x y^3)^2

    Of points `[R, D]`: the value `[R]` and its gradient `[R, D]`. The minimum 0 is at (3, 0.5) in each pair;
    far plateaus and ravines surround it.
    """
    first, second = x[:, 0::2], x[:, 1::2]
    height = torch.zeros_like(first)
    slope_first, slope_second = torch.zeros_like(first), torch.zeros_like(first)
    power, before = torch.ones_like(second), torch.zeros_like(second)
    for k, constant in ((1, 1.5), (2, 2.25), (3, 2.625)):
        before, power = power, power * second
        miss = constant - first + first * power
        height = height + miss * miss
        slope_first = slope_first + 2.0 * miss * (power - 1.0)
        slope_second = slope_second + 2.0 * miss * first * k * before
    return height.sum(dim=1), torch.stack([slope_first, slope_second], dim=2).flatten(1)


def logistic_ravine(x: Tensor) -> tuple[Tensor, Tensor]:
    r"""Logistic regression through one hidden linear unit: the logit is a product of weights.

    .. math:: \log(1 + e^s) - p s + \tfrac{\lambda}{2} \lVert x \rVert^2, \qquad s = a \cdot b, \; x = (a, b)

    Of points `[R, D]`: the value `[R]` and its gradient `[R, D]`; p = 0.8 and lambda = 1e-3.
    Good fits form the curved surface s = logit(p), along which the penalty leads slowly to the minimum, where
    a = b and s = logit(p - lambda).
    """
    half = x.shape[1] // 2
    a, b = x[:, :half], x[:, half:]
    logit = (a * b).sum(dim=1)
    # log(1 + e^s) = max(s, 0) + log(1 + e^-|s|); the sigmoid by tanh, which rounds alike in every place.
    height = logit.clamp(min=0) + torch.log1p(torch.exp(-logit.abs())) - TARGET * logit
    height = height + 0.5 * PENALTY * (x * x).sum(dim=1)
    slope = 0.5 * (1.0 + torch.tanh(0.5 * logit)) - TARGET
    gradient = slope[:, None] * torch.cat([b, a], dim=1) + PENALTY * x
    return height - _least_ravine(), gradient


def _least_ravine() -> float:
    """By the inequality of the means the penalty is at least lambda |s|, with equality at a = b; in s alone
    the minimum is where the sigmoid is p - lambda."""
    share = TARGET - PENALTY
    logit = math.log(share / (1.0 - share))
    return math.log1p(math.exp(logit)) - TARGET * logit + PENALTY * logit


LANDSCAPES: Mapping[str, tuple[Landscape, tuple[float, float]]] = {
    "Rosenbrock": (rosenbrock, (-2.0, 2.0)),
    "Beale": (beale, (-2.0, 2.0)),
    "logistic ravine": (logistic_ravine, (-4.0, 4.0)),
}
"""Each with the box in which it is started."""


class Valley:
    """A curved valley in an even number of dimensions.

    Args:
        name: one of `LANDSCAPES`.
        dim: D, even.
        device: of the run.

    Raises:
        VhatError: for an unknown name or a dimension that is odd or not positive.
    """

    def __init__(self, name: str = "Rosenbrock", dim: int = 2, device: str = "cpu") -> None:
        if name not in LANDSCAPES:
            raise VhatError(nearest(name, LANDSCAPES, kind="valley"))
        if dim < 2 or dim % 2:
            raise VhatError(f"a valley needs an even number of dimensions, got {dim}")
        self.dim, self.device = dim, device
        self.landscape, self.box = LANDSCAPES[name]

    def init(self, keys: Keys) -> Tensor:
        """`[R, D]`, uniform in the box."""
        low, high = self.box
        return low + (high - low) * keys.fold("start").uniform(self.dim, dtype=torch.float64)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:  # noqa: ARG002
        """The gradient `[R, D]`."""
        return Field(self.landscape(params)[1])

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:  # noqa: ARG002
        """`gap`, the height above the lowest value."""
        return {"gap": self.landscape(params)[0]}
