"""Which studies there are: found, not listed.

A domain is a folder beside `core` with a `domain.py` that holds `DOMAIN = Domain(...)`, and its studies are
the modules of its `studies` package that hold `STUDY = Study(...)`. A domain in somebody else's package is
found by an entry point of the group `vhat.domains` that names such a `domain` module.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import core
from core.lab.errors import VhatError, nearest
from core.lab.study import Study

ENTRY_POINT_GROUP = "vhat.domains"


@dataclass(frozen=True)
class Domain:
    """A field of application.

    Attributes:
        name: one word, the package's name.
        title: for people.
        about: one sentence on what its gradient is.
        order: where it stands in lists (ties by name).
    """

    name: str
    title: str
    about: str
    order: int = 100


@dataclass(frozen=True)
class Registered:
    """A study, with the domain it belongs to and the module that holds it."""

    domain: Domain
    study: Study
    module: str


def root() -> Path:
    """The folder that holds `core` and the domains beside it."""
    return Path(core.__file__).resolve().parent.parent


def _domain_modules() -> list[str]:
    """Names of domain modules, beside core and by entry point."""
    here = root()
    if str(here) not in sys.path:
        # Under the console script the checkout is reached through the install's finder, which knows the
        # folders of the day it was installed; a new folder is found all the same.
        sys.path.append(str(here))
    names = [f"{path.parent.name}.domain" for path in sorted(here.glob("*/domain.py"))]
    elsewhere = {e.value.partition(":")[0].strip() for e in entry_points(group=ENTRY_POINT_GROUP)}
    return names + sorted(elsewhere - set(names))


def _load(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except VhatError:
        raise
    except ImportError as error:
        raise VhatError(
            f"cannot import {name}: {error}; check its imports, or install what it needs"
        ) from error
    except Exception as error:
        # Somebody else's module may raise anything.
        raise VhatError(f"cannot import {name}: {type(error).__name__}: {error}; mend that module") from error


@dataclass(frozen=True)
class Broken:
    """A module of a domain that cannot be loaded.

    Attributes:
        module: its name.
        error: why, and what to do.
    """

    module: str
    error: VhatError

    def __str__(self) -> str:
        return str(self.error)


def _domain(name: str) -> Domain:
    domain = getattr(_load(name), "DOMAIN", None)
    if not isinstance(domain, Domain):
        raise VhatError(f"{name} holds no DOMAIN; add DOMAIN = Domain(name=..., title=..., about=...)")
    return domain


def _surveyed_domains() -> tuple[list[tuple[Domain, str]], list[Broken]]:
    found: list[tuple[Domain, str]] = []
    broken: list[Broken] = []
    for name in _domain_modules():
        try:
            found.append((_domain(name), name.rpartition(".")[0]))
        except VhatError as error:
            broken.append(Broken(name, error))
    return sorted(found, key=lambda pair: (pair[0].order, pair[0].name)), broken


def domains() -> list[tuple[Domain, str]]:
    """All domains, each with its package's name, in order.

    Raises:
        VhatError: if a `domain.py` cannot be imported or holds no DOMAIN.
    """
    found, broken = _surveyed_domains()
    _raise_first(broken)
    return found


def survey() -> tuple[dict[str, Registered], tuple[Broken, ...]]:
    """All studies that can be loaded, by id, domain by domain; and the modules that cannot."""
    found: dict[str, Registered] = {}
    there, broken = _surveyed_domains()
    for domain, package in there:
        for name in _study_modules(package, broken):
            try:
                if (study := _study(name, found)) is not None:
                    found[study.id] = Registered(domain, study, name)
            except VhatError as error:
                broken.append(Broken(name, error))
    return found, tuple(broken)


def _study(name: str, found: Mapping[str, Registered]) -> Study | None:
    """A module's study, if it holds one, under an id that no other has."""
    study = getattr(_load(name), "STUDY", None)
    if not isinstance(study, Study):
        return None
    if study.id in found:
        raise VhatError(f"two studies are called {study.id!r}: {found[study.id].module} and {name}")
    return study


def _study_modules(package: str, broken: list[Broken]) -> list[str]:
    """Names of the modules in which studies may lie."""
    try:
        folder = _load(f"{package}.studies")
    except VhatError as error:
        broken.append(Broken(f"{package}.studies", error))
        return []
    return [info.name for info in pkgutil.iter_modules(folder.__path__, f"{package}.studies.")]


def _raise_first(broken: Sequence[Broken]) -> None:
    if broken:
        raise broken[0].error


def studies() -> dict[str, Registered]:
    """All studies by id, domain by domain.

    Raises:
        VhatError: if two studies share an id, or a domain or a study's module cannot be loaded.
    """
    found, broken = survey()
    _raise_first(broken)
    return found


def find(study_id: str) -> Registered:
    """The study of that id, whatever is wrong with others.

    Raises:
        VhatError: if there is none: naming the nearest ids, or what keeps the module of that name from being
            loaded.
    """
    if (named := _named(study_id)) is not None:
        return named
    known, broken = survey()
    if study_id in known:
        return known[study_id]
    unknown = nearest(study_id, known, kind="study")
    raise VhatError(f"{unknown} (left out: {'; '.join(map(str, broken))})" if broken else unknown)


def _named(study_id: str) -> Registered | None:
    """The study in a module of its name, without a look at any other module."""
    there, broken = _surveyed_domains()
    for domain, package in there:
        name = f"{package}.studies.{study_id.replace('-', '_')}"
        if name in _study_modules(package, broken):
            study = getattr(_load(name), "STUDY", None)
            if isinstance(study, Study) and study.id == study_id:
                return Registered(domain, study, name)
    return None
