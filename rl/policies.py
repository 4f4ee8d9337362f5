"""Policies: a distribution over actions for each observation, R policies at once.

A policy is a perceptron with a distribution at its outputs, `CategoricalMLP` here and `GaussianMLP` in
`rl.gaussian`. It turns keyed noise into actions and gives the gradient of log probabilities (and of its
entropy) in closed form.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from core.lab.random import Keys
from rl.arrays import Actions, Floats, Indices
from rl.perceptron import Perceptron, backward, evaluator, forward

Act = Callable[[Floats, Floats, Actions], None]
"""From inputs `[n, E, O + 1]` (last column one) and noise `[n, E, ...]` to actions, written into the third
array."""


class Policy(Protocol):
    """A distribution over actions for each observation, with R sets of parameters `[R, D]`."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the layers, inputs and outputs included."""

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """`(inputs + 1, outputs)` of each layer, in the order of the parameters; other parameters follow."""

    @property
    def observation_size(self) -> int:
        """O, numbers in an observation."""

    @property
    def outputs(self) -> int:
        """A: actions to choose among, or numbers in an action."""

    @property
    def dim(self) -> int:
        """D, the number of parameters of one policy."""

    def init(self, keys: Keys, dtype: torch.dtype = torch.float32) -> Tensor:
        """Starting parameters `[R, D]`."""

    def noise(self, keys: Keys, steps: int, episodes: int, dtype: torch.dtype) -> Tensor:
        """What chance adds to `steps` actions of each episode: `[R, steps, episodes, ...]`."""

    def empty_actions(self, shape: tuple[int, ...], dtype: Any) -> Actions:
        """Zeroed room for actions, one for each place of `shape`."""

    def acting(self, params: Floats, episodes: int) -> Act:
        """Sample actions of n policies, for `episodes` observations each."""

    def score_gradient(
        self, params: Floats, inputs: Floats, actions: Actions, weights: Floats, entropy: Floats | None = None
    ) -> Floats:
        """-grad of sum_b (weights_b log pi(actions_b | inputs_b) + entropy_b H(pi(. | inputs_b))): `[n, D]`.

        Args:
            params: `[n, D]`.
            inputs: `[n, B, O + 1]`, last column one.
            actions: `[n, B, ...]`.
            weights, entropy: `[n, B]`; zero where a step is masked.
        """


@dataclass(frozen=True)
class CategoricalMLP(Perceptron):
    """pi(a | s) = softmax(f(s))_a, with f a perceptron of tanh units.

    Raises:
        ValueError: for fewer than two actions.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sizes[-1] < 2:
            raise ValueError(f"a choice needs at least two actions, got sizes {self.sizes}")

    @property
    def observation_size(self) -> int:
        """See `Policy`."""
        return self.sizes[0]

    @property
    def outputs(self) -> int:
        """See `Policy`."""
        return self.sizes[-1]

    def noise(self, keys: Keys, steps: int, episodes: int, dtype: torch.dtype) -> Tensor:
        """What `sample` takes `[R, steps, episodes]`: uniforms u; of two actions, log((1 - u) / u)."""
        if self.outputs > 2:
            return keys.uniform(steps, episodes).to(dtype)
        uniforms = keys.distinct().uniform(steps, episodes).to(dtype).cpu().numpy()
        return keys.spread(torch.from_numpy(logistic(uniforms)).to(keys.device))

    def empty_actions(self, shape: tuple[int, ...], dtype: Any) -> Indices:  # noqa: ARG002
        """See `Policy`."""
        return np.zeros(shape, np.int64)

    def acting(self, params: Floats, episodes: int) -> Act:
        """See `Policy`."""
        layers = self.layers(params)
        if self.outputs == 2:
            layers = [*layers[:-1], layers[-1][..., 1:] - layers[-1][..., :1]]
        buffers = [np.empty((len(params), episodes, w.shape[2]), params.dtype) for w in layers]
        logits = evaluator(layers, buffers)

        def act(inputs: Floats, noise: Floats, out: Actions) -> None:
            sample(logits(inputs), noise, out)

        return act

    def score_gradient(
        self, params: Floats, inputs: Floats, actions: Actions, weights: Floats, entropy: Floats | None = None
    ) -> Floats:
        """See `Policy`. The gradient of -log softmax at the logits is (pi - onehot), that of -H is
        pi (log pi + H).
        """
        layers = self.layers(params)
        buffers = self.buffers(len(params), inputs.shape[1], params.dtype)
        columns = forward(layers, inputs, buffers)
        exponents = _exponentials(columns, keep=entropy is not None)
        total = columns[0] + columns[1]
        for column in columns[2:]:
            total += column
        delta = buffers[-1]
        if entropy is not None:
            _add_entropy(delta, columns, exponents, total, entropy)
        scale = weights / total
        for action, column in enumerate(columns):
            column *= scale
            column -= weights * (actions == action)
            if entropy is None:
                delta[..., action] = column
            else:
                delta[..., action] += column
        gradients = backward(layers, inputs, buffers)
        return np.concatenate([layer.reshape(len(layer), -1) for layer in gradients], axis=1)


def _add_entropy(
    delta: Floats, columns: list[Floats], exponents: list[Floats], total: Floats, weights: Floats
) -> None:
    """The gradient of -sum weights * H at the logits, into `delta`."""
    log_total = np.log(total)
    logs = [x - log_total for x in exponents]
    chances = [column / total for column in columns]
    expected = chances[0] * logs[0]
    for p, log in zip(chances[1:], logs[1:], strict=True):
        expected += p * log
    for action, (p, log) in enumerate(zip(chances, logs, strict=True)):
        delta[..., action] = weights * p * (log - expected)


def _exponentials(columns: list[Floats], *, keep: bool = False) -> list[Floats]:
    """exp(logit - largest logit), in place; with `keep`, the exponents are returned."""
    largest = np.maximum(columns[0], columns[1])
    for column in columns[2:]:
        np.maximum(largest, column, out=largest)
    exponents = []
    for column in columns:
        np.subtract(column, largest, out=column)
        if keep:
            exponents.append(column.copy())
        np.exp(column, out=column)
    return exponents


def logistic(uniforms: Floats) -> Floats:
    """What the difference of two logits must exceed for the second action, `[...]`: log((1 - u) / u)."""
    threshold: Floats = np.log((1.0 - uniforms) / uniforms)
    return threshold


def sample(logits: list[Floats], noise: Floats, out: Actions) -> None:
    """Actions into `out` `[n, B]`: the softmax's inverse distribution function at uniforms u `[n, B]`.

    Args:
        logits: see `rl.perceptron.evaluator`; overwritten. Of two actions, their difference alone, the second
            less the first.
        noise: u; of two actions, `logistic` of it: u > 1 / (1 + exp(d)) just if d > log((1 - u) / u).
    """
    if len(logits) == 1:
        out[...] = logits[0] > noise
        return
    _exponentials(logits)
    for before, column in itertools.pairwise(logits):
        column += before
    point = noise * logits[-1]
    out[...] = point > logits[0]
    for bound in logits[1:-1]:
        out += point > bound
