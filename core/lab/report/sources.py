"""Where a study's code stands: files and lines, so that a reader goes from a page to its source."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.lab.registry import root
from core.lab.report.entry import Entry


@dataclass(frozen=True)
class Source:
    """A place in the source.

    Attributes:
        what: what stands there.
        path: from the checkout's root, or the module's name where it lies elsewhere.
        line: of its beginning.
        href: relative link to the file, empty unless the report lies within the checkout.
    """

    what: str
    path: str
    line: int
    href: str

    @property
    def place(self) -> str:
        """`path:line`, as editors and terminals take it."""
        return f"{self.path}:{self.line}"


def sources_of(entry: Entry, page: Path) -> tuple[Source, ...]:
    """The study, what it runs, its verdict, tables, figures and films; those in one place named together.

    Args:
        page: the page's final place, from which links lead.
    """
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
    return tuple(_source(", ".join(names), file, line, page) for (file, line), names in found.items())


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


def _source(what: str, file: Path, line: int, page: Path) -> Source:
    checkout = root()
    if not file.is_relative_to(checkout):
        return Source(what, file.name, line, "")
    path = file.relative_to(checkout).as_posix()
    if not page.resolve().is_relative_to(checkout):
        return Source(what, path, line, "")
    return Source(what, path, line, Path(os.path.relpath(file, page.resolve().parent)).as_posix())
