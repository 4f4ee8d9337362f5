"""Mixtures of Gaussians in the plane: the ring of eight and the 5 x 5 grid, and how well samples cover their
modes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from core.lab.errors import VhatError
from core.lab.random import Keys

Shape = Literal["ring8", "grid25"]


@dataclass(frozen=True)
class Mixture:
    """Equal weights, one isotropic Gaussian a mode.

    Attributes:
        shape: `ring8`, eight modes on a circle, the first on the positive first axis; `grid25`, five times
            five.
        radius: of the circle; half the side of the grid.
        std: of each coordinate within a mode, in the units of `radius`.

    Raises:
        VhatError: for a radius or a std that is not above 0.
    """

    shape: Shape = "ring8"
    radius: float = 1.0
    std: float = 0.05

    dim = 2

    def __post_init__(self) -> None:
        if not all(0.0 < x < math.inf for x in (self.radius, self.std)):
            raise VhatError(f"a mixture needs a radius and an std above 0, got {self.radius} and {self.std}")

    @cached_property
    def modes(self) -> Tensor:
        """Centres, float64 `[K, 2]`."""
        if self.shape == "ring8":
            angle = torch.arange(8, dtype=torch.float64) * (math.pi / 4.0)
            return self.radius * torch.stack([angle.cos(), angle.sin()], dim=1)
        side = torch.linspace(-self.radius, self.radius, 5, dtype=torch.float64)
        return torch.cartesian_prod(side, side)

    def sample(self, keys: Keys, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """`[R, n, 2]`: n points a row."""
        drawn = keys.distinct()
        modes = self.modes.to(keys.device, dtype)
        centres = modes[drawn.fold("mode").integers(len(modes), n)]
        spread = drawn.fold("spread").normal(n, 2, dtype=dtype)
        return keys.spread(centres + self.std * spread)

    def mass(self, samples: Tensor, within: float = 3.0) -> Tensor:
        """`[R, K]`: the share of samples `[R, n, 2]` whose distance from each mode is at most `within` std.

        Source: VEEGAN (Srivastava et al. 2017) calls such a sample of high quality. For the mixture itself
        the sum over modes is 1 - exp(-within^2 / 2), which is 0.989 for three.
        """
        return self._near(samples, within).to(samples.dtype).mean(1)

    def assigned(self, samples: Tensor, within: float = 3.0) -> Tensor:
        """int64 `[R, n]`: the mode that each sample `[R, n, 2]` lies within `within` std of; K for none."""
        near = self._near(samples, within)
        return torch.where(near.any(dim=-1), near.to(torch.uint8).argmax(dim=-1), near.shape[-1])

    def _near(self, samples: Tensor, within: float) -> Tensor:
        """bool `[R, n, K]`."""
        limit = (within * self.std) ** 2
        near = [(samples - mode).square().sum(-1) <= limit for mode in self.modes.to(samples)]
        return torch.stack(near, dim=-1)

    def coverage(self, samples: Tensor) -> Mapping[str, Tensor]:
        """How samples `[R, n, 2]` cover the modes.

        Returns:
            `modes`: number of modes that hold, within 3 std, at least a quarter of their fair share of the n
                samples;
            `quality`: share of samples within 3 std of any mode.
        """
        mass = self.mass(samples)
        covered = mass >= 0.25 / mass.shape[1]
        return {"modes": covered.sum(1).to(samples.dtype), "quality": mass.sum(1)}


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """`[R]`: 2 E|x - y| - E|x - x'| - E|y - y'| for samples `[R, n, 2]` and `[R, m, 2]` (Szekely and Rizzo
    2013).

    The averages over x, x' leave out the pairs of a sample with itself, so that equal laws give zero on
    average.
    """

    def mean_distance(a: Tensor, b: Tensor, pairs: int) -> Tensor:
        # Coordinate by coordinate: torch.cdist takes a matrix product, whose cancellation costs half of the
        # digits.
        gaps = [(a[:, :, None, i] - b[:, None, :, i]).square_() for i in range(a.shape[2])]
        total = gaps[0]
        for gap in gaps[1:]:
            total.add_(gap)
        return total.sqrt_().sum((1, 2)) / pairs

    n, m = x.shape[1], y.shape[1]
    return (
        2.0 * mean_distance(x, y, n * m) - mean_distance(x, x, n * (n - 1)) - mean_distance(y, y, m * (m - 1))
    )
