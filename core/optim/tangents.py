"""Derivatives carried along with a training: tangents beside each number, memory O(1) in the number of steps.

A step's tangents come from two backward passes over the graph of that step: the derivative of a
vector-Jacobian product with respect to its vector is a Jacobian-vector product (Townsend 2017, "A new trick
for calculating Jacobian vector products"). One graph serves all directions, and whatever is twice
differentiable in reverse mode works here. torch's dual numbers took twice as long when measured, since an
operation between a dual and a plain tensor costs a hundred times one between two plain ones, and kept every
tangent until their level ended.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from core.optim.trajectory import Carry, Trajectory

Tensors = tuple[Tensor, ...]


def advance_with_tangents(
    trajectory: Trajectory,
    carry: Carry,
    settings: Mapping[str, Tensor],
    tangents: Sequence[tuple[Tensor, Mapping[str, Tensor]]],
    *,
    steps: int,
) -> tuple[Carry, list[Tensors]]:
    """`trajectory.advance(carry, settings, 0, steps)` without a graph, and its derivatives along directions.

    Args:
        trajectory, carry, settings: as there.
        tangents: for each direction how the start `[R, D]` moves, and how the settings that move do.
        steps: T.

    Returns:
        The carry at the end, and for each direction how its tensors move.
    """
    base = carry.state.step
    moving = {name for _, own in tangents for name in own}
    constant = {name: value.detach() for name, value in settings.items()}
    leaves = {name: constant[name].requires_grad_() for name in settings if name in moving}
    along = [tuple(own.get(n, torch.zeros_like(leaf)) for n, leaf in leaves.items()) for _, own in tangents]
    values = tuple(t.detach() for t in carry.tensors())
    moved = [(start, *(torch.zeros_like(t) for t in values[1:])) for start, _ in tangents]
    for step in range(steps):
        begin = tuple(t.detach().requires_grad_() for t in values)
        with torch.enable_grad():
            end = trajectory.advance(
                carry.holding(begin, step=base + step), {**constant, **leaves}, step, step + 1
            ).tensors()
            moved = _pushed(
                end, (*begin, *leaves.values()), [m + a for m, a in zip(moved, along, strict=True)]
            )
        values = tuple(t.detach() for t in end)
    return carry.holding(values, step=base + steps), moved


def _pushed(outputs: Tensors, inputs: Tensors, tangents: Sequence[Tensors]) -> list[Tensors]:
    """How the outputs move when the inputs move along each of the tangents."""
    active = [k for k, output in enumerate(outputs) if output.requires_grad]
    weights = [torch.zeros_like(outputs[k], requires_grad=True) for k in active]
    pulled = torch.autograd.grad(
        [outputs[k] for k in active], inputs, weights, create_graph=True, allow_unused=True
    )
    # An input that no output depends on, or whose pull does not depend on the weights, adds nothing.
    known = [k for k, pull in enumerate(pulled) if pull is not None and pull.requires_grad]
    found = []
    for tangent in tangents:
        pushed = torch.autograd.grad(
            [pulled[k] for k in known],
            weights,
            [tangent[k] for k in known],
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        own = dict(zip(active, pushed, strict=True))
        found.append(tuple(own.get(k, torch.zeros_like(output)) for k, output in enumerate(outputs)))
    return found
