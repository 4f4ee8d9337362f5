"""The whole training as a differentiable function of its hyperparameters and of where it starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from core.optim.adjoint import advance_in_segments
from core.optim.objective import Objective
from core.optim.rule import Rule
from core.optim.schedules import Schedule
from core.optim.trajectory import Carry, Trajectory, schedule_parameters


@dataclass(frozen=True)
class Unrolled:
    """The end of a training, differentiable in everything that went into it.

    Attributes:
        loss: `[R]`, the objective's loss at the end, or its sum over the parameters after each step.
        params: `[R, D]` at the end.
        state: of the rule at the end.
    """

    loss: Tensor
    params: Tensor
    state: Any


def root_segment(steps: int) -> int:
    """The segment length ceil(sqrt(steps)), with which a training takes memory O(sqrt(steps))."""
    return isqrt(max(steps, 1) - 1) + 1


def unroll(
    objective: Objective,
    rule: Rule,
    params: Tensor,
    hyper: Mapping[str, Any],
    *,
    steps: int,
    schedule: Schedule | None = None,
    state: Any = None,
    summed: bool = False,
    first_order: bool = False,
    cut_state: bool = False,
    segment: int | None = None,
) -> Unrolled:
    """Train R rows for a number of steps, keeping the derivatives.

    Whatever is a tensor that requires a gradient among `params`, `hyper`, the schedule's parameters and the
    tensors of `state` gets one. Under `torch.no_grad()` it is a plain training that keeps no graph.

    Args:
        objective: field and loss.
        rule: for instance `RULES["adam"]`.
        params: `[R, D]`, the start.
        hyper: `lr`, and what differs from the rule's defaults; numbers, or tensors `[R]`.
        steps: T >= 1.
        schedule: multiplies `lr`. Its tensors are found where it is a dataclass.
        state: the rule's state to go on from (warm); None starts with a fresh one (cold).
        summed: add the loss up over the parameters after steps 1, ..., T.
        first_order: take the field as constant in the parameters: no second derivatives, as in first-order
            MAML (Finn, Abbeel and Levine 2017).
        cut_state: take the rule's state as constant in the step after the one that made it, so that
            derivatives pass from step to step through the parameters alone.
        segment: steps in a segment of the segment adjoint (`core.optim.adjoint`); None keeps the whole graph,
            in memory O(T). Segments take about one more forward pass, reach no tensor that the objective
            closes over, and give first derivatives only.

    Raises:
        ValueError: for settings outside their ranges, `params` that are not `[R, D]`, steps or a segment
            below 1, or a field or loss that does not depend differentiably on the parameters.
    """
    if steps < 1 or (segment is not None and segment < 1):
        raise ValueError(f"steps and segment must be at least 1, got {steps} and {segment}")
    trajectory, carry, settings = prepare(
        objective,
        rule,
        params,
        hyper,
        schedule=schedule,
        state=state,
        summed=summed,
        first_order=first_order,
        cut_state=cut_state,
    )
    if segment is None:
        end = trajectory.advance(carry, settings, 0, steps)
    else:
        end = advance_in_segments(trajectory, carry, settings, steps=steps, segment=segment)
    return Unrolled(trajectory.loss(end.params) if end.total is None else end.total, end.params, end.state)


def prepare(
    objective: Objective,
    rule: Rule,
    params: Tensor,
    hyper: Mapping[str, Any],
    *,
    schedule: Schedule | None,
    state: Any,
    summed: bool,
    first_order: bool,
    cut_state: bool,
) -> tuple[Trajectory, Carry, dict[str, Tensor]]:
    """What does not change, where the training stands before the first step, and the tensors among the
    hyperparameters and the schedule's parameters; arguments as of `unroll`.

    Raises:
        ValueError: for settings outside their ranges, or `params` that are not `[R, D]`.
    """
    if params.ndim != 2:
        raise ValueError(f"params must be [R, D], got shape {list(params.shape)}")
    if "lr" not in hyper:
        raise ValueError("hyper must hold lr")
    rule.validate(**hyper)
    everything = {**hyper, **schedule_parameters(schedule)}
    settings = {name: value for name, value in everything.items() if isinstance(value, Tensor)}
    trajectory = Trajectory(
        objective=objective,
        rule=rule,
        schedule=schedule,
        fixed={name: value for name, value in hyper.items() if name not in settings},
        summed=summed,
        first_order=first_order,
        cut_state=cut_state,
    )
    if state is None:
        state = rule.init(params.detach(), **{name: v for name, v in hyper.items() if name != "lr"})
    return trajectory, Carry(params, state, torch.zeros_like(params[:, 0]) if summed else None), settings
