"""Study `maml`: what the meta-gradient is made of, and whether it is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from core.lab.measurement import Cell
from core.lab.meta import Adaptation, errors_along, meta_train
from core.lab.random import Keys
from core.optim.hypergradient import PARAMS
from core.optim.maml import MetaGradients, meta_gradients
from core.optim.rules import RULES
from core.optim.state import map_state, tensors_of
from core.problems.sinusoids import Sinusoids, SinusoidTasks

LR = 0.01
TASKS = 5
STEPS_CHECKED = (1, 3)
_ROUND_STEPS, _ROUND_TASKS = 3, 4
EPSILONS = (1e-8, 1e-6, 1e-4, 1e-2, 1.0)
_WIDTHS = (1e-4, 1e-5, 1e-6, 1e-7)


def _start(cell: Cell, family: Sinusoids, keys: Keys) -> tuple[Tensor, Any]:
    """`[M, D]` and a state: the start after `rounds` first-order meta-steps, and what a warm adaptation has
    carried over by then."""
    adaptation = Adaptation(
        RULES[cell["rule"]], _ROUND_STEPS, "first order", warm=cell["warm"], hyper=cell["hyper"]
    )
    every = torch.ones(len(keys), dtype=torch.float64, device=keys.device)
    learned = meta_train(
        family,
        adaptation,
        keys.fold("start"),
        lr=LR * every,
        outer_lr=LR * every,
        iterations=cell["rounds"],
        tasks=_ROUND_TASKS,
    )
    return learned.params, learned.state


def derivatives(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:
    """The full meta-gradient over `TASKS` tasks beside its cheaper kin, in float64, at inner rate `LR`.

    Returns:
        `[R, steps]` each, for the numbers of inner steps in the cell: `cut`, `first order`: the distance to
        the full meta-gradient over its length; `cut cosine`, `first order cosine`. And `by eps`
        `[R, EPSILONS]`, for Adam: the distance of the first-order one after one step.
    """
    family = Sinusoids(10, dtype=torch.float64, device=device)
    params, state = _start(cell, family, keys)
    tasks = family.tasks(keys.fold("tasks"), TASKS)

    def gradient(steps: int, *, first_order: bool = False, cut_state: bool = False, **more: float) -> Tensor:
        return meta_gradients(
            tasks,
            RULES[cell["rule"]],
            params,
            {**cell["hyper"], **more, "lr": LR},
            tasks=TASKS,
            steps=steps,
            state=state,
            first_order=first_order,
            cut_state=cut_state,
        ).mean()

    found: dict[str, list[Tensor]] = {}
    for steps in cell["steps"]:
        full = gradient(steps)
        others = {"cut": gradient(steps, cut_state=True), "first order": gradient(steps, first_order=True)}
        for name, other in others.items():
            found.setdefault(name, []).append(_length(full - other) / _length(full))
            cosine = (full * other).sum(dim=1) / (_length(full) * _length(other))
            found.setdefault(f"{name} cosine", []).append(cosine)
    for eps in EPSILONS if cell["rule"] == "adam" else ():
        full, other = gradient(1, eps=eps), gradient(1, eps=eps, first_order=True)
        found.setdefault("by eps", []).append(_length(full - other) / _length(full))
    return {name: torch.stack(values, dim=1) for name, values in found.items()}


def _length(vectors: Tensor) -> Tensor:
    return (vectors**2).sum(dim=1).sqrt()


def exactness(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:
    """The full meta-gradient against central differences along a random direction, in float64.

    On a small network of tanh units: with rectified linear ones the adapted parameters jump wherever a unit
    turns on, and differences across a jump are not the derivative.

    Returns:
        `[R, STEPS_CHECKED]` each, relative errors: `params`, by the start; `lr`, by the inner rate; and for a
        warm adaptation `state`, by what it has carried over.
    """
    family = Sinusoids(10, width=8, smooth=True, dtype=torch.float64, device=device)
    params, state = _start(cell, family, keys)
    tasks = family.tasks(keys.fold("tasks"), TASKS)
    toward = keys.fold("direction").normal(family.dim, dtype=torch.float64)
    columns: dict[str, list[Tensor]] = {}
    for steps in STEPS_CHECKED:
        for name, error in _errors(cell, tasks, params, state, toward, steps).items():
            columns.setdefault(name, []).append(error)
    return {name: torch.stack(values, dim=1) for name, values in columns.items()}


def _errors(
    cell: Cell, tasks: SinusoidTasks, params: Tensor, state: Any, toward: Tensor, steps: int
) -> dict[str, Tensor]:
    rule, hyper = RULES[cell["rule"]], cell["hyper"]
    known = {} if state is None else tensors_of(state)
    rate = torch.full_like(params[:, 0], LR)
    found: MetaGradients = meta_gradients(
        tasks,
        rule,
        params,
        {**hyper, "lr": rate},
        tasks=TASKS,
        steps=steps,
        over=(PARAMS, "lr", *known),
        state=state,
    )

    def loss(at: Tensor, lr: Tensor, memory: Any) -> Tensor:
        return errors_along(tasks, rule, at, {**hyper, "lr": lr}, tasks=TASKS, steps=steps, state=memory)[
            :, :, -1
        ].mean(dim=1)

    def along_state(h: float) -> Tensor:
        # Each number moves by a share of itself, so that v stays positive; a larger one, since the loss
        # hardly depends on it.
        return loss(params, rate, map_state(lambda values: values * (1 + 100 * h * toward), state)) / 100

    checks: dict[str, tuple[Tensor, Callable[[float], Tensor]]] = {
        "params": ((found.mean() * toward).sum(dim=1), lambda h: loss(params + h * toward, rate, state)),
        "lr": (found.mean("lr") * LR, lambda h: loss(params, rate * (1 + 10 * h), state) / 10),
    }
    if known:
        parts = [(found.mean(name) * values * toward).sum(dim=1) for name, values in known.items()]
        checks["state"] = (sum(parts[1:], parts[0]), along_state)
    return {name: _relative_error(slope, value) for name, (slope, value) in checks.items()}


def _relative_error(slope: Tensor, value: Callable[[float], Tensor]) -> Tensor:
    return (slope - _central_difference(value)).abs() / slope.abs()


def _central_difference(value: Callable[[float], Tensor]) -> Tensor:
    """The derivative of `value` `[R]` at 0, from its values alone.

    Each of `_WIDTHS` gives a central difference, extrapolated from two widths (Richardson). Wide ones may
    span a gradient's change of sign, where Adam's step turns within eps, narrow ones round: taken is, row by
    row, the one that differs least from its narrower neighbour.
    """

    def difference(h: float) -> Tensor:
        return (value(h) - value(-h)) / (2 * h)

    slopes = torch.stack([(4 * difference(h / 2) - difference(h)) / 3 for h in _WIDTHS])
    steadiest = (slopes[:-1] - slopes[1:]).abs().argmin(dim=0, keepdim=True)
    return slopes.gather(0, steadiest)[0]
