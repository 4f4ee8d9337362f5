"""Films as a page shows them: a picture of what stands still, and path data of what moves, frame by frame.

Both are vectors: sharp on any screen and on paper, and a few tens of kilobytes. The page holds the still, so
that it shows without JavaScript; `player/player.js` puts other frames in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from core.lab.figures import save_svg, style
from core.lab.films import Film
from core.lab.report.recorder import FINE, Look, recorded

Parts = Mapping[tuple[int, Look], str]
"""Path data of one frame, by artist and look."""


@dataclass(frozen=True)
class Layer:
    """One look of one artist, as an SVG path.

    Attributes:
        look: see `Look`.
        still: its path data in the still.
        dash: as the SVG attribute.
        clip: which of the reel's clips, -1 for none.
    """

    look: Look
    still: str
    dash: str
    clip: int


@dataclass(frozen=True)
class Reel:
    """What the page is given.

    Attributes:
        width, height: of the drawing, in units of 1 / `FINE` points.
        layers: from back to front.
        clips: left, top, width and height of panels, in the same units.
        still: number of the frame that stands still.
        labels: what each frame shows.
        data: all frames, as JSON that is safe within HTML.
    """

    width: int
    height: int
    layers: tuple[Layer, ...]
    clips: tuple[tuple[int, int, int, int], ...]
    still: int
    labels: tuple[str, ...]
    data: Markup

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in points."""
        return self.width / FINE, self.height / FINE


@dataclass(frozen=True)
class Shown:
    """A film of a page: either a reel over the file of what stands still, or why there is none.

    Attributes:
        name, caption, alt: as in its `FilmSpec`.
        source: the file, from the report's folder.
        width, height: in CSS pixels.
        reel: what moves.
        problem: what went wrong.
    """

    name: str
    caption: str
    alt: str
    source: str
    width: int = 0
    height: int = 0
    reel: Reel | None = None
    problem: str = ""


def shoot(film: Film, ground: Path) -> Reel:
    """Draw a film: what stands still into the SVG file `ground`, what moves into the reel.

    Raises:
        VhatError: if text or an image moves.
        OSError: if the file cannot be written.
    """
    figure = film.figure
    with style():
        # What stands still is drawn first, and panels keep their places from then on.
        for artist in film.moving:
            artist.set_visible(False)
        figure.set_dpi(72)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        ground.parent.mkdir(parents=True, exist_ok=True)
        save_svg(figure, ground, whole=True)
        for artist in film.moving:
            artist.set_visible(True)
        width, height = (72.0 * float(inches) for inches in figure.get_size_inches())
        labels: list[str] = []
        frames: list[dict[tuple[int, Look], str]] = []
        for number in range(film.frames):
            labels.append(film.move(number))
            drawn = recorded(film.moving, width, height)
            frames.append(_parts(drawn))
    return _reel(film, frames, labels, round(FINE * width), round(FINE * height))


def _parts(drawn: Sequence[Sequence[tuple[Look, str]]]) -> dict[tuple[int, Look], str]:
    found: dict[tuple[int, Look], str] = {}
    for artist, pieces in enumerate(drawn):
        for look, data in pieces:
            found[artist, look] = found.get((artist, look), "") + data
    return found


def _reel(film: Film, frames: Sequence[Parts], labels: Sequence[str], width: int, height: int) -> Reel:
    still = film.still % film.frames
    # Artists in order, the looks of one in the order in which they first appear.
    slots = sorted(dict.fromkeys(slot for frame in frames for slot in frame), key=lambda slot: slot[0])
    clips = tuple(dict.fromkeys(look.clip for _, look in slots if look.clip is not None))
    layers = tuple(
        Layer(
            look=look,
            still=frames[still].get((artist, look), ""),
            dash=" ".join(map(str, look.dash)),
            clip=-1 if look.clip is None else clips.index(look.clip),
        )
        for artist, look in slots
    )
    # A trail that grows is held once, with its length in each frame.
    longest = [max((frame.get(slot, "") for frame in frames), key=len) for slot in slots]
    moves = [
        [_part(frame.get(slot, ""), whole) for slot, whole in zip(slots, longest, strict=True)]
        for frame in frames
    ]
    data = {"fps": film.fps, "still": still, "labels": list(labels), "longest": longest, "moves": moves}
    return Reel(
        width, height, layers, clips, still, tuple(labels), htmlsafe_json_dumps(data, separators=(",", ":"))
    )


def _part(data: str, whole: str) -> int | str:
    """As a length where the data is a beginning of the whole, else itself."""
    return len(data) if whole.startswith(data) else data
