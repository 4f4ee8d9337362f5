"""A small film for tests in a browser."""

from __future__ import annotations

import numpy as np

from core.lab import figures
from core.lab.films import Film, Trail
from core.lab.study import Results

FRAMES, FPS, STILL = 20, 10.0, 14


def draw_circle(_: Results) -> Film:
    """A path along a circle, with a step for each frame."""
    turn = np.exp(1j * np.linspace(0.0, 5.0, FRAMES))
    figure, (axes,) = figures.new_figure(width=5.0, height=4.0)
    trail = Trail.on(axes, np.stack([turn.real, turn.imag], axis=1), "Adam")
    axes.set_xlim(-1.2, 1.2)
    axes.set_ylim(-1.2, 1.2)

    def move(frame: int) -> str:
        trail.to(frame)
        return f"step {10 * frame}"

    return Film(figure, trail.artists, move, frames=FRAMES, fps=FPS, still=STILL)
