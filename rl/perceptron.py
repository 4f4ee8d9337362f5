"""Multilayer perceptrons with tanh units, R of them at once, in numpy: what policies are made of.

Everything is a stacked matrix product over the replica axis (numpy's `matmul` calls one BLAS product a
replica), and the number of rows of a product never depends on which episodes have ended, so a replica's bits
do not depend on its batch. A layer's bias is the last row of its weights; inputs carry a constant one in
their last column.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.lab.random import Keys
from rl.arrays import Floats


def orthogonal(keys: Keys, rows: int, columns: int) -> Tensor:
    """float64 `[R, rows, columns]` with orthonormal columns (or rows, where there are fewer of them).

    Uniformly distributed over such matrices (Mezzadri 2007): the Q of a normal matrix, signs fixed by R's
    diagonal.
    """
    tall, wide = max(rows, columns), min(rows, columns)
    normal = keys.distinct().normal(tall, wide, dtype=torch.float64)
    q, r = np.linalg.qr(normal.cpu().numpy())
    q = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
    q = q if rows >= columns else q.swapaxes(1, 2)
    return keys.spread(torch.from_numpy(np.ascontiguousarray(q)).to(keys.device))


@dataclass(frozen=True)
class Perceptron:
    """f(x): linear layers with tanh between them.

    Attributes:
        sizes: inputs, hidden sizes, outputs. Without a hidden layer f is linear, which is tabular for one-hot
            inputs.

    Raises:
        ValueError: for fewer than two sizes, or one below 1.
    """

    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(f"a policy needs sizes (observation, hidden..., outputs), got {self.sizes}")

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """`(inputs + 1, outputs)` of each layer; the last row is the bias."""
        return tuple((a + 1, b) for a, b in itertools.pairwise(self.sizes))

    @property
    def dim(self) -> int:
        """The number of weights of one perceptron."""
        return sum(a * b for a, b in self.shapes)

    def init(self, keys: Keys, dtype: torch.dtype = torch.float32) -> Tensor:
        """`[R, dim]`: orthogonal with gain sqrt(2), 0.01 in the last layer, zero biases, as CleanRL has
        it.
        """
        parts = []
        for number, (rows, columns) in enumerate(self.shapes):
            gain = 0.01 if number == len(self.shapes) - 1 else 2.0**0.5
            weight = orthogonal(keys.fold(f"layer {number}"), rows - 1, columns) * gain
            parts += [weight.flatten(1), weight.new_zeros(len(keys), columns)]
        return torch.cat(parts, dim=1).to(dtype)

    def layers(self, params: Floats) -> list[Floats]:
        """Views `[R, inputs + 1, outputs]` into flat parameters `[R, >= dim]`."""
        ends = list(itertools.accumulate((a * b for a, b in self.shapes), initial=0))
        return [
            params[:, start:stop].reshape(len(params), *shape)
            for start, stop, shape in zip(ends, ends[1:], self.shapes, strict=False)
        ]

    def buffers(self, replicas: int, rows: int, dtype: Any) -> list[Floats]:
        """Room for `forward`: `[n, B, size]` for each hidden layer and for the outputs."""
        return [np.empty((replicas, rows, size), dtype) for size in self.sizes[1:]]


def evaluator(layers: Sequence[Floats], buffers: Sequence[Floats]) -> Callable[[Floats], list[Floats]]:
    """From inputs `[n, B, O + 1]` (last column one) to the outputs, `[n, B]` each, again and again.

    The outputs are overwritten by the next call. Hidden layers are left in `buffers`.
    """
    first, *others = layers
    weights = [first, *(layer[:, :-1] for layer in others)]
    biases = [None, *(layer[:, -1:] for layer in others)]
    # Columns of their own: numpy's exp is several times slower on strided data.
    outputs = buffers[-1]
    columns = [np.empty(outputs.shape[:-1], outputs.dtype) for _ in range(outputs.shape[-1])]
    ends = [
        (outputs[..., a], 0.0 if biases[-1] is None else biases[-1][..., a], column)
        for a, column in enumerate(columns)
    ]
    hidden = list(zip(weights[:-1], biases[:-1], buffers[:-1], strict=True))

    def evaluate(inputs: Floats) -> list[Floats]:
        values = inputs
        for weight, bias, room in hidden:
            np.matmul(values, weight, out=room)
            if bias is not None:
                room += bias
            values = np.tanh(room, out=room)
        np.matmul(values, weights[-1], out=outputs)
        for output, shift, column in ends:
            np.add(output, shift, out=column)
        return columns

    return evaluate


def forward(layers: Sequence[Floats], inputs: Floats, buffers: Sequence[Floats]) -> list[Floats]:
    """The outputs for inputs `[n, B, O + 1]`, `[n, B]` each, once; see `evaluator`."""
    return evaluator(layers, buffers)(inputs)


def backward(layers: Sequence[Floats], inputs: Floats, buffers: Sequence[Floats]) -> list[Floats]:
    """Gradients of the weights, layer by layer `[n, inputs + 1, outputs]`, after a `forward`.

    Args:
        buffers: of that forward pass, the last one now filled with the gradient at the outputs `[n, B, A]`;
            overwritten.
    """
    delta = buffers[-1]
    ones = np.ones((1, inputs.shape[1]), inputs.dtype)
    gradients: list[Floats] = []
    for number in reversed(range(1, len(layers))):
        hidden = buffers[number - 1]
        gradients.append(
            np.concatenate([np.matmul(hidden.swapaxes(1, 2), delta), np.matmul(ones, delta)], axis=1)
        )
        back = np.ascontiguousarray(layers[number][:, :-1].swapaxes(1, 2))
        np.multiply(hidden, hidden, out=hidden)
        np.subtract(1.0, hidden, out=hidden)
        hidden *= np.matmul(delta, back)
        delta = hidden
    gradients.append(np.matmul(inputs.swapaxes(1, 2), delta))
    return gradients[::-1]
