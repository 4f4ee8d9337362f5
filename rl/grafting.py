"""Grafting: one rule's direction with another rule's length (Agarwal et al. 2020, "Disentangling adaptive
gradient methods from learning rates").

Both rules see the same gradients and keep their own states. Of one only the direction of its update is used,
of the other only the length, so that what a rule owes to where it points is told apart from what it owes to
how far it goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from core.optim.ops import PURE, Ops
from core.optim.ranges import NOT_NEGATIVE, Settings, check_ranges
from core.optim.rule import Rule
from core.optim.scalars import Scalar, column, wide


class GraftState(NamedTuple):
    """The states of both rules."""

    step: int
    direction: Any
    length: Any


def lengths(updates: Tensor) -> Tensor:
    """Euclidean length of each row, float64 `[..., 1]` for `[..., D]`."""
    return updates.double().square().sum(dim=-1, keepdim=True).sqrt()


@dataclass(frozen=True)
class Graft:
    """The formula: `theta - lr |u_length| u_direction / |u_direction|`, with both updates at rate 1.

    The length is a row's, over all its coordinates; where the direction is zero, nothing moves.
    """

    direction: Rule
    length: Rule

    def start(self, params: Tensor, *, state_dtype: torch.dtype | None = None, **_: object) -> GraftState:
        """Both rules' states before the first step, for parameters `[R, D]`."""
        return GraftState(
            0,
            self.direction.init(params, state_dtype=state_dtype),
            self.length.init(params, state_dtype=state_dtype),
        )

    def __call__(
        self, params: Tensor, grads: Tensor, state: GraftState, *, lr: Scalar, ops: Ops = PURE
    ) -> tuple[Tensor, GraftState]:
        """One step of `params` `[R, D]`; see the class."""
        origin = torch.zeros_like(params)
        points, direction = self.direction.step(origin, grads, state.direction, lr=1.0)
        reaches, length = self.length.step(origin, grads, state.length, lr=1.0)
        own = lengths(points)
        scale = torch.where(own > 0, lengths(reaches) / own, 0.0).to(params.dtype)
        scale = scale.where(torch.isfinite(points).all(dim=-1, keepdim=True), torch.nan)
        params = ops.add_scaled(params, column(wide(lr), params), scale * points)
        return params, GraftState(state.step + 1, direction, length)


def _check(settings: Settings) -> None:
    check_ranges(settings, {"lr": NOT_NEGATIVE})


def graft(name: str, *, direction: Rule, length: Rule) -> Rule:
    """The rule that points where `direction` points and goes as far as `length` goes."""
    formula = Graft(direction, length)
    return Rule(name, formula, formula.start, _check, {}, elementwise=False)
