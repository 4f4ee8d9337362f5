"""Writes the report beside its place first, then moves it there whole: nobody reads half of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import jinja2
from matplotlib.figure import Figure

from core.lab.benchmark import Benchmark
from core.lab.errors import VhatError
from core.lab.figures import save_svg, style
from core.lab.report import benchmarks, pages
from core.lab.report.bar import HEIGHT, WIDTH
from core.lab.report.entry import Entry
from core.lab.report.variants import tried_tables
from core.lab.staging import staged_beside
from core.lab.study import FigureSpec, Results, Table

_HERE = Path(__file__).resolve().parent
_MARK = '<meta name="generator" content="vhat">'
_CSS_PIXELS_PER_INCH = 112  # a little larger on screen than on paper
T = TypeVar("T")


def build_report(
    entries: Sequence[Entry], out: Path, measured: Sequence[Benchmark] = ()
) -> tuple[Path, tuple[str, ...]]:
    """Write the report of these studies into the folder `out`, which holds nothing else.

    The same entries give the same bytes. A figure or table that fails does not stop the rest.

    Args:
        entries: in the order in which they are shown.
        measured: benchmarks, shown on a page of their own.
        out: a folder that does not exist, is empty, or holds an earlier report, which is replaced.

    Returns:
        The first page; and a line for each figure or table that could not be made, whose page says so too.

    Raises:
        VhatError: if `out` holds something else or cannot be written.
    """
    _check_place(out)
    try:
        with staged_beside(out) as folder:
            staged = folder / "report"
            problems = _Writer(staged).write(entries, measured)
            if out.exists():
                out.rename(folder / "earlier")
            staged.rename(out)
    except OSError as error:
        raise VhatError(
            f"cannot write the report to {out}: {error.strerror or error}; choose another folder with --out"
        ) from error
    return out / "index.html", problems


def _check_place(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise VhatError(f"cannot write the report to {out}: it is a file; choose a folder with --out")
    index = out / "index.html"
    if any(out.iterdir()) and not (index.is_file() and _MARK in index.read_text("utf-8", errors="replace")):
        raise VhatError(
            f"will not replace {out}: it holds something other than a vhat report; choose an empty folder"
        )


class _Writer:
    """One report in the making."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[str] = []
        self.templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.globals.update(bar_width=WIDTH, bar_height=HEIGHT, page_name=pages.page_name)
        self.templates.filters["paragraphs"] = pages.paragraphs

    def write(self, entries: Sequence[Entry], measured: Sequence[Benchmark]) -> tuple[str, ...]:
        """All files; returns the problems met."""
        (self.root / "studies").mkdir(parents=True)
        shutil.copyfile(_HERE / "style.css", self.root / "style.css")
        self._page(
            "index.html",
            "index.html",
            root="",
            groups=pages.groups_of(entries),
            counts=pages.counts_of(entries),
            plans=pages.plans_of(entries),
            versions=pages.versions_of(entries),
            benchmarks=measured,
        )
        shutil.copytree(_HERE / "explorer", self.root / "explorer")
        self._page("explorer.html", "explorer.html", root="")
        if measured:
            self._benchmarks(measured)
        for entry, (before, after) in zip(entries, pages.neighbours(entries), strict=True):
            self._study(entry, before, after)
        return tuple(self.problems)

    def _page(self, template: str, path: str, **context: object) -> None:
        text = self.templates.get_template(template).render(**context)
        (self.root / path).write_text(text, "utf-8")

    def _benchmarks(self, measured: Sequence[Benchmark]) -> None:
        shown = []
        for own in measured:
            drawn = pages.Drawn(
                own.name, benchmarks.caption(own), benchmarks.alt(own), f"figures/benchmarks/{own.name}.svg"
            )
            figure = self._drawn(f"benchmark {own.name!r}", drawn, partial(benchmarks.ratio_bars, own))
            shown.append({"benchmark": own, "figure": figure, "table": benchmarks.measured_table(own)})
        self._page("benchmarks.html", "benchmarks.html", root="", benchmarks=shown)

    def _study(self, entry: Entry, before: Entry | None, after: Entry | None) -> None:
        first_problem = len(self.problems)
        drawn: list[pages.Drawn] = []
        tables: tuple[Table, ...] = ()
        tried: tuple[Table, ...] = ()
        if entry.results is not None:
            results = entry.results
            drawn = [self._figure(entry, spec, results) for spec in entry.study.figures]
            where = _name_of(entry)
            tables = self._attempt(where, "tables", lambda: entry.study.tables(results)) or ()
            tried = self._attempt(where, "table of variants", lambda: tried_tables(results)) or ()
        shown = {d.problem for d in drawn}
        self._page(
            "study.html",
            f"studies/{pages.page_name(entry)}",
            root="../",
            entry=entry,
            study=entry.study,
            pill=pages.pill_of(entry.verdict),
            findings=[pages.judged(f) for f in entry.verdict.findings] if entry.verdict else [],
            figures=drawn,
            tables=tables,
            tried=tried,
            plan=pages.plan_rows(entry),
            problems=[p for p in self.problems[first_problem:] if p not in shown],
            before=before,
            after=after,
        )

    def _attempt(self, where: str, what: str, make: Callable[[], T]) -> T | None:
        """What `make` gives; None, and a line among the problems, if it fails in any way."""
        try:
            return make()
        except Exception as error:
            # A study's own code, perhaps somebody else's: whatever it raises, the other pages are written.
            reason = str(VhatError(str(error)))
            self.problems.append(f"{where}: {what} failed: {type(error).__name__}: {reason}")
            return None

    def _figure(self, entry: Entry, spec: FigureSpec, results: Results) -> pages.Drawn:
        source = f"figures/{entry.study.id}/{spec.name}.svg"
        planned = pages.Drawn(spec.name, spec.caption, spec.alt, source)
        return self._drawn(_name_of(entry), planned, lambda: spec.draw(results))

    def _drawn(self, where: str, planned: pages.Drawn, draw: Callable[[], Figure]) -> pages.Drawn:
        """A figure in its file, or why there is none."""
        path = self.root / planned.source

        def make() -> tuple[float, float]:
            with style():
                figure = draw()
                path.parent.mkdir(parents=True, exist_ok=True)
                save_svg(figure, path)
            return _size_of(path)

        size = self._attempt(where, f"figure {planned.name!r}", make)
        if size is None:
            path.unlink(missing_ok=True)
            return replace(planned, source="", problem=self.problems[-1])
        width, height = (round(x / 72 * _CSS_PIXELS_PER_INCH) for x in size)
        return replace(planned, width=width, height=height)


def _name_of(entry: Entry) -> str:
    return f"study {entry.study.id!r}"


def _size_of(path: Path) -> tuple[float, float]:
    """Width and height of an SVG file, in points."""
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', path.read_text("utf-8"))
    if box is None:
        raise ValueError(f"{path.name} has no size")
    return float(box[1]), float(box[2])
