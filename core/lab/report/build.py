"""Writes the report beside its place first, then moves it there whole: nobody reads half of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

import jinja2

from core.lab.benchmark import Benchmark
from core.lab.engines import InProcess
from core.lab.errors import VhatError
from core.lab.report import benchmarks, idea, pages, trust
from core.lab.report.bar import HEIGHT, WIDTH
from core.lab.report.entry import Entry, Stored
from core.lab.report.formulas import formula
from core.lab.report.gather import materials
from core.lab.report.kept import NOTHING, Kept
from core.lab.report.material import Draughtsman, Material
from core.lab.report.sources import Source, sources_of
from core.lab.report.surprises import surprises_of
from core.lab.staging import staged_beside
from core.lab.trust import Standing

_HERE = Path(__file__).resolve().parent
_MARK = '<meta name="generator" content="vhat">'


def build_report(
    entries: Sequence[Entry | Stored],
    out: Path,
    measured: Sequence[Benchmark] = (),
    promises: Sequence[Standing] = (),
    *,
    executor: Executor | None = None,
    kept: Kept = NOTHING,
    nothing: str = "",
    tell: Callable[[Sequence[Entry]], None] = lambda _: None,
) -> tuple[Path, tuple[str, ...]]:
    """Write the report of these studies into the folder `out`, which holds nothing else.

    The same entries give the same bytes, drawn by however many processes. A figure or table that fails does
    not stop the rest.

    Args:
        entries: in the order in which they are shown.
        measured: benchmarks, shown on a page of their own.
        promises: how the promises of trust stand, on a page of their own.
        out: a folder that does not exist, is empty, or holds an earlier report, which is replaced.
        executor: draws the pages of stored studies; this process if None.
        kept: what earlier reports have drawn of stored studies, which is not drawn again.
        nothing: the error where no entry has results; if empty, such a report is written too.
        tell: given all entries, with their verdicts, once the report lies in its place.

    Returns:
        The first page; and a line for each figure or table that could not be made, whose page says so too.

    Raises:
        VhatError: if `out` holds something else or cannot be written; `nothing`; if a worker died.
    """
    _check_place(out)
    try:
        with staged_beside(out) as folder:
            staged = folder / "report"
            writer = _Writer(staged)
            drawn = materials(entries, staged, executor or InProcess(), kept)
            made = writer.write(drawn, measured, promises, nothing)
            if out.exists():
                out.rename(folder / "earlier")
            staged.rename(out)
    except OSError as error:
        raise VhatError(
            f"cannot write the report to {out}: {error.strerror or error}; choose another folder with --out"
        ) from error
    tell(made)
    return out / "index.html", tuple(writer.problems)


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

    def write(
        self,
        made: Sequence[tuple[Entry, Material]],
        measured: Sequence[Benchmark],
        promises: Sequence[Standing],
        nothing: str,
    ) -> list[Entry]:
        """All files; returns the entries."""
        (self.root / "studies").mkdir(parents=True)
        entries = [entry for entry, _ in made]
        if nothing and all(entry.results is None for entry in entries):
            raise VhatError(nothing)
        shutil.copyfile(_HERE / "style.css", self.root / "style.css")
        self._page(
            "index.html",
            "index.html",
            root="",
            groups=pages.groups_of(entries, {e.study.id: m.main for e, m in made if m.main}),
            surprises=surprises_of(entries),
            idea=self._idea(),
            counts=pages.counts_of(entries),
            plans=pages.plans_of(entries),
            versions=pages.versions_of(entries),
            benchmarks=measured,
            trust=trust.tally(trust.kept(promises)),
        )
        shutil.copytree(_HERE / "explorer", self.root / "explorer")
        shutil.copytree(_HERE / "player", self.root / "player")
        self._page("explorer.html", "explorer.html", root="")
        if measured:
            self._benchmarks(measured)
        if promises:
            shown = trust.kept(promises)
            self._page(
                "trust.html",
                "trust.html",
                root="",
                promises=shown,
                tally=trust.tally(shown),
                versions=trust.versions_of(promises),
            )
        for (entry, own), (before, after) in zip(made, pages.neighbours(entries), strict=True):
            self._study(entry, own, before, after)
        return entries

    def _page(self, template: str, path: str, **context: object) -> None:
        text = self.templates.get_template(template).render(**context)
        (self.root / path).write_text(text, "utf-8")

    def _idea(self) -> pages.Drawn:
        by = Draughtsman(self.root, "first page")
        drawn = by.figure(pages.Drawn("idea", idea.CAPTION, idea.ALT, "figures/idea.svg"), idea.draw)
        self.problems += by.problems
        return drawn

    def _benchmarks(self, measured: Sequence[Benchmark]) -> None:
        shown = []
        for own in measured:
            drawn = pages.Drawn(
                own.name, benchmarks.caption(own), benchmarks.alt(own), f"figures/benchmarks/{own.name}.svg"
            )
            by = Draughtsman(self.root, f"benchmark {own.name!r}")
            figure = by.figure(drawn, partial(benchmarks.ratio_bars, own))
            self.problems += by.problems
            shown.append({"benchmark": own, "figure": figure, "table": benchmarks.measured_table(own)})
        self._page("benchmarks.html", "benchmarks.html", root="", benchmarks=shown)

    def _sources(self, entry: Entry) -> tuple[Source, ...]:
        """Where the study's code stands, with a copy of each file."""
        found = sources_of(entry)
        for source in found:
            target = self.root / source.listing
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                lines = source.file.read_text("utf-8").splitlines()
                up = "../" * source.listing.count("/")
                self._page("listing.html", source.listing, root=up, file=source.path, lines=lines)
        return found

    def _study(self, entry: Entry, made: Material, before: Entry | None, after: Entry | None) -> None:
        page = f"studies/{pages.page_name(entry)}"
        by = Draughtsman(self.root, f"study {entry.study.id!r}")
        formulas = by.attempt(
            "mathematics", lambda: [(formula(latex), words) for latex, words in entry.study.mathematics]
        )
        problems = (*made.problems, *by.problems)
        self.problems += problems
        shown = {drawn.problem for _, drawn in made.figures} | {film.problem for film in made.films}
        self._page(
            "study.html",
            page,
            root="../",
            entry=entry,
            study=entry.study,
            pill=pages.pill_of(entry.verdict),
            findings=[pages.judged(f) for f in entry.verdict.findings] if entry.verdict else [],
            doubt=pages.doubt_of(entry.verdict),
            figures=[drawn for _, drawn in made.figures],
            parts=pages.parts_of(made.figures),
            films=made.films,
            formulas=formulas or (),
            tables=made.tables,
            tried=made.tried,
            plan=pages.plan_rows(entry),
            sources=self._sources(entry),
            problems=[p for p in problems if p not in shown],
            before=before,
            after=after,
        )
