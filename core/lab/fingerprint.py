"""The digest of the code that computes a study's results, so that results of other code are never taken for
its own.

It covers what moves numbers: the lab's training and measuring, and what the study's module imports,
directly or not, of its own package and of `core`; of the study's own module everything but its prose, its
verdict, its tables, its figures and its films. Modules named `*_figures`, `*_films` and `*_verdict` do not
count, nor do comments, docstrings and layout.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import threading
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core.lab.study import Study

# `core` itself sets how matrices round before anything computes.
_ROOTS = ("core", "core.lab.experiment", "core.lab.measurement", "core.lab.sweep")
_TELLING = frozenset(
    f"core.lab.{name}"
    for name in (
        "errors",
        "films",
        "frames",
        "notebook",
        "progress",
        "study",
        "tables",
        "tuning.show",
        "verdict",
    )
)
"""What says and shows results, and computes none."""
_SHOWING = frozenset(("to_pandas", "_repr_html_", "all_sweeps"))
"""Methods that do the same."""
_ALWAYS = ("torch", "numpy")
_PARSING = threading.Lock()
"""CPython counts the depth of a syntax tree in one place for all threads, and trips over two at once."""


def _strip(tree: ast.Module, without: frozenset[str]) -> str:
    """The module's syntax tree without docstrings, and without the top-level names given."""
    kept: list[ast.stmt] = []
    for node in tree.body:
        names = {t.id for t in getattr(node, "targets", []) if isinstance(t, ast.Name)}
        names |= {getattr(node, "name", "")}
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        if not names & without and not _fetches_prose(node):
            kept.append(node)
    tree.body = kept
    for parent in _blocks(tree):
        body = getattr(parent, "body", None)
        if isinstance(body, list):
            # Docstrings, and strings below an attribute: nothing is computed from either.
            parent.body = [  # type: ignore[attr-defined]
                x for x in body if not _is_string(x) and getattr(x, "name", "") not in _SHOWING
            ]
    return ast.dump(tree)


def _blocks(tree: ast.Module) -> Iterator[ast.AST]:
    """The module and all its statements, handlers and cases, however deep: a tenth of what `ast.walk` goes
    through, which looks into expressions too."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name in ("body", "handlers", "orelse", "finalbody", "cases"):
            below = getattr(node, name, None)
            if isinstance(below, list):
                waiting += below


def _fetches_prose(node: ast.stmt) -> bool:
    """A name fetched from a module that only shows or judges: no result becomes stale with it."""
    return isinstance(node, ast.ImportFrom) and not node.level and not _computes(node.module or "")


def _is_string(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@cache
def _file_digest(path: Path, without: frozenset[str] = frozenset()) -> str:
    return hashlib.sha256(_strip(ast.parse(path.read_text("utf-8")), without).encode()).hexdigest()


def package_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Versions of installed packages, `absent` where there is none; build tags such as +cpu are left out."""
    found = {}
    for name in names:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            found[name] = "absent"
    return found


@cache
def _file(module: str) -> Path | None:
    """The source of a module, None if there is no such module (an imported name may be a function)."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None


def _computes(module: str) -> bool:
    telling = module in _TELLING or f"{module}.".startswith("core.lab.figures.")
    return not telling and not module.endswith(("_figures", "_verdict", "_films"))


@cache
def _imported(module: str, path: Path) -> frozenset[str]:
    """Every name that a module imports, at its top or within a function, as if it were a module."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in _blocks(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                origin = importlib.util.resolve_name("." * node.level + origin, package)
            found |= {origin, *(f"{origin}.{a.name}" for a in node.names)}
    return frozenset(found)


def _computing(module: str) -> dict[str, Path]:
    """The modules that compute a study's results, with their files; the study's own is not among them."""
    ours = {"core", module.partition(".")[0]}
    found: dict[str, Path] = {}
    waiting = [*_ROOTS, module]
    while waiting:
        name = waiting.pop()
        path = _file(name) if name not in found else None
        if path is not None:
            found[name] = path
            waiting += [n for n in _imported(name, path) if n.partition(".")[0] in ours and _computes(n)]
    found.pop(module, None)
    return found


def code_digest(study: Study, module: str) -> str:
    """The digest for a study held by `module` (`<package>.studies.<name>`, or any importable module).

    Raises:
        OSError: if a source file cannot be read.
    """
    with _PARSING:
        return _code_digest(study, module)


def _code_digest(study: Study, module: str) -> str:
    own = Path(importlib.import_module(module).__file__ or "")
    drawn = [f.draw for f in study.figures]
    filmed = [f.draw for f in study.films]
    prose = (*drawn, *filmed, study.judge, study.tables, study.surprise)
    drawing = {getattr(f, "__name__", "") for f in prose} - {""} | {"STUDY"}
    digests = [f"{name}:{_file_digest(path)}" for name, path in sorted(_computing(module).items())]
    digests.append(f"study:{_file_digest(own, frozenset(drawing))}")
    versions = sorted(package_versions((*_ALWAYS, *study.packages)).items())
    return hashlib.sha256(repr((study.version, digests, versions)).encode()).hexdigest()
