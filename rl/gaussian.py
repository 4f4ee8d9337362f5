"""Gaussian policies for tasks whose actions are vectors of numbers.

Actions are in units of the task's box, -1 to 1 in each coordinate (`rl.environments` scales them). A sample
may lie outside; the environment clips it, and the probability is that of the sample before clipping: to the
policy gradient the clipping is part of the environment, so that nothing is biased by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.lab.random import Keys
from rl.arrays import Actions, Floats
from rl.perceptron import Perceptron, backward, evaluator, forward
from rl.policies import Act

_CENTRE, _HALF = -1.0, 2.0
LOG_STD_BOUNDS = (_CENTRE - _HALF, _CENTRE + _HALF)
"""Log standard deviations stay between these."""

INITIAL_LOG_STD = -0.5


@dataclass(frozen=True)
class GaussianMLP(Perceptron):
    """pi(a | s) = N(f(s), diag(sigma^2)), f a perceptron of tanh units, sigma the same for all states.

    The last A parameters are rho: log sigma = c + h tanh(rho / h), which has slope 1 at rho = 0 and stays
    within `LOG_STD_BOUNDS`, smoothly, so that a noisy step can neither end exploration nor blow it up.
    """

    @property
    def observation_size(self) -> int:
        """See `rl.policies.Policy`."""
        return self.sizes[0]

    @property
    def outputs(self) -> int:
        """See `rl.policies.Policy`."""
        return self.sizes[-1]

    @property
    def dim(self) -> int:
        """The perceptron's weights, and one log standard deviation a coordinate of the action."""
        return super().dim + self.outputs

    def init(self, keys: Keys, dtype: torch.dtype = torch.float32) -> Tensor:
        """See `rl.perceptron.Perceptron.init`; log sigma starts at `INITIAL_LOG_STD`."""
        weights = super().init(keys, dtype)
        rho = _HALF * math.atanh((INITIAL_LOG_STD - _CENTRE) / _HALF)
        return torch.cat([weights, weights.new_full((len(weights), self.outputs), rho)], dim=1)

    def noise(self, keys: Keys, steps: int, episodes: int, dtype: torch.dtype) -> Tensor:
        """Standard normals `[R, steps, episodes, A]`."""
        return keys.normal(steps, episodes, self.outputs).to(dtype)

    def empty_actions(self, shape: tuple[int, ...], dtype: Any) -> Floats:
        """See `rl.policies.Policy`."""
        return np.zeros((*shape, self.outputs), dtype)

    def log_std(self, params: Floats) -> tuple[Floats, Floats]:
        """log sigma `[n, A]`, and its derivative with respect to rho."""
        bend = np.tanh(params[:, -self.outputs :] / _HALF)
        return _CENTRE + _HALF * bend, 1.0 - bend * bend

    def acting(self, params: Floats, episodes: int) -> Act:
        """See `rl.policies.Policy`."""
        layers, buffers = self.layers(params), self.buffers(len(params), episodes, params.dtype)
        deviations, means = np.exp(self.log_std(params)[0]), evaluator(layers, buffers)

        def act(inputs: Floats, noise: Floats, out: Actions) -> None:
            for a, mean in enumerate(means(inputs)):
                np.multiply(noise[..., a], deviations[:, a, None], out=out[..., a])
                out[..., a] += mean

        return act

    def score_gradient(
        self, params: Floats, inputs: Floats, actions: Actions, weights: Floats, entropy: Floats | None = None
    ) -> Floats:
        """See `rl.policies.Policy`. With z = (a - f) / sigma: d log pi / df = z / sigma,
        d log pi / d log sigma = z^2 - 1, and the entropy's derivative by log sigma is 1.
        """
        layers = self.layers(params)
        buffers = self.buffers(len(params), inputs.shape[1], params.dtype)
        log_std, slope = self.log_std(params)
        deviations = np.exp(log_std)
        rho = np.empty_like(log_std)
        for a, mean in enumerate(forward(layers, inputs, buffers)):
            z = (actions[..., a] - mean) / deviations[:, a, None]
            np.multiply(weights, z, out=buffers[-1][..., a])
            pull = buffers[-1][..., a] * z - weights
            if entropy is not None:
                pull += entropy
            buffers[-1][..., a] /= -deviations[:, a, None]
            rho[:, a] = -pull.sum(axis=1) * slope[:, a]
        gradients = backward(layers, inputs, buffers)
        return np.concatenate([*(layer.reshape(len(layer), -1) for layer in gradients), rho], axis=1)
