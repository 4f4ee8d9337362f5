"""Problems as objectives of an unrolled training: what `core.optim.hypergradient` differentiates through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from core.lab.errors import VhatError, nearest
from core.lab.problem import Problem
from core.lab.random import Keys
from core.optim.objective import gradient_field
from core.optim.projection import projection_of


@dataclass(frozen=True)
class ProblemObjective:
    """A problem's field, and one of its measures as the loss, on the draws of some keys.

    Where derivatives are kept, the field comes from the problem's `losses` if it offers them (a problem from
    a module does), else from its `field`. They and the measure must be made of operations that autograd
    follows (not detached, not under `no_grad`); an unrolled training says so where they are not.
    """

    problem: Problem
    keys: Keys
    measure: str = "loss"

    def field(self, params: Tensor, step: int) -> Tensor:
        """The sampled field `[R, D]`."""
        losses: Callable[[Tensor, Keys, int], Tensor] | None = getattr(self.problem, "losses", None)
        if losses is not None and torch.is_grad_enabled():
            return gradient_field(lambda at: losses(at, self.keys, step), params)
        # A field that is a gradient may leave it to its caller that gradients are enabled.
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            values = self.problem.field(params, self.keys, step).values
        return values if keep else values.detach()

    def loss(self, params: Tensor) -> Tensor:
        """The measure `[R]`.

        Raises:
            VhatError: if the problem has no measure of that name.
        """
        measures = self.problem.measure(params, self.keys)
        if self.measure not in measures:
            raise VhatError(nearest(self.measure, measures, kind="measure"))
        return measures[self.measure]

    @property
    def projects_in_metric(self) -> bool:
        """Always: what the problem asks for decides."""
        return True

    def project(self, params: Tensor, metric: Tensor | None) -> Tensor:
        """Back onto the problem's feasible set: `[R, D]` to `[R, D]`, in the metric `[R, D]` if there is
        one."""
        project = projection_of(self.problem)
        return params if project is None else project(params, lambda: metric)
