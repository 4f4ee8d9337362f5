"""Back onto a feasible set after a step: who asks for it, and the projection onto the simplex."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Metric = Callable[[], Tensor | None]
"""Gives the diagonal `[R, D]` of the rule's metric at the current state, or None where it is Euclidean."""

Project = Callable[[Tensor, Metric], Tensor]
"""Back onto the feasible set, `[R, D]` to `[R, D]`; a product of sets, one a player."""


def projection_of(owner: object) -> Project | None:
    """The projection that a problem or an objective asks for after each step, or None.

    Its `project(params)` is called; one whose attribute `projects_in_metric` is true gets the rule's metric
    as a second argument: `project(params, metric)`, None if the rule has no metric but the Euclidean one.
    """
    project: Callable[..., Tensor] | None = getattr(owner, "project", None)
    if project is None:
        return None
    if getattr(owner, "projects_in_metric", False):
        return lambda params, metric: project(params, metric())
    return lambda params, _: project(params)


def project_to_simplex(points: Tensor, metric: Tensor | None = None) -> Tensor:
    """The nearest points with coordinates >= 0 and sum 1, row by row, exactly.

    The nearest w minimises Σ d_i (w_i - y_i)^2 / 2. By its optimality conditions w_i = max(y_i - λ / d_i, 0)
    with one λ a row, which makes the sum 1; as λ falls, coordinate i enters at λ = d_i y_i. Sorted by these
    breakpoints, the coordinates that are not zero are a head of the row (Held, Wolfe and Crowder 1974; Duchi
    et al. 2008; with weights: Helgason, Kennington and Lall 1980).

    Args:
        points: y, `[R, N]`.
        metric: d, positive, `[R, N]`; None is the Euclidean metric. Only its proportions within a row matter.
            An entry of zero counts as a very small one.

    Returns:
        `[R, N]`; a row that is not finite comes out as not finite.
    """
    inverse = None if metric is None else 1.0 / _bounded(metric)
    breakpoints = points if inverse is None else points / inverse
    falling, order = breakpoints.sort(dim=-1, descending=True)
    if inverse is None:
        slope = torch.arange(1, points.shape[-1] + 1, dtype=points.dtype, device=points.device)
        level = (falling.cumsum(dim=-1) - 1.0) / slope
    else:
        slope = inverse.gather(-1, order).cumsum(dim=-1)
        level = (points.gather(-1, order).cumsum(dim=-1) - 1.0) / slope
    # λ is the level of the longest head whose coordinates all stay above it; a diverged row has none, and
    # it must come out as not finite, not as an error for all rows.
    last = (falling > level).sum(dim=-1, keepdim=True).sub(1).clamp(min=0)
    shift = level.gather(-1, last)
    return (points - (shift if inverse is None else shift * inverse)).clamp(min=0.0)


def _bounded(metric: Tensor) -> Tensor:
    """The metric over its largest entry in the row, and not below a millionth of a millionth: an axis along
    which nothing was ever seen costs next to nothing to move on."""
    largest = metric.amax(dim=-1, keepdim=True)
    share = torch.where(largest > 0, metric / largest, torch.ones_like(metric))
    return share.clamp(min=1e-12)
