"""A GAN judged by everything that a study of it reports: coverage, mass a mode, distances of laws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.lab.random import Keys
from games.assignments import LATENTS, packed
from games.digits import Digits
from games.gan import GAN
from games.mixtures import Mixture, Shape, energy_distance

DIRECTIONS = 16
JUDGED = 256
"""Generated and real points that the distances of laws compare."""


def sliced_wasserstein(x: Tensor, y: Tensor, directions: int = DIRECTIONS) -> Tensor:
    """`[R]`: the mean over directions of the plane of the Wasserstein-1 distance between the projections of
    samples `[R, n, 2]` and `[R, n, 2]` (Rabin et al. 2012).

    The directions are spaced evenly over half a turn; in one dimension the optimal transport pairs sorted
    samples.
    """
    angle = torch.arange(directions, dtype=x.dtype, device=x.device) * (math.pi / directions)
    across, up = angle.cos(), angle.sin()
    # Coordinate by coordinate: a matrix product would round by the batch's size.
    sorted_x, sorted_y = (
        (z[:, :, :1] * across + z[:, :, 1:] * up).sort(dim=1).values for z in (x, y.to(x.dtype))
    )
    return (sorted_x - sorted_y).abs().mean((1, 2))


@dataclass(frozen=True)
class JudgedGAN(GAN):
    """A `GAN` whose measures are: those of its law's `coverage`, `modes` and `quality` among them; `mass
    <k>`, the share of samples in mode k; the modes of `LATENTS` fixed latents, packed by
    `games.assignments`; both players' losses on held-out real points, drawn once a seed; and on a `Mixture`
    `energy` and `sliced`, the energy distance and the sliced Wasserstein distance to the same points.
    """

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        """See the class; `[R]` each."""
        samples = self.samples(params, keys)
        mass = self.data.mass(samples)
        real = self.data.sample(keys.fold("held-out real"), JUDGED, dtype=samples.dtype)
        few = samples[:, :JUDGED]
        found = {
            **self.data.coverage(samples),
            **{f"mass {k}": mass[:, k] for k in range(mass.shape[1])},
            **packed(self.data.assigned(samples[:, :LATENTS]), mass.shape[1]),
            **self.losses(params, few, real),
        }
        if isinstance(self.data, Mixture):
            found |= {"energy": energy_distance(few, real), "sliced": sliced_wasserstein(few, real)}
        return found


def judged_gan(
    *, shape: Shape = "ring8", radius: float = 2.0, std: float = 0.1, device: str = "cpu", **sizes: Any
) -> JudgedGAN:
    """A judged GAN from plain data, as studies store it.

    Args:
        shape, radius, std: of the mixture.
        device: where it is trained.
        sizes: further attributes of `GAN`.
    """
    return JudgedGAN(Mixture(shape, radius, std), device=device, **sizes)


def judged_digits_gan(*, judge_seed: int = 0, device: str = "cpu", **sizes: Any) -> JudgedGAN:
    """A judged GAN on the 8x8 digits from plain data.

    Args:
        judge_seed: of the classifier that judges.
        device: where it is trained.
        sizes: further attributes of `GAN`.
    """
    return JudgedGAN(Digits(seed=judge_seed), device=device, **sizes)
