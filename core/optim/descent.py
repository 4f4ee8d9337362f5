"""Descent that keeps only a direction: signs, coordinate by coordinate, or the gradient at unit length."""

from typing import NamedTuple

import torch
from torch import Tensor

from core.optim.ops import PURE, Ops
from core.optim.precision import in_state_precision
from core.optim.ranges import DECAY, NOT_NEGATIVE, Settings, check_ranges
from core.optim.scalars import Scalar, column, is_active, wide
from core.optim.state import zeros


class DirectionState(NamedTuple):
    """`momentum_buffer` is the average gradient, shaped like the parameters; None without momentum."""

    step: int
    momentum_buffer: Tensor | None = None


def direction_init(
    params: Tensor, *, momentum: Scalar = 0.0, state_dtype: torch.dtype | None = None, **_: object
) -> DirectionState:
    """A zero average of gradients `[R, ...]` if there is momentum."""
    return DirectionState(0, zeros(params, state_dtype) if is_active(momentum) else None)


@in_state_precision
def signsgd(
    params: Tensor,
    grads: Tensor,
    state: DirectionState,
    *,
    lr: Scalar,
    momentum: Scalar = 0.0,
    maximize: bool = False,
    ops: Ops = PURE,
) -> tuple[Tensor, DirectionState]:
    r"""Sign descent; with momentum it is Signum (Bernstein et al. 2018).

    .. math::
        m_t = \mu m_{t-1} + (1-\mu) g_t, \qquad \theta_t = \theta_{t-1} - \mathrm{lr}\, \mathrm{sign}(m_t)

    Without momentum it is Adam with beta1 = beta2 = eps = 0.

    Args:
        params: `[R, ...]`.
        grads: like `params`.
        state: from `direction_init` with the same `momentum`.
        lr, momentum: a float, or `[R]`.
        maximize: ascend.

    Raises:
        ValueError: momentum without a buffer in the state.
    """
    average, buffer = _average(grads, state, momentum, maximize, ops)
    params = ops.add_scaled(params, column(-wide(lr), params), _sign(average))
    return params, DirectionState(state.step + 1, buffer)


@in_state_precision
def normalized_sgd(
    params: Tensor,
    grads: Tensor,
    state: DirectionState,
    *,
    lr: Scalar,
    eps: Scalar = 1e-8,
    momentum: Scalar = 0.0,
    maximize: bool = False,
    ops: Ops = PURE,
) -> tuple[Tensor, DirectionState]:
    r"""Globally normalised descent; with momentum as in Cutkosky and Mehta 2020.

    .. math::
        m_t = \mu m_{t-1} + (1-\mu) g_t, \qquad
        \theta_t = \theta_{t-1} - \mathrm{lr} \frac{m_t}{\lVert m_t \rVert_2 + \epsilon}

    The norm is taken over each row's coordinates (of a tensor with one axis: over the whole), in float64, so
    that gradients of 1e-30 or 1e30 in float32 have one too.

    Args:
        params: `[R, ...]`.
        grads: like `params`.
        state: from `direction_init` with the same `momentum`.
        lr, eps, momentum: a float, or `[R]`.
        maximize: ascend.

    Raises:
        ValueError: momentum without a buffer in the state.
    """
    average, buffer = _average(grads, state, momentum, maximize, ops)
    axes = tuple(range(min(1, average.ndim - 1), average.ndim))
    squares = average.double().square().sum(dim=axes, keepdim=True)
    length = ops.root(squares).to(average.dtype)
    params = ops.add_quotient(
        params, column(-wide(lr), params), average, ops.shift(length, column(eps, length))
    )
    return params, DirectionState(state.step + 1, buffer)


def _sign(x: Tensor) -> Tensor:
    """-1, 0 or 1; NaN where x is, of which `torch.sign` makes a 0 that would hide a run that has diverged."""
    return torch.where(x.isnan(), x, x.sign())


def _average(
    grads: Tensor, state: DirectionState, momentum: Scalar, maximize: bool, ops: Ops
) -> tuple[Tensor, Tensor | None]:
    """The direction to descend along, and the buffer that remembers it."""
    g = -grads if maximize else grads
    if not is_active(momentum):
        return g, state.momentum_buffer
    if state.momentum_buffer is None:
        raise ValueError("the state has no momentum_buffer: make it by init with the momentum")
    buffer = ops.lerp(state.momentum_buffer, g, column(1 - wide(momentum), g))
    return buffer, buffer


def check_direction(settings: Settings) -> None:
    """Raise ValueError for a hyperparameter outside its range."""
    names = {"lr": NOT_NEGATIVE, "momentum": DECAY, "eps": NOT_NEGATIVE}
    check_ranges(settings, {name: allowed for name, allowed in names.items() if name in settings})
