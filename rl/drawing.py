"""Pictures of classic tasks from what the agent sees: no simulator and no game library is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from rl.arrays import Floats

SIZE = (360, 240)
"""Width and height of a picture in pixels."""

_FINE = 3
"""Drawn so much larger, then shrunk: smooth edges."""

INK, _BODY, LIMB, GROUND, _GOAL = "#222222", "#31688e", "#c8553d", "#9a9a9a", "#3a9d5d"

Point = tuple[float, float]


class Canvas:
    """A white picture with the task's own coordinates, y upwards."""

    def __init__(self, centre: Point, width: float) -> None:
        """`width` units of the task fill the picture's width, around `centre`."""
        self._centre, self._scale = centre, SIZE[0] * _FINE / width
        self._image = Image.new("RGB", (SIZE[0] * _FINE, SIZE[1] * _FINE), "white")
        self._draw = ImageDraw.Draw(self._image)

    def _pixel(self, point: Point) -> Point:
        x, y = (a - c for a, c in zip(point, self._centre, strict=True))
        return SIZE[0] * _FINE / 2 + x * self._scale, SIZE[1] * _FINE / 2 - y * self._scale

    def line(self, points: Sequence[Point], colour: str, width: float) -> None:
        """A line of `width` pixels with round ends."""
        pixels = [self._pixel(p) for p in points]
        self._draw.line(pixels, colour, round(width * _FINE), joint="curve")
        for x, y in (pixels[0], pixels[-1]):
            r = width * _FINE / 2
            self._draw.ellipse((x - r, y - r, x + r, y + r), colour)

    def dot(self, point: Point, colour: str, radius: float) -> None:
        """A disc of `radius` pixels."""
        x, y = self._pixel(point)
        r = radius * _FINE
        self._draw.ellipse((x - r, y - r, x + r, y + r), colour)

    def box(self, centre: Point, width: float, height: float, colour: str) -> None:
        """A rectangle in the task's units."""
        left, top = self._pixel((centre[0] - width / 2, centre[1] + height / 2))
        right, bottom = self._pixel((centre[0] + width / 2, centre[1] - height / 2))
        self._draw.rectangle((left, top, right, bottom), colour)

    def picture(self) -> Image.Image:
        """What was drawn."""
        return self._image.resize(SIZE, Image.Resampling.LANCZOS)


TRACK: Sequence[tuple[Point, Point]] = (
    ((-2.8, 0.0), (2.8, 0.0)),
    *(((edge, -0.15), (edge, 0.15)) for edge in (-2.4, 2.4)),
)
"""CartPole's ground, and where it ends."""
CART = 0.6, 0.34
"""Width and height; the middle is on the ground."""


def pole(seen: Floats) -> tuple[Point, Point]:
    """Foot and tip of CartPole's pole, from place, speed, angle from upright and its speed `[4]`; the foot is
    above the middle of the cart.
    """
    place, _, angle, _ = (float(x) for x in seen)
    foot = CART[1] / 2
    return (place, foot), (place + float(np.sin(angle)), foot + float(np.cos(angle)))


def _cartpole(seen: Floats) -> Image.Image:
    foot, tip = pole(seen)
    canvas = Canvas((0.0, 0.55), 5.6)
    for line in TRACK:
        canvas.line(line, GROUND, 1.5)
    canvas.box((foot[0], 0.0), *CART, INK)
    canvas.line([foot, tip], LIMB, 8)
    canvas.dot(foot, _BODY, 4)
    return canvas.picture()


def _pendulum(seen: Floats) -> Image.Image:
    """Cosine and sine of the angle from upright, angular velocity."""
    cosine, sine, _ = (float(x) for x in seen)
    canvas = Canvas((0.0, 0.0), 4.0)
    canvas.line([(0.0, 0.0), (-sine, cosine)], LIMB, 12)
    canvas.dot((0.0, 0.0), INK, 4)
    return canvas.picture()


def _acrobot(seen: Floats) -> Image.Image:
    """Cosine and sine of the upper angle from hanging, and of the lower angle relative to it."""
    first, second = np.arctan2(seen[1], seen[0]), np.arctan2(seen[3], seen[2])
    elbow = (float(np.sin(first)), float(-np.cos(first)))
    tip = (elbow[0] + float(np.sin(first + second)), elbow[1] - float(np.cos(first + second)))
    canvas = Canvas((0.0, 0.0), 6.8)
    canvas.line([(-2.4, 1.0), (2.4, 1.0)], _GOAL, 1.5)
    canvas.line([(0.0, 0.0), elbow], _BODY, 8)
    canvas.line([elbow, tip], LIMB, 8)
    for joint in ((0.0, 0.0), elbow):
        canvas.dot(joint, INK, 4)
    return canvas.picture()


def _mountain_car(goal: float) -> Callable[[Floats], Image.Image]:
    def height(x: float) -> float:
        return float(np.sin(3 * x)) * 0.45 + 0.55

    def draw(seen: Floats) -> Image.Image:
        """Position, velocity."""
        place = float(seen[0])
        canvas = Canvas((-0.3, 0.6), 2.0)
        canvas.line([(x, height(x)) for x in np.linspace(-1.2, 0.6, 120).tolist()], GROUND, 2)
        canvas.line([(goal, height(goal)), (goal, height(goal) + 0.18)], INK, 1.5)
        canvas.box((goal + 0.04, height(goal) + 0.155), 0.08, 0.05, _GOAL)
        canvas.dot((place, height(place) + 0.045), LIMB, 8)
        return canvas.picture()

    return draw


PAINTERS: Mapping[str, Callable[[Floats], Image.Image]] = {
    "CartPole-v1": _cartpole,
    "Pendulum-v1": _pendulum,
    "Acrobot-v1": _acrobot,
    "MountainCar-v0": _mountain_car(0.5),
    "MountainCarContinuous-v0": _mountain_car(0.45),
}
"""From an observation `[O]` to a picture, by task."""
