"""A GAN's samples over training, as an animation, as frames, and as mass a mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from core.lab import figures
from core.lab.errors import VhatError
from core.lab.experiment import Array
from core.lab.run import Run
from games.mixtures import Mixture

DrawSamples = Callable[[Axes, Array], None]
"""Draws samples `[n, dim]` of one replica at one time."""


def draw_points(axes: Axes, samples: Array, law: Mixture, name: str) -> None:
    """Points `[n, 2]` in a variant's colour, over circles of three standard deviations around each mode."""
    for x, y in law.modes.tolist():
        axes.add_patch(Circle((x, y), 3.0 * law.std, fill=False, color="#9a9a9a", linewidth=0.9))
    axes.scatter(samples[:, 0], samples[:, 1], s=2.5, color=figures.colour(name), linewidths=0.0)
    reach = 1.5 * law.radius
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])


def draw_images(axes: Axes, samples: Array, side: int = 5) -> None:
    """The first `side` x `side` of images `[n, 64]` in [-1, 1], as a mosaic."""
    shown = samples[: side * side].reshape(side, side, 8, 8)
    mosaic = np.full((side * 9 - 1, side * 9 - 1), -0.4)
    for row in range(side):
        for column in range(side):
            mosaic[row * 9 : row * 9 + 8, column * 9 : column * 9 + 8] = shown[row, column]
    axes.imshow(mosaic, cmap="gray_r", vmin=-1.0, vmax=1.0, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)


def draw_mass(axes: Axes, steps: Array, mass: Array) -> None:
    """The share of samples in each mode, `[T, K]`, over training: a band a mode, dark where it is full.

    Twice a mode's fair share is black.
    """
    fair = 1.0 / mass.shape[1]
    axes.imshow(
        mass.T / fair,
        aspect="auto",
        cmap="Greys",
        vmin=0.0,
        vmax=2.0,
        interpolation="nearest",
        extent=(float(steps[0]), float(steps[-1]), mass.shape[1] - 0.5, -0.5),
    )
    axes.grid(visible=False)
    figures.label(axes, x="step", y="mode")


def training_figure(
    run: Run, points: Array, mass: Array, shown: Sequence[int], draw: DrawSamples, name: str
) -> Figure:
    """Two rows of frames, and a row of curves.

    Args:
        run: with the curve `modes`.
        points: samples of two replicas at the recorded steps, `[2, T, n, dim]`.
        mass: of the first, `[T, K]`.
        shown: which recorded steps have a frame.
        draw: see `DrawSamples`.
        name: of the variant.
    """
    count = len(shown)
    figure, panels = figures.new_figure(rows=3, columns=count, width=1.9 * count, height=6.4)
    for column, index in enumerate(shown):
        for row in range(2):
            draw(panels[row * count + column], points[row, index])
        figures.label(panels[column], title=f"step {run.steps[index]}")
    for row in range(2):
        figures.label(panels[row * count], y=f"seed {row}")
    grid = panels[2 * count].get_gridspec()
    for axes in panels[2 * count :]:
        axes.remove()
    assert grid is not None
    with figures.style():
        left, right = (
            figure.add_subplot(grid[2, part]) for part in (np.s_[: count // 2], np.s_[count // 2 :])
        )
    figures.curves_with_intervals(left, run.steps, run.curves["modes"], name, "mean", higher=True)
    figures.label(left, x="step", y="modes covered")
    draw_mass(right, run.steps, mass)
    return figure


def animate(path: Path, samples: Array, steps: Array, draw: DrawSamples, title: str) -> None:
    """Write samples `[T, n, dim]` as an animated GIF, a frame a time.

    Raises:
        VhatError: for a path that cannot be written, or is no GIF.
    """
    if path.suffix != ".gif":
        raise VhatError(f"an animation is a .gif file, got {path}")
    figure, (axes,) = figures.new_figure(width=4.0, height=4.2)

    def frame(number: int) -> list[Axes]:
        axes.clear()
        draw(axes, samples[number])
        figures.label(axes, title=f"{title}, step {int(steps[number])}")
        return [axes]

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        FuncAnimation(figure, frame, frames=len(samples)).save(path, writer=PillowWriter(fps=6))
    except OSError as error:
        raise VhatError(f"cannot write {path}: {error.strerror}; choose another --animation") from error
