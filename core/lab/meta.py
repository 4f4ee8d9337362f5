"""Meta-training in batches: M meta-learners with B tasks each are one unrolled training of M * B rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from core.lab.random import Keys
from core.optim.maml import by_meta, for_tasks, meta_gradients
from core.optim.objective import Objective
from core.optim.rule import Rule
from core.optim.rules import RULES
from core.optim.schedules import Schedule
from core.optim.state import map_state
from core.optim.unroll import unroll

Derivative = Literal["full", "first order", "state cut"]


class TaskFamily(Protocol):
    """What a meta-learner is trained on."""

    def init(self, keys: Keys) -> Tensor:
        """Starting parameters `[M, D]`."""

    def tasks(self, keys: Keys, count: int, *, evaluation: bool = False) -> Objective:
        """`count` tasks for each key as an objective over M * count rows: row m * count + b is task b of
        key m. `evaluation` asks for the judgement that is reported."""


@dataclass(frozen=True)
class Adaptation:
    """How a start is adapted to a task, and how that is differentiated.

    Attributes:
        rule: of the inner training.
        steps: of it, while meta-learning.
        derivative: `full`; `first order`: the field counts as constant; `state cut`: the rule's state does.
        warm: whether each inner training goes on from the state that the ones before it left (the mean over
            the tasks of the last meta-step), as Nichol, Achiam and Schulman 2018 do with Adam. The state
            belongs to what is learned: new tasks start from it too. Otherwise from a fresh one.
        hyper: what differs from the rule's defaults besides `lr`.
    """

    rule: Rule
    steps: int
    derivative: Derivative = "full"
    warm: bool = False
    hyper: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MetaLearned:
    """M meta-learners.

    Attributes:
        params: `[M, D]`, the learned start.
        state: what adaptation starts from, tensors `[M, D]`; None for a fresh one.
        losses: `[M, T]`, after adaptation, the mean over the tasks of each meta-step; NaN after divergence.
        norms: `[M, T]`, of the meta-gradient.
        diverged_at: `[M]`, the meta-step whose update was not finite, or -1; the start is the one before it.
    """

    params: Tensor
    state: Any
    losses: Tensor
    norms: Tensor
    diverged_at: Tensor


def meta_train(
    family: TaskFamily,
    adaptation: Adaptation,
    keys: Keys,
    *,
    lr: Tensor,
    outer_lr: Tensor,
    iterations: int,
    tasks: int,
    outer: Rule = RULES["adam"],
    schedule: Schedule | None = None,
) -> MetaLearned:
    """Train M starts by their meta-gradients. The tasks of a meta-step are new ones, shared by rows of one
    seed.

    Args:
        family: of tasks.
        adaptation: see there.
        keys: of the M rows.
        lr: `[M]`, of the adaptation.
        outer_lr: `[M]`, of the outer rule.
        iterations: T, meta-steps.
        tasks: B, in each meta-step.
        outer: rule that steps along the meta-gradient.
        schedule: multiplies `outer_lr`.
    """
    params = family.init(keys)
    outer_state, state = outer.init(params), None
    alive = torch.ones(len(keys), dtype=torch.bool, device=params.device)
    diverged_at = torch.full((len(keys),), -1, dtype=torch.int64, device=params.device)
    losses, norms = [], []
    for iteration in range(iterations):
        found = meta_gradients(
            family.tasks(keys.fold("training tasks").at(iteration), tasks),
            adaptation.rule,
            params,
            {**adaptation.hyper, "lr": lr},
            tasks=tasks,
            steps=adaptation.steps,
            state=state,
            first_order=adaptation.derivative == "first order",
            cut_state=adaptation.derivative == "state cut",
        )
        gradient = found.mean()
        rate = outer_lr if schedule is None else outer_lr * schedule(iteration)
        stepped, outer_state = outer.step(params, gradient, outer_state, lr=rate)
        finite = torch.isfinite(stepped).all(dim=1)
        diverged_at = torch.where(alive & ~finite, iteration, diverged_at)
        alive = alive & finite
        params = torch.where(alive[:, None], stepped, params)
        if adaptation.warm:
            after = map_state(lambda values: values.mean(dim=1), found.state)
            before = state if state is not None else adaptation.rule.init(params, **adaptation.hyper)
            state = _kept(after, before, alive)
        losses.append(torch.where(alive, found.loss.mean(dim=1), torch.nan))
        norms.append(torch.where(alive, (gradient**2).sum(dim=1).sqrt(), torch.nan))
    empty = [params.new_empty(len(keys), 0)]
    return MetaLearned(
        params,
        state,
        torch.stack(losses, dim=1) if losses else empty[0],
        torch.stack(norms, dim=1) if norms else empty[0],
        diverged_at,
    )


def _kept(after: Any, before: Any, alive: Tensor) -> Any:
    """The state after a meta-step in the rows that go on, the one before it in the others."""
    mixed = {
        name: torch.where(alive[:, None], value, getattr(before, name))
        for name, value in after._asdict().items()
        if isinstance(value, Tensor)
    }
    return after._replace(**mixed)


@torch.no_grad()
def errors_along(
    objective: Objective,
    rule: Rule,
    params: Tensor,
    hyper: Mapping[str, Any],
    *,
    tasks: int,
    steps: int,
    state: Any = None,
) -> Tensor:
    """The loss of each task after 0, 1, ..., `steps` steps of adaptation, `[M, tasks, steps + 1]`.

    Args:
        objective, rule, params, hyper, tasks, state: as of `core.optim.maml.meta_gradients`.
    """
    rows = for_tasks(params, tasks)
    settings = {n: for_tasks(v, tasks) if isinstance(v, Tensor) else v for n, v in hyper.items()}
    if state is not None:
        state = map_state(lambda values: for_tasks(values, tasks), state)
    found = [objective.loss(rows)]
    for _ in range(steps):
        end = unroll(objective, rule, rows, settings, steps=1, state=state)
        rows, state = end.params, end.state
        found.append(end.loss)
    return by_meta(torch.stack(found, dim=1), tasks)
