"""Equilibria of matrix games by linear programming, and how far a pair of strategies is from one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor

from core.lab.errors import VhatError
from core.lab.experiment import Array


@dataclass(frozen=True)
class Equilibrium:
    """A saddle point of x'Ay over the simplices.

    Attributes:
        x: float64 `[n]`, of the player that minimises.
        y: float64 `[m]`, of the player that maximises.
        value: x'Ay.
    """

    x: Array
    y: Array
    value: float


def matrix_equilibrium(payoff: Array) -> Equilibrium:
    """The equilibrium of a matrix game by two linear programmes (von Neumann 1928; Dantzig 1951).

    Args:
        payoff: `[n, m]`, what the first player pays the second.

    Raises:
        VhatError: if a programme is not solved, or the two values differ.
    """
    payoff = np.asarray(payoff, dtype=np.float64)
    x, upper = _guarantee(payoff)
    y, lower = _guarantee(-payoff.T)
    if abs(upper + lower) > 1e-9 * max(1.0, float(np.abs(payoff).max())):
        raise VhatError(f"the two sides of a matrix game disagree about its value: {upper:g} and {-lower:g}")
    return Equilibrium(x, y, upper)


def _guarantee(payoff: Array) -> tuple[Array, float]:
    """The mixture of rows whose largest entry, `max_j (payoff' x)_j`, is least, and that entry."""
    rows, columns = payoff.shape
    found = linprog(
        np.r_[np.zeros(rows), 1.0],
        A_ub=np.c_[payoff.T, -np.ones(columns)],
        b_ub=np.zeros(columns),
        A_eq=np.r_[np.ones(rows), 0.0][None],
        b_eq=[1.0],
        bounds=[(0.0, None)] * rows + [(None, None)],
        method="highs",
    )
    if not found.success or found.x is None or found.fun is None:
        raise VhatError(f"the linear programme of a matrix game was not solved: {found.message}")
    x = np.maximum(found.x[:rows], 0.0)
    return x / x.sum(), float(found.fun)


def duality_gap(payoff: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """`[R]`: max_j (A'x)_j - min_i (Ay)_i, what both players together could gain by a best response.

    Zero at equilibria and positive elsewhere; NashConv in the words of Lanctot et al. 2019.

    Args:
        payoff: A, `[n, m]`.
        x: `[R, n]`.
        y: `[R, m]`.
    """
    to_x, to_y = payoffs(payoff, x, y)
    return to_y.amax(dim=1) - to_x.amin(dim=1)


def payoffs(payoff: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Ay `[R, n]` and A'x `[R, m]`: what each pure action of either player is worth against the other."""
    matrix = payoff.to(x.dtype).expand(len(x), -1, -1)
    return torch.bmm(y[:, None], matrix.transpose(1, 2))[:, 0], torch.bmm(x[:, None], matrix)[:, 0]
