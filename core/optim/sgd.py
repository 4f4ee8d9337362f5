"""Gradient descent with momentum, dampening and Nesterov's correction."""

from typing import NamedTuple

import torch
from torch import Tensor

from core.optim.ops import PURE, Ops
from core.optim.precision import in_state_precision
from core.optim.ranges import ABOVE_MINUS_ONE, FINITE, NOT_NEGATIVE, Settings, check_ranges
from core.optim.scalars import Scalar, column, is_active, wide
from core.optim.state import zeros


class SGDState(NamedTuple):
    """`momentum_buffer` is shaped like the parameters; None without momentum."""

    step: int
    momentum_buffer: Tensor | None = None


def sgd_init(
    params: Tensor, *, momentum: Scalar = 0.0, state_dtype: torch.dtype | None = None, **_: object
) -> SGDState:
    """A zero buffer `[R, ...]` if there is momentum; the first step replaces it by the first gradient."""
    return SGDState(0, zeros(params, state_dtype) if is_active(momentum) else None)


@in_state_precision
def sgd(
    params: Tensor,
    grads: Tensor,
    state: SGDState,
    *,
    lr: Scalar,
    momentum: Scalar = 0.0,
    dampening: Scalar = 0.0,
    nesterov: bool = False,
    weight_decay: Scalar = 0.0,
    maximize: bool = False,
    ops: Ops = PURE,
) -> tuple[Tensor, SGDState]:
    r"""Gradient descent, bit for bit as `torch.optim.SGD` computes it.

    .. math::
        b_1 = g_1, \qquad b_t = \mu b_{t-1} + (1-\tau) g_t, \qquad
        \theta_t = \theta_{t-1}
            - \mathrm{lr} \begin{cases} b_t & \\ g_t + \mu b_t & \text{(Nesterov)} \end{cases}

    Momentum is Polyak's (1964) with the learning rate outside the buffer; it may be
    negative, which damps games (Gidel et al. 2019); Nesterov's form follows Sutskever
    et al. 2013.

    Args:
        params: `[R, ...]`.
        grads: like `params`.
        state: from `sgd_init` with the same `momentum`.
        lr, momentum, dampening, weight_decay: a float, or `[R]`. As in torch, dampening acts from the second
            step on and not at all where momentum is 0; weight decay is L2.
        nesterov: look ahead along the buffer.
        maximize: ascend.

    Raises:
        ValueError: momentum without a buffer in the state.
    """
    g = -grads if maximize else grads
    if is_active(weight_decay):
        g = PURE.add_scaled(g, column(weight_decay, params), params)
    buffer = state.momentum_buffer
    if is_active(momentum):
        if buffer is None:
            raise ValueError("the state has no momentum_buffer: make it by init with the momentum")
        mu = column(momentum, g)
        if state.step == 0:
            buffer = ops.replace(buffer, g)
        else:
            fresh = column(1 - _dampening(momentum, dampening), g)
            buffer = ops.add_scaled(ops.scale(buffer, mu), fresh, g)
        g = PURE.add_scaled(g, mu, buffer) if nesterov else buffer
    params = ops.add_scaled(params, column(-wide(lr), params), g)
    return params, SGDState(state.step + 1, buffer)


def _dampening(momentum: Scalar, dampening: Scalar) -> Scalar:
    """The dampening, and 0 in rows without momentum."""
    dampening = wide(dampening)
    if not isinstance(momentum, Tensor) or not is_active(dampening):
        return dampening
    return torch.where(momentum == 0, 0.0, dampening)


def check_sgd(settings: Settings) -> None:
    """Raise ValueError for a value outside its range, or for Nesterov without momentum or with dampening."""
    names = {
        "lr": NOT_NEGATIVE,
        "momentum": ABOVE_MINUS_ONE,
        "dampening": FINITE,
        "weight_decay": NOT_NEGATIVE,
    }
    check_ranges(settings, names)
    if not settings["nesterov"]:
        return
    for name, wanted in (("momentum", "above zero"), ("dampening", "zero")):
        value = torch.as_tensor(settings[name])
        if bool(((value <= 0) if name == "momentum" else (value != 0)).any()):
            raise ValueError(f"nesterov needs a {name} that is {wanted}, got {settings[name]!r}")
