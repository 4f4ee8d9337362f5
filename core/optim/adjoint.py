"""The adjoint of a training in segments: derivatives through T steps in memory O(sqrt T).

The forward pass keeps no graph, only where the training stood at the start of each segment. The backward pass
goes through the segments from the last to the first: it takes the segment's steps again, this time with a
graph, pulls the adjoint back through them, and forgets the graph (Chen et al. 2016, "Training Deep Nets with
Sublinear Memory Cost"; Griewank and Walther 2000 for the general schedule).
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from core.optim.trajectory import Carry, Trajectory

Tensors = tuple[Tensor, ...]


def advance_in_segments(
    trajectory: Trajectory, carry: Carry, settings: Mapping[str, Tensor], *, steps: int, segment: int
) -> Carry:
    """`trajectory.advance(carry, settings, 0, steps)` with the same values and derivatives, in less memory.

    Derivatives reach the tensors of `carry` and `settings`, not tensors that the objective closes over, and
    can be taken once.

    Args:
        trajectory, carry, settings: as there; tensors are `[R]` or `[R, ...]`.
        steps: T.
        segment: steps in a segment.
    """
    bounds = (*range(0, steps, segment), steps)
    plan = _Plan(trajectory, carry, tuple(settings), bounds)
    final: Tensors = _Segments.apply(plan, *carry.tensors(), *settings.values())  # type: ignore[no-untyped-call]
    return plan.layout.holding(final, step=carry.state.step + steps)


class _Plan:
    """What is not a tensor: the steps, how the carry is laid out, the settings' names, and the segments'
    bounds."""

    def __init__(
        self, trajectory: Trajectory, carry: Carry, names: tuple[str, ...], bounds: tuple[int, ...]
    ) -> None:
        self.trajectory, self.names, self.bounds = trajectory, names, bounds
        self.count = len(carry.tensors())
        self.base = carry.state.step
        # Shapes and names only: the carry's own tensors would outlive the forward pass.
        empty = tuple(t.new_empty(0) for t in carry.tensors())
        self.layout = carry.holding(empty, step=self.base)

    def advance(self, tensors: Tensors, settings: Tensors, first: int, last: int) -> Tensors:
        carry = self.layout.holding(tensors, step=self.base + first)
        named = dict(zip(self.names, settings, strict=True))
        return self.trajectory.advance(carry, named, first, last).tensors()


class _Segments(torch.autograd.Function):
    """From the tensors of the carry and the settings to those of the carry at the end."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, *tensors: Tensor) -> Tensors:
        """All steps, without a graph; saves the carry at the start of each segment."""
        carry, settings = tensors[: plan.count], tensors[plan.count :]
        checkpoints: list[Tensor] = []
        for first, last in pairwise(plan.bounds):
            checkpoints.extend(carry)
            carry = plan.advance(carry, settings, first, last)
        ctx.plan = plan
        ctx.save_for_backward(*settings, *checkpoints)
        return carry

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *adjoint: Tensor) -> tuple[Tensor | None, ...]:
        """The adjoint of the start and of the settings."""
        plan: _Plan = ctx.plan
        saved: Tensors = ctx.saved_tensors
        count, known = plan.count, len(plan.names)
        settings = tuple(s.detach().requires_grad_() for s in saved[:known])
        sums = tuple(torch.zeros_like(s) for s in settings)
        for index, (first, last) in reversed(list(enumerate(pairwise(plan.bounds)))):
            at = known + index * count
            start = tuple(t.detach().requires_grad_() for t in saved[at : at + count])
            with torch.enable_grad():
                end = plan.advance(start, settings, first, last)
                active = [(e, a) for e, a in zip(end, adjoint, strict=True) if e.requires_grad]
                pulled = torch.autograd.grad(
                    [e for e, _ in active],
                    (*start, *settings),
                    [a for _, a in active],
                    allow_unused=True,
                    materialize_grads=True,
                )
            adjoint = pulled[:count]
            sums = tuple(s + p for s, p in zip(sums, pulled[count:], strict=True))
        return (None, *adjoint, *sums)
