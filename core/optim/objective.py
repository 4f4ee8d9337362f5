"""What an unrolled training descends on and is judged by, in a form that derivatives flow through."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap


class Objective(Protocol):
    """A descent field and a final measure over R rows of D flat parameters; row r depends on row r alone.

    Both are made of operations that autograd follows, and work under `no_grad` too, where a field that is a
    gradient enables gradients for itself (as `gradient_field` does). An objective may also offer
    `project(params) -> params`, differentiable, called after each step (see `projection_of`).
    """

    def field(self, params: Tensor, step: int) -> Tensor:
        """What the rule descends along, `[R, D]`; the same at each call with the same arguments. Steps count
        from 0."""

    def loss(self, params: Tensor) -> Tensor:
        """What the training is judged by, `[R]`."""


def gradient_field(losses: Callable[[Tensor], Tensor], params: Tensor) -> Tensor:
    """The gradient `[R, D]` of each row's loss, itself differentiable where gradients are enabled.

    Args:
        losses: `[R, D]` to `[R]`, row by row.
        params: `[R, D]`.
    """
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        at = params if params.requires_grad else params.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(losses(at).sum(), at, create_graph=keep)
    return gradient


@dataclass(frozen=True)
class LossObjective:
    """Descent along the gradient of a loss.

    Attributes:
        training: `(params [R, D], step) -> [R]`, twice differentiable; on mini-batches it depends on the
            step.
        final: `params [R, D] -> [R]`, the final measure (for instance the loss on held-out data).
    """

    training: Callable[[Tensor, int], Tensor]
    final: Callable[[Tensor], Tensor]

    def field(self, params: Tensor, step: int) -> Tensor:
        """The gradient of the training loss `[R, D]`."""
        return gradient_field(lambda at: self.training(at, step), params)

    def loss(self, params: Tensor) -> Tensor:
        """The final measure `[R]`."""
        return self.final(params)


class ModuleObjective:
    """A module's loss on batches: R sets of its parameters at once, flat, in the order of `parameters()`.

    Args:
        module: any module without buffers and dropout. Parameters that ask for no gradient stay as they are.
        loss: `loss(module(x), *rest) -> scalar`.
        batch: from the step to the tensors `(x, *rest)` of its batch.
        evaluation: the tensors `(x, *rest)` that the final measure is taken on.
        per_row: whether the tensors of batches and of the evaluation have a first axis of R, one set of data
            a row; otherwise all rows share the data.

    Raises:
        ValueError: for a module without parameters to train, or with buffers (all rows would share them).
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[..., Tensor],
        batch: Callable[[int], Sequence[Tensor]],
        evaluation: Sequence[Tensor],
        *,
        per_row: bool = False,
    ) -> None:
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if not trained:
            raise ValueError("the module has no parameters to train")
        if any(True for _ in module.buffers()):
            raise ValueError("the module keeps buffers, which all rows would share: use layers without them")
        self.module, self._loss, self.batch, self.evaluation = module, loss, batch, tuple(evaluation)
        self.axis = 0 if per_row else None
        self.shapes = {name: p.shape for name, p in trained.items()}
        self.sizes = [prod(shape) for shape in self.shapes.values()]

    def start(self, rows: int) -> Tensor:
        """The module's parameters as they are now, `[rows, D]`."""
        trained = [p.detach().flatten() for p in self.module.parameters() if p.requires_grad]
        return torch.cat(trained).repeat(rows, 1)

    def unflatten(self, row: Tensor) -> dict[str, Tensor]:
        """A row `[D]` as the module's named parameters."""
        parts = torch.split(row, self.sizes)
        return {name: p.view(shape) for (name, shape), p in zip(self.shapes.items(), parts, strict=True)}

    def losses(self, params: Tensor, data: Sequence[Tensor]) -> Tensor:
        """The loss of each row of `params` `[R, D]` on data, `[R]`."""

        def single(row: Tensor, x: Tensor, *rest: Tensor) -> Tensor:
            return self._loss(functional_call(self.module, self.unflatten(row), (x,)), *rest)

        return vmap(single, in_dims=(0, *(self.axis for _ in data)))(params, *data)

    def field(self, params: Tensor, step: int) -> Tensor:
        """The gradient on the step's batch `[R, D]`."""
        batch = self.batch(step)
        return gradient_field(lambda at: self.losses(at, batch), params)

    def loss(self, params: Tensor) -> Tensor:
        """The loss on the evaluation data `[R]`."""
        return self.losses(params, self.evaluation)
