"""Noise on the field of a game whose exact field is known; unbiased, and keyed."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from core.lab.random import Keys

Noise = Literal["none", "additive", "multiplicative"]
NOISES: tuple[Noise, ...] = ("none", "additive", "multiplicative")


def noisy(values: Tensor, keys: Keys, step: int, noise: Noise, scale: float) -> Tensor:
    """The field `[R, D]` with noise of standard deviation `scale`.

    `additive` noise is independent and normal in each coordinate; `multiplicative` noise multiplies each
    coordinate by 1 + scale times an independent standard normal number.
    """
    if noise == "none":
        return values
    drawn = scale * keys.fold("noise").at(step).normal(values.shape[1], dtype=values.dtype)
    return values + drawn if noise == "additive" else values * (1.0 + drawn)


def sphere(keys: Keys, size: int, radius: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """`[R, size]`, uniform on the sphere of that radius."""
    direction = keys.fold("start").normal(size, dtype=dtype)
    length = direction.square().sum(dim=1, keepdim=True).sqrt()
    return radius * direction / length
