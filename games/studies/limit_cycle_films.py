"""The film of the study `limit-cycle`: from inside and outside onto the cycle, into the middle, away."""

from __future__ import annotations

import numpy as np

from core.lab import figures
from core.lab.films import Film, Trail, every
from core.lab.study import Results
from games.studies.limit_cycle_figures import draw_ground


def film_cycle(results: Results) -> Film:
    """Two paths a method, step by step."""
    found = results.measurement("portrait")
    figure, panels = figures.new_figure(columns=len(found.cells), width=9.6, height=3.3)
    trails: list[Trail] = []
    for axes, (cell, arrays) in zip(panels, found, strict=True):
        name, paths = str(cell["variant"]), arrays["path"][0]
        draw_ground(axes, name, 1.05 * float(np.abs(paths).max()), count=9)
        axes.grid(False)
        look: figures.Line = {**figures.line(name), "linestyle": "-"}
        trails += [Trail.on(axes, path, name, look=look, fresh=30) for path in paths]
    times = every(max(len(t.path) for t in trails) - 1, 48)
    steps = max(int(cell["steps"]) for cell in found.cells)

    def move(frame: int) -> str:
        for trail in trails:
            trail.to(times[frame])
        return f"step {round(steps * times[frame] / max(times))}"

    return Film(figure, [a for t in trails for a in t.artists], move, frames=len(times))
