"""Optimizers for `torch.nn` models over the rules of `core.optim`: drop-in for torch.optim's, and faster on
the CPU.

Same constructor arguments, parameter groups, closures, schedulers and `state_dict` (which torch.optim's
optimizers load, and whose own these load), same bits in float32 and float64 (complex SGD: to rounding). The
parameters of a group are stepped as flat tensors, large ones block by block. `foreach` is accepted for
compatibility and changes nothing. `fused=True` makes Adam and AdamW use torch's fused kernel: faster again,
and no longer the same bits. Differentiable steps are what `core.optim.RULES` is for.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from core.optim.bundle import Bundle, Kernel
from core.optim.fused import fused_adam_, is_available
from core.optim.rule_optimizer import Group, RuleOptimizer
from core.optim.rules import RULES


class SGD(RuleOptimizer):
    """Gradient descent; arguments as of `torch.optim.SGD`, formula as of `core.optim.sgd`.

    Where there is momentum or weight decay sparse gradients are made dense.

    Raises:
        ValueError: as torch: for values outside their ranges, or Nesterov without momentum or with dampening.
    """

    rule = RULES["sgd"]

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        _check_lr(lr)
        _check(momentum >= 0, "momentum value", momentum)
        _check(weight_decay >= 0, "weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        _check_flags(foreach, fused)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def _step_group(self, index: int, group: Group) -> None:
        """Plain descent goes straight to the parameters: gathering costs more than its one operation."""
        if group["momentum"] != 0 or group["weight_decay"] != 0:
            super()._step_group(index, group)
            return
        active = [p for p in group["params"] if p.grad is not None]
        if active:
            lr = float(group["lr"])
            torch._foreach_add_(active, [p.grad for p in active], alpha=lr if group["maximize"] else -lr)


class RMSprop(RuleOptimizer):
    """RMSProp; arguments as of `torch.optim.RMSprop`, formula as of `core.optim.rmsprop`."""

    rule = RULES["rmsprop"]
    counted = True
    takes_sparse = False

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        _check_lr(lr)
        _check(eps >= 0, "epsilon value", eps)
        _check(momentum >= 0, "momentum value", momentum)
        _check(weight_decay >= 0, "weight_decay value", weight_decay)
        _check(alpha >= 0, "alpha value", alpha)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def state_names(self, group: Group) -> tuple[str, ...]:
        """What torch keeps besides `step`."""
        names = ["square_avg"]
        if group["momentum"] != 0:
            names.append("momentum_buffer")
        if group["centered"]:
            names.append("grad_avg")
        return tuple(names)


class Adam(RuleOptimizer):
    """Adam and AMSGrad; arguments as of `torch.optim.Adam`, formula as of `core.optim.adam`.

    Tensor `lr` and `betas` of one element are read as floats, so the arithmetic between them is in float64.

    Raises:
        ValueError: as torch: for values outside their ranges, or tensors of more than one element.
    """

    rule = RULES["adam"]
    counted = True
    takes_sparse = False

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and foreach:
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        _check_lr(lr)
        _check(eps >= 0, "epsilon value", eps)
        for index, beta in enumerate(betas):
            _check(0 <= beta < 1, f"beta parameter at index {index}", beta)
        _check(weight_decay >= 0, "weight_decay value", weight_decay)
        _check_betas(betas, foreach)
        _check_flags(foreach, fused)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def settings(self, group: Group) -> dict[str, Any]:
        """The betas apart, and everything else as in the group."""
        beta1, beta2 = group["betas"]
        return {
            "lr": float(group["lr"]),
            "beta1": float(beta1),
            "beta2": float(beta2),
            "eps": group["eps"],
            "weight_decay": group["weight_decay"],
            "decoupled_weight_decay": group["decoupled_weight_decay"],
            "amsgrad": group["amsgrad"],
            "maximize": group["maximize"],
        }

    def state_names(self, group: Group) -> tuple[str, ...]:
        """What torch keeps besides `step`."""
        return ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if group["amsgrad"] else ()))

    def kernel(self, group: Group, bundle: Bundle) -> Kernel | None:
        """The fused kernel where it is asked for and there is one."""
        return fused_adam_ if group["fused"] and is_available(bundle.params[0]) else None


class AdamW(Adam):
    """Adam with decoupled weight decay; arguments as of `torch.optim.AdamW`."""

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


class SignSGD(RuleOptimizer):
    """Sign descent, with momentum Signum; formula as of `core.optim.signsgd`."""

    rule = RULES["signsgd"]

    def __init__(
        self, params: ParamsT, lr: float | Tensor = 1e-3, momentum: float = 0, *, maximize: bool = False
    ) -> None:
        _check_lr(lr)
        _check(0 <= momentum < 1, "momentum value", momentum)
        super().__init__(params, {"lr": lr, "momentum": momentum, "maximize": maximize})


class NormalizedSGD(RuleOptimizer):
    """Globally normalised descent; formula as of `core.optim.normalized_sgd`.

    The norm is taken over all the parameters of a group that have a gradient (and share a type and a device).
    """

    rule = RULES["normalized_sgd"]

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        eps: float = 1e-8,
        *,
        maximize: bool = False,
    ) -> None:
        _check_lr(lr)
        _check(0 <= momentum < 1, "momentum value", momentum)
        _check(eps >= 0, "epsilon value", eps)
        super().__init__(params, {"lr": lr, "momentum": momentum, "eps": eps, "maximize": maximize})


def _check(valid: bool | Tensor, what: str, value: float | Tensor) -> None:
    if not valid:
        raise ValueError(f"Invalid {what}: {value}")


def _check_lr(lr: float | Tensor) -> None:
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    _check(lr >= 0, "learning rate", lr)


def _check_flags(foreach: bool | None, fused: bool | None) -> None:
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def _check_betas(betas: tuple[float | Tensor, float | Tensor], foreach: bool | None) -> None:
    tensors = [isinstance(beta, Tensor) for beta in betas]
    if not all(tensors) and not all(isinstance(beta, float) for beta in betas):
        raise ValueError("betas must be either both floats or both Tensors")
    for index, beta in enumerate(betas):
        if not isinstance(beta, Tensor):
            continue
        if foreach:
            raise ValueError(
                f"betas[{index}] as a Tensor is not supported for capturable=False and foreach=True"
            )
        if beta.numel() != 1:
            raise ValueError(f"Tensor betas[{index}] must be 1-element")
