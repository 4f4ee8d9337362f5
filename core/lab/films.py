"""Moving pictures: a figure that stands still, and the parts of it that move.

A study's `draw` function for a film builds its figure as for any other picture, adds the artists that move,
and says where they are in each frame:

    def film_paths(results: Results) -> Film:
        run = results.sweep("tuned").run("axis-aligned", "Adam")
        figure, (axes,) = figures.new_figure()
        trail = Trail.on(axes, run.path[0], "Adam")

        def move(frame: int) -> str:
            trail.to(frame)
            return f"step {run.steps[frame]}"

        return Film(figure, trail.artists, move, frames=len(run.steps))

Whatever matplotlib draws with lines and areas can move: `Line2D`, patches, collections. Moving text and
images are refused; what a frame shows is said in words by `move`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from core.lab.errors import VhatError
from core.lab.experiment import Array
from core.lab.figures.palette import Line, line
from core.lab.figures.style import INK, style

if TYPE_CHECKING:
    from core.lab.study import Results

_FAINT = 0.35
LONGEST = 5.0
"""Seconds that a film may last: what starts by itself and stops by itself within them needs nobody to stop it
(WCAG 2.2, success criterion 2.2.2)."""


@dataclass(frozen=True)
class Film:
    """A film of at most `LONGEST` seconds.

    Attributes:
        figure: everything that stands still, and the artists that move.
        moving: those artists, in the order in which they are drawn above the rest.
        move: puts them where they are in a frame, and says in a few words what it shows: "step 120".
        frames: how many there are.
        fps: frames a second.
        still: the frame that is shown before anything moves, and in print; negative numbers count from the
            end.

    Raises:
        VhatError: for a film without frames, for one that is too long, and for a still that it does not have.
    """

    figure: Figure
    moving: Sequence[Artist]
    move: Callable[[int], str]
    frames: int
    fps: float = 10.0
    still: int = -1

    def __post_init__(self) -> None:
        if self.frames < 1 or not self.fps > 0:
            raise VhatError(
                f"a film has at least one frame and plays, got {self.frames} at {self.fps} a second"
            )
        if self.frames > LONGEST * self.fps:
            raise VhatError(
                f"a film lasts {LONGEST:g} seconds at most, and {self.frames} frames at {self.fps:g} a "
                "second last longer: leave some out"
            )
        if not -self.frames <= self.still < self.frames:
            raise VhatError(f"a film of {self.frames} frames has no frame {self.still} to stand still at")


@dataclass(frozen=True)
class FilmSpec:
    """A film of a study's page.

    Attributes:
        name: file name without a suffix.
        caption: what the reader sees move, and what it shows.
        alt: what the still shows and what then happens, for those who do not see it.
        draw: from stored results to a film.
    """

    name: str
    caption: str
    alt: str
    draw: Callable[[Results], Film]


@dataclass(frozen=True)
class Trail:
    """The way of a point through a panel, up to some time, with a mark where it is.

    Attributes:
        path: `[T, 2]`; it ends before the first row that is not finite.
        way, head: what is drawn.
        tail: the last `fresh` pieces of the way once more, which then is faint; None if it is not.
    """

    path: Array
    way: Line2D
    head: Line2D
    tail: Line2D | None = None
    fresh: int = 0

    @classmethod
    def on(
        cls,
        axes: Axes,
        path: Array,
        name: str,
        *,
        legend: str = "",
        look: Line | None = None,
        start: bool = True,
        fresh: int = 0,
    ) -> Trail:
        """In the look of the variant `name`.

        Args:
            path: `[T, 2]`, at least the first row finite.
            legend: the name in the legend; none if empty.
            look: another look than the variant's.
            start: whether an open circle stands at the first point.
            fresh: of a way that crosses itself often, how many of the last pieces stand out; 0 for all.
        """
        path = np.asarray(path, dtype=np.float64)
        broken = np.flatnonzero(~np.isfinite(path).all(axis=1))
        path = path[: broken[0]] if len(broken) else path
        look = look or line(name)
        with style():
            if start:
                axes.plot(*path[0], marker="o", markersize=6, markerfacecolor="white", color=INK, zorder=1)
            drawn: dict[str, Any] = {"color": look["color"], "linestyle": look["linestyle"]}
            (way,) = axes.plot(
                [], [], **drawn, linewidth=1.4, label=legend or None, alpha=_FAINT if fresh else None
            )
            tail = axes.plot([], [], **drawn, linewidth=1.8)[0] if fresh else None
            (head,) = axes.plot([], [], color=look["color"], marker=look["marker"], markersize=7, mew=1.6)
        return cls(path, way, head, tail, fresh)

    def to(self, time: int) -> None:
        """Up to row `time` of the path, or to its end where it is shorter."""
        last = min(time, len(self.path) - 1)
        self.way.set_data(self.path[: last + 1].T)
        self.head.set_data(self.path[last : last + 1].T)
        if self.tail is not None:
            self.tail.set_data(self.path[max(0, last - self.fresh) : last + 1].T)

    @property
    def artists(self) -> tuple[Artist, ...]:
        """What moves."""
        return tuple(x for x in (self.way, self.tail, self.head) if x is not None)


def every(steps: int, frames: int) -> list[int]:
    """At most `frames` + 1 steps from 0 to `steps`, as even as whole numbers go, both ends among them."""
    count = min(steps, frames)
    return [math.ceil(steps * i / count) for i in range(count + 1)] if count else [0]
