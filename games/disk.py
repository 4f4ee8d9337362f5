"""Eigenvalues of a method's round in the unit disk, and how they move as the learning rate grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from core.lab import figures
from core.lab.experiment import Array
from core.lab.variant import Variant
from games.spectrum import Point, spectra


def eigenvalue_paths(
    point: Point, variants: Sequence[Variant], rates: Sequence[float]
) -> Mapping[str, Array]:
    """Eigenvalues of each variant's round, or period of rounds, by its name: complex `[L, N]`."""
    return {variant.name: spectra(point, variant, rates) for variant in variants}


def draw_disk(axes: Axes, eigenvalues: Array, name: str, marked: Sequence[int] = ()) -> None:
    """Eigenvalues `[L, N]` for growing learning rates as dots that grow with the rate; those of the rates at
    the places `marked` are ringed. Inside the circle a distance shrinks."""
    turn = np.linspace(0.0, 2.0 * np.pi, 200)
    axes.plot(np.cos(turn), np.sin(turn), color="#222222", linewidth=1.0)
    axes.axhline(0.0, color="#d9d9d9", linewidth=0.7, zorder=0)
    axes.axvline(0.0, color="#d9d9d9", linewidth=0.7, zorder=0)
    sizes = np.repeat(np.linspace(3.0, 26.0, len(eigenvalues)), eigenvalues.shape[1])
    points = eigenvalues.reshape(-1)
    axes.scatter(
        points.real, points.imag, s=sizes, color=figures.colour(name), alpha=0.75, linewidths=0.0, zorder=3
    )
    for place in marked:
        ringed = eigenvalues[place]
        axes.scatter(ringed.real, ringed.imag, s=70.0, facecolors="none", edgecolors="#000000", zorder=4)
    axes.set_xlim(-1.6, 1.6)
    axes.set_ylim(-1.6, 1.6)
    axes.set_aspect("equal")
