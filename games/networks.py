"""R multilayer perceptrons at once, one parameter set a replica, forward and backward by batched matrix
products.

The backward pass is written out because a GAN's two players can share it. A discriminator has one output a
sample, so its backward pass is linear in one number a sample: `sensitivities` runs it once with a cotangent
of one, and each player's loss then enters as a weight a sample (`gradient(..., weights=...)`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from core.lab.random import Keys


class Layer(NamedTuple):
    """One affine layer: weight `[R, in, out]`, bias `[R, 1, out]`; the output is `x @ weight + bias`."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class MLP:
    """Rectified linear units between affine layers.

    Attributes:
        sizes: width of the input, of each hidden layer and of the output; at least two numbers.
    """

    sizes: tuple[int, ...]

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each layer."""
        return tuple(pairwise(self.sizes))

    @cached_property
    def size(self) -> int:
        """Number of flat parameters of a replica: layer by layer, weight (in, out) and then bias."""
        return sum((i + 1) * o for i, o in self.shapes)

    def init(self, keys: Keys, dtype: torch.dtype) -> Tensor:
        """`[R, size]`, weights and biases uniform on ±1/sqrt(in): the law of `torch.nn.Linear`."""
        unit = keys.uniform(self.size, dtype=dtype).mul_(2.0).sub_(1.0)
        bounds = [torch.full(((i + 1) * o,), 1.0 / math.sqrt(i), dtype=dtype) for i, o in self.shapes]
        return unit * torch.cat(bounds).to(unit.device)

    def layers(self, flat: Tensor) -> list[Layer]:
        """Views of flat parameters `[R, size]` as layers."""
        found, start = [], 0
        for i, o in self.shapes:
            weight = flat[:, start : start + i * o].view(-1, i, o)
            bias = flat[:, start + i * o : start + (i + 1) * o].view(-1, 1, o)
            found.append(Layer(weight, bias))
            start += (i + 1) * o
        return found

    def forward(self, layers: Sequence[Layer], x: Tensor) -> tuple[list[Tensor], Tensor]:
        """The input of every layer, `[R, B, in]` each, and the output `[R, B, out]`."""
        inputs = [x]
        for layer in layers[:-1]:
            x = torch.baddbmm(layer.bias, x, layer.weight).relu_()
            inputs.append(x)
        return inputs, torch.baddbmm(layers[-1].bias, x, layers[-1].weight)

    def sensitivities(
        self, layers: Sequence[Layer], inputs: Sequence[Tensor], cotangent: Tensor
    ) -> list[Tensor]:
        """Derivative of <cotangent, output> by every layer's affine output, `[R, B, out]` each."""
        found = [cotangent]
        for layer, x in zip(layers[:0:-1], inputs[:0:-1], strict=True):
            back = torch.bmm(found[-1], layer.weight.transpose(1, 2))
            found.append(torch.ops.aten.threshold_backward(back, x, 0))
        return found[::-1]

    def gradient(
        self, inputs: Sequence[Tensor], sensitivities: Sequence[Tensor], weights: Tensor | None = None
    ) -> Tensor:
        """`[R, size]`, the sum over samples of weight times the gradient by the parameters.

        Args:
            inputs: as `forward` gave them.
            sensitivities: as `sensitivities` gave them.
            weights: `[R, B, 1]`, one a sample; None means one.
        """
        parts: list[Tensor] = []
        for x, delta in zip(inputs, sensitivities, strict=True):
            if weights is None:
                left, right, bias = x, delta, delta.sum(1)
            else:
                # The weights go to the narrower side: it is the cheaper product.
                narrow = x.shape[2] <= delta.shape[2]
                left, right = (x * weights, delta) if narrow else (x, delta * weights)
                bias = torch.bmm(weights.transpose(1, 2), delta)[:, 0] if narrow else right.sum(1)
            parts += [torch.bmm(left.transpose(1, 2), right).flatten(1), bias]
        return torch.cat(parts, dim=1)

    def slope_gradient(
        self,
        layers: Sequence[Layer],
        inputs: Sequence[Tensor],
        sensitivities: Sequence[Tensor],
        direction: Tensor,
    ) -> Tensor:
        """`[R, size]`, the gradient by the parameters of the sum over samples of <direction, slope>, where a
        sample's slope is the derivative of <cotangent, output> by its input.

        Args:
            inputs: as `forward` gave them.
            sensitivities: as `sensitivities` gave them, for that cotangent.
            direction: `[R, B, in]`, taken as constant; it need not lie where the slope does.
        """
        parts: list[Tensor] = []
        along = direction
        for number, (layer, delta) in enumerate(zip(layers, sensitivities, strict=True)):
            parts += [torch.bmm(along.transpose(1, 2), delta).flatten(1), torch.zeros_like(delta[:, 0])]
            if number + 1 < len(layers):
                moved = torch.bmm(along, layer.weight)
                along = torch.ops.aten.threshold_backward(moved, inputs[number + 1], 0)
        return torch.cat(parts, dim=1)
