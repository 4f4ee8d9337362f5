"""Adam, AMSGrad, Adam with L2 and AdamW: one formula."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from core.optim.ops import PURE, Ops
from core.optim.precision import in_state_precision
from core.optim.ranges import DECAY, MOMENTUM, NOT_NEGATIVE, Settings, check_ranges
from core.optim.scalars import Scalar, column, is_active, square_root, wide
from core.optim.scalars import bias_correction as correction
from core.optim.state import zeros

DenominatorMap = Callable[[Tensor], Tensor]
"""From the second moment `[R, ...]` to what stands under the root, of a shape that broadcasts to it."""


class AdamState(NamedTuple):
    """Moments shaped like the parameters; `max_exp_avg_sq` only for AMSGrad."""

    step: int
    exp_avg: Tensor
    exp_avg_sq: Tensor
    max_exp_avg_sq: Tensor | None = None


def adam_init(
    params: Tensor, *, amsgrad: bool = False, state_dtype: torch.dtype | None = None, **_: object
) -> AdamState:
    """Zero moments for parameters `[R, ...]`."""
    return AdamState(
        step=0,
        exp_avg=zeros(params, state_dtype),
        exp_avg_sq=zeros(params, state_dtype),
        max_exp_avg_sq=zeros(params, state_dtype) if amsgrad else None,
    )


@in_state_precision
def adam(
    params: Tensor,
    grads: Tensor,
    state: AdamState,
    *,
    lr: Scalar,
    beta1: Scalar = 0.9,
    beta2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0.0,
    decoupled_weight_decay: bool = False,
    amsgrad: bool = False,
    bias_correction: bool = True,
    maximize: bool = False,
    denominator_map: DenominatorMap | None = None,
    ops: Ops = PURE,
) -> tuple[Tensor, AdamState]:
    r"""Adam (Kingma and Ba 2015), bit for bit as `torch.optim.Adam` computes it.

    .. math::
        m_t &= \beta_1 m_{t-1} + (1-\beta_1) g_t, \qquad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2 \\
        \theta_t &= \theta_{t-1}
            - \mathrm{lr} \frac{m_t / (1-\beta_1^t)}{\sqrt{v_t / (1-\beta_2^t)} + \epsilon}

    Args:
        params: `[R, ...]`.
        grads: like `params`.
        state: from `adam_init` with the same `amsgrad`.
        lr, beta1, beta2, eps, weight_decay: a float, or `[R]`; beta1 may be negative (Gidel et al. 2019).
        decoupled_weight_decay: AdamW (Loshchilov and Hutter 2019): parameters shrink by `1 - lr weight_decay`
            before the step. Otherwise `weight_decay * params` joins the gradient (L2).
        amsgrad: the largest v so far stands under the root (Reddi, Kale and Kumar 2018). As in torch the
            maximum is taken before the bias correction; the paper has no bias correction.
        bias_correction: divide by `1 - beta**t`; without it the first step is
            `(1 - beta1) / sqrt(1 - beta2)` times as long.
        maximize: ascend.
        denominator_map: what stands under the root instead of v, as a function of v; for controls.

    Raises:
        ValueError: `amsgrad` without `max_exp_avg_sq` in the state.
    """
    step = state.step + 1
    lr, beta1, beta2 = wide(lr), wide(beta1), wide(beta2)
    g = -grads if maximize else grads
    if is_active(weight_decay):
        if decoupled_weight_decay:
            params = ops.scale(params, column(1 - lr * wide(weight_decay), params))
        else:
            g = PURE.add_scaled(g, column(weight_decay, params), params)

    exp_avg = ops.lerp(state.exp_avg, g, column(1 - beta1, g))
    decayed = ops.scale(state.exp_avg_sq, column(beta2, g))
    exp_avg_sq = ops.add_product(decayed, column(1 - beta2, g), g, g)
    max_exp_avg_sq = state.max_exp_avg_sq
    under_root = exp_avg_sq
    if amsgrad:
        if max_exp_avg_sq is None:
            raise ValueError("the state has no max_exp_avg_sq: make it by init with amsgrad=True")
        under_root = max_exp_avg_sq = ops.maximum(max_exp_avg_sq, exp_avg_sq)

    mapped = under_root if denominator_map is None else denominator_map(under_root)
    denominator = _denominator(mapped, step, beta2 if bias_correction else None, eps, ops)
    step_size = lr
    if bias_correction:
        step_size = lr / correction(beta1, step, differentiable=ops.differentiable)
    params = ops.add_quotient(params, column(-step_size, g), exp_avg, denominator)
    return params, AdamState(step, exp_avg, exp_avg_sq, max_exp_avg_sq)


def _denominator(under_root: Tensor, step: int, beta2: Scalar | None, eps: Scalar, ops: Ops) -> Tensor:
    """`sqrt(v / (1 - beta2**step)) + eps`; without correction where beta2 is None."""
    denominator = ops.root(under_root)
    if beta2 is not None:
        correction2 = correction(beta2, step, differentiable=ops.differentiable)
        root = square_root(correction2, differentiable=ops.differentiable)
        denominator = ops.divide(denominator, column(root, denominator))
    return ops.shift(denominator, column(eps, denominator))


def adam_metric(
    state: AdamState,
    *,
    beta2: Scalar,
    eps: Scalar,
    bias_correction: bool,
    denominator_map: DenominatorMap | None,
    **_: object,
) -> Tensor:
    """The denominator `[R, ...]` of the step that left this state, in which projections are to be taken
    (Reddi, Kale and Kumar 2018, their projection in the norm of sqrt(v))."""
    v = state.exp_avg_sq if state.max_exp_avg_sq is None else state.max_exp_avg_sq
    mapped = v if denominator_map is None else denominator_map(v)
    return _denominator(mapped, max(state.step, 1), wide(beta2) if bias_correction else None, eps, PURE)


def check_adam(settings: Settings) -> None:
    """Raise ValueError for a hyperparameter outside its range."""
    names = {
        "lr": NOT_NEGATIVE,
        "eps": NOT_NEGATIVE,
        "weight_decay": NOT_NEGATIVE,
        "beta1": MOMENTUM,
        "beta2": DECAY,
    }
    check_ranges(settings, names)
