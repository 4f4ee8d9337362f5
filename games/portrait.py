"""Figures of one method on a small game: phase portrait, distance over time, eigenvalues, strategies."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from core.lab import figures
from core.lab.experiment import Array
from core.lab.run import Run
from core.lab.variant import Variant
from games.bilinear import BilinearGame
from games.dirac import DiracGAN
from games.disk import draw_disk, eigenvalue_paths
from games.simplex import MatrixGame
from games.spectrum import Point, has_theory, predicted_rates


def arrows(axes: Axes, field: Callable[[Tensor], Tensor], reach: float, *, count: int = 11) -> None:
    """Where the field `[R, 2] -> [R, 2]` moves the players, on a square of half side `reach` around 0, at
    `count` x `count` points.

    Arrows show directions; their length is the root of the field's, so that small ones are seen.
    """
    x, y = (part.reshape(-1) for part in np.meshgrid(*[np.linspace(-reach, reach, count)] * 2))
    with torch.no_grad():
        moves = -field(torch.from_numpy(np.stack([x, y], axis=1))).numpy()
    length = np.linalg.norm(moves, axis=1, keepdims=True)
    shown = np.divide(moves, np.sqrt(length), out=np.zeros_like(moves), where=length > 0)
    axes.quiver(x, y, *shown.T, color="#c4c4c4", pivot="mid", width=0.005, zorder=0)
    axes.set_xlim(-1.12 * reach, 1.12 * reach)
    axes.set_ylim(-1.12 * reach, 1.12 * reach)
    axes.set_aspect("equal")


def draw_portrait(axes: Axes, field: Callable[[Tensor], Tensor], paths: Array, name: str) -> None:
    """Paths `[R, T, 2]` of a method over the field; a path that leaves the picture's numbers is cut."""
    finite = np.abs(paths[np.isfinite(paths).all(axis=2)])
    arrows(axes, field, float(np.clip(finite.max(), 1e-12, 1e12)))
    for path in paths:
        figures.phase_path(axes, path, name)


def orbit_figure(
    game: BilinearGame | DiracGAN,
    point: Point,
    variant: Variant,
    run: Run,
    lr: float,
    radius: float,
    cycle: float = math.nan,
) -> Figure:
    """Paths over the field, distance over time beside linear theory, and eigenvalues in the unit disk if the
    method has a linear theory.

    Args:
        game: with its equilibrium at 0.
        point: the same game for the theory.
        variant, run: what was played from distance `radius` at the rate `lr`, paths kept.
        lr, radius: see above.
        cycle: radius of the limit cycle on xy, NaN for none.
    """
    assert run.path is not None
    columns = 3 if has_theory(variant) else 2
    figure, (left, middle, *rest) = figures.new_figure(columns=columns, width=4.4 * columns, height=4.8)
    if game.dim == 2:
        here = point.at.device
        draw_portrait(left, lambda z: game.mean_field(z.to(here)).cpu(), run.path[:1], variant.name)
    else:
        figures.phase_path(left, run.path[0][:, [0, game.players[1].start]], variant.name)
    shown = "one replica" if game.dim == 2 else "one replica, first coordinates"
    figures.label(left, x="first player", y="second player", title=f"{shown}, lr {lr:g}")
    figures.curves_with_intervals(middle, run.steps, run.curves["distance"], variant.name)
    figures.label(middle, x="step", y="distance from the equilibrium", log="y")
    if math.isfinite(cycle):
        left.add_patch(Circle((0.0, 0.0), cycle, fill=False, linestyle="--", linewidth=1.2, zorder=6))
        middle.axhline(cycle, color="#000000", linestyle="--", linewidth=1.2, label="limit cycle, by its law")
    for right in rest:
        factor = float(predicted_rates(point, variant, [lr])[0])
        logs = np.log(max(radius, 1e-300)) + np.log(max(factor, 1e-300)) * run.steps
        shown = np.abs(logs) < 30.0
        middle.plot(
            run.steps[shown], np.exp(logs[shown]), color="#000000", linestyle=":", label="linear theory"
        )
        rates = np.unique(np.r_[np.geomspace(max(lr, 1e-6) / 100.0, max(10.0 * lr, 2.0), 60), max(lr, 1e-6)])
        found = eigenvalue_paths(point, [variant], rates.tolist())[variant.name]
        draw_disk(right, found, variant.name, [int(np.argmin(np.abs(rates - lr)))])
        title = f"eigenvalues, lr {rates[0]:.2g} to {rates[-1]:.2g}; ring: {lr:.3g}"
        figures.label(right, x="real", y="imaginary", title=title)
    figures.legend_below(figure, middle)
    return figure


def matrix_figure(game: MatrixGame, name: str, run: Run, strategies: Array, of_average: Array) -> Figure:
    """Strategies of one replica `[T, n + m]`, and the exploitability of all, last and average `[R, T]`."""
    figure, (left, right) = figures.new_figure(columns=2, width=10.0, height=4.4)
    looks = figures.lines([f"action {action + 1}" for action in range(game.actions[0])])
    for action, curve in enumerate(strategies[:, : game.actions[0]].T):
        left.plot(
            run.steps, curve, **looks[f"action {action + 1}"], markevery=0.15, label=f"action {action + 1}"
        )
    for share in game.equilibrium.x:
        left.axhline(float(share), color="#222222", linestyle=":", linewidth=0.9)
    figures.label(left, x="step", y="probability, first player", title="one replica; dotted: equilibrium")
    figures.curves_with_intervals(right, run.steps, run.curves["exploitability"], name)
    right.plot(
        run.steps,
        np.median(of_average, axis=0),
        color="#000000",
        linestyle="--",
        label="average (median)",
    )
    figures.label(right, x="step", y="exploitability", log="y")
    figures.legend_below(figure)
    return figure
