"""The film of the study `gan`: what generators make over training."""

from __future__ import annotations

from core.lab import figures
from core.lab.films import Film
from core.lab.study import Results
from games.mixtures import Mixture
from games.samples import draw_points, move_points
from games.studies.gan_figures import POINTS


def film_samples(results: Results) -> Film:
    """A panel a variant."""
    found = results.measurement("frames")
    data = Mixture("ring8", radius=2.0, std=0.1)
    figure, panels = figures.new_figure(columns=len(found.cells), width=9.6, height=2.75)
    points = []
    for axes, (cell, arrays) in zip(panels, found, strict=True):
        name, samples = str(cell["variant"]), arrays["samples"][0]
        points.append((draw_points(axes, samples[-1], data, name, POINTS), samples))
        figures.label(axes, title=f"{name}, lr {cell['lr']:.2g}")
    steps = found.arrays[0]["step"][0]

    def move(frame: int) -> str:
        for dots, samples in points:
            move_points(dots, samples[frame], data, POINTS)
        return f"step {steps[frame]}"

    return Film(figure, [dots for dots, _ in points], move, frames=len(steps), fps=8.0)
