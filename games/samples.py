"""Panels that show what a generator makes: points over the modes, images, and mass a mode over training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from core.lab import figures
from core.lab.experiment import Array
from games.mixtures import Mixture

DrawSamples = Callable[[Axes, Array], None]
"""Draws samples `[n, dim]` of one replica at one time."""


def draw_points(axes: Axes, samples: Array, law: Mixture, name: str, most: int | None = None) -> PathPatch:
    """Points `[n, 2]` in a variant's colour, over circles of three standard deviations around each mode.

    Args:
        most: how many points are drawn; None for all. Many panels of all would be too large for a page.

    Returns:
        The points, to be moved by `move_points`.
    """
    rings = _rings(law.modes.numpy(), 3.0 * law.std)
    axes.add_patch(PathPatch(rings, edgecolor="#9a9a9a", fill=False, linewidth=0.9))
    reach = 1.5 * law.radius
    shade = figures.colour(name)
    dots = PathPatch(
        _dots(_shown(samples, law, most)),
        edgecolor=shade,
        fill=False,
        linewidth=2.0,
        capstyle="round",
        snap=False,
    )
    axes.add_patch(dots)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    return dots


def move_points(dots: PathPatch, samples: Array, law: Mixture, most: int | None = None) -> None:
    """Put the points of `draw_points` elsewhere: at samples `[n, 2]`."""
    dots.set_path(_dots(_shown(samples, law, most)))


def _shown(samples: Array, law: Mixture, most: int | None) -> Array:
    """The first of the samples that lie within the panel."""
    return samples[(np.abs(samples) < 1.5 * law.radius).all(axis=1)][:most]


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
    modes = mass.shape[1]
    axes.imshow(
        mass.T * modes,
        aspect="auto",
        cmap="Greys",
        vmin=0.0,
        vmax=2.0,
        interpolation="nearest",
        extent=(float(steps[0]), float(steps[-1]), modes - 0.5, -0.5),
    )
    axes.grid(visible=False)
    axes.set_yticks(range(0, modes, max(1, modes // 8)))
    figures.label(axes, x="step")


def _dots(points: Array) -> Path:
    """One path that, drawn with round ends, shows a dot at each point `[n, 2]`: a small file, as markers are
    not."""
    ends = np.repeat(np.round(points, 3), 2, axis=0)
    ends[1::2, 0] += 1e-3
    path = Path(ends, np.tile([Path.MOVETO, Path.LINETO], len(points)))
    path.should_simplify = False
    return path


def _rings(centres: Array, radius: float, corners: int = 18) -> Path:
    """Circles around points `[K, 2]` as polygons of one path."""
    turn = np.linspace(0.0, 2.0 * np.pi, corners + 1)
    around = radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    codes = np.full(corners + 1, Path.LINETO)
    codes[0] = Path.MOVETO
    vertices = (centres[:, None] + around).reshape(-1, 2)
    path = Path(vertices, np.tile(codes, len(centres)))
    path.should_simplify = False
    return path
