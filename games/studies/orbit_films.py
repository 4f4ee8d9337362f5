"""The film of the study `orbits`: paths on xy, side by side in time."""

from __future__ import annotations

import numpy as np

from core.lab import figures
from core.lab.films import Film, Trail, every
from core.lab.study import Results
from games.bilinear import BilinearGame
from games.portrait import arrows

_REACH = 3.0


def film_orbits(results: Results) -> Film:
    """A panel a method, and one of all distances."""
    found = results.measurement("film")
    figure, panels = figures.new_figure(rows=2, columns=3, width=9.0, height=6.2)
    trails: list[Trail] = []
    *planes, last = panels
    for axes, (cell, arrays) in zip(planes, found, strict=True):
        name, path = str(cell["variant"]), arrays["path"][0]
        arrows(axes, BilinearGame().mean_field, _REACH, count=9)
        axes.grid(False)
        trails.append(Trail.on(axes, path, name))
        distance = np.linalg.norm(path, axis=1)
        curve = np.stack([np.arange(len(path)), distance], axis=1)
        trails.append(Trail.on(last, curve, name, start=False))
        figures.label(axes, x="x (descends)", y="y (ascends)", title=f"{name}, lr {cell['lr']:g}")
        axes.label_outer()
    steps = every(len(path) - 1, 40)
    last.set_xlim(0.0, 1.04 * steps[-1])
    last.set_ylim(0.2, 1.12 * max(t.path[:, 1].max() for t in trails[1::2]))
    figures.label(last, x="step", title="distance from the equilibrium", log="y")

    def move(frame: int) -> str:
        for trail in trails:
            trail.to(steps[frame])
        return f"step {steps[frame]}"

    return Film(figure, [a for t in trails for a in t.artists], move, frames=len(steps))
