"""The steps of a training as one differentiable function from where it stands to where it stands later."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from core.optim.objective import Objective
from core.optim.projection import projection_of
from core.optim.rule import Rule
from core.optim.scalars import Scalar
from core.optim.schedules import Schedule
from core.optim.state import map_state, tensors_of

SCHEDULE = "schedule."
"""Prefix of the names of a schedule's parameters: `schedule.end`, `schedule.after.end`."""


class Carry(NamedTuple):
    """Where a training stands: parameters `[R, D]`, the rule's state, and the losses so far `[R]` if they are
    summed."""

    params: Tensor
    state: Any
    total: Tensor | None

    def tensors(self) -> tuple[Tensor, ...]:
        """All that derivatives flow through."""
        total = () if self.total is None else (self.total,)
        return (self.params, *tensors_of(self.state).values(), *total)

    def holding(self, tensors: tuple[Tensor, ...], *, step: int) -> "Carry":
        """The same carry with other tensors, in the order of `tensors()`, at another step."""
        params, *rest = tensors
        state = dict(zip(tensors_of(self.state), rest, strict=False))
        total = None if self.total is None else rest[-1]
        return Carry(params, self.state._replace(step=step, **state), total)


@dataclass(frozen=True)
class Trajectory:
    """What does not change along a training.

    Attributes:
        objective: field and loss.
        rule: the update rule.
        schedule: multiplies `lr`, or None.
        fixed: hyperparameters that are no tensors (floats, flags, functions).
        summed: whether the loss is added up over the steps.
        first_order: whether the field counts as constant in the parameters: no second derivatives.
        cut_state: whether the rule's state counts as constant in the next step.
    """

    objective: Objective
    rule: Rule
    schedule: Schedule | None
    fixed: Mapping[str, Any]
    summed: bool
    first_order: bool
    cut_state: bool

    def advance(self, carry: Carry, settings: Mapping[str, Tensor], first: int, last: int) -> Carry:
        """The steps first, ..., last - 1; `settings` are the hyperparameters that are tensors `[R]`, the
        schedule's among them."""
        own = {name: value for name, value in settings.items() if not name.startswith(SCHEDULE)}
        hyper: dict[str, Any] = {**self.fixed, **own}
        lr = hyper.pop("lr")
        schedule = None if self.schedule is None else with_parameters(self.schedule, settings)
        project = projection_of(self.objective)
        params, state, total = carry
        for step in range(first, last):
            rate = lr if schedule is None else lr * schedule(step)
            if self.cut_state:
                state = map_state(Tensor.detach, state)
            params, state = self.rule.step(params, self._field(params, step), state, lr=rate, **hyper)
            if project is not None:
                params = project(params, partial(self.rule.metric_at, state, **hyper))
            if self.summed:
                loss = self.loss(params)
                total = loss if total is None else total + loss
        return Carry(params, state, total)

    def loss(self, params: Tensor) -> Tensor:
        """The objective's loss `[R]`.

        Raises:
            ValueError: if it does not depend differentiably on the parameters.
        """
        loss = self.objective.loss(params)
        if _has_derivative(params) and not _has_derivative(loss):
            raise ValueError(
                "the objective's loss does not depend differentiably on the parameters "
                "(is it computed under no_grad?)"
            )
        return loss

    def _field(self, params: Tensor, step: int) -> Tensor:
        if self.first_order:
            with torch.no_grad():
                return self.objective.field(params.detach(), step).detach()
        values = self.objective.field(params, step)
        if _has_derivative(params) and not _has_derivative(values):
            raise ValueError(
                f"the objective's field at step {step} does not depend differentiably on the parameters "
                "(is it detached?): make it differentiable, or give first_order=True to take it as constant"
            )
        return values


def _has_derivative(values: Tensor) -> bool:
    return torch.is_grad_enabled() and values.requires_grad


def schedule_parameters(schedule: object, prefix: str = SCHEDULE) -> dict[str, Scalar]:
    """The numbers and tensors of a schedule that is a dataclass, and of the schedules within it, by name."""
    found: dict[str, Scalar] = {}
    if dataclasses.is_dataclass(schedule):
        for field in dataclasses.fields(schedule):
            value = getattr(schedule, field.name)
            if isinstance(value, Tensor | float | int) and not isinstance(value, bool):
                found[prefix + field.name] = value
            else:
                found |= schedule_parameters(value, f"{prefix}{field.name}.")
    return found


def with_parameters(schedule: Schedule, values: Mapping[str, Scalar], prefix: str = SCHEDULE) -> Schedule:
    """The schedule with some of its parameters exchanged; names that it does not have are left aside."""
    if not dataclasses.is_dataclass(schedule):
        return schedule
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(schedule):
        name, value = prefix + field.name, getattr(schedule, field.name)
        if name in values:
            changed[field.name] = values[name]
        elif any(other.startswith(name + ".") for other in values):
            changed[field.name] = with_parameters(value, values, name + ".")
    return dataclasses.replace(schedule, **changed) if changed else schedule
