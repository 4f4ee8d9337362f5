"""Which mode each of a few fixed latents is sent to, kept as a few numbers a record.

A record of a run holds one number a measure. Assignments of many latents are the digits of a few large whole
numbers, which float64 holds exactly up to 2^53.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from core.lab.experiment import Array

PREFIX = "assigned "
LATENTS = 128
"""Held-out latents whose mode is kept."""


def _digits(base: int) -> int:
    """How many digits to the base a number of float64 holds exactly."""
    return int(53.0 / math.log2(base))


def packed(assigned: Tensor, modes: int) -> Mapping[str, Tensor]:
    """Modes `[R, n]` in 0, ..., `modes` (the last for none) as measures `[R]`, float64."""
    base = modes + 1
    parts = torch.split(assigned.double(), _digits(base), dim=1)
    found = {}
    for number, part in enumerate(parts):
        places = torch.tensor([float(base**i) for i in range(part.shape[1])], dtype=torch.float64)
        found[f"{PREFIX}{number}"] = (part * places.to(part.device)).sum(dim=1)
    return found


def unpacked(curves: Mapping[str, Array], modes: int, latents: int = LATENTS) -> Array:
    """`[R, T, n]` from the curves of `packed` measures; NaN from where a replica diverged."""
    base = modes + 1
    count = -(-latents // _digits(base))
    numbers = [curves[f"{PREFIX}{i}"] for i in range(count)]
    digits = [
        np.floor(numbers[i // _digits(base)] / float(base ** (i % _digits(base)))) for i in range(latents)
    ]
    return np.stack(digits, axis=-1) % base
