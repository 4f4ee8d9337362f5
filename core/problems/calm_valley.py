"""A one-dimensional valley without noise, in which gradients vanish: does a rule stay down?"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import torch

from core.lab.experiment import Array
from core.lab.measurement import Cell
from core.lab.random import Keys
from core.optim.rules import RULES

VALLEY_BETA2 = (0.99, 0.999)
VALLEY = tuple(product(VALLEY_BETA2, (0.001, 0.01, 0.1)))
"""(beta2, constant learning rate)"""
SPIKES = {"no spike": 0.0, "spike": 100.0}
SPIKE_AT = 50
WINDOW = 100
LEAST = 1e-12
ERUPTION = 10.0
NEAR = 0.01


def descend(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:  # noqa: ARG001
    """f(x) = x^2 / 2 from starts of sizes 0.5 to 1.5, exact gradients but for one that a spike is added to.

    Returns:
        `envelope` `[R, VALLEY, windows]`: the largest abs(x) in each `WINDOW` steps;
        `near` `[R, VALLEY]`: steps after which abs(x) stays within `NEAR`, inf if it does not by the end.
    """
    rule, spike = RULES[cell["rule"]], SPIKES[cell["spike"]]
    start = (0.5 + keys.fold("start").uniform(1, dtype=torch.float64)) * keys.fold("side").signs(
        1, dtype=torch.float64
    )
    x = start.repeat(len(VALLEY), 1)
    both = torch.tensor(VALLEY, dtype=torch.float64, device=keys.device).repeat_interleave(len(keys), dim=0)
    beta2, lr = both[:, 0].contiguous(), both[:, 1].contiguous()
    state, largest, envelope = rule.init(x), torch.zeros_like(x[:, 0]), []
    last = torch.zeros_like(largest)
    for t in range(cell["steps"]):
        gradient = x + spike if t == SPIKE_AT else x
        x, state = rule.step(x, gradient, state, lr=lr, beta2=beta2, bias_correction=False)
        size = x[:, 0].abs()
        largest = torch.maximum(largest, size)
        last[size > NEAR] = float(t + 1)
        if (t + 1) % WINDOW == 0:
            envelope.append(largest)
            largest = torch.zeros_like(largest)
    last[last == cell["steps"]] = math.inf
    windows = torch.stack(envelope, dim=1).view(len(VALLEY), len(keys), -1).transpose(0, 1)
    near = last.view(len(VALLEY), len(keys)).T.contiguous()
    return {"envelope": windows.cpu().numpy(), "near": near.cpu().numpy()}


def rise(envelope: Array) -> Array:
    """`[...]`: by how much the envelope `[..., windows]` grows at most above what it had come down to.

    Sizes below `LEAST` count as `LEAST`; the first window, in which the spike comes, is left out.
    """
    sizes, least = _sizes(envelope)
    largest: Array = (sizes / least).max(axis=-1)
    return largest


def height(envelope: Array) -> Array:
    """`[...]`: the largest size more than `ERUPTION` times above what had been reached before; 0 without."""
    sizes, least = _sizes(envelope)
    largest: Array = np.where(sizes > ERUPTION * least, sizes, 0.0).max(axis=-1)
    return largest


def _sizes(envelope: Array) -> tuple[Array, Array]:
    """The envelope from its third window on, and the least one before each."""
    sizes = np.maximum(envelope[..., 1:], LEAST)
    return sizes[..., 1:], np.minimum.accumulate(sizes, axis=-1)[..., :-1]
