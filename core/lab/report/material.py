"""What a study's page shows besides its prose: figures, films and tables."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure

from core.lab.errors import VhatError
from core.lab.figures import save_svg, style
from core.lab.figures.remembered import remembered
from core.lab.figures.words import words_of
from core.lab.films import FilmSpec
from core.lab.report import films
from core.lab.report.entry import Entry, Provenance
from core.lab.report.generic import generic_figures
from core.lab.report.pages import Drawn
from core.lab.report.variants import tried_tables
from core.lab.study import FigureSpec, Part, Plan, Results, Table
from core.lab.verdict import Verdict

FIGURES = "figures"
"""The report's folder of files that are drawn, one folder a study."""
_CSS_PIXELS_PER_INCH = 112  # a little larger on screen than on paper
_MANY = 1_500_000
T = TypeVar("T")


@dataclass(frozen=True)
class Material:
    """Plain data, so that it crosses the border between processes.

    Attributes:
        plan, verdict, provenance: None for a study that has not been run.
        figures: with the part of the page that each belongs to; the first is the main one.
        films: moving pictures.
        tables: the study's own.
        tried: variants and cells.
        problems: a line for each thing that could not be made.
    """

    plan: Plan | None = None
    verdict: Verdict | None = None
    provenance: Provenance | None = None
    figures: tuple[tuple[Part, Drawn], ...] = ()
    films: tuple[films.Shown, ...] = ()
    tables: tuple[Table, ...] = ()
    tried: tuple[Table, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def main(self) -> Drawn | None:
        """The main figure; None where there is none, or where it could not be drawn."""
        first = self.figures[0][1] if self.figures else None
        return first if first and first.source else None


class Draughtsman:
    """Draws into the report's folder, and keeps a list of what went wrong."""

    def __init__(self, root: Path, where: str) -> None:
        self.root = root
        self.where = where
        self.problems: list[str] = []

    def attempt(self, what: str, make: Callable[[], T]) -> T | None:
        """What `make` gives; None, and a line among the problems, if it fails in any way."""
        try:
            return make()
        except Exception as error:
            # A study's own code, perhaps somebody else's: whatever it raises, the other pages are written.
            reason = str(VhatError(str(error)))
            self.problems.append(f"{self.where}: {what} failed: {type(error).__name__}: {reason}")
            return None

    def figure(self, planned: Drawn, draw: Callable[[], Figure]) -> Drawn:
        """A figure in its file, or why there is none."""
        path = self.root / planned.source

        def make() -> tuple[tuple[float, float], Figure]:
            # What is too large for a float is drawn as what it becomes: infinite.
            with style(), remembered(), np.errstate(over="ignore"):
                figure = draw()
                path.parent.mkdir(parents=True, exist_ok=True)
                save_svg(figure, path)
            return _size_of(path), figure

        made = self.attempt(f"figure {planned.name!r}", make)
        if made is None:
            path.unlink(missing_ok=True)
            return replace(planned, source="", problem=self.problems[-1])
        (width, height), figure = made
        # Apart: a figure that was drawn is shown, whatever its words come to.
        words = self.attempt(f"figure {planned.name!r} in numbers", lambda: words_of(figure))
        return replace(planned, width=_pixels(width), height=_pixels(height), words=words or ())

    def film(self, planned: films.Shown, shoot: Callable[[Path], films.Reel]) -> films.Shown:
        """A film, or why there is none."""
        path = self.root / planned.source

        def make() -> films.Reel:
            with style():
                return shoot(path)

        reel = self.attempt(f"film {planned.name!r}", make)
        if reel is None:
            path.unlink(missing_ok=True)
            return replace(planned, source="", problem=self.problems[-1])
        width, height = map(_pixels, reel.size)
        return replace(planned, width=width, height=height, reel=reel)


def _pixels(points: float) -> int:
    return round(points / 72 * _CSS_PIXELS_PER_INCH)


def _size_of(path: Path) -> tuple[float, float]:
    """Width and height of an SVG file, in points."""
    with path.open(encoding="utf-8") as file:
        box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', file.read(4000))
    if box is None:
        raise ValueError(f"{path.name} has no size")
    return float(box[1]), float(box[2])


@contextmanager
def undisturbed() -> Iterator[None]:
    """No search for dead objects inside but by `swept`, and one afterwards, among those born inside: a figure
    is full of cycles, and to look through all objects again and again takes an eighth of the time to draw.
    So it is in processes that are forked inside."""
    searching = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        if searching:
            gc.enable()
            gc.collect()
        gc.unfreeze()


def swept() -> None:
    """Remove dead objects where they have become many: those of some twenty studies, a quarter of a GiB."""
    if gc.get_count()[0] > _MANY:
        gc.collect()


def material_of(entry: Entry, root: Path) -> Material:
    """Draw all that an entry needs into the report's folder."""
    if entry.results is None:
        return Material()
    study, results = entry.study, entry.results
    by = Draughtsman(root, f"study {study.id!r}")
    specs = (*study.figures, *(by.attempt("learning curves", lambda: generic_figures(study, results)) or ()))
    drawn = tuple((spec.part, _figure(by, study.id, spec, results)) for spec in specs)
    moving = tuple(_film(by, study.id, spec, results) for spec in study.films)
    return Material(
        results.plan,
        entry.verdict,
        entry.provenance,
        drawn,
        moving,
        by.attempt("tables", lambda: study.tables(results)) or (),
        by.attempt("table of variants", lambda: tried_tables(results)) or (),
        tuple(by.problems),
    )


def _figure(by: Draughtsman, study: str, spec: FigureSpec, results: Results) -> Drawn:
    planned = Drawn(spec.name, spec.caption, spec.alt, f"{FIGURES}/{study}/{spec.name}.svg")
    return by.figure(planned, lambda: spec.draw(results))


def _film(by: Draughtsman, study: str, spec: FilmSpec, results: Results) -> films.Shown:
    planned = films.Shown(spec.name, spec.caption, spec.alt, f"{FIGURES}/{study}/film-{spec.name}.svg")
    return by.film(planned, lambda path: films.shoot(spec.draw(results), path))
