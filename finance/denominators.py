"""What may stand under Adam's root when weights are at stake: an oracle's variance, or v turned over."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from core.optim.adam import DenominatorMap
from core.optim.rules import RULES, Rule


@dataclass(frozen=True)
class FixedSecondMoment:
    """The same values at every step, whatever the gradients.

    Attributes:
        values: one a coordinate, positive.
    """

    values: tuple[float, ...]

    def __call__(self, second_moment: Tensor) -> Tensor:
        """`[R, D]` to `[1, D]`."""
        return second_moment.new_tensor(self.values).unsqueeze(0)


@dataclass(frozen=True)
class InverseSecondMoment:
    """mean(v)² / v: what Adam divides by most, this divides by least; a row keeps about its size."""

    def __call__(self, second_moment: Tensor) -> Tensor:
        """`[R, D]` to `[R, D]`; an entry of zero counts as the smallest normal number."""
        least = torch.finfo(second_moment.dtype).tiny
        return second_moment.mean(dim=-1, keepdim=True).square() / second_moment.clamp(min=least)


def oracle_volatility(variances: tuple[float, ...]) -> Rule:
    """Adam that divides by volatilities known beforehand; momentum as it is, and no bias correction, which
    would take an oracle for a young average."""
    return _with("adam_oracle_volatility", FixedSecondMoment(variances), bias_correction=False)


def inverse_v() -> Rule:
    """Adam that divides by the inverse of the root of v."""
    return _with("adam_inverse_v", InverseSecondMoment())


def _with(name: str, denominator_map: DenominatorMap, **hyper: object) -> Rule:
    # Not elementwise: the map looks at a whole row.
    return replace(
        RULES["adam"].with_hyper(name, denominator_map=denominator_map, **hyper), elementwise=False
    )
