"""Films as a player would draw them: the path data of frames, read back in an axes' data."""

from __future__ import annotations

import json
import re

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab.experiment import Array
from core.lab.report.films import Reel
from core.lab.report.recorder import FINE


def decoded(data: str) -> list[Array]:
    """The pieces of SVG path data, each `[n, 2]` in the drawing's units."""
    pieces: list[list[tuple[int, int]]] = []
    for letter, text in re.findall(r"([MlhZ])([^MlhZ]*)", data):
        numbers = [int(x) for x in text.split()]
        if letter == "M":
            pieces.append([(numbers[0], numbers[1])])
        elif letter == "l":
            x, y = pieces[-1][-1]
            pieces[-1].append((x + numbers[0], y + numbers[1]))
        elif letter == "h":
            pieces[-1].append(pieces[-1][-1])
        else:
            pieces[-1].append(pieces[-1][0])
    return [np.array(piece) for piece in pieces]


def frame(reel: Reel, number: int) -> list[str]:
    """Path data of every layer, as the player puts it together."""
    film = json.loads(reel.data)
    return [
        whole[:part] if isinstance(part, int) else part
        for whole, part in zip(film["longest"], film["moves"][number], strict=True)
    ]


def in_data(figure: Figure, axes: Axes, points: Array) -> Array:
    """From the drawing's units to an axes' data."""
    height = 72 * figure.get_figheight()
    pixels = np.stack([points[:, 0] / FINE, height - points[:, 1] / FINE], axis=1)
    return np.asarray(axes.transData.inverted().transform(pixels))


def near(axes: Axes) -> float:
    """What a twentieth of a point may be in data, generously."""
    (x, y) = axes.transData.inverted().transform([[0.0, 0.0], [0.2, 0.2]])
    return float(np.abs(y - x).max())


def spiral(turns: float, count: int = 60, growth: float = 1.0) -> Array:
    phase = np.linspace(0.0, 2 * np.pi * turns, count)
    return np.stack([np.cos(phase), np.sin(phase)], axis=1) * growth ** np.arange(count)[:, None]
