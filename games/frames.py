"""A GAN's training, as a grid of frames with curves, and as an animation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab import figures
from core.lab.errors import VhatError
from core.lab.experiment import Array
from core.lab.random import Keys
from core.lab.run import Run
from games.gan import GAN
from games.samples import DrawSamples, draw_mass


def training_samples(problem: GAN, run: Run, keys: Keys, seeds: int = 2) -> tuple[Array, Array]:
    """What the first replicas generate at the recorded steps on held-out latents, `[seeds, T, n, dim]`, and
    the first one's mass a mode, `[T, K]`."""
    assert run.path is not None
    with torch.no_grad():
        samples = torch.stack(
            [problem.samples(torch.from_numpy(p).to(keys.device), keys) for p in np.swapaxes(run.path, 0, 1)]
        )
        mass = torch.stack([problem.data.mass(s)[0] for s in samples])
    return np.swapaxes(samples[:, :seeds].cpu().numpy(), 0, 1), mass.cpu().numpy()


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
    figures.label(right, title="mass a mode, seed 0 (black: twice its share)")
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
