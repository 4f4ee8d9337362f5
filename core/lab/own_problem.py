"""A person's own problem by name: `FILE.py:NAME`, or `MODULE:NAME` for one that can be imported."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import cast

from core.lab.errors import VhatError, nearest
from core.lab.problem import Problem

_NEEDED = ("dim", "init", "field", "measure")


def load_problem(target: str) -> Problem:
    """The problem that a name stands for: itself, or what a class or a function without arguments gives.

    The file is run, as `python FILE.py` would (but not as `__main__`), with its own folder on the path.

    Raises:
        VhatError: one line for a name of another form, a file or module that is not there or fails, a name
            that it does not have, or something that is not a problem.
    """
    place, colon, name = target.rpartition(":")
    if not (place and colon and name.isidentifier()):
        raise VhatError(f"{target!r} names no problem; write FILE.py:NAME, or MODULE:NAME")
    module = _from_file(Path(place)) if place.endswith(".py") else _from_path(place)
    found = getattr(module, name, None)
    if found is None:
        public = [n for n in vars(module) if not n.startswith("_")]
        raise VhatError(f"{place}: {nearest(name, public, kind='name')}")
    if isinstance(found, type) or not _is_problem(found):
        found = _called(found, target)
    if not _is_problem(found):
        missing = ", ".join(n for n in _NEEDED if not hasattr(found, n))
        raise VhatError(
            f"{target} is not a problem: it is of type {type(found).__name__}, without {missing}; see "
            "core.lab.problem.Problem, or make one with core.lab.modules.problem_from"
        )
    return cast("Problem", found)


def _is_problem(value: object) -> bool:
    return all(hasattr(value, name) for name in _NEEDED)


def _called(maker: object, target: str) -> object:
    """What a class or a function gives without arguments; anything else as it is."""
    if not callable(maker):
        return maker
    try:
        return maker()
    except VhatError:
        raise
    except Exception as error:
        raise VhatError(f"{target}() fails: {type(error).__name__}: {error}") from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise VhatError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"vhat_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise VhatError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except VhatError:
        raise
    except (Exception, SystemExit) as error:
        raise VhatError(f"{path} fails: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    return module


def _from_path(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise VhatError(f"there is no module {error.name}; a file's name ends in .py") from error
    except Exception as error:
        raise VhatError(f"module {name} fails: {type(error).__name__}: {error}") from error
