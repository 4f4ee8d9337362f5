"""What is known of the paths around the equilibrium of the game xy, and how a path's turning is measured."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from core.lab.experiment import Array


def descent_growth(lr: float) -> float:
    """Growth of the radius in a step of simultaneous gradient descent-ascent: sqrt(1 + lr^2).

    The step is z - lr J z with J a quarter turn, so that the two terms are at right angles.
    """
    return math.sqrt(1.0 + lr * lr)


def descent_growth_per_turn(lr: float) -> float:
    """Growth of the logarithm of the radius in a full turn of simultaneous gradient descent-ascent.

    A step turns by atan(lr), so a turn takes 2 pi / atan(lr) steps.
    """
    return 2.0 * math.pi * math.log(descent_growth(lr)) / math.atan(lr)


def alternating_invariant(params: Tensor, lr: float) -> Tensor:
    """`[R]`: x^2 + y^2 - lr x y, which alternating gradient descent-ascent (x first) leaves as it is.

    The step x' = x - lr y, y' = y + lr x' is a linear map T of determinant 1, so the area spanned by z and Tz
    is the same after each step; it is lr times this form. For lr < 2 its level lines are ellipses, on which
    the path stays.
    """
    x, y = params[:, 0], params[:, 1]
    return x * x + y * y - lr * x * y


def turning(distance: Array, angle: Array) -> tuple[Array, Array]:
    """Turns, and growth of log distance a turn, of paths that are recorded at every step.

    Args:
        distance, angle: `[R, T]`, NaN from where a path diverged. A step is taken to turn by less than half a
            turn.

    Returns:
        turns a step `[R]`, signed (positive from the axis of x to that of y), and the growth of the logarithm
        of the distance a turn `[R]`; NaN for a path that makes less than a twentieth of a turn. The part of a
        path at which the distance leaves the range of 1e-250 to 1e250 is left out.
    """
    usable = np.isfinite(distance) & np.isfinite(angle)
    usable &= (distance > 1e-250) & (distance < 1e250)
    last = np.argmin(np.concatenate([usable, np.zeros((len(usable), 1), bool)], axis=1), axis=1) - 1
    last = np.maximum(last, 0)
    steps = np.diff(np.where(usable, angle, 0.0), axis=1)
    steps = (steps + math.pi) % (2.0 * math.pi) - math.pi
    rows = np.arange(len(distance))
    inside = np.arange(steps.shape[1]) < last[:, None]
    turns = np.where(inside, steps, 0.0).sum(axis=1) / (2.0 * math.pi)
    logs = np.log(np.where(usable, distance, 1.0))
    growth = logs[rows, last] - logs[:, 0]
    per_turn = np.divide(growth, np.abs(turns), out=np.full(len(turns), np.nan), where=np.abs(turns) >= 0.05)
    return turns / np.maximum(last, 1), per_turn
