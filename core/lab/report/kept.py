"""What earlier reports have drawn of a study, kept beside the results: a report draws anew only what has
changed.

A study's figures, films, tables and verdict are taken from there if the stored results, the plan, the source
of `core` and of the study's own package, and the packages that compute and draw are all what they were. Files
carry a digest and are checked; what does not fit is drawn again. Nothing that is kept can run: films' data is
written out anew as JSON that is safe within HTML, and all else is escaped by the page.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from core.lab.fingerprint import package_versions
from core.lab.report.entry import Stored
from core.lab.report.material import FIGURES, Material
from core.lab.staging import remove_left, staged_beside
from core.lab.store import Store

_PAGE = "material"
_PACKAGES = ("torch", "numpy", "scipy", "matplotlib", "pillow", "jinja2")
REFUSALS = (OSError, ValueError, msgspec.MsgspecError, RecursionError)
"""What reading something else raises."""
_DIGITS = 64
"""Of a SHA-256 in hexadecimal."""


@dataclass(frozen=True)
class Kept:
    """A folder of such pages, one folder a study.

    Attributes:
        folder: where they lie; it need not be there.
        keys: of each study by its id, a digest of all that its page is drawn from.
    """

    folder: Path
    keys: Mapping[str, str] = field(default_factory=dict)

    def take(self, study: str, root: Path) -> Material | None:
        """What is kept of a study, its files copied into the folder of the report's figures `root`; None if
        nothing is kept that fits."""
        place, target = self.folder / study, root / study
        try:
            page = _unpacked((place / _PAGE).read_bytes())
            if page.key != self.keys.get(study) or not _stays_here(page, study):
                return None
            _copy(page.files, place, target)
            # What is taken is not staged anew, which would see to it.
            remove_left(place)
        except REFUSALS:
            shutil.rmtree(target, ignore_errors=True)
            return None
        return page.material

    def keep(self, study: str, made: Material, root: Path) -> None:
        """Keep what was drawn of a study into `root`, for the next report, unless some of it went wrong.

        A folder that cannot be written, or holds something else in that place, keeps nothing.
        """
        if study not in self.keys or made.plan is None or made.problems:
            return
        drawn, place = root / study, self.folder / study
        if place.exists() and not _is_ours(place):
            return
        with contextlib.suppress(OSError), staged_beside(place) as folder:
            staged = folder / "new"
            shutil.copytree(drawn, staged)
            files = {path.name: _digest(path.read_bytes()) for path in sorted(staged.iterdir())}
            (staged / _PAGE).write_bytes(_packed(_Page(self.keys[study], files, made)))
            if place.exists():
                place.rename(folder / "earlier")
            staged.rename(place)


def forget(folder: Path) -> None:
    """Remove what is kept in a folder, and the folder unless it holds something else."""
    for place in folder.iterdir() if folder.is_dir() else ():
        if _is_ours(place):
            shutil.rmtree(place, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _is_ours(place: Path) -> bool:
    return (place / _PAGE).is_file()


NOTHING = Kept(Path())
"""Keeps nothing and gives nothing."""


def kept_beside(store: Store, entries: Sequence[Stored], folder: Path) -> Kept:
    """The pages kept in `folder` for entries whose results lie in the store."""
    return Kept(folder, {own.registered.study.id: _key(own, store) for own in entries})


def _key(own: Stored, store: Store) -> str:
    """A digest of all that a study's page is drawn from."""
    study, module = own.registered.study, own.registered.module
    plan = (own.plan.name, own.plan.steps, own.plan.tuning_seeds, own.plan.reporting_seeds)
    packages = package_versions((*_PACKAGES, *study.packages))
    return _digest(
        repr(
            (
                study.id,
                (*plan, sorted(own.plan.sizes.items())),
                own.device,
                # A row that is damaged is not among them.
                [shard.digest for shard in store.shards(study.id)],
                [_source_digest(name) for name in ("core", module.partition(".")[0])],
                sorted(packages.items()),
                platform.python_version(),
                platform.machine(),
            )
        ).encode()
    )


@cache
def _source_digest(package: str) -> str:
    """Of all files of a package, its data among them; of a module's one file."""
    spec = importlib.util.find_spec(package)
    assert spec is not None, package
    roots = [Path(place) for place in spec.submodule_search_locations or ()]
    found = [(path.relative_to(top), path) for top in roots for path in top.rglob("*") if path.is_file()]
    if not roots and spec.origin:
        found = [(Path(package), Path(spec.origin))]
    digest = hashlib.sha256()
    for name, path in sorted(found):
        if "__pycache__" not in name.parts:
            digest.update(f"{name.as_posix()}\n{path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Page:
    """What is written.

    Attributes:
        key: see `Kept`.
        files: the digest of each file beside it, by its name.
    """

    key: str
    files: dict[str, str]
    material: Material


def _stays_here(page: _Page, study: str) -> bool:
    """Whether it names files of its own folder only, and shows no others."""
    made = page.material
    shown = {drawn.source for _, drawn in made.figures} | {film.source for film in made.films}
    ours = {f"{FIGURES}/{study}/{name}" for name in page.files}
    return all(Path(name).name == name for name in page.files) and shown <= ours


def _copy(files: Mapping[str, str], place: Path, target: Path) -> None:
    """Copy these files, each of that digest, into a new folder.

    Raises:
        OSError, ValueError: if one is missing or damaged.
    """
    target.mkdir(parents=True)
    for name, digest in files.items():
        data = (place / name).read_bytes()
        if _digest(data) != digest:
            raise ValueError(f"{name} is damaged")
        (target / name).write_bytes(data)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _packed(page: _Page) -> bytes:
    data = msgspec.msgpack.encode(page, enc_hook=str)
    return _digest(data).encode() + data


def _unpacked(data: bytes) -> _Page:
    """The inverse.

    Raises:
        ValueError, msgspec.MsgspecError: if it is damaged.
    """
    if _digest(data[_DIGITS:]).encode() != data[:_DIGITS]:
        raise ValueError("its digest does not fit")
    return msgspec.msgpack.decode(data[_DIGITS:], type=_Page, dec_hook=_safe)


def _safe(kind: type[Any], text: str) -> Markup:
    if kind is not Markup:
        raise ValueError(kind.__name__)
    return htmlsafe_json_dumps(json.loads(text), separators=(",", ":"))
