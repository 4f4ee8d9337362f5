r"""Regression on one dense and one rare feature, in which one target is an outlier.

The two weights are coupled through the residual:

.. math:: y = w_1 x_1 + w_2 x_2 + \text{noise}, \qquad x_1 \sim N(0, 1), \quad x_2 \in \{-1, 0, 1\}

with x_2 not zero in a share `CHANCE` of the samples. Batches of `BATCH` fresh samples, half the mean square,
noise of size 1. Both true weights are 0 for a while, in which second moments settle, and 1 from then on: that
is what is to be learnt. In the first batch of the new truth one sample holds both features, and in
lives with an outlier its target is off.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.lab.experiment import Array
from core.lab.measurement import Cell
from core.lab.random import Keys
from core.optim.rule import Rule
from core.optim.rules import RULES
from core.problems.spikes import CLIPPED

CHANCE = 0.02
BATCH = 4
LR = 5e-3
OUTLIERS = (0.0, 10.0, 100.0, 1000.0)
"""By how much the one target is off, a life each."""
ORDINARY = math.sqrt(CHANCE / BATCH)
"""The root mean square of the rare weight's gradient at the true weights."""
COUPLED_RULES: Mapping[str, tuple[Rule, dict[str, Any]]] = {
    "Adam": (RULES["adam"], {}),
    "Adam, beta2 = 0.9": (RULES["adam"], {"beta2": 0.9}),
    "RMSProp": (RULES["rmsprop"], {}),
    "AMSGrad": (RULES["amsgrad"], {}),
    "Adam, clipped": (CLIPPED, {"clip": 10 * ORDINARY}),
}
_CHUNK = 500


def read_at(after: int) -> tuple[int, ...]:
    """Steps since the outlier at which weights are kept, in a run that lasts `after` of them."""
    return tuple(sorted({0, *(round(x) for x in np.geomspace(1, after, 60))}))


def samples(keys: Keys, first: int, count: int) -> tuple[Tensor, Tensor]:
    """Features `[R, count, BATCH, 2]` and noise `[R, count, BATCH]` of the steps from `first` on, float64."""
    here = keys.at(first)
    dense = here.fold("dense").normal(count, BATCH, dtype=torch.float64)
    there = here.fold("there").uniform(count, BATCH, dtype=torch.float64) < CHANCE
    rare = there * here.fold("sign").signs(count, BATCH, dtype=torch.float64)
    return torch.stack([dense, rare], dim=3), here.fold("noise").normal(count, BATCH, dtype=torch.float64)


def _batches(keys: Keys, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Features `[R, BATCH, 2]` and noise `[R, BATCH]`, step by step."""
    for first in range(0, steps, _CHUNK):
        features, noise = samples(keys, first, min(_CHUNK, steps - first))
        yield from zip(features.unbind(1), noise.unbind(1), strict=True)


def relearn(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:  # noqa: ARG001
    """Lives that differ in the size of one target's error, `before` steps at the old truth, `after` at the
    new.

    Returns:
        `halfway` `[R, OUTLIERS, 2]`: steps since the outlier after which the error of the dense and of the
        rare weight stays below a half; inf if it does not by the end.
        `weights` `[R, OUTLIERS, 2, steps]`, at the steps of `read_at`.
    """
    rule, hyper = COUPLED_RULES[cell["rule"]]
    lives, seeds, before, after = len(OUTLIERS), len(keys), cell["before"], cell["after"]
    off = torch.tensor(OUTLIERS, dtype=torch.float64, device=keys.device).repeat_interleave(seeds)
    off = off * keys.fold("side").signs(1, dtype=torch.float64)[:, 0].repeat(lives)
    weights = torch.zeros(lives * seeds, 2, dtype=torch.float64, device=keys.device)
    read = set(read_at(after))
    state, last, kept = rule.init(weights, **hyper), torch.full_like(weights, -1.0), []
    for t, (features, noise) in enumerate(_batches(keys, before + after)):
        x, target = features.repeat(lives, 1, 1), noise.repeat(lives, 1)
        if t == before:
            x[:, 0] = 1.0
            target[:, 0] += off
        if t >= before:
            target = target + x.sum(dim=2)
        # Written out: products of single numbers round alike in a batch of any size.
        residual = x[:, :, 0] * weights[:, :1] + x[:, :, 1] * weights[:, 1:] - target
        gradient = (residual[:, :, None] * x).mean(dim=1)
        weights, state = rule.step(weights, gradient, state, lr=LR, **hyper)
        since = t - before + 1
        if since > 0:
            last[(weights - 1.0).abs() > 0.5] = float(since)
        if since in read:
            kept.append(weights)
    last[last == after] = math.inf
    return {
        "halfway": _by_seed(last + 1, seeds),
        "weights": _by_seed(torch.stack(kept, dim=2), seeds),
    }


def _by_seed(values: Tensor, seeds: int) -> Array:
    """`[lives * R, ...]` to `[R, lives, ...]`."""
    return values.view(-1, seeds, *values.shape[1:]).transpose(0, 1).contiguous().cpu().numpy()
