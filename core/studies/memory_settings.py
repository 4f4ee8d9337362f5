"""What the study `memory` tries: streams of gradients, and pairs of betas, all in one batch."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor

from core.lab.experiment import Array
from core.lab.random import Keys
from core.problems.streams import Stream

STREAMS = {
    "steady": Stream(mean=1.0, noise=0.0),
    "noisy": Stream(mean=0.0, noise=1.0),
    "sparse": Stream(mean=0.0, noise=1.0, chance=0.01),
    "bursts": Stream(mean=1.0, noise=0.1, chance=0.005, run=12),
}
BETA1 = (0.0, 0.5, 0.9)
BETA2 = (0.0, 0.5, 0.9, 0.99, 0.999)
PAIRS = tuple(product(BETA1, BETA2))
SHORT, LONG = 0.0, 0.999
COORDINATES = 8


def tiled(keys: Keys, device: str) -> tuple[Tensor, dict[str, Any]]:
    """Every row once for each pair of betas: the seed that a row uses, `[pairs * R]`, and its betas."""
    rows = torch.arange(len(keys), device=device).repeat(len(PAIRS))
    betas = torch.tensor(PAIRS, dtype=torch.float64, device=device).repeat_interleave(len(keys), dim=0)
    return rows, {"beta1": betas[:, 0].contiguous(), "beta2": betas[:, 1].contiguous()}


def by_seed(values: Tensor, seeds: int) -> Array:
    """`[pairs * R, ...]` to `[R, pairs, ...]`."""
    return values.view(len(PAIRS), seeds, *values.shape[1:]).transpose(0, 1).cpu().numpy()
