"""`vhat new-domain NAME`: a folder with a small domain that works, to be changed into one's own.

It holds a problem, a study and a test; the registry finds it beside `core` as it is.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from string import Template

from core.lab.errors import VhatError
from core.lab.registry import ENTRY_POINT_GROUP, root

_FILES = Path(__file__).resolve().parent / "files"
_SUFFIX = ".template"
_LONGEST = 24


def new_domain(name: str, into: Path | None = None) -> None:
    """Write the domain and say what to do next; see `write_domain`."""
    folder = write_domain(name, into)
    study = _study_id(name)
    lines = [
        f"wrote {folder}: a problem, a study and a test",
        f"  python -m pytest {folder}",
        f"  vhat run {study} --tiny",
        "  vhat report --tiny",
    ]
    if folder.parent != root():
        lines += [
            "It is not beside core: a package that is installed finds it by this entry point:",
            f'  [project.entry-points."{ENTRY_POINT_GROUP}"]',
            f'  {name} = "{name}.domain"',
        ]
    sys.stdout.write("\n".join([*lines, ""]))


def write_domain(name: str, into: Path | None = None) -> Path:
    """Write the folder of a new domain, whole or not at all.

    Args:
        name: of the folder, the import package and the domain.
        into: the folder that will hold it; default: the one that holds `core`, where it is found at once.

    Returns:
        The new folder.

    Raises:
        VhatError: one line for a name that is no package's or is taken, or a place that cannot be written.
    """
    try:
        parent = root() if into is None else into.resolve()
        _check(name, parent / name)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VhatError(f"cannot look into {into}: {reason}; choose another place with --into") from error
    folder = parent / name
    words = {"name": name, "title": name.replace("_", " ").capitalize(), "id": _study_id(name)}
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=f".{name}-") as place:
            staged = Path(place) / name
            for source in sorted(_FILES.rglob(f"*{_SUFFIX}")):
                target = staged / source.relative_to(_FILES).with_suffix("")
                if target == staged / "test.py":
                    target = staged / f"test_{name}.py"
                target.parent.mkdir(parents=True, exist_ok=True)
                text = Template(source.read_text("utf-8")).substitute(words)
                target.write_text(_imports_in_order(text), "utf-8")
            staged.rename(folder)
    except OSError as error:
        raise VhatError(
            f"cannot write {folder}: {error.strerror or error}; choose another place with --into"
        ) from error
    return folder


def _study_id(name: str) -> str:
    """Unique over all domains, as the folder's name is."""
    return f"{name.replace('_', '-')}-scales"


def _check(name: str, folder: Path) -> None:
    if (
        not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)
        or len(name) > _LONGEST
        or keyword.iskeyword(name)
    ):
        raise VhatError(
            f"{name!r} cannot name a domain: give a Python package's name, small letters, digits and single "
            f"underscores, at most {_LONGEST} of them, such as tide_tables"
        )
    if folder.exists():
        raise VhatError(f"{folder} is already there; choose another name, or another place with --into")
    found = importlib.util.find_spec(name)
    if found is not None:
        where = found.origin or ", ".join(found.submodule_search_locations or ())
        raise VhatError(f"{name!r} would hide the module of that name ({where}); choose another name")


def _imports_in_order(text: str) -> str:
    """Lines `from X import ...` that follow each other, sorted by X: where the domain's own stand depends on
    its name."""
    lines: list[str] = []
    for imports, group in groupby(text.splitlines(), key=lambda line: line.startswith("from ")):
        block = list(group)
        lines += sorted(block, key=lambda line: line.split()[1]) if imports else block
    return "\n".join([*lines, ""])
