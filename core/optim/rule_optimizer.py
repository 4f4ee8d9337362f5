"""The base of `core.optim.torch_optim`: a torch optimizer over an update rule."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, overload

import torch
from torch import Tensor
from torch.autograd import profiler
from torch.optim import optimizer
from torch.optim.optimizer import ParamsT

from core.optim.bundle import Bundle, Kernel, make_bundles, same_objects
from core.optim.rule import Rule

Group = dict[str, Any]
Closure = Callable[[], float]
Work = list[tuple[Bundle, list[Tensor]]]
"""Bundles, each with the gradients of its parameters."""


@dataclass(frozen=True)
class _Plan:
    """How a group is stepped while nothing changes that it rests on."""

    params: list[Tensor]  # all of the group
    idle: list[Tensor]  # those without a gradient
    names: tuple[str, ...]
    bundles: list[Bundle]


class RuleOptimizer(torch.optim.Optimizer):
    """An optimizer over an update rule; subclasses say which rule, and what torch keeps of its state.

    Raises:
        ValueError: for a switch of torch that it does not have, such as `differentiable=True`.
    """

    rule: ClassVar[Rule]
    counted: ClassVar[bool] = False  # whether torch keeps a `step` for each parameter
    takes_sparse: ClassVar[bool] = True

    def __init__(self, params: ParamsT, defaults: Mapping[str, Any]) -> None:
        for name in ("capturable", "differentiable"):
            if defaults.get(name):
                raise ValueError(
                    f"{type(self).__name__} has no {name}=True; core.optim.RULES has differentiable steps"
                )
        self._forget()
        super().__init__(params, dict(defaults))

    def _forget(self) -> None:
        self._plans: dict[int, _Plan] = {}
        self._slots: list[dict[str, Any]] = []  # those of `state` that the plans rest on

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._forget()
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    def settings(self, group: Group) -> dict[str, Any]:
        """`lr` and the rule's hyperparameters; by default those of the same names in the group."""
        settings = {name: group[name] for name in self.rule.hyper}
        settings["lr"] = float(group["lr"])
        return settings

    def state_names(self, group: Group) -> tuple[str, ...]:
        """The tensors of the rule's state."""
        return ("momentum_buffer",) if group["momentum"] != 0 else ()

    def kernel(self, group: Group, bundle: Bundle) -> Kernel | None:  # noqa: ARG002
        """What steps a bundle instead of the rule's formula."""
        return None

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Closure) -> float: ...

    def step(self, closure: Closure | None = None) -> float | None:
        """One step along the gradients that the parameters hold; those without one stay as they are.

        Args:
            closure: reevaluates the model, and returns the loss.

        Raises:
            RuntimeError: a sparse gradient where torch's optimizer takes none.
        """
        if self._is_watched():
            return _watched_step(self) if closure is None else _watched_step(self, closure)
        self._optimizer_step_code()
        return self._step(closure)

    # torch wraps every `step` without this mark in hooks and a profiler's record, which take a twentieth of
    # its own step of a small network also where nobody looks.
    step.hooked = True  # type: ignore[attr-defined]

    def _is_watched(self) -> bool:
        own = self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks
        everybodys = optimizer._global_optimizer_pre_hooks or optimizer._global_optimizer_post_hooks
        return bool(own or everybodys or profiler._is_profiler_enabled)

    def _step(self, closure: Closure | None = None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.set_grad_enabled(False):  # half the cost of no_grad
            if not same_objects(list(self.state.values()), self._slots):
                self._plans.clear()
            for index, group in enumerate(self.param_groups):
                self._step_group(index, group)
        return loss

    def _step_group(self, index: int, group: Group) -> None:
        settings = self.settings(group)
        names = self.state_names(group)
        work = self._planned(index, group, names) or self._plan(index, group, names, settings)
        for bundle, gradients in work:
            kernel = self.kernel(group, bundle)
            if kernel is None:
                bundle.step(gradients, settings)
            else:
                bundle.step_by(kernel, gradients, settings)

    def _planned(self, index: int, group: Group, names: tuple[str, ...]) -> Work | None:
        """The bundles of the last step with their gradients, if nothing has changed that they rest on."""
        plan = self._plans.get(index)
        if plan is None or plan.names != names or not same_objects(plan.params, group["params"]):
            return None
        if any([p.grad is not None for p in plan.idle]):  # noqa: C419 (faster than a generator)
            return None
        work = []
        for bundle in plan.bundles:
            gradients = bundle.gradients()
            if gradients is None or not bundle.intact() or self._refuses(gradients):
                return None
            work.append((bundle, gradients))
        return work

    def _refuses(self, gradients: list[Tensor]) -> bool:
        return not self.takes_sparse and any([g.is_sparse for g in gradients])  # noqa: C419

    def _plan(self, index: int, group: Group, names: tuple[str, ...], settings: Mapping[str, Any]) -> Work:
        """New bundles of the parameters that have a gradient."""
        active = [p for p in group["params"] if p.grad is not None]
        if self._refuses([p.grad for p in active]):
            raise RuntimeError(f"{type(self).__name__} does not support sparse gradients")
        bundles = make_bundles(
            active, self.state, names, counted=self.counted, rule=self.rule, hyper=settings
        )
        idle = [p for p in group["params"] if p.grad is None]
        self._plans[index] = _Plan(list(group["params"]), idle, names, bundles)
        self._slots = list(self.state.values())
        return [(bundle, gradients) for bundle in bundles if (gradients := bundle.gradients()) is not None]


_watched_step = torch.optim.Optimizer.profile_hook_step(RuleOptimizer._step)
"""A step with torch's hooks and its record for the profiler."""
