"""Quick looks at this machine and its results, in seconds; nothing in the folder of results is changed."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from core.lab.benchmark import FOLDER as BENCHMARKS
from core.lab.benchmark import stored_benchmarks
from core.lab.engines import check_device, cores, one_process_a_shard
from core.lab.errors import VhatError, one_line
from core.lab.registry import domains, root, studies
from core.lab.small_sweep import small_sweep
from core.lab.staging import write_whole
from core.lab.store_health import examine
from core.lab.trust import FOLDER, stored_trials

_LEAST_SPACE, _LITTLE_SPACE = 50 * 2**20, 2**30
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Check:
    """One look.

    Attributes:
        what: that was looked at.
        state: `fine`; `note`, where something is worth knowing; `wrong`, where results would suffer.
        said: what was found, and what to do about it.
    """

    what: str
    state: str
    said: str


def look_around(results: Path, device: str) -> Iterator[Check]:
    """All quick checks, in order; `results` is the store's file."""
    out = results.parent
    checks: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("versions", _versions),
        ("extras", _extras),
        ("studies", _studies),
        ("device", lambda: _device(device)),
        ("folder", lambda: _folder(out)),
        ("store", lambda: _store(results)),
        ("files", lambda: _files(out)),
        ("same bits", lambda: _same_bits(device)),
    )
    for what, look in checks:
        try:
            yield look()
        except VhatError as error:
            yield Check(what, "wrong", str(error))
        except (OSError, ValueError) as error:
            # A path that no system takes: the check of the folder says what to do.
            yield Check(what, "wrong", one_line(str(getattr(error, "strerror", None) or error)))


# -- what is installed


@cache
def _project() -> Mapping[str, Any]:
    """What pyproject.toml says; empty outside of a checkout."""
    path = root() / "pyproject.toml"
    try:
        return tomllib.loads(path.read_text("utf-8"))["project"]  # type: ignore[no-any-return]
    except (OSError, ValueError, KeyError):
        return {}


def _locked() -> dict[str, str]:
    """Versions of the lock, by normalised name."""
    try:
        lines = (root() / "constraints.txt").read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    pairs = (line.partition("==") for line in lines)
    return {_normal(name): pin.strip() for name, _, pin in pairs if pin}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _names(requirements: Iterable[str]) -> list[str]:
    return [found[0] for r in requirements if (found := _NAME.match(r))]


def _installed(name: str) -> str:
    """A package's version without its build tag, empty if it is absent."""
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return ""


def _versions() -> Check:
    """Packages that results depend on, against the lock."""
    python = f"Python {platform.python_version()}, torch {_installed('torch')}, numpy {_installed('numpy')}"
    locked = _locked()
    if not locked:
        return Check("versions", "note", f"{python}; no constraints.txt beside core to compare with")
    have = {name: _installed(name) for name in _names(_project().get("dependencies", ()))}
    missing = [name for name, found in have.items() if not found]
    if missing:
        return Check("versions", "wrong", f"{python}; missing: {', '.join(missing)}; install with make test")
    others = [
        f"{name} {found} (lock: {locked[_normal(name)]})"
        for name, found in have.items()
        if found != locked.get(_normal(name), found)
    ]
    if others:
        return Check(
            "versions",
            "note",
            f"{python}; other than the lock: {', '.join(others)}; results may differ from those of the lock",
        )
    return Check("versions", "fine", f"{python}; {len(have)} packages as in the lock")


def _extras() -> Check:
    """Which optional parts can be used."""
    optional = _project().get("optional-dependencies", {})
    absent = {
        extra: [n for n in _names(requirements) if n != "gymnasium" and not _installed(n)]
        for extra, requirements in optional.items()
    }
    # A family of tasks is an extra of gymnasium's, known by the simulator that it brings.
    for extra, module in (("box2d", "Box2D"), ("mujoco", "mujoco")):
        if extra in absent and importlib.util.find_spec(module) is None:
            absent[extra].append(module)
    present = [extra for extra, names in absent.items() if not names]
    lacking = [f"{extra} (without {', '.join(names)})" for extra, names in absent.items() if names]
    said = f"present: {', '.join(present) or 'none'}; absent: {', '.join(lacking) or 'none'}"
    return Check("extras", "fine", said)


def _studies() -> Check:
    """Whether every study can be imported."""
    found = studies()
    return Check("studies", "fine", f"{len(found)} studies of {len(domains())} domains")


def _device(device: str) -> Check:
    check_device(device)
    said = f"{device} works; {cores()} cores"
    if torch.cuda.is_available():
        said += f", {torch.cuda.device_count()} CUDA devices (use --device cuda)"
    return Check("device", "fine", said)


# -- the folder of results


def _folder(out: Path) -> Check:
    """Whether results can be written, and how much room there is."""
    try:
        place = next(p for p in (out, *out.resolve().parents) if p.exists())
        if not place.is_dir():
            raise VhatError(f"{place} is a file; choose a folder with --out")
        probe = place / f".vhat-doctor-{os.getpid()}"
        write_whole(probe, b"vhat")
        probe.unlink()
        free = shutil.disk_usage(place).free
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VhatError(f"cannot write to {out}: {reason}; choose another folder with --out") from error
    room = f"{out} can be written; {free / 2**30:.1f} GiB free"
    if free < _LEAST_SPACE:
        return Check("folder", "wrong", f"{room}: too little; make room, or choose another with --out")
    return Check("folder", "note" if free < _LITTLE_SPACE else "fine", room)


def _store(path: Path) -> Check:
    """Every stored row against its digest."""
    if not path.exists():
        return Check("store", "note", f"no results in {path.parent} yet")
    health = examine(path)
    if health.damaged:
        said = f"{health.damaged} of {health.rows} rows are damaged; vhat run computes them again"
        return Check("store", "wrong", said)
    return Check("store", "fine", f"{health.rows} rows in {path}, every digest fits")


def _files(out: Path) -> Check:
    """The small files beside the store."""
    measured, damaged = stored_benchmarks(out / BENCHMARKS)
    trials, unread = stored_trials(out / FOLDER)
    said = f"{len(measured)} benchmarks, figures of {len(trials)} tests"
    if damaged or unread:
        return Check("files", "note", "; ".join((said, *damaged[:2], *unread[:2])))
    return Check("files", "fine", said)


# -- the same bits twice


def _same_bits(device: str) -> Check:
    """A small sweep here, here again, and in a process of its own."""
    start = time.perf_counter()
    digests = [small_sweep(device), small_sweep(device)]
    with one_process_a_shard() as elsewhere:
        digests.append(elsewhere.submit(small_sweep, device).result())
    seconds = f"{time.perf_counter() - start:.1f} s"
    if len(set(digests)) > 1:
        said = "a small sweep gave different results, twice here and once in another process"
        return Check(
            "same bits", "wrong", f"{said}: {', '.join(d[:8] for d in digests)}; do not trust others"
        )
    said = f"a small sweep twice here and once in another process: identical ({digests[0][:8]}, {seconds})"
    return Check("same bits", "fine", said)
