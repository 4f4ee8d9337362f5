"""Which studies there are: found, not listed.

A domain is a folder beside `core` with a `domain.py` that holds `DOMAIN = Domain(...)`, and its studies are
the modules of its `studies` package that hold `STUDY = Study(...)`. A domain in somebody else's package is
found by an entry point of the group `vhat.domains` that names such a `domain` module.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
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
    except ImportError as error:
        raise VhatError(
            f"cannot import {name}: {error}; check its imports, or install what it needs"
        ) from error
    except Exception as error:
        # Somebody else's module may raise anything.
        raise VhatError(f"cannot import {name}: {type(error).__name__}: {error}; mend that module") from error


def domains() -> list[tuple[Domain, str]]:
    """All domains, each with its package's name, in order.

    Raises:
        VhatError: if a `domain.py` cannot be imported or holds no DOMAIN.
    """
    found: list[tuple[Domain, str]] = []
    for name in _domain_modules():
        domain = getattr(_load(name), "DOMAIN", None)
        if not isinstance(domain, Domain):
            raise VhatError(f"{name} holds no DOMAIN; add DOMAIN = Domain(name=..., title=..., about=...)")
        found.append((domain, name.rpartition(".")[0]))
    return sorted(found, key=lambda pair: (pair[0].order, pair[0].name))


def studies() -> dict[str, Registered]:
    """All studies by id, domain by domain.

    Raises:
        VhatError: if two studies share an id, or a study's module cannot be imported.
    """
    found: dict[str, Registered] = {}
    for domain, package in domains():
        folder = _load(f"{package}.studies")
        for info in pkgutil.iter_modules(folder.__path__, f"{package}.studies."):
            study = getattr(_load(info.name), "STUDY", None)
            if not isinstance(study, Study):
                continue
            if study.id in found:
                raise VhatError(
                    f"two studies are called {study.id!r}: {found[study.id].module} and {info.name}"
                )
            found[study.id] = Registered(domain, study, info.name)
    return found


def find(study_id: str) -> Registered:
    """The study of that id.

    Raises:
        VhatError: naming the nearest ids, if there is none.
    """
    known = studies()
    if study_id not in known:
        raise VhatError(nearest(study_id, known, kind="study"))
    return known[study_id]
