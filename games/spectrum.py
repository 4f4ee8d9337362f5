"""What linear theory says of a method near an equilibrium: the Jacobian of a round, its spectrum, the rate.

A round maps parameters and whatever the rule and the play scheme remember to the same a round later. At an
equilibrium all of it stands still: momentum is zero, remembered displacements and fields are zero, step
counters have run so far that bias corrections are over. The map's Jacobian there is taken by autograd,
through the rule's own formula, the scheme and the adjustment; the modulus of its largest eigenvalue is the
factor by which a small distance shrinks or grows a round.

Adam and RMSProp have a singular state at an equilibrium of a game without noise: the second moment is zero,
and so the step is lr / eps times the momentum. That is what this theory sees: descent-ascent with momentum at
the rate lr / eps, which no eigenvalue of a game keeps inside the unit disk unless lr is of the size of eps.
The equilibrium repels Adam; where it stays instead is not a matter of the linear theory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from core.lab.errors import VhatError
from core.lab.experiment import Array
from core.lab.variant import Variant
from core.optim.play import Moves, PlayState
from core.optim.projection import Project
from core.optim.sgd import sgd

ExactField = Callable[[Tensor], Tensor]
"""`[R, D] -> [R, D]`, float64, without noise, differentiable."""

_SETTLED = 10**9
"""Steps after which every bias correction is over."""


class Centred(Protocol):
    """A game with an exact field and a known equilibrium, without constraints."""

    @property
    def players(self) -> tuple[slice, ...]:
        """The blocks of D."""

    @property
    def equilibrium(self) -> Tensor:
        """`[D]`."""

    def mean_field(self, params: Tensor) -> Tensor:
        """`[R, D]`, without noise."""


@dataclass(frozen=True)
class Point:
    """A game at its equilibrium.

    Attributes:
        field: exact.
        at: `[D]`, a zero of it.
        players: the blocks of D.
        project: back onto the feasible set, if there is one (see `projection_of`); the equilibrium lies in
            its inside.
    """

    field: ExactField
    at: Tensor
    players: Sequence[slice]
    project: Project | None = None

    @classmethod
    def of(cls, game: Centred) -> Point:
        """Of a game that knows its exact field and its equilibrium."""
        return cls(game.mean_field, game.equilibrium, game.players)


def step_jacobians(point: Point, variant: Variant, rates: Sequence[float]) -> Tensor:
    """The Jacobians of a period of rounds at the equilibrium, one a learning rate, float64 `[L, N, N]`.

    A period is one round, for lookahead its k. The N coordinates are the D parameters and then what rule and
    scheme remember.

    Raises:
        VhatError: for a scheme whose rounds are never alike (a uniform average).
    """
    scheme = variant.scheme
    if scheme.period == 0:
        raise VhatError(f"{variant.name}: {scheme!r} never repeats a round, so that no Jacobian describes it")
    lr = torch.tensor(list(rates), dtype=torch.float64, device=point.at.device)
    hyper = dict(variant.hyper)

    def rounds(params: Tensor, state: PlayState, lr: Tensor) -> tuple[Tensor, PlayState]:
        moves = Moves(variant.update_rule, lr, hyper, point.players, point.project, in_place=False)
        for _ in range(scheme.period):
            params, state = scheme.turn(params, lambda z, _: point.field(z), state, moves)
        return params, state

    params = point.at.double().expand(len(lr), -1).clone()
    state = scheme.init(params, variant.update_rule, hyper, point.players)
    with torch.no_grad():  # a period at rest: afterwards everything that is remembered is there
        _, state = rounds(params, state, lr)
    at_rest = _settled(state)
    pieces = [params, *_tensors(at_rest)]
    sizes = [p.shape[1] for p in pieces]
    size = sum(sizes)
    # N copies of each row, a coordinate's gradient each: one backward pass gives them all.
    whole = torch.cat(pieces, dim=1).detach().repeat_interleave(size, dim=0).requires_grad_()
    first, *rest = torch.split(whole, sizes, dim=1)
    moved, after = rounds(first, _rebuilt(at_rest, iter(rest)), lr.repeat_interleave(size))
    image = torch.cat([moved, *_tensors(_settled(after))], dim=1)
    own = image.view(len(lr), size, size).diagonal(dim1=1, dim2=2)
    (rows,) = torch.autograd.grad(own.sum(), whole, materialize_grads=True)
    return rows.view(len(lr), size, size)


def remembered_points(point: Point, variant: Variant) -> int:
    """How many points, at most, say where the next one is: coordinates of a round over those of a point."""
    return int(step_jacobians(point, variant, [0.1]).shape[1]) // len(point.at)


def spectra(point: Point, variant: Variant, rates: Sequence[float]) -> Array:
    """Eigenvalues of `step_jacobians`, complex `[L, N]`.

    Raises:
        VhatError: where a step is not finite.
    """
    jacobians = step_jacobians(point, variant, rates)
    if not bool(jacobians.isfinite().all()):  # LAPACK would end the process
        raise VhatError(f"{variant.name}: a step at these learning rates or settings is not finite")
    return np.asarray(torch.linalg.eigvals(jacobians).cpu().numpy())


def predicted_rates(point: Point, variant: Variant, rates: Sequence[float]) -> Array:
    """`[L]`: the factor a round by which the distance to the equilibrium shrinks (below 1) or grows, in the
    long run and to first order, for each learning rate."""
    radius = np.abs(spectra(point, variant, rates)).max(axis=1)
    return np.asarray(radius ** (1.0 / variant.scheme.period))


def has_theory(variant: Variant) -> bool:
    """Whether a round is smooth at the equilibrium, and a round like another: descent, with momentum or not.

    Adam's second moment is zero there, and a direction has no derivative; a uniform average never repeats.
    """
    return variant.update_rule.formula is sgd and variant.scheme.period > 0


RESOLUTION = 1e-9
"""To which a best learning rate is found, relative to itself."""


class Best(NamedTuple):
    """The learning rate with the smallest predicted factor."""

    lr: float
    factor: float


def best_rate(point: Point, variant: Variant, low: float = 1e-4, high: float = 1e2) -> Best:
    """The best learning rate in [low, high] by theory: on a grid, then on finer ones around its best."""
    grid, found = np.geomspace(low, high, 121), []
    while True:
        # All rates of a grid at once: a search that asks for one after the other takes several times as long.
        factors = predicted_rates(point, variant, grid.tolist())
        middle = int(np.argmin(factors))
        found.append(Best(float(grid[middle]), float(factors[middle])))
        below, above = grid[max(middle - 1, 0)], grid[min(middle + 1, len(grid) - 1)]
        if above / below - 1.0 < RESOLUTION:
            return min(found, key=lambda best: best.factor)
        grid = np.geomspace(below, above, 65)


def observed_rate(paths: Array, memory: int = 1, period: int = 1) -> float:
    """The factor a round that paths show, without any knowledge of the method.

    A linear map is fitted by least squares from the last `memory` points to the next one (dynamic mode
    decomposition with delays, Tu et al. 2014); the factor is the modulus of its largest eigenvalue.

    Args:
        paths: `[R, T, D]`, points relative to the equilibrium at each round, all of one method and rate.
        memory: points that say what comes next: 1 for rules without state, 2 with momentum or optimism, ...
        period: rounds after which the scheme repeats itself.

    Raises:
        VhatError: for paths that are too short, or not finite.
    """
    points = np.asarray(paths, dtype=np.float64)[:, ::period]
    count = points.shape[1] - memory
    if count < 1 or not np.isfinite(points).all():
        raise VhatError(f"a rate is observed on finite paths of more than {memory * period} rounds")
    # Newest point first; every pair is scaled to a state of length 1, so that late rounds count like early.
    delayed = [points[:, memory - 1 - i : points.shape[1] - i] for i in range(memory)]
    states = np.concatenate(delayed, axis=2)
    before = states[:, :-1].reshape(-1, states.shape[2])
    after = states[:, 1:].reshape(-1, states.shape[2])
    length = np.linalg.norm(before, axis=1, keepdims=True)
    kept = length[:, 0] > 0.0
    fitted = np.linalg.lstsq(before[kept] / length[kept], after[kept] / length[kept], rcond=1e-11)[0]
    return float(np.abs(np.linalg.eigvals(fitted)).max() ** (1.0 / period))


def _settled(state: PlayState) -> PlayState:
    """The state with step counters that have run far; a scheme around another keeps no second copy."""
    if state.inner is not None:
        return state._replace(players=(), inner=_settled(state.inner))
    return state._replace(players=tuple(own._replace(step=_SETTLED) for own in state.players))


def _tensors(state: Any) -> list[Tensor]:
    """All tensors within nested tuples, in order."""
    if isinstance(state, Tensor):
        return [state]
    return [t for part in state for t in _tensors(part)] if isinstance(state, tuple) else []


def _rebuilt(state: Any, tensors: Iterator[Tensor]) -> Any:
    """The same nested tuples with other tensors."""
    if isinstance(state, Tensor):
        return next(tensors)
    if not isinstance(state, tuple):
        return state
    parts = [_rebuilt(part, tensors) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
