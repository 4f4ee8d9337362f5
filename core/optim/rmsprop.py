"""RMSProp, plain and centred."""

from typing import NamedTuple

import torch
from torch import Tensor

from core.optim.ops import PURE, Ops
from core.optim.precision import in_state_precision
from core.optim.ranges import FRACTION, NOT_NEGATIVE, Settings, check_ranges
from core.optim.scalars import Scalar, column, is_active, wide
from core.optim.state import zeros


class RMSpropState(NamedTuple):
    """Averages shaped like the parameters; `grad_avg` if centred, `momentum_buffer` if there is momentum."""

    step: int
    square_avg: Tensor
    grad_avg: Tensor | None = None
    momentum_buffer: Tensor | None = None


def rmsprop_init(
    params: Tensor,
    *,
    momentum: Scalar = 0.0,
    centered: bool = False,
    state_dtype: torch.dtype | None = None,
    **_: object,
) -> RMSpropState:
    """Zero averages and buffer for parameters `[R, ...]`."""
    return RMSpropState(
        step=0,
        square_avg=zeros(params, state_dtype),
        grad_avg=zeros(params, state_dtype) if centered else None,
        momentum_buffer=zeros(params, state_dtype) if is_active(momentum) else None,
    )


@in_state_precision
def rmsprop(
    params: Tensor,
    grads: Tensor,
    state: RMSpropState,
    *,
    lr: Scalar,
    alpha: Scalar = 0.99,
    eps: Scalar = 1e-8,
    centered: bool = False,
    momentum: Scalar = 0.0,
    weight_decay: Scalar = 0.0,
    maximize: bool = False,
    ops: Ops = PURE,
) -> tuple[Tensor, RMSpropState]:
    r"""RMSProp (Tieleman and Hinton 2012; centred: Graves 2013), bit for bit as `torch.optim.RMSprop`
    computes it.

    .. math::
        v_t &= \alpha v_{t-1} + (1-\alpha) g_t^2, \qquad a_t = \alpha a_{t-1} + (1-\alpha) g_t \\
        d_t &= g_t / \big(\sqrt{v_t - [\mathrm{centred}]\, a_t^2} + \epsilon\big), \qquad
        b_t = \mu b_{t-1} + d_t, \qquad \theta_t = \theta_{t-1} - \mathrm{lr}\, b_t

    There is no bias correction. As in torch, rounding can make `v - a**2` negative and the centred step NaN.

    Args:
        params: `[R, ...]`.
        grads: like `params`.
        state: from `rmsprop_init` with the same `centered` and `momentum`.
        lr, alpha, eps, momentum, weight_decay: a float, or `[R]`; weight decay is L2.
        centered: divide by the root of the estimated variance in place of the second moment.
        maximize: ascend.

    Raises:
        ValueError: `centered` or momentum without their tensors in the state.
    """
    g = -grads if maximize else grads
    if is_active(weight_decay):
        g = PURE.add_scaled(g, column(weight_decay, params), params)
    alpha = wide(alpha)
    fresh = column(1 - alpha, g)
    square_avg = ops.add_product(ops.scale(state.square_avg, column(alpha, g)), fresh, g, g)
    grad_avg, buffer = state.grad_avg, state.momentum_buffer
    if centered:
        if grad_avg is None:
            raise ValueError("the state has no grad_avg: make it by init with centered=True")
        grad_avg = ops.lerp(grad_avg, g, fresh)
    denominator = _denominator(square_avg, grad_avg, eps, ops)
    step_size = column(-wide(lr), g)
    if is_active(momentum):
        if buffer is None:
            raise ValueError("the state has no momentum_buffer: make it by init with the momentum")
        buffer = ops.add_quotient(ops.scale(buffer, column(momentum, g)), 1.0, g, denominator)
        if isinstance(momentum, Tensor):  # rows without momentum round as if there were no buffer
            plain = PURE.add_quotient(params, step_size, g, denominator)
            moved = PURE.add_scaled(params, step_size, buffer)
            without = torch.as_tensor(column(torch.eq(momentum, 0), g)).bool()
            params = ops.replace(params, torch.where(without, plain, moved))
        else:
            params = ops.add_scaled(params, step_size, buffer)
    else:
        params = ops.add_quotient(params, step_size, g, denominator)
    return params, RMSpropState(state.step + 1, square_avg, grad_avg, buffer)


def _denominator(square_avg: Tensor, grad_avg: Tensor | None, eps: Scalar, ops: Ops) -> Tensor:
    """`sqrt(v) + eps`, of the variance if there is a `grad_avg`."""
    under_root = square_avg
    if grad_avg is not None:
        under_root = PURE.add_product(square_avg, -1.0, grad_avg, grad_avg)
    return ops.shift(ops.root(under_root), column(eps, square_avg))


def rmsprop_metric(state: RMSpropState, *, eps: Scalar, **_: object) -> Tensor:
    """The denominator `[R, ...]` of the step that left this state."""
    return _denominator(state.square_avg, state.grad_avg, eps, PURE)


def check_rmsprop(settings: Settings) -> None:
    """Raise ValueError for a hyperparameter outside its range."""
    names = ("lr", "eps", "momentum", "weight_decay")
    check_ranges(settings, {**dict.fromkeys(names, NOT_NEGATIVE), "alpha": FRACTION})
