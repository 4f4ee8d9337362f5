"""A problem of any `nn.Module`: R copies of its parameters trained at once through `torch.func`."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.dropout import _DropoutNd

from core.lab.backward import batched_gradient
from core.lab.batched import batched_forward
from core.lab.batches import Batches
from core.lab.errors import VhatError
from core.lab.problem import Field
from core.lab.random import Keys
from core.lab.starts import fresh_starts

Loss = Callable[..., Tensor]
"""`loss(output, *rest_of_the_batch) -> scalar`."""


class ModuleProblem:
    """Mini-batch gradients of a module's loss on data, for R sets of parameters at once.

    The first tensor of the data is the module's input, the rest goes to the loss: `loss(module(x), *rest)`. A
    batch is drawn with replacement, keyed by (seed, step), so that all variants of one seed see the same
    batches. Each seed starts from the module's own `reset_parameters`.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Loss,
        data: Sequence[Tensor],
        *,
        test_data: Sequence[Tensor] | None,
        batch_size: int | None,
        device: str,
    ) -> None:
        self.module = copy.deepcopy(module).to(device)
        self.loss = loss
        self.data = tuple(t.to(device) for t in data)
        self.test_data = None if test_data is None else tuple(t.to(device) for t in test_data)
        self.batch_size = batch_size
        self.shapes = {name: p.shape for name, p in self.module.named_parameters() if p.requires_grad}
        self.sizes = [math.prod(s) for s in self.shapes.values()]
        self.dim = sum(self.sizes)
        self.device = device
        # The fast way knows vectors as inputs, and trains all that the module has.
        plain = self.data[0].dim() == 2 and all(p.requires_grad for p in self.module.parameters())
        self.forward = batched_forward(self.module) if plain else None
        self.gradient = batched_gradient(self.module, loss) if plain else None
        self.batches = None if batch_size is None else Batches(self.data, batch_size)

    def _single(self, flat: Tensor, *batch: Tensor) -> Tensor:
        parts = torch.split(flat, self.sizes)
        params = {name: p.view(shape) for (name, shape), p in zip(self.shapes.items(), parts, strict=True)}
        return self.loss(functional_call(self.module, params, (batch[0],)), *batch[1:])

    def _losses(self, params: Tensor, batch: Sequence[Tensor], *, shared: bool) -> Tensor:
        """`[R]`; the batch's tensors have a replica axis of their own unless they are `shared` by all
        replicas."""
        over = None if shared else 0
        if self.forward is None:
            return vmap(self._single, in_dims=(0, *(over for _ in batch)))(params, *batch)
        outputs = self.forward(params, batch[0])
        return vmap(self.loss, in_dims=(0, *(over for _ in batch[1:])))(outputs, *batch[1:])

    def init(self, keys: Keys) -> Tensor:
        """`[R, D]`: the module reset once a seed."""
        return fresh_starts(self.module, keys, self.device)

    def losses(self, params: Tensor, keys: Keys, step: int) -> Tensor:
        """The loss on the step's batch `[R]`, differentiable as often as the module and its loss are."""
        if self.batches is None:
            return self._losses(params, self.data, shared=True)
        return self._losses(params, self.batches.at(keys, step), shared=False)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """The gradient on a batch `[R, D]`, and the batch's `loss`."""
        if self.gradient is not None:
            if self.batches is None:
                batch = [t.expand(len(params), *t.shape) for t in self.data]
            else:
                batch = self.batches.at(keys, step)
            losses, gradient = self.gradient(params.detach(), *batch)
            return Field(gradient, {"loss": losses})
        params = params.detach().requires_grad_()
        losses = self.losses(params, keys, step)
        # Replicas do not meet, so the gradient of the sum holds every replica's own gradient.
        (gradient,) = torch.autograd.grad(losses.sum(), params)
        return Field(gradient, {"loss": losses.detach()})

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:  # noqa: ARG002
        """`loss` on all training data, and `test_loss` on test data where there is some; differentiable."""
        found = {"loss": self._losses(params, self.data, shared=True)}
        if self.test_data is not None:
            found["test_loss"] = self._losses(params, self.test_data, shared=True)
        return found


def problem_from(
    module: nn.Module,
    loss: Loss,
    data: Sequence[Tensor],
    *,
    test_data: Sequence[Tensor] | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
) -> ModuleProblem:
    """A problem of a module, a loss and data.

    Args:
        module: any module without running statistics and dropout; its parameters' dtype is the run's. Those
            that ask for no gradient stay as they are.
        loss: `loss(module(x), *rest) -> scalar`.
        data: tensors with the same first axis: inputs, then what the loss needs.
        test_data: the same, held out.
        batch_size: None takes all data at each step.
        device: where it runs.

    Raises:
        VhatError: for a module without parameters or with buffers, tensors of different lengths, a batch size
            that the data cannot give, or a module or loss that fails on the data.
    """
    if not any(p.requires_grad for p in module.parameters()):
        raise VhatError("the module has no parameters to train")
    buffers = [name for name, _ in module.named_buffers()]
    if buffers:
        raise VhatError(
            f"the module keeps buffers ({', '.join(buffers[:3])}): running statistics would be shared by all "
            "replicas; use layers without them, such as LayerNorm or GroupNorm"
        )
    if any(isinstance(m, _DropoutNd) and m.training for m in module.modules()):
        raise VhatError("the module has Dropout, whose draws have no key; leave it out, or call eval() on it")
    for what, tensors in (("data", data), ("test_data", test_data or data)):
        if not all(isinstance(t, Tensor) for t in tensors):
            kinds = ", ".join(type(t).__name__ for t in tensors)
            raise VhatError(f"{what} must be tensors, got {kinds}; torch.from_numpy makes one of an array")
        lengths = [len(t) for t in tensors]
        if not lengths or len(set(lengths)) != 1 or lengths[0] == 0:
            raise VhatError(f"{what} must be tensors with the same, non-zero length, got lengths {lengths}")
    if batch_size is not None and not 1 <= batch_size <= len(data[0]):
        raise VhatError(f"batch_size must be between 1 and {len(data[0])} (the data), got {batch_size}")
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise VhatError(f"device {device!r} cannot be used here; take 'cpu'") from error
    problem = ModuleProblem(module, loss, data, test_data=test_data, batch_size=batch_size, device=device)
    _try(problem)
    return problem


def _try(problem: ModuleProblem) -> None:
    """One evaluation, so that whatever does not fit together is said here and not in the middle of a run."""
    keys = Keys.of((0, 1), device=problem.device)
    try:
        params = problem.init(keys)
        found = {**problem.field(params, keys, 0).measures, **problem.measure(params, keys)}
    except Exception as error:
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        raise VhatError(
            f"the module or its loss fails on the data: {type(error).__name__}: {reason}"
        ) from error
    for name, value in found.items():
        if value.shape != (2,):
            shape = tuple(value.shape[1:])
            raise VhatError(
                f"the module or its loss fails on the data: {name} is {shape}; give one number a batch"
            )
