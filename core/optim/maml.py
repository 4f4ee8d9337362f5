"""Meta-gradients: derivatives of the loss after adaptation, with respect to where the adaptation starts.

Model-agnostic meta-learning (Finn, Abbeel and Levine 2017): M meta-learners with B tasks each are M * B rows
of one unrolled training. The tasks of a meta-learner start from the same parameters, hyperparameters and
state, so its meta-gradient is the mean of its rows' own gradients. What the rule remembers is part of the
graph:

| | start of the state | derivatives |
|---|---|---|
| cold | fresh, the same for all | through parameters and state |
| warm | given, for instance from earlier adaptations | through parameters and state |
| cut | either | through parameters alone (`cut_state`) |
| first order | either | the field counts as constant (`first_order`) |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.optim.hypergradient import PARAMS
from core.optim.objective import Objective
from core.optim.rule import Rule
from core.optim.state import map_state, tensors_of
from core.optim.unroll import unroll


@dataclass(frozen=True)
class MetaGradients:
    """M meta-gradients over B tasks each, from one sweep.

    Attributes:
        loss: `[M, B]`, after adaptation.
        by_task: each task's own gradient by name; of `params` and of the state's tensors `[M, B, D]`, of a
            hyperparameter `[M, B]`.
        params: `[M, B, D]`, adapted.
        state: of the rule after adaptation, its tensors `[M, B, D]`.
    """

    loss: Tensor
    by_task: Mapping[str, Tensor]
    params: Tensor
    state: Any

    def mean(self, name: str = PARAMS) -> Tensor:
        """The meta-gradient: the mean over tasks, `[M, D]` or `[M]`."""
        return self.by_task[name].mean(dim=1)


def for_tasks(values: Tensor, tasks: int) -> Tensor:
    """`[M, ...]` as `[M * tasks, ...]`: row m * tasks + b belongs to task b of meta-learner m."""
    return values.repeat_interleave(tasks, dim=0)


def by_meta(values: Tensor, tasks: int) -> Tensor:
    """`[M * tasks, ...]` as `[M, tasks, ...]`."""
    return values.reshape(-1, tasks, *values.shape[1:])


def meta_gradients(
    objective: Objective,
    rule: Rule,
    params: Tensor,
    hyper: Mapping[str, Any],
    *,
    tasks: int,
    steps: int,
    over: Sequence[str] = (PARAMS,),
    state: Any = None,
    first_order: bool = False,
    cut_state: bool = False,
) -> MetaGradients:
    """Adapt M meta-learners to B tasks each, and differentiate the losses after it.

    Args:
        objective: over M * B rows, row m * B + b being task b of meta-learner m: its field is what adaptation
            descends along (the loss on the support set), its loss the one after it (on the query set).
        rule: of the adaptation.
        params: `[M, D]`, where adaptation starts.
        hyper: `lr`, and what differs from the rule's defaults; numbers, or tensors `[M]`.
        tasks: B.
        steps: of the adaptation, at least 1.
        over: what to differentiate by: `params`, names in `hyper`, and names of the tensors of `state`.
        state: the rule's state to start from, its tensors `[M, D]` (warm); None for a fresh one (cold).
        first_order, cut_state: as of `unroll`.

    Raises:
        ValueError: for a name in `over` that is not there, or whatever `unroll` raises.
    """
    rows = {PARAMS: for_tasks(params.detach(), tasks)}
    rows |= {name: _row_values(value, params, tasks) for name, value in hyper.items() if _numeric(value)}
    if state is not None:
        rows |= {name: for_tasks(value.detach(), tasks) for name, value in tensors_of(state).items()}
    for name in over:
        if name not in rows:
            raise ValueError(f"cannot differentiate by {name!r}: there are {', '.join(rows)}")
    leaves = [rows[name].requires_grad_() for name in over]
    with torch.enable_grad():
        end = unroll(
            objective,
            rule,
            rows[PARAMS],
            {name: rows.get(name, value) for name, value in hyper.items()},
            steps=steps,
            state=None if state is None else state._replace(**{n: rows[n] for n in tensors_of(state)}),
            first_order=first_order,
            cut_state=cut_state,
        )
        # Rows do not meet, so the gradient of the sum holds each row's own.
        found = torch.autograd.grad(end.loss.sum(), leaves, materialize_grads=True)
    return MetaGradients(
        loss=by_meta(end.loss.detach(), tasks),
        by_task={name: by_meta(value, tasks) for name, value in zip(over, found, strict=True)},
        params=by_meta(end.params.detach(), tasks),
        state=map_state(lambda value: by_meta(value.detach(), tasks), end.state),
    )


def _numeric(value: object) -> bool:
    return isinstance(value, Tensor | float | int) and not isinstance(value, bool)


def _row_values(value: Tensor | float, params: Tensor, tasks: int) -> Tensor:
    """A hyperparameter as float64 `[M * tasks]`."""
    wide = torch.as_tensor(value, dtype=torch.float64, device=params.device).detach()
    return for_tasks(wide.expand(params.shape[0]), tasks)
