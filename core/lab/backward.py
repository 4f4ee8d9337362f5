"""The gradient of a plain network's loss for R sets of parameters at once, written out by hand.

A chain of linear layers and activations has a backward pass of a few lines. Beside autograd's it makes no
graph, and takes the rows in groups whose activations stay in the cache; on small networks that is most of the
time. Products are batched over the replica axis, so that one replica never meets another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import vmap

from core.lab.batched import chain_of

Loss = Callable[..., Tensor]
Gradient = Callable[..., tuple[Tensor, Tensor]]
"""`(params [R, D], *batch) -> losses [R], gradient [R, D]`; the batch's tensors are `[R, B, ...]`."""

_CACHE = 1 << 22
"""Bytes that a group of rows may take; at 1,024 copies of a small network groups take half the time of all
rows at once."""

_ACTIVATIONS: dict[type[nn.Module], tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    nn.Tanh: (torch.tanh_, lambda g, y: torch.ops.aten.tanh_backward.grad_input(g, y, grad_input=g)),
    nn.ReLU: (torch.relu_, lambda g, y: torch.ops.aten.threshold_backward.grad_input(g, y, 0, grad_input=g)),
    nn.Identity: (lambda x: x, lambda g, _: g),
}
"""In place: the activation, and `(gradient by the output, output) -> gradient by the input`."""


class _Step(NamedTuple):
    """A layer, with the columns of `[R, D]` that hold its parameters."""

    layer: nn.Module
    weight: slice = slice(0)
    bias: slice = slice(0)


class _Workspace:
    """Memory that is used again: fresh pages take as long as the arithmetic on them."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def __call__(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """Uninitialised, of this shape, in the type and on the device of `like`."""
        count, held = math.prod(shape), self._held.get(name)
        if held is None or held.numel() < count or held.dtype != like.dtype or held.device != like.device:
            held = self._held[name] = like.new_empty(count)
        return held[:count].view(shape)


def batched_gradient(module: nn.Module, loss: Loss) -> Gradient | None:
    """Losses and gradients for a chain of `nn.Linear`, Tanh, ReLU and Identity; None for any other module."""
    layers = chain_of(module)
    if layers is None or any(
        not isinstance(layer, nn.Linear) and type(layer) not in _ACTIVATIONS for layer in layers
    ):
        return None
    steps, start = [], 0
    for layer in layers:
        if not isinstance(layer, nn.Linear):
            steps.append(_Step(layer))
            continue
        middle = start + layer.weight.numel()
        stop = middle + (0 if layer.bias is None else layer.bias.numel())
        steps.append(_Step(layer, slice(start, middle), slice(middle, stop)))
        start = stop
    chain = _Chain(steps, _slope_of(loss), _Workspace())
    widths = sum(s.layer.out_features for s in steps if isinstance(s.layer, nn.Linear))

    def gradient(params: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
        # Of each layer: activations and their gradient.
        rows, each = params.shape[0], 2 * widths * batch[0].shape[1] * params.element_size()
        values = torch.empty_like(params)
        with torch.set_grad_enabled(False):
            losses = [
                chain.gradient(params[part], [t[part] for t in batch], values[part])
                for part in _groups(rows, max(2, _CACHE // each))
            ]
        return losses[0] if len(losses) == 1 else torch.cat(losses), values

    return gradient


def _groups(rows: int, size: int) -> list[slice]:
    """Slices of about `size` rows, none of a single row unless there is only one."""
    count = max(1, min(-(-rows // size), rows // 2))
    ends = [rows * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


class _Chain(NamedTuple):
    """The passes forward and back of a group of rows."""

    steps: list[_Step]
    slope: Callable[..., tuple[Tensor, Tensor]]
    memory: _Workspace

    def gradient(self, params: Tensor, batch: list[Tensor], gradient: Tensor) -> Tensor:
        """The losses `[R]`; their gradient is written to `gradient` `[R, D]`."""
        hidden = [batch[0]]
        for place in range(len(self.steps)):
            hidden.append(self._forward(place, params, hidden[-1]))
        losses, grad = self.slope(hidden[-1], *batch[1:])
        for place in range(len(self.steps) - 1, -1, -1):
            step, inputs = self.steps[place], hidden[place]
            if not isinstance(step.layer, nn.Linear):
                grad = _ACTIVATIONS[type(step.layer)][1](grad, hidden[place + 1])
                continue
            shape = (len(params), step.layer.out_features, step.layer.in_features)
            by_weight = torch.bmm(grad.mT, inputs, out=self.memory("weight", params, *shape))
            gradient[:, step.weight].view(shape).copy_(by_weight)
            if step.layer.bias is not None:
                torch.sum(grad, 1, out=gradient[:, step.bias])
            if place > 0:
                grad = self._product(f"back {place}", grad, params[:, step.weight].view(shape))
        return losses

    def _forward(self, place: int, params: Tensor, hidden: Tensor) -> Tensor:
        layer = self.steps[place].layer
        if not isinstance(layer, nn.Linear):
            # What comes from a linear layer is not asked for again, and may be overwritten.
            fresh = place > 0 and isinstance(self.steps[place - 1].layer, nn.Linear)
            return _ACTIVATIONS[type(layer)][0](hidden if fresh else hidden.clone())
        weight = params[:, self.steps[place].weight].view(-1, layer.out_features, layer.in_features).mT
        if layer.bias is None:
            return self._product(f"forward {place}", hidden, weight)
        bias = params[:, None, self.steps[place].bias]
        if layer.in_features == 1:
            out = self.memory(f"forward {place}", params, *hidden.shape[:2], layer.out_features)
            return torch.addcmul(bias, hidden, weight, out=out)
        return self._product(f"forward {place}", hidden, weight).add_(bias)

    def _product(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        """`x y`; a sum of one term is no matter for a matrix product."""
        out = self.memory(name, y, *x.shape[:2], y.shape[2])
        return torch.mul(x, y, out=out) if x.shape[-1] == 1 else torch.bmm(x, y, out=out)


def _slope_of(loss: Loss) -> Callable[..., tuple[Tensor, Tensor]]:
    """`(outputs [R, B, out], *rest) -> losses [R], their gradient by the outputs`."""
    squared = loss is nn.functional.mse_loss or (type(loss) is nn.MSELoss and loss.reduction == "mean")

    def slope(outputs: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        if squared and len(rest) == 1 and rest[0].shape == outputs.shape and rest[0].dtype == outputs.dtype:
            distance = (outputs - rest[0]).flatten(1)
            losses = distance.square().mean(1)
            return losses, distance.mul_(2 / distance.shape[1]).view(outputs.shape)
        with torch.enable_grad():
            outputs = outputs.detach().requires_grad_()
            losses = vmap(loss)(outputs, *rest)
            (grad,) = torch.autograd.grad(losses.sum(), outputs)
        return losses.detach(), grad

    return slope
