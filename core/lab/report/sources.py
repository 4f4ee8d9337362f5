"""Where a study's code stands: files and lines, so that a reader goes from a page to its source.

The report holds a copy of each file that it names, as a page with a place for every line.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.lab.registry import root
from core.lab.report.entry import Entry

LISTINGS = "source"
"""The report's folder of copied files."""


@dataclass(frozen=True)
class Source:
    """A place in the source.

    Attributes:
        what: what stands there.
        path: from the checkout's root, or from the folder that holds the package where it lies elsewhere.
        line: of its beginning.
        file: where it lies now.
    """

    what: str
    path: str
    line: int
    file: Path

    @property
    def place(self) -> str:
        """`path:line`, as editors and terminals take it."""
        return f"{self.path}:{self.line}"

    @property
    def listing(self) -> str:
        """The report's page with this file."""
        return f"{LISTINGS}/{self.path}.html"

    @property
    def href(self) -> str:
        """That page at this line, from the report's root."""
        return f"{self.listing}#L{self.line}"


def sources_of(entry: Entry) -> tuple[Source, ...]:
    """The study, what it runs, its verdict, tables, figures and films; those in one place named together."""
    study = entry.study
    asked: list[tuple[str, Callable[..., Any]]] = [
        ("what is run", study.experiments),
        ("verdict", study.judge),
        ("tables", study.tables),
        *((f"figure {spec.name}", spec.draw) for spec in study.figures),
        *((f"film {spec.name}", spec.draw) for spec in study.films),
    ]
    found: dict[tuple[Path, int], list[str]] = {}
    place = _study_place(entry)
    if place is not None:
        found[place] = ["the study"]
    for what, function in asked:
        place = _place(function)
        if place is not None:
            found.setdefault(place, []).append(what)
    return tuple(
        Source(", ".join(names), file.relative_to(_holder(file)).as_posix(), line, file)
        for (file, line), names in found.items()
    )


def _study_place(entry: Entry) -> tuple[Path, int] | None:
    """Where the module says `STUDY = `."""
    file = getattr(importlib.import_module(entry.module), "__file__", None)
    if file is None:
        return None
    lines = Path(file).read_text("utf-8").splitlines()
    line = next((i for i, text in enumerate(lines, start=1) if text.startswith("STUDY")), 1)
    return Path(file).resolve(), line


def _place(function: Callable[..., Any]) -> tuple[Path, int] | None:
    while isinstance(function, functools.partial):
        function = function.func
    try:
        return Path(inspect.getsourcefile(function) or "").resolve(), inspect.getsourcelines(function)[1]
    except (OSError, TypeError):
        return None


def _holder(file: Path) -> Path:
    """The folder from which a file's path is told: the checkout's, or that which holds its package."""
    if file.is_relative_to(root()):
        return root()
    return next(folder for folder in file.parents if not (folder / "__init__.py").is_file())
