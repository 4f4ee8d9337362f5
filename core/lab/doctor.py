"""`vhat doctor`: a look at this machine and these results in seconds, or, in full, every promise tried again.

The quick look changes nothing in the folder of results. The full one runs the tests that try to break the
promises (`core.lab.trust`) and keeps what they count beside the results.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.lab.benchmark import FOLDER as BENCHMARKS
from core.lab.benchmark import stored_benchmarks
from core.lab.engines import check_device, compute, cores, one_process_a_shard
from core.lab.errors import VhatError, one_line
from core.lab.problem import Field
from core.lab.random import Keys
from core.lab.registry import domains, root, studies
from core.lab.staging import write_whole
from core.lab.store import examine, payload_digest
from core.lab.study import Table
from core.lab.sweep import Objective, Regime, Sweep
from core.lab.tables import text_table
from core.lab.trust import FOLDER, PROMISES, VARIABLE, Standing, standings, stored_trials, trust_text
from core.lab.variant import Grid, Variant

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


@dataclass(frozen=True)
class _Bowl:
    """A noisy quadratic in three coordinates."""

    device: str = "cpu"
    dim: int = 3

    def init(self, keys: Keys) -> Tensor:
        return keys.fold("init").normal(self.dim)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        curvature = torch.tensor([1.0, 4.0, 0.25], device=self.device)
        return Field(curvature * params + 0.1 * keys.at(step).normal(self.dim))

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:  # noqa: ARG002
        return {"loss": 0.5 * (params * params).sum(dim=1)}


def small_sweep(device: str) -> str:
    """The digest of what a small sweep gives.

    Raises:
        VhatError: if it fails.
    """
    sweep = Sweep(
        name="bowl",
        study="doctor",
        regimes=(Regime("bowl", _Bowl),),
        variants=(Variant("SGD", "sgd"), Variant("Adam", "adam")),
        grid=Grid(-4, -1),
        objective=Objective("loss"),
        steps=50,
        tuning_seeds=4,
        reporting_seeds=4,
    )
    (shard,) = sweep.pending(lambda _: None)
    done = compute(sweep, shard.spec, device)
    if done.payload is None:
        raise VhatError(f"a small sweep fails: {done.error}")
    return payload_digest(done.payload)


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


# -- the promises


def retry_promises(folder: Path) -> tuple[tuple[Standing, ...], bool]:
    """Run every test that tries a promise, keep what they count in `folder`, and say how the promises stand.

    Returns:
        The standings, and whether all tests passed.

    Raises:
        VhatError: without pytest or the tests, or if they cannot be run to their end.
    """
    tests = root() / "tests"
    if importlib.util.find_spec("pytest") is None or importlib.util.find_spec("hypothesis") is None:
        raise VhatError(
            "vhat doctor --full reruns the tests of the promises, which need the development install: "
            "make test once, or pip install -e '.[dev]'"
        )
    if not tests.is_dir():
        raise VhatError(
            f"vhat doctor --full reruns the tests of the promises, and there is no folder {tests}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / ".begun", b"")
        begun = (folder / ".begun").stat().st_mtime
        (folder / ".begun").unlink()
    except OSError as error:
        raise VhatError(f"cannot write to {folder}: {error.strerror}; choose another --out") from error
    files = dict.fromkeys(t.partition("::")[0] for p in PROMISES for t in p.tests)
    there = [name for name in files if (root() / name).exists()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "trust", *there]
    if importlib.util.find_spec("xdist") is not None:
        command += ["-n", "auto", "--dist", "worksteal"]
    code = subprocess.run(
        command, cwd=root(), env={**os.environ, VARIABLE: str(folder.resolve())}, check=False
    ).returncode
    if code not in (0, 1):
        raise VhatError(f"the tests of the promises could not be run to their end (pytest says {code})")
    # Figures of tests that are no more.
    for path in folder.glob("*.json"):
        if path.stat().st_mtime < begun:
            path.unlink()
    return standings(stored_trials(folder)[0]), code == 0


def verdict_on(found: Iterable[Standing], *, passed: bool) -> None:
    """One line for promises that are broken.

    Raises:
        VhatError: naming them.
    """
    broken = [s for s in found if s.state == "broken"]
    if broken:
        tests = [t for s in broken for t in s.failed]
        raise VhatError(
            f"broken: {', '.join(s.promise.name for s in broken)} ({len(tests)} tests, first {tests[0]}); "
            "run that test alone to see how"
        )
    if not passed:
        raise VhatError("a test failed without figures; see the lines of pytest above")


def examine_machine(results: Path, device: str, *, full: bool, show: Callable[[str], None]) -> None:
    """The command: look around; with `full` try every promise again.

    Raises:
        VhatError: one line, if a check is wrong or a promise is broken.
    """
    checks = list(look_around(results, device))
    show(text_table(Table("", ("check", "state", "found"), tuple((c.what, c.state, c.said) for c in checks))))
    wrong = [c for c in checks if c.state == "wrong"]
    if wrong:
        raise VhatError(f"wrong: {'; '.join(f'{c.what}: {c.said}' for c in wrong)}")
    folder = results.parent / FOLDER
    passed = True
    if full:
        found, passed = retry_promises(folder)
    else:
        found = standings(stored_trials(folder)[0])
    if full or any(s.date for s in found):
        show("\n" + trust_text(found))
    verdict_on(found, passed=passed)
