"""Curved, non-convex valleys with a known lowest value: Rosenbrock's, Beale's, and a logistic ravine.

All start uniformly in a box around the valley, have exact gradients, and run in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from core.lab.errors import VhatError, nearest
from core.lab.problem import Field
from core.lab.random import Keys

TARGET = 0.8
PENALTY = 1e-3


@dataclass(frozen=True)
class Landscape:
    """A function with its gradient: each apart, since a step of a training needs the gradient alone.

    Attributes:
        height: from `[R, D]` to the height above the lowest value `[R]`.
        slope: its gradient, `[R, D]`.
        box: lowest and highest coordinate of the starts.
    """

    height: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    box: tuple[float, float]


def rosenbrock(x: Tensor) -> Tensor:
    r"""The chained form of Rosenbrock's (1960) valley.

    .. math:: \sum_{i<D} 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2

    Of points `[R, D]`: the value `[R]`. The minimum 0 is at ones; from D = 4 on there is a local one near
    (-1, 1, ..., 1) (Shang and Qiu 2006).
    """
    head, tail = x[:, :-1], x[:, 1:]
    return (100.0 * (tail - head**2) ** 2 + (1.0 - head) ** 2).sum(dim=1)


def rosenbrock_slope(x: Tensor) -> Tensor:
    """The gradient `[R, D]` of `rosenbrock`."""
    head, tail = x[:, :-1], x[:, 1:]
    across = tail - head**2
    gradient = torch.zeros_like(x)
    gradient[:, :-1] = -400.0 * head * across - 2.0 * (1.0 - head)
    gradient[:, 1:] += 200.0 * across
    return gradient


def beale(x: Tensor) -> Tensor:
    r"""Beale's function (1958) of each pair of coordinates, summed over pairs.

    .. math:: (1.5 - x + x y)^2 + (2.25 - x + x y^2)^2 + (2.625 - x + x y^3)^2

    Of points `[R, D]`: the value `[R]`. The minimum 0 is at (3, 0.5) in each pair; far plateaus and ravines
    surround it.
    """
    height = torch.zeros_like(x[:, 0::2])
    for miss, _, _ in _misses(x):
        height = height + miss * miss
    return height.sum(dim=1)


def beale_slope(x: Tensor) -> Tensor:
    """The gradient `[R, D]` of `beale`."""
    first, second = torch.zeros_like(x[:, 0::2]), torch.zeros_like(x[:, 0::2])
    for miss, by_first, by_second in _misses(x):
        first = first + 2.0 * miss * by_first
        second = second + 2.0 * miss * by_second
    return torch.stack([first, second], dim=2).flatten(1)


def _misses(x: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """What Beale's function squares, each `[R, D / 2]`, with its derivatives by either coordinate."""
    first, second = x[:, 0::2], x[:, 1::2]
    power, before = torch.ones_like(second), torch.zeros_like(second)
    for k, constant in ((1, 1.5), (2, 2.25), (3, 2.625)):
        before, power = power, power * second
        yield constant - first + first * power, power - 1.0, first * k * before


def logistic_ravine(x: Tensor) -> Tensor:
    r"""Logistic regression through one hidden linear unit: the logit is a product of weights.

    .. math:: \log(1 + e^s) - p s + \tfrac{\lambda}{2} \lVert x \rVert^2, \qquad s = a \cdot b, \; x = (a, b)

    Of points `[R, D]`: the value above the lowest `[R]`; p = 0.8 and lambda = 1e-3.
    Good fits form the curved surface s = logit(p), along which the penalty leads slowly to the minimum, where
    a = b and s = logit(p - lambda).
    """
    logit = _logit(x)
    # log(1 + e^s) = max(s, 0) + log(1 + e^-|s|).
    height = logit.clamp(min=0) + torch.log1p(torch.exp(-logit.abs())) - TARGET * logit
    return height + 0.5 * PENALTY * (x * x).sum(dim=1) - _least_ravine()


def logistic_ravine_slope(x: Tensor) -> Tensor:
    """The gradient `[R, D]` of `logistic_ravine`."""
    # The sigmoid by tanh, which rounds alike in every place.
    slope = 0.5 * (1.0 + torch.tanh(0.5 * _logit(x))) - TARGET
    half = x.shape[1] // 2
    return slope[:, None] * torch.cat([x[:, half:], x[:, :half]], dim=1) + PENALTY * x


def _logit(x: Tensor) -> Tensor:
    half = x.shape[1] // 2
    return (x[:, :half] * x[:, half:]).sum(dim=1)


def _least_ravine() -> float:
    """By the inequality of the means the penalty is at least lambda |s|, with equality at a = b; in s alone
    the minimum is where the sigmoid is p - lambda."""
    share = TARGET - PENALTY
    logit = math.log(share / (1.0 - share))
    return math.log1p(math.exp(logit)) - TARGET * logit + PENALTY * logit


LANDSCAPES: Mapping[str, Landscape] = {
    "Rosenbrock": Landscape(rosenbrock, rosenbrock_slope, (-2.0, 2.0)),
    "Beale": Landscape(beale, beale_slope, (-2.0, 2.0)),
    "logistic ravine": Landscape(logistic_ravine, logistic_ravine_slope, (-4.0, 4.0)),
}


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
        self.landscape = LANDSCAPES[name]

    def init(self, keys: Keys) -> Tensor:
        """`[R, D]`, uniform in the box."""
        low, high = self.landscape.box
        return low + (high - low) * keys.fold("start").uniform(self.dim, dtype=torch.float64)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:  # noqa: ARG002
        """The gradient `[R, D]`."""
        return Field(self.landscape.slope(params))

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:  # noqa: ARG002
        """`gap`, the height above the lowest value."""
        return {"gap": self.landscape.height(params)}
