"""Derivatives of a training's loss with respect to its hyperparameters and its start, in three modes.

| mode | how | memory in T | time |
|---|---|---|---|
| reverse | the graph of all steps, then one backward pass | O(T) | one sweep for all |
| segments | each segment again from a checkpoint (`core.optim.adjoint`) | O(sqrt T) | and a forward pass |
| forward | tangents beside each number, no graph (`core.optim.tangents`) | O(1) | a tangent for each |

Maclaurin, Duvenaud and Adams 2015 unroll whole trainings; Franceschi et al. 2017 compare reverse and forward.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from core.optim.objective import Objective
from core.optim.rule import Rule
from core.optim.schedules import Schedule
from core.optim.tangents import advance_with_tangents
from core.optim.trajectory import SCHEDULE, Carry, Trajectory, schedule_parameters, with_parameters
from core.optim.unroll import prepare, root_segment, unroll

Mode = Literal["reverse", "segments", "forward"]

PARAMS = "params"
"""The name under which the start is differentiated."""


@dataclass(frozen=True)
class Hypergradients:
    """R hypergradients from one sweep.

    Attributes:
        loss: `[R]`.
        gradients: by name; of a hyperparameter `[R]` (float64), of `params` `[R, D]`. Row r is the derivative
            of row r's loss with respect to row r's value.
        params: `[R, D]` at the end.
    """

    loss: Tensor
    gradients: Mapping[str, Tensor]
    params: Tensor


def hypergradients(
    objective: Objective,
    rule: Rule,
    params: Tensor,
    hyper: Mapping[str, Any],
    *,
    steps: int,
    over: Sequence[str] = ("lr",),
    mode: Mode = "reverse",
    schedule: Schedule | None = None,
    state: Any = None,
    summed: bool = False,
    first_order: bool = False,
    cut_state: bool = False,
    segment: int | None = None,
) -> Hypergradients:
    """Derivatives of the final (or summed) loss of R trainings.

    Args:
        objective, rule, params `[R, D]`, hyper, steps: as of `unroll`.
        schedule, state, summed, first_order, cut_state: as of `unroll`.
        over: what to differentiate by: `lr`, numeric hyperparameters of the rule, parameters of the schedule
            as `schedule.end` or `schedule.after.end`, and `params` for the start. Numbers are taken as one
            for each row.
        mode: see the module; all three give the same numbers to rounding. Forward mode carries D
            tangents for `params`.
        segment: steps in a segment, default ceil(sqrt(steps)); only for mode `segments`.

    Raises:
        ValueError: for an unknown name or mode, or whatever `unroll` raises.
    """
    if mode not in ("reverse", "segments", "forward"):
        raise ValueError(f"mode must be reverse, segments or forward, got {mode!r}")
    if mode != "segments":
        segment = None
    elif segment is None:
        segment = root_segment(steps)
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    values = _values(rule, params, hyper, schedule, over)
    if mode != "forward":
        values = {name: value.requires_grad_() for name, value in values.items()}
    training: dict[str, Any] = {
        "objective": objective,
        "rule": rule,
        "params": values.get(PARAMS, params.detach()),
        "hyper": {**hyper, **{name: v for name, v in values.items() if _is_hyper(name)}},
        "schedule": None if schedule is None else with_parameters(schedule, values),
        "state": state,
        "summed": summed,
        "first_order": first_order,
        "cut_state": cut_state,
    }
    if mode == "forward":
        return _forward(*prepare(**training), values, steps)
    with torch.enable_grad():
        end = unroll(**training, steps=steps, segment=segment)
        # Rows do not meet, so the gradient of the sum holds each row's own.
        found = torch.autograd.grad(end.loss.sum(), list(values.values()), materialize_grads=True)
    return Hypergradients(end.loss.detach(), dict(zip(values, found, strict=True)), end.params.detach())


def _is_hyper(name: str) -> bool:
    return name != PARAMS and not name.startswith(SCHEDULE)


def _values(
    rule: Rule, params: Tensor, hyper: Mapping[str, Any], schedule: Schedule | None, over: Sequence[str]
) -> dict[str, Tensor]:
    """The point at which derivatives are taken: `[R]` in float64 for each hyperparameter."""
    if "lr" not in hyper:
        raise ValueError("hyper must hold lr")
    known = {**rule.hyper, **hyper, **schedule_parameters(schedule)}
    found = {}
    for name in dict.fromkeys(over):
        if name == PARAMS:
            found[name] = params.detach().clone()
            continue
        value = known.get(name)
        if not _is_numeric(value):
            names = ", ".join(dict.fromkeys((PARAMS, "lr", *(n for n, v in known.items() if _is_numeric(v)))))
            raise ValueError(f"{rule.name}: cannot differentiate by {name!r}; it has {names}")
        wide = torch.as_tensor(value, dtype=torch.float64, device=params.device).detach()
        found[name] = wide.expand(params.shape[0]).clone()
    if not found:
        raise ValueError("over must name at least one hyperparameter")
    return found


def _is_numeric(value: object) -> bool:
    return isinstance(value, Tensor | float | int) and not isinstance(value, bool)


def _forward(
    trajectory: Trajectory,
    carry: Carry,
    settings: Mapping[str, Tensor],
    values: Mapping[str, Tensor],
    steps: int,
) -> Hypergradients:
    still = torch.zeros_like(carry.params)
    tangents: list[tuple[Tensor, Mapping[str, Tensor]]] = []
    for name, value in values.items():
        if name == PARAMS:
            # All rows at once, since they do not meet: a direction for each column.
            columns = torch.eye(value.shape[1]).to(value)
            tangents += [(column.expand_as(value), {}) for column in columns]
        else:
            tangents.append((still, {name: torch.ones_like(value)}))
    end, moved = advance_with_tangents(trajectory, carry, settings, tangents, steps=steps)
    if end.total is None:
        with torch.enable_grad():
            at = end.params.requires_grad_()
            loss = trajectory.loss(at)
            (slope,) = torch.autograd.grad(loss.sum(), at)
        slopes = [(slope * own[0]).sum(dim=1) for own in moved]
    else:
        loss, slopes = end.total, [own[-1] for own in moved]
    gradients = {}
    for name, value in values.items():
        count = value.shape[1] if name == PARAMS else 1
        own, slopes = slopes[:count], slopes[count:]
        gradients[name] = torch.stack(own, dim=1) if name == PARAMS else own[0].to(value)
    return Hypergradients(loss.detach(), gradients, end.params.detach())
