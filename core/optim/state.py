"""The state of an update rule: a NamedTuple of one step count for all rows and tensors with torch's names."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

State = TypeVar("State", bound=NamedTuple)


def tensors_of(state: NamedTuple) -> dict[str, Tensor]:
    """The state's tensors `[R, ...]` by name, without those it does not use."""
    fields = zip(state._fields, state, strict=True)
    return {name: value for name, value in fields if isinstance(value, Tensor)}


def map_state(function: Callable[[Tensor], Tensor], state: State) -> State:
    """The state with `function` applied to each of its tensors `[R, ...]`: to clone it, or to take rows of
    it."""
    return state._replace(**{name: function(value) for name, value in tensors_of(state).items()})


def zeros(params: Tensor, state_dtype: torch.dtype | None = None) -> Tensor:
    """A state tensor for `params` `[R, ...]`, in float32 for float16 and bfloat16 parameters unless a type is
    asked for.

    In bfloat16 a second moment never decays (`0.999 * v` rounds to `v`), in float16 an epsilon of 1e-8 is 0.
    """
    low = params.dtype in (torch.float16, torch.bfloat16)
    return torch.zeros_like(params, dtype=state_dtype or (torch.float32 if low else params.dtype))
