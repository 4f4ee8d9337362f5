"""What may stand under Adam's root in place of v, for rules that serve as controls.

Each is a callable with a readable `repr`, which the lab stores as part of a variant's description. A control
of one's own, for instance v fixed to an oracle, is `RULES["adam"].with_hyper("adam_oracle_v",
denominator_map=...)` with a frozen dataclass that maps v `[R, D]` to what is to be under the root (before the
bias correction).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SharedSecondMoment:
    """One v for all coordinates of a row, their mean: Adam that does not scale coordinates differently."""

    def __call__(self, second_moment: Tensor) -> Tensor:
        """`[R, ...]` to `[R, 1, ...]` (of a tensor with one axis: the mean of the whole)."""
        axes = tuple(range(min(1, second_moment.ndim - 1), second_moment.ndim))
        return second_moment.mean(dim=axes, keepdim=True)


@dataclass(frozen=True)
class ShuffledSecondMoment:
    """Each coordinate gets another's v: the same values in the wrong places.

    The permutation is one cycle through all D coordinates of a row, so that with D > 1 none keeps its own. It
    depends on D alone, hence is the same in all rows, steps and runs.
    """

    def __call__(self, second_moment: Tensor) -> Tensor:
        """`[R, ...]` to `[R, ...]` (of a tensor with one axis: permuted as a whole)."""
        rows = second_moment.reshape(second_moment.shape[0] if second_moment.ndim > 1 else 1, -1)
        permutation = shuffle(rows.shape[1], device=second_moment.device)
        return rows[:, permutation].view(second_moment.shape)


def shuffle(size: int, *, device: torch.device | str | None = None, keys: Tensor | None = None) -> Tensor:
    """A fixed permutation of 0, ..., size - 1 that is a single cycle: int64 `[size]`; or one for each of
    `keys` (int64 `[R]`), `[R, size]`, on their device.

    The cycle visits the indices in the order of their hashes (the finalizer of splitmix64, Steele et al.
    2014).
    """
    z = (torch.arange(size, device=device if keys is None else keys.device) + 1) * _signed(0x9E3779B97F4A7C15)
    if keys is not None:
        z = z + keys[:, None]
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ _shift_right(z, shift)) * _signed(factor)
    order = torch.argsort(z ^ _shift_right(z, 31), stable=True)
    return torch.empty_like(order).scatter_(-1, order, order.roll(-1, dims=-1))


def _signed(bits: int) -> int:
    """The 64 bits read as a signed integer."""
    return bits - (1 << 64) if bits >> 63 else bits


def _shift_right(z: Tensor, count: int) -> Tensor:
    """The logical shift, which torch has only for unsigned types."""
    return (z >> count) & ((1 << (64 - count)) - 1)
