r"""Field adjustments: what a game's field is turned into before a rule sees it.

All start from the field :math:`\xi` (every player's own gradient, to be descended along) and its Jacobian J,
whose diagonal blocks J_d are the players' own Hessians and whose other blocks :math:`J_o = J - J_d` say how
one player's gradient moves with another's parameters. On a sampled field both come from the same sample, so
that an adjusted field is biased wherever it is not linear in the sample; the papers do the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from core.optim.linearized import Linearized, PointField
from core.optim.scalars import Scalar, column

Blocks = Sequence[slice]


class Adjustment(Protocol):
    """A frozen dataclass, whose `repr` is stored with a study's results."""

    def __call__(self, field: PointField, params: Tensor, players: Blocks, lr: Scalar) -> Tensor:
        """The adjusted field at `params`, `[R, D]`; `lr` is the step's learning rate."""

    def products(self, players: int) -> int:
        """Products with the Jacobian that an evaluation takes (at most), each about as dear as the field."""


@dataclass(frozen=True)
class Consensus:
    r"""Consensus optimisation (Mescheder, Nowozin and Geiger 2017): :math:`\xi + \gamma J^T \xi`.

    Every player also descends along the gradient of :math:`|\xi|^2 / 2`.

    Attributes:
        strength: gamma.
    """

    strength: float = 0.1

    def products(self, players: int) -> int:  # noqa: ARG002
        """One."""
        return 1

    def __call__(self, field: PointField, params: Tensor, players: Blocks, lr: Scalar) -> Tensor:  # noqa: ARG002
        """See the class."""
        at = Linearized(field, params)
        return at.values + self.strength * at.transposed(at.values)


@dataclass(frozen=True)
class SymplecticGradient:
    r"""Symplectic gradient adjustment (Balduzzi et al. 2018): :math:`\xi + \lambda A^T \xi`, where A is the
    antisymmetric part of J.

    Attributes:
        strength: lambda.
        align: give lambda, replica by replica, the sign of
            :math:`\langle\xi, \nabla H\rangle \langle A^T\xi, \nabla H\rangle / D + 0.1` with
            :math:`\nabla H = J^T \xi`: towards stable fixed points and away from unstable ones.
    """

    strength: float = 1.0
    align: bool = True

    def products(self, players: int) -> int:  # noqa: ARG002
        """Two."""
        return 2

    def __call__(self, field: PointField, params: Tensor, players: Blocks, lr: Scalar) -> Tensor:  # noqa: ARG002
        """See the class."""
        at = Linearized(field, params)
        descent = at.transposed(at.values)
        turned = 0.5 * (descent - at.forward(at.values))
        strength: Scalar = self.strength
        if self.align:
            along = (at.values * descent).sum(dim=1) * (turned * descent).sum(dim=1)
            away = along / params.shape[1] + 0.1 < 0
            strength = self.strength * (1.0 - 2.0 * away.to(params.dtype))
        return at.values + column(strength, turned) * turned


@dataclass(frozen=True)
class Anticipating:
    r"""Look ahead at the others' next step: :math:`(I - \alpha J_o)\, \xi` (LookAhead, Zhang and Lesser 2010;
    as written by Letcher et al. 2019).

    Every player descends at the point to which the others' gradient steps lead, to first order, and takes
    that point as given.

    Attributes:
        strength: alpha, the step that the others are expected to take; None for the step's own learning rate.
    """

    strength: float | None = None

    def products(self, players: int) -> int:
        """One a player."""
        return players

    def __call__(self, field: PointField, params: Tensor, players: Blocks, lr: Scalar) -> Tensor:
        """See the class."""
        at = Linearized(field, params)
        alpha = column(lr if self.strength is None else self.strength, at.values)
        return at.values - alpha * _from_others(at, at.values, players)


@dataclass(frozen=True)
class LOLA:
    r"""Learning with opponent-learning awareness (Foerster et al. 2018) in a zero-sum game: a player also
    shapes the others' steps, since it differentiates its loss through them.

    .. math:: (I - \alpha J_o)\, \xi - \alpha \chi, \qquad
        \chi_i = \sum_{j \ne i} J_{ji}^T \nabla_j L_i = -\sum_{j \ne i} J_{ji}^T \xi_j

    The last step holds where the losses of two players add up to zero; the field of another game does not say
    what :math:`\nabla_j L_i` is, and there this is not LOLA.

    Attributes:
        strength: alpha, the step that the others are expected to take; None for the step's own learning rate.
    """

    strength: float | None = None

    def products(self, players: int) -> int:
        """Two a player."""
        return 2 * players

    def __call__(self, field: PointField, params: Tensor, players: Blocks, lr: Scalar) -> Tensor:
        """See the class.

        Raises:
            ValueError: unless there are two players.
        """
        if len(players) != 2:
            raise ValueError(f"LOLA: written for two players whose losses add up to zero, got {len(players)}")
        at = Linearized(field, params)
        alpha = column(lr if self.strength is None else self.strength, at.values)
        shaping = -_to_others(at, at.values, players)
        return at.values - alpha * _from_others(at, at.values, players) - alpha * shaping


@dataclass(frozen=True)
class Competitive:
    r"""Competitive gradient descent (Schäfer and Anandkumar 2019): the equilibrium of the game's bilinear
    approximation with quadratic penalties, :math:`(I + \eta J_o)^{-1} \xi`.

    For two players this is the paper's :math:`(I - \eta^2 D_{xy} f D_{yx} g)^{-1} (\nabla_x f - \eta D_{xy} f
    \nabla_y g)`, and likewise for y.

    Attributes:
        strength: eta; None for the step's own learning rate, as in the paper.
        iterations: None solves with the full matrix, for small D. A number solves by conjugate gradients on
            the normal equations, in products with the Jacobian alone, for at most so many iterations, each
            row until its residual has fallen to `tolerance` of its right-hand side.
        tolerance: see `iterations`.
    """

    strength: float | None = None
    iterations: int | None = None
    tolerance: float = 1e-6

    def products(self, players: int) -> int:
        """By conjugate gradients two a player and iteration, at most. The full matrix takes D, which is not
        known here: they count as one a player, what a small game's matrix holds."""
        return players if self.iterations is None else 2 * players * (self.iterations + 1)

    def __call__(self, field: PointField, params: Tensor, players: Blocks, lr: Scalar) -> Tensor:
        """See the class.

        Raises:
            ValueError: for a derivative through conjugate gradients.
        """
        at = Linearized(field, params)
        eta = column(lr if self.strength is None else self.strength, at.values)
        if self.iterations is not None:
            if at.values.requires_grad:
                raise ValueError("Competitive: its derivatives need the full matrix (iterations=None)")
            return _normal_conjugate_gradients(at, eta, players, self.iterations, self.tolerance)
        matrix = at.jacobian()
        for block in players:
            matrix[:, block, block] = 0.0
        eye = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
        scale = eta[:, :, None] if isinstance(eta, Tensor) and eta.ndim else eta
        solution: Tensor = torch.linalg.solve(eye + scale * matrix, at.values[:, :, None])
        return solution[:, :, 0]


def _only(values: Tensor, block: slice) -> Tensor:
    """The values of one player, zero elsewhere."""
    kept = torch.zeros_like(values)
    kept[:, block] = values[:, block]
    return kept


def _from_others(at: Linearized, v: Tensor, players: Blocks) -> Tensor:
    """J_o v."""
    parts = [at.forward(v - _only(v, block))[:, block] for block in players]
    return torch.cat(parts, dim=1)


def _to_others(at: Linearized, w: Tensor, players: Blocks) -> Tensor:
    """J_o' w."""
    parts = [at.transposed(w - _only(w, block))[:, block] for block in players]
    return torch.cat(parts, dim=1)


def _normal_conjugate_gradients(
    at: Linearized, eta: Scalar, players: Blocks, iterations: int, tolerance: float
) -> Tensor:
    """The solution d of (I + eta J_o) d = xi, from the normal equations, row by row.

    A row that has converged stays as it is, so that no row depends on what others need.
    """

    def matrix(v: Tensor) -> Tensor:
        return v + eta * _from_others(at, v, players)

    def transposed(w: Tensor) -> Tensor:
        return w + eta * _to_others(at, w, players)

    def dot(a: Tensor) -> Tensor:
        return (a * a).sum(dim=1, keepdim=True)

    solution = at.values.clone()
    residual = at.values - matrix(solution)
    goal = tolerance**2 * dot(at.values)
    gradient = transposed(residual)
    direction, size = gradient, dot(gradient)
    for _ in range(iterations):
        open_rows = (dot(residual) > goal) & (size > 0)
        if not bool(open_rows.any()):
            break
        image = matrix(direction)
        length = torch.where(open_rows, size / dot(image), 0.0)
        solution = torch.where(open_rows, solution + length * direction, solution)
        residual = torch.where(open_rows, residual - length * image, residual)
        gradient = transposed(residual)
        after = dot(gradient)
        direction = gradient + torch.where(open_rows, after / size, 0.0) * direction
        size = after
    return solution
