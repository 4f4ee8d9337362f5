"""Categorical policies: multilayer perceptrons with tanh units and a softmax over actions, R of them at once.

Everything is a stacked matrix product over the replica axis (numpy's `matmul` calls one BLAS product a
replica), and the number of rows of a product never depends on which episodes have ended, so a replica's bits
do not depend on its batch. A layer's bias is the last row of its weights; inputs carry a constant one in
their last column.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.lab.random import Keys
from rl.arrays import Floats, Indices


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
class CategoricalMLP:
    """pi(a | s) = softmax(f(s))_a, with f a perceptron of tanh units.

    Attributes:
        sizes: observation size, hidden sizes, number of actions. Without a hidden layer the policy is linear
            in the observation, which is tabular for one-hot observations.
    """

    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or min(self.sizes) < 1 or self.sizes[-1] < 2:
            raise ValueError(f"a policy needs sizes (observation, hidden..., actions >= 2), got {self.sizes}")

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """`(inputs + 1, outputs)` of each layer; the last row is the bias."""
        return tuple((a + 1, b) for a, b in itertools.pairwise(self.sizes))

    @property
    def dim(self) -> int:
        """D, the number of parameters of one policy."""
        return sum(a * b for a, b in self.shapes)

    def init(self, keys: Keys, dtype: torch.dtype = torch.float32) -> Tensor:
        """`[R, D]`: orthogonal with gain sqrt(2), 0.01 in the last layer, zero biases, as CleanRL has it."""
        parts = []
        for number, (rows, columns) in enumerate(self.shapes):
            gain = 0.01 if number == len(self.shapes) - 1 else 2.0**0.5
            weight = orthogonal(keys.fold(f"layer {number}"), rows - 1, columns) * gain
            parts += [weight.flatten(1), weight.new_zeros(len(keys), columns)]
        return torch.cat(parts, dim=1).to(dtype)

    def layers(self, params: Floats) -> list[Floats]:
        """Views `[R, inputs + 1, outputs]` into flat parameters `[R, D]`."""
        ends = list(itertools.accumulate((a * b for a, b in self.shapes), initial=0))
        return [
            params[:, start:stop].reshape(len(params), *shape)
            for start, stop, shape in zip(ends, ends[1:], self.shapes, strict=False)
        ]

    def buffers(self, replicas: int, rows: int, dtype: Any) -> list[Floats]:
        """Room for `forward`: `[n, B, size]` for each hidden layer and for the logits."""
        return [np.empty((replicas, rows, size), dtype) for size in self.sizes[1:]]


def forward(layers: Sequence[Floats], inputs: Floats, buffers: Sequence[Floats]) -> list[Floats]:
    """The logits of inputs `[n, B, O + 1]` (last column one), `[n, B]` for each action.

    Hidden layers are left in `buffers`.
    """
    values = inputs
    for number, (weight, hidden) in enumerate(zip(layers[:-1], buffers[:-1], strict=True)):
        if number == 0:
            np.matmul(values, weight, out=hidden)
        else:
            np.matmul(values, weight[:, :-1], out=hidden)
            hidden += weight[:, -1:]
        values = np.tanh(hidden, out=hidden)
    last, logits = layers[-1], buffers[-1]
    if len(layers) == 1:
        np.matmul(values, last, out=logits)
        return [np.ascontiguousarray(logits[..., a]) for a in range(logits.shape[-1])]
    np.matmul(values, last[:, :-1], out=logits)
    # Columns of their own: numpy's exp is several times slower on strided data.
    return [logits[..., a] + last[:, -1, a, None] for a in range(logits.shape[-1])]


def _exponentials(columns: list[Floats]) -> None:
    """exp(logit - largest logit), in place."""
    largest = np.maximum(columns[0], columns[1])
    for column in columns[2:]:
        np.maximum(largest, column, out=largest)
    for column in columns:
        np.subtract(column, largest, out=column)
        np.exp(column, out=column)


def sample(logits: list[Floats], uniforms: Floats, out: Indices) -> None:
    """Actions into `out` `[n, B]`: the softmax's inverse distribution function at `uniforms` `[n, B]`.

    Args:
        logits: see `forward`; overwritten.
    """
    _exponentials(logits)
    for before, column in itertools.pairwise(logits):
        column += before
    point = uniforms * logits[-1]
    np.greater(point, logits[0], out=out, casting="unsafe")
    for bound in logits[1:-1]:
        out += point > bound


def score_gradient(
    layers: Sequence[Floats], inputs: Floats, actions: Indices, weights: Floats, buffers: Sequence[Floats]
) -> list[Floats]:
    """-sum_b weights_b * grad log pi(actions_b | inputs_b), layer by layer `[n, inputs + 1, outputs]`.

    In closed form: the gradient of -log softmax at the logits is (pi - onehot), carried back through tanh.

    Args:
        layers: see `CategoricalMLP.layers`, of the same n replicas.
        inputs: `[n, B, O + 1]`, last column one.
        actions: `[n, B]`.
        weights: `[n, B]`; zero where a step is masked.
        buffers: see `CategoricalMLP.buffers`; overwritten.
    """
    columns = forward(layers, inputs, buffers)
    _exponentials(columns)
    total = columns[0] + columns[1]
    for column in columns[2:]:
        total += column
    scale = weights / total
    delta = buffers[-1]
    for action, column in enumerate(columns):
        column *= scale
        np.subtract(column, weights * (actions == action), out=delta[..., action])
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
