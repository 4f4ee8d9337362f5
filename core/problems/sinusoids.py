"""Sinusoid regression: a family of tasks that one start should adapt to in few steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.lab.batched import Forward, batched_forward
from core.lab.errors import VhatError
from core.lab.random import Keys
from core.optim.objective import gradient_field

AMPLITUDES = (0.1, 5.0)
PHASES = (0.0, math.pi)
INPUTS = (-5.0, 5.0)
EVALUATION_POINTS = 50


@dataclass(frozen=True)
class SinusoidTasks:
    """Drawn tasks as an objective over their rows: the field is the gradient on the support set, the loss
    the mean squared error on the query set.

    Attributes:
        forward: `(params [R, D], inputs [R, n, 1]) -> [R, n, 1]`.
        support, query: inputs and targets, `[R, n, 1]` each.
    """

    forward: Forward
    support: tuple[Tensor, Tensor]
    query: tuple[Tensor, Tensor]

    def field(self, params: Tensor, step: int) -> Tensor:  # noqa: ARG002
        """The gradient of the mean squared error on the support set `[R, D]`, the same at each step."""
        return gradient_field(lambda at: self._error(at, self.support), params)

    def loss(self, params: Tensor) -> Tensor:
        """The mean squared error on the query set `[R]`."""
        return self._error(params, self.query)

    def _error(self, params: Tensor, points: tuple[Tensor, Tensor]) -> Tensor:
        inputs, targets = points
        # One flat row a task: a reduction over the last axis alone rounds alike in every batch.
        return ((self.forward(params, inputs) - targets).flatten(1) ** 2).mean(dim=1)


class Sinusoids:
    """Sinusoid regression of Finn, Abbeel and Levine 2017: `y = A sin(x - p)` with A in [0.1, 5], p in
    [0, pi] and x in [-5, 5], all uniform, and a network 1-40-40-1 of rectified linear units.

    Args:
        shots: points in the support set, what a task is learned from.
        queries: points in the query set, what the learned is judged by while the start is trained.
        width: units in each hidden layer.
        smooth: tanh in place of rectified linear units, whose gradient jumps where a unit turns on.
        dtype: of parameters and data.
        device: of the run.

    Raises:
        VhatError: for sizes below 1.
    """

    def __init__(
        self,
        shots: int = 10,
        *,
        queries: int = 10,
        width: int = 40,
        smooth: bool = False,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        if min(shots, queries, width) < 1:
            raise VhatError(
                f"sinusoids need shots, queries and width >= 1, got {shots}, {queries} and {width}"
            )
        self.shots, self.queries, self.width, self.dtype, self.device = shots, queries, width, dtype, device
        unit = nn.Tanh if smooth else nn.ReLU
        module = nn.Sequential(
            nn.Linear(1, width), unit(), nn.Linear(width, width), unit(), nn.Linear(width, 1)
        )
        forward = batched_forward(module)
        assert forward is not None
        self.forward = forward
        self.sizes = [p.numel() for p in module.parameters()]
        self.dim = sum(self.sizes)

    def init(self, keys: Keys) -> Tensor:
        """`[M, D]`: weights and biases uniform within 1 / sqrt(inputs), torch's own start."""
        parts = []
        for number, (size, inputs) in enumerate(
            zip(self.sizes, (1, 1, self.width, self.width, self.width, self.width), strict=True)
        ):
            unit = keys.fold("init").fold(number).uniform(size, dtype=torch.float64)
            parts.append(((2.0 * unit - 1.0) / inputs**0.5).to(self.dtype))
        return torch.cat(parts, dim=1)

    def tasks(self, keys: Keys, count: int, *, evaluation: bool = False) -> SinusoidTasks:
        """`count` tasks for each key: row m * count + b is task b of key m.

        Args:
            evaluation: judge on evenly spaced points over all inputs in place of drawn ones.
        """
        distinct = keys.distinct()

        def drawn(name: str, low: float, high: float, points: int) -> Tensor:
            unit = distinct.fold(name).uniform(count, points, dtype=torch.float64)
            return low + (high - low) * unit

        amplitude, phase = drawn("amplitude", *AMPLITUDES, 1), drawn("phase", *PHASES, 1)
        seen = drawn("support", *INPUTS, self.shots)
        if evaluation:
            grid = torch.linspace(*INPUTS, EVALUATION_POINTS, dtype=torch.float64, device=keys.device)
            asked = grid.expand(*seen.shape[:2], -1)
        else:
            asked = drawn("query", *INPUTS, self.queries)

        def points(inputs: Tensor) -> tuple[Tensor, Tensor]:
            targets = amplitude * torch.sin(inputs - phase)
            both = (keys.spread(inputs), keys.spread(targets))
            return tuple(v.flatten(0, 1).unsqueeze(2).to(self.dtype) for v in both)  # type: ignore[return-value]

        return SinusoidTasks(self.forward, points(seen), points(asked))
