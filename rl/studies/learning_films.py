"""The film of the study `learning-curves`: a cart and its pole, before and after training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from core.lab import figures
from core.lab.experiment import Array
from core.lab.films import Film
from core.lab.study import Results
from rl.drawing import CART, GROUND, INK, LIMB, TRACK, pole

EVERY = 4
"""Steps of 0.02 s between two frames."""
FRAMES = 60
_FPS = 12.5


class Scene:
    """One episode in a panel: `seen` `[T, 4]` are place, speed, angle from upright and its speed."""

    def __init__(self, axes: Axes, seen: Array, colour: str) -> None:
        self.seen = seen[np.isfinite(seen).all(axis=1)]
        for line in TRACK:
            axes.plot(*zip(*line, strict=True), color=GROUND, linewidth=1.2, zorder=0)
        self.cart = Rectangle((0.0, -CART[1] / 2), *CART, facecolor=INK)
        axes.add_patch(self.cart)
        (self.pole,) = axes.plot([], [], color=colour, linewidth=6.0, solid_capstyle="round")
        (self.fallen,) = axes.plot([], [], color=LIMB, marker="x", markersize=11, mew=2.2, linestyle="")
        axes.set_xlim(-2.8, 2.8)
        axes.set_ylim(-0.45, 1.45)
        axes.set_aspect("equal")
        axes.axis("off")

    def to(self, step: int, horizon: int) -> str:
        """The scene at a step, or at its end; how long it has lasted, in words."""
        last = min(step, len(self.seen) - 1)
        foot, tip = pole(self.seen[last])
        place = foot[0]
        self.cart.set_x(place - CART[0] / 2)
        self.pole.set_data([place, tip[0]], [foot[1], tip[1]])
        over = step >= len(self.seen) and len(self.seen) < horizon
        self.fallen.set_data(*([[place], [1.3]] if over else [[], []]))
        return f"over after {len(self.seen)}" if over else "up"

    @property
    def artists(self) -> Sequence[Artist]:
        """What moves."""
        return self.cart, self.pole, self.fallen


def film_episodes(results: Results) -> Film:
    """A panel a policy."""
    found = results.measurement("episodes")
    figure, panels = figures.new_figure(columns=len(found.cells), width=9.6, height=2.0)
    scenes: list[Scene] = []
    for axes, (cell, arrays) in zip(panels, found, strict=True):
        name, seen = str(cell["variant"]), arrays["seen"][0]
        trained = cell["updates"] > 0
        scenes.append(Scene(axes, seen, figures.colour(name) if trained else "#6b6b6b"))
        title = f"{name}, {cell['updates']} updates" if trained else "before training"
        figures.label(axes, title=f"{title}\nreturn {len(scenes[-1].seen)} of {len(seen)}")
    horizon = len(seen)
    longest = max(len(scene.seen) for scene in scenes)
    frames = min(FRAMES, 1 + -(-longest // EVERY))

    def move(frame: int) -> str:
        step = EVERY * frame
        said = [scene.to(step, horizon) for scene in scenes]
        return f"step {step}: {', '.join(said)}"

    return Film(
        figure,
        [a for s in scenes for a in s.artists],
        move,
        frames=frames,
        fps=_FPS,
        still=min(12, frames - 1),
    )
