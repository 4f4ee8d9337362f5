"""Adam whose coordinates have each other's v, in another order for every seed.

`core.optim.RULES["adam_shuffled_v"]` has one permutation for all runs, so that an interval over seeds says
nothing of how much depends on which permutation it is. Here it is drawn from the parameters that a run starts
with: another for each seed, the same for a seed in every batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from core.optim.adam import AdamState, adam, adam_init, check_adam
from core.optim.controls import shuffle
from core.optim.ops import PURE, Ops
from core.optim.rule import Rule
from core.optim.scalars import Scalar


class ShuffledState(NamedTuple):
    """Adam's state, and whose v each coordinate has, `[R, D]`."""

    step: int
    exp_avg: Tensor
    exp_avg_sq: Tensor
    permutation: Tensor


def permutations(start: Tensor) -> Tensor:
    """One cycle through all coordinates for each row of `start` `[R, D]`, by its bits alone."""
    bits = start.detach().double().contiguous().view(torch.int64)
    return shuffle(start.shape[1], keys=bits.sum(dim=1))


def _init(params: Tensor, *, state_dtype: torch.dtype | None = None, **_: object) -> ShuffledState:
    inner = adam_init(params, state_dtype=state_dtype)
    return ShuffledState(inner.step, inner.exp_avg, inner.exp_avg_sq, permutations(params))


def _formula(
    params: Tensor, grads: Tensor, state: ShuffledState, *, lr: Scalar, ops: Ops = PURE, **hyper: Any
) -> tuple[Tensor, ShuffledState]:
    """Adam's step, each coordinate divided by the root of another's v."""
    inner = AdamState(state.step, state.exp_avg, state.exp_avg_sq)
    params, moved = adam(
        params,
        grads,
        inner,
        lr=lr,
        ops=ops,
        denominator_map=lambda v: v.gather(1, state.permutation),
        **hyper,
    )
    return params, ShuffledState(moved.step, moved.exp_avg, moved.exp_avg_sq, state.permutation)


SHUFFLED = Rule(
    name="adam_shuffled_v_by_seed",
    formula=_formula,
    start=_init,
    check=check_adam,
    hyper={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
    elementwise=False,
)
"""Adam with v shuffled among the coordinates, seed by seed."""
