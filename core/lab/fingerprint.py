"""The digest of the code that computes a study's results, so that results of other code are never taken for
its own.

It covers what moves numbers: the update rules, the lab's training loop, the domain's own modules, and of the
study's module everything but its prose, its verdict, its tables and its figures. Comments, docstrings and
layout do not count.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core.lab.study import Study

_LAB = (
    "batched",
    "experiment",
    "measurement",
    "modules",
    "probe",
    "problem",
    "random",
    "run",
    "stats",
    "sweep",
    "train",
    "variant",
)
_ALWAYS = ("torch", "numpy")


def _strip(tree: ast.Module, without: frozenset[str]) -> str:
    """The module's syntax tree without docstrings, and without the top-level names given."""
    kept: list[ast.stmt] = []
    for node in tree.body:
        names = {t.id for t in getattr(node, "targets", []) if isinstance(t, ast.Name)}
        names |= {getattr(node, "name", "")}
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        if not names & without:
            kept.append(node)
    tree.body = kept
    for parent in ast.walk(tree):
        body = getattr(parent, "body", None)
        if isinstance(body, list):
            # Docstrings, and strings below an attribute: nothing is computed from either.
            parent.body = [x for x in body if not _is_string(x)]  # type: ignore[attr-defined]
    return ast.dump(tree)


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


def _folder(package: str) -> Path:
    file = importlib.import_module(package).__file__
    assert file is not None
    return Path(file).parent


def _siblings(own: Path) -> list[Path]:
    """Modules beside a study's that it imports, directly or not, but for `*_figures` and `*_verdict`."""
    found: dict[Path, None] = {}
    waiting = [own]
    while waiting:
        tree = ast.parse(waiting.pop().read_text("utf-8"))
        imports = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module]
        names = {str(n.module).rpartition(".")[2] for n in imports} | {
            a.name for n in imports for a in n.names
        }
        computing = sorted(name for name in names if not name.endswith(("_figures", "_verdict")))
        for path in (own.with_name(f"{name}.py") for name in computing):
            if path.exists() and path != own and path not in found:
                found[path] = None
                waiting.append(path)
    return sorted(found)


def code_digest(study: Study, module: str) -> str:
    """The digest for a study held by `module` (`<package>.studies.<name>`, or any importable module).

    Raises:
        OSError: if a source file cannot be read.
    """
    core = _folder("core")
    files = sorted((core / "optim").rglob("*.py")) + [core / "lab" / f"{name}.py" for name in _LAB]
    package = module.partition(".studies.")[0]
    own = Path(importlib.import_module(module).__file__ or "")
    if package != module:
        folder = _folder(package)
        lab = {"lab", "optim", "studies", "report"}
        inside = [p for p in sorted(folder.rglob("*.py")) if not lab & set(p.relative_to(folder).parts[:-1])]
        files += [p for p in inside if p.name not in ("domain.py", "cli.py")]
    prose = (*(f.draw for f in study.figures), study.judge, study.tables)
    drawing = {getattr(f, "__name__", "") for f in prose} - {""} | {"STUDY"}
    files += _siblings(own)
    digests = [f"{p.stem}:{_file_digest(p)}" for p in files]
    digests.append(f"study:{_file_digest(own, frozenset(drawing))}")
    versions = sorted(package_versions((*_ALWAYS, *study.packages)).items())
    return hashlib.sha256(repr((study.version, digests, versions)).encode()).hexdigest()
