"""One variant under several conditions at once: other rates, radii or hyperparameters, same seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from core.lab.experiment import Array
from core.lab.problem import Problem
from core.lab.random import Keys
from core.lab.run import Recording, Run
from core.lab.train import Block, train
from core.lab.variant import Variant


def condition_rows(keys: Keys, conditions: int) -> Keys:
    """The seeds' keys, condition by condition: `[conditions * S]`."""
    return keys.rows(torch.arange(len(keys), device=keys.device).repeat(conditions))


def by_row(values: Sequence[float], keys: Keys) -> Tensor:
    """A value a condition `[C]` as one a row, float64 `[C * S]`."""
    return torch.tensor(values, dtype=torch.float64, device=keys.device).repeat_interleave(len(keys))


def by_seed(values: Array, seeds: int) -> Array:
    """`[C * S, ...]` to `[S, C, ...]`."""
    return values.reshape(-1, seeds, *values.shape[1:]).swapaxes(0, 1)


def train_conditions(
    problem: Problem,
    variant: Variant,
    hyper: Mapping[str, float | Sequence[float]],
    keys: Keys,
    *,
    conditions: int,
    steps: int,
    recording: Recording,
    initial: Tensor | None = None,
) -> Run:
    """Train a variant under all conditions, condition by condition over the seeds.

    Args:
        hyper: `lr` and others; a number for all conditions, or one a condition.
        keys: of the seeds, S of them.
        conditions: C.
        initial: `[C * S, D]`, where the problem's own starts will not do.
    """
    rows = condition_rows(keys, conditions)
    values = {name: v if isinstance(v, float | int) else by_row(v, keys) for name, v in hyper.items()}
    block = Block(variant, slice(0, len(rows)), values)
    return train(problem, [block], rows, steps=steps, recording=recording, initial=initial)
