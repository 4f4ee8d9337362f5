"""Steps of low-precision parameters: the arithmetic is done in the type of the state."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from torch import Tensor

from core.optim.ops import PURE
from core.optim.state import State

P = ParamSpec("P")


def in_state_precision(
    formula: Callable[Concatenate[Tensor, Tensor, State, P], tuple[Tensor, State]],
) -> Callable[Concatenate[Tensor, Tensor, State, P], tuple[Tensor, State]]:
    """Let `formula` see parameters and gradients `[R, ...]` in the type of the state, and round its result
    once."""

    @wraps(formula)
    def step(
        params: Tensor, grads: Tensor, state: State, /, *args: P.args, **kwargs: P.kwargs
    ) -> tuple[Tensor, State]:
        if grads.shape != params.shape:
            shapes = f"{list(grads.shape)} and {list(params.shape)}"
            raise ValueError(f"gradients and parameters differ in shape: {shapes}")
        dtype = params.dtype
        for value in state:
            if isinstance(value, Tensor):
                dtype = value.dtype
                break
        if params.dtype == grads.dtype == dtype:
            return formula(params, grads, state, *args, **kwargs)
        after, state = formula(params.to(dtype), grads.to(dtype), state, *args, **kwargs)
        if params.dtype == dtype:
            return after, state
        ops: Any = kwargs.get("ops", PURE)
        return ops.replace(params, after), state

    return step
