"""Hyperparameters: one float for all rows, or a tensor `[R]` with one number a row.

Arithmetic between hyperparameters is done in float64, as torch.optim does it on Python floats, and rounded
once when it meets the parameters. Powers and roots go through Python's own floats, for two reasons:
`torch.pow` rounds by an element's position in memory, and `x ** 0.5` differs from `sqrt(x)` in the last bit
for one number in a thousand.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Scalar: TypeAlias = float | Tensor


def wide(value: Scalar) -> Scalar:
    """The hyperparameter in float64: floats as they are, tensors cast."""
    return value.double() if isinstance(value, Tensor) else value


def is_active(value: Scalar) -> bool:
    """Whether a term with this coefficient takes part: any tensor does, a float when it is not zero."""
    return isinstance(value, Tensor) or value != 0


def column(value: Scalar, like: Tensor) -> Scalar:
    """The hyperparameter in the type of `like`, shaped `[R, 1, ...]` so that it multiplies rows of `like`
    `[R, ...]`.

    Raises:
        ValueError: the tensor has neither one element nor one for each row.
    """
    if not isinstance(value, Tensor):
        return value
    value = value.to(device=like.device, dtype=like.dtype)
    if value.ndim == 0:
        return value
    rows = like.shape[0] if like.ndim else 1
    if value.ndim != 1 or value.shape[0] not in (1, rows):
        shape = list(value.shape)
        raise ValueError(
            f"a hyperparameter has shape {shape}: give a float or one number for each of {rows} rows"
        )
    return value.view(-1, *(1,) * (like.ndim - 1)) if like.ndim else value.view(())


def bias_correction(decay: Scalar, step: int, *, differentiable: bool) -> Scalar:
    """`1 - decay**step`: the total weight of `step` terms in an exponential average started at zero."""
    if not isinstance(decay, Tensor):
        return 1 - decay**step
    return _through_floats(
        decay,
        lambda beta: 1 - beta**step,
        lambda beta: 1 - _integer_power(beta, step),
        differentiable=differentiable,
    )


def square_root(value: Scalar, *, differentiable: bool) -> Scalar:
    """`value ** 0.5` with Python's rounding."""
    return _through_floats(value, _float_square_root, torch.sqrt, differentiable=differentiable)


def _float_square_root(value: float) -> float:
    root: float = value**0.5
    return root


def _integer_power(base: Tensor, exponent: int) -> Tensor:
    """`base**exponent` by squaring: unlike `torch.pow` it rounds alike at every position; exponent >= 1."""
    result: Tensor | None = None
    while True:
        if exponent & 1:
            result = base if result is None else result * base
        exponent >>= 1
        if exponent == 0 and result is not None:
            return result
        base = base * base


def _through_floats(
    value: Scalar, exact: Callable[[float], float], form: Callable[[Tensor], Tensor], *, differentiable: bool
) -> Scalar:
    """`exact` of each number; where derivatives are wanted, `form` supplies them and is moved onto the exact
    value.

    Both values are neighbours in float64, so `form + (exact - form)` is the exact value, bit for bit.
    """
    if not isinstance(value, Tensor):
        return exact(value)
    if not differentiable:
        return _map_floats(value, exact)
    shaped = form(value)
    try:
        correction = _map_floats(value, exact) - _map_floats(shaped, float)
    except RuntimeError:  # under vmap numbers cannot be read; the form alone is right to rounding
        return shaped
    return shaped + correction


def _map_floats(value: Tensor, function: Callable[[float], float]) -> Tensor:
    numbers, places = torch.unique(value.detach(), return_inverse=True)
    mapped = [function(number) for number in numbers.tolist()]
    return torch.tensor(mapped, dtype=torch.float64, device=value.device)[places]
