"""What an update rule is: a formula, the state it starts from, and the ranges of its hyperparameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from core.optim.blocks import SMALLEST, step_in_blocks
from core.optim.ops import IN_PLACE, Ops
from core.optim.ranges import Check
from core.optim.scalars import Scalar

Formula = Callable[..., tuple[Tensor, Any]]
"""`(params, grads, state, *, lr, **hyper, ops=PURE) -> (params, state)`."""


@dataclass(frozen=True)
class Rule:
    """An update rule with the defaults of all its hyperparameters.

    Parameters and gradients are `[R, ...]`: each row is one run. `lr` and every numeric hyperparameter is a
    float, or a tensor `[R]` with one number a row (float64 keeps all digits).

    Attributes:
        name: under which it is known.
        formula: one of `core.optim`'s functions (`adam`, `sgd`, ...), or one of the caller's own.
        start: `(params, *, state_dtype, **hyper) -> state`, the state before the first step.
        check: raises ValueError for hyperparameters that make no sense together or alone.
        hyper: the defaults of all hyperparameters besides `lr`.
        metric: `(state, **hyper) -> [R, ...]`, the diagonal of the matrix whose inverse scales the step, for
            projections in the rule's own metric; None where the step is not scaled.
        elementwise: whether a coordinate's step depends on that coordinate alone; then large tensors are
            stepped in blocks that fit into the cache.
    """

    name: str
    formula: Formula
    start: Callable[..., Any]
    check: Check
    hyper: Mapping[str, object] = field(hash=False)
    elementwise: bool = True
    metric: Callable[..., Tensor] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "hyper", MappingProxyType(dict(self.hyper)))

    def __getstate__(self) -> dict[str, Any]:
        # A mapping proxy does not travel between processes.
        return {**self.__dict__, "hyper": dict(self.hyper)}

    def __setstate__(self, fields: Mapping[str, Any]) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, MappingProxyType(value) if name == "hyper" else value)

    def init(self, params: Tensor, *, state_dtype: torch.dtype | None = None, **hyper: Any) -> Any:
        """The state before the first step.

        Args:
            params: `[R, ...]`.
            state_dtype: type of the state's tensors; default float32 for float16 and bfloat16 parameters,
                else theirs.
            hyper: what differs from the defaults (it decides which tensors the state has).
        """
        return self.start(params, state_dtype=state_dtype, **{**self.hyper, **hyper})

    def step(
        self, params: Tensor, grads: Tensor, state: Any, *, lr: Scalar, **hyper: object
    ) -> tuple[Tensor, Any]:
        """One step in new memory, differentiable in everything that is a tensor: `(params, state)`."""
        return self.formula(params, grads, state, lr=lr, **{**self.hyper, **hyper})

    def step_(self, params: Tensor, grads: Tensor, state: Any, *, lr: Scalar, **hyper: object) -> Any:
        """One step in place on `params` and the state's tensors; the same bits as `step`.

        Returns:
            The state with its new step count, holding the same tensors.
        """
        with torch.set_grad_enabled(False):  # half the cost of no_grad
            return self.advance(params, grads, state, {**self.hyper, **hyper, "lr": lr})

    def advance(
        self, params: Tensor, grads: Tensor, state: Any, settings: Mapping[str, Any], ops: Ops = IN_PLACE
    ) -> Any:
        """`step_` at less cost: gradients are off already, and `settings` holds `lr` and all hyperparameters
        (what it lacks is as in the formula's signature). `ops` work in place, where blocks would not pay.
        """
        if self.elementwise and params.numel() >= SMALLEST:
            return step_in_blocks(self.formula, params, grads, state, settings)
        return self.formula(params, grads, state, **settings, ops=ops)[1]

    def metric_at(self, state: Any, **hyper: object) -> Tensor | None:
        """The rule's metric after a step that left `state`, shaped like the parameters or broadcasting to
        them; None if it is Euclidean. `hyper` is what differs from the defaults."""
        return None if self.metric is None else self.metric(state, **{**self.hyper, **hyper})

    def with_hyper(self, name: str | None = None, /, **hyper: object) -> "Rule":
        """The same rule under other defaults, and under another name if one is given.

        Raises:
            ValueError: the rule has no hyperparameter of that name.
        """
        self._known(hyper)
        return replace(self, name=name or self.name, hyper={**self.hyper, **hyper})

    def validate(self, *, lr: Scalar, **hyper: object) -> None:
        """Check `lr` and hyperparameters. Steps do not: it would read tensors back from the device each time.

        Raises:
            ValueError: one line that names the rule, the hyperparameter, its value and the values allowed.
        """
        self._known(hyper)
        try:
            self.check({"lr": lr, **self.hyper, **hyper})
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None

    def _known(self, hyper: Mapping[str, object]) -> None:
        for name in hyper:
            if name not in self.hyper:
                raise ValueError(
                    f"{self.name}: no hyperparameter {name!r}; it has lr, {', '.join(self.hyper)}"
                )
