"""A matplotlib renderer that writes down lines and areas as SVG path data, to be shown frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backend_bases import GraphicsContextBase, RendererBase
from matplotlib.colors import to_hex
from matplotlib.path import Path

from core.lab.errors import VhatError
from core.lab.experiment import Array

FINE = 10
"""Path data counts tenths of a point, in whole numbers."""
_FAR = 10**6
"""Farther outside nothing is drawn."""


@dataclass(frozen=True)
class Look:
    """How a path is drawn; lengths in units of 1 / `FINE` points.

    Attributes:
        stroke, fill: `#rrggbb`, or `none`.
        stroke_opacity, fill_opacity: 0 to 1.
        width: of the stroke.
        dash: lengths on and off; empty for a full line.
        cap, join: as in SVG.
        clip: left, top, width and height outside which nothing shows, or None.
    """

    stroke: str
    stroke_opacity: float
    width: int
    dash: tuple[int, ...]
    cap: str
    join: str
    fill: str
    fill_opacity: float
    clip: tuple[int, int, int, int] | None


class Recorder(RendererBase):
    """Writes down what an artist draws on a figure of `width` x `height` points at 72 dots an inch.

    Attributes:
        drawn: looks and path data, in the order of drawing; neighbours of the same look are joined.
    """

    def __init__(self, width: float, height: float) -> None:
        super().__init__()
        self.width, self.height = width, height
        self.drawn: list[tuple[Look, str]] = []

    def get_canvas_width_height(self) -> tuple[float, float]:
        """In points."""
        return self.width, self.height

    def draw_path(
        self,
        gc: GraphicsContextBase,
        path: Path,
        transform: Any,
        rgbFace: Any = None,
    ) -> None:
        """A line or an area."""
        data = path_data(path.cleaned(transform=transform, remove_nans=True), self.height)
        if not data:
            return
        look = self._look(gc, rgbFace)
        if self.drawn and self.drawn[-1][0] == look:
            data = self.drawn.pop()[1] + data
        self.drawn.append((look, data))

    def draw_text(self, *_: object, **__: object) -> None:
        """Refused.

        Raises:
            VhatError: always.
        """
        raise VhatError("text in a film stands still; say what changes in the words that `move` returns")

    def draw_image(self, *_: object, **__: object) -> None:
        """Refused.

        Raises:
            VhatError: always.
        """
        raise VhatError("images in a film stand still; only lines and areas move")

    def _look(self, gc: GraphicsContextBase, face: Any) -> Look:
        red, green, blue, opacity = gc.get_rgb()
        seen = gc.get_linewidth() > 0 and opacity > 0
        alpha = 0.0 if face is None else gc.get_alpha() if gc.get_forced_alpha() else ([*face, 1.0])[3]
        filled = alpha > 0
        offset, dashes = gc.get_dashes()
        if offset:
            raise VhatError("a moving line's dashes begin at its start; leave out their offset")
        box = gc.get_clip_rectangle()
        return Look(
            stroke=to_hex((red, green, blue)) if seen else "none",
            stroke_opacity=round(float(opacity), 3),
            width=round(FINE * gc.get_linewidth()) if seen else 0,
            dash=tuple(np.rint(FINE * np.asarray(dashes)).astype(int).tolist()) if dashes and seen else (),
            cap={"projecting": "square"}.get(gc.get_capstyle(), gc.get_capstyle()),
            join=gc.get_joinstyle(),
            fill=to_hex(face[:3]) if filled else "none",
            fill_opacity=round(float(alpha), 3),
            clip=None
            if box is None
            else (
                round(FINE * box.x0),
                round(FINE * (self.height - box.y1)),
                round(FINE * box.width),
                round(FINE * box.height),
            ),
        )


def path_data(path: Path, height: float) -> str:
    """A path of straight pieces as SVG path data, y downwards: relative, so that numbers are short.

    A path that goes on where another ends begins with the other's data.
    """
    corners, codes = np.asarray(path.vertices), np.asarray(path.codes)
    points: Array = np.column_stack([corners[:, 0], height - corners[:, 1]])
    whole = np.clip(np.rint(FINE * points), -_FAR, _FAR).astype(np.int64).tolist()
    parts: list[str] = []
    x = y = 0
    first = (0, 0)
    for (to_x, to_y), code in zip(whole, codes.tolist(), strict=True):
        if code == Path.MOVETO:
            parts.append(f"M{to_x} {to_y}")
            x, y = first = to_x, to_y
        elif code == Path.LINETO:
            parts.append(f"l{to_x - x} {to_y - y}" if (to_x, to_y) != (x, y) else "h0")
            x, y = to_x, to_y
        elif code == Path.CLOSEPOLY:
            parts.append("Z")
            x, y = first
    return "".join(parts) if any(p[0] in "lh" for p in parts) else ""


def recorded(artists: Sequence[Artist], width: float, height: float) -> list[list[tuple[Look, str]]]:
    """What each artist draws now."""
    found = []
    for artist in artists:
        recorder = Recorder(width, height)
        artist.draw(recorder)
        found.append(recorder.drawn)
    return found
