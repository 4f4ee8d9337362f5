"""What was counted when tests tried to break what vhat promises about its results.

A test run that is told a folder writes one small file a test; the report's page on trust and `vhat doctor`
read them. No figure is written down anywhere else.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from core.lab.errors import VhatError, one_line
from core.lab.fingerprint import package_versions
from core.lab.plain_data import REFUSALS, built, listed, read_object, reason
from core.lab.promises import EVERY_STUDY, PROMISES, Promise
from core.lab.registry import root, studies
from core.lab.staging import write_whole
from core.lab.tables import number

FORMAT = "vhat trust 1"
FOLDER = "trust"
"""Beside the results: where the test run's figures lie."""
VARIABLE = "VHAT_TRUST"
"""The environment variable that names the folder; without it a test run writes nothing."""
OTHER_CODE = "measured on other code"


@dataclass(frozen=True)
class Count:
    """Trials of one kind, and in how many of them the promise was kept.

    Attributes:
        what: the kind, in the plural.
        tried: how many there were.
        kept: how many of these kept it.
    """

    what: str
    tried: int
    kept: int

    def __str__(self) -> str:
        return f"{self.kept:,} of {self.tried:,} {self.what}"


@dataclass(frozen=True)
class Measure:
    """A measured number with the limit that it must not pass.

    Attributes:
        what: was measured.
        value, limit: both in `unit`.
        unit: as shown.
    """

    what: str
    value: float
    limit: float
    unit: str

    def __str__(self) -> str:
        return f"{self.what}: {number(self.value, 3)} {self.unit} (limit {number(self.limit, 3)})"


@cache
def code_version() -> str:
    """The first digits of a digest of all source files, so that figures of other code are told apart."""
    here = root()
    packages = sorted({p.parent for p in here.glob("*/domain.py")} | {here / "core"})
    digest = hashlib.sha256()
    for path in (p for package in packages for p in sorted(package.rglob("*.py"))):
        digest.update(f"{path.relative_to(here).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def versions_here() -> dict[str, str]:
    """Of what the promises rest on."""
    return {
        "code": code_version(),
        "python": platform.python_version(),
        **package_versions(("torch", "numpy")),
        "system": f"{platform.system()} {platform.machine()}",
    }


@dataclass(frozen=True)
class Trial:
    """What one test tried and counted.

    Attributes:
        promise: its name.
        test: the test's name.
        passed: whether the promise was kept throughout.
        seconds: that it took.
        counts, measures: what was counted and measured.
        notes: what a reader should know, such as what could not be tried on this machine.
        date: ISO 8601.
        versions: of code and packages.
    """

    promise: str
    test: str
    passed: bool
    seconds: float
    counts: tuple[Count, ...] = ()
    measures: tuple[Measure, ...] = ()
    notes: tuple[str, ...] = ()
    date: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    versions: Mapping[str, str] = field(default_factory=versions_here)

    @property
    def kept(self) -> bool:
        """Whether it passed, with every trial kept and every measure within its limit."""
        whole = all(c.kept == c.tried for c in self.counts)
        return self.passed and whole and all(m.value <= m.limit for m in self.measures)

    @property
    def file(self) -> str:
        """The name of its file: the same test replaces its earlier figures."""
        return f"{self.promise}-{hashlib.sha256(self.test.encode()).hexdigest()[:16]}.json"

    def save(self, folder: Path) -> Path:
        """Write it into `folder`, whole or not at all.

        Raises:
            VhatError: if the folder cannot be written.
        """
        plain = asdict(self)
        text = json.dumps(
            {"format": FORMAT, **plain, "digest": _digest(plain)},
            indent=1,
            ensure_ascii=False,
            allow_nan=False,
        )
        path = folder / self.file
        try:
            write_whole(path, f"{text}\n".encode())
        except OSError as error:
            raise VhatError(f"cannot write {path}: {error.strerror or error}") from error
        return path


def stored_trials(folder: Path) -> tuple[tuple[Trial, ...], tuple[str, ...]]:
    """The figures in a folder, and a line for each file that holds none."""
    found, problems = [], []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            found.append(_read(path))
        except REFUSALS as error:
            name = one_line(path.name)
            problems.append(f"skipped {name}, which holds no figures of this version: {reason(error)}")
    return tuple(found), tuple(problems)


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> Trial:
    loaded = read_object(path, FORMAT)
    if loaded.pop("digest", None) != _digest(loaded):
        raise ValueError("its digest does not fit")
    counts = tuple(built(Count, c) for c in listed(loaded.pop("counts", None)))
    measures = tuple(built(Measure, m) for m in listed(loaded.pop("measures", None)))
    notes = tuple(str(line) for line in listed(loaded.pop("notes", None)))
    versions = loaded.pop("versions", None)
    if not isinstance(versions, dict) or not all(isinstance(v, str) for v in versions.values()):
        raise ValueError("versions are missing")
    trial: Trial = built(
        Trial, {**loaded, "counts": counts, "measures": measures, "notes": notes, "versions": versions}
    )
    if trial.promise not in {p.name for p in PROMISES}:
        raise ValueError(f"there is no promise {trial.promise!r}")
    if trial.file != path.name:
        raise ValueError(f"it holds {trial.test!r}")
    if any(not 0 <= c.kept <= c.tried < 2**63 for c in trial.counts):
        raise ValueError("a count is not 0 <= kept <= tried")
    if not all(math.isfinite(x) for m in trial.measures for x in (m.value, m.limit)):
        raise ValueError("a measure is not finite")
    return trial


@dataclass(frozen=True)
class Standing:
    """How a promise stands by the figures.

    Attributes:
        promise: which.
        state: `holds`; `broken`; `tried in part`, with fewer trials than its goal asks for; `measured on
            other code`, where any figure is of code that is not this; `not tried here`.
        reached: the figures, in words.
        failed: tests that found it broken.
        notes: what a reader should know.
        date: of the oldest figure, empty without one.
        versions: of all figures, differing ones side by side.
    """

    promise: Promise
    state: str
    reached: str = ""
    failed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    date: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def standings(trials: Sequence[Trial]) -> tuple[Standing, ...]:
    """Every promise, in order."""
    return tuple(_standing(p, [t for t in trials if t.promise == p.name]) for p in PROMISES)


def _standing(promise: Promise, trials: Sequence[Trial]) -> Standing:
    if not trials:
        return Standing(promise, "not tried here")
    sums: dict[str, tuple[int, int]] = {}
    for count in (c for t in trials for c in t.counts):
        tried, kept = sums.get(count.what, (0, 0))
        sums[count.what] = tried + count.tried, kept + count.kept
    failed = tuple(sorted(t.test for t in trials if not t.kept))
    short = any(
        sums.get(what, (0, 0))[0] < (len(studies()) if least == EVERY_STUDY else int(least))
        for what, least in promise.least.items()
    )
    other = any(t.versions.get("code") != code_version() for t in trials)
    # What the goal counts comes first.
    order = [*(w for w in promise.least if w in sums), *sorted(w for w in sums if w not in promise.least)]
    shown = [str(Count(w, *sums[w])) for w in order] + sorted(str(m) for t in trials for m in t.measures)
    names = dict.fromkeys(name for t in trials for name in t.versions)
    return Standing(
        promise,
        "broken" if failed else "tried in part" if short else OTHER_CODE if other else "holds",
        "; ".join(shown),
        failed,
        tuple(sorted({n for t in trials for n in t.notes})),
        min(t.date for t in trials),
        {n: " and ".join(sorted({t.versions[n] for t in trials if n in t.versions})) for n in names},
    )


def versions_text(standing: Standing) -> str:
    """The versions behind its figures, in words."""
    words = ", ".join(f"{name} {value}" for name, value in standing.versions.items())
    return words if standing.versions.get("code") == code_version() else f"{words} (other code than this)"


def trust_text(found: Sequence[Standing]) -> str:
    """For a terminal: a block of lines a promise."""
    blocks = []
    for standing in found:
        lines = [f"{standing.promise.name}: {standing.state.upper()}", standing.promise.text]
        lines += [f"reached: {standing.reached}"] if standing.reached else []
        lines += [f"to reach: {standing.promise.goal}"]
        lines += [f"broken by {test}" for test in standing.failed] + list(standing.notes)
        lines += [f"measured {standing.date}: {versions_text(standing)}"] if standing.date else []
        blocks.append("\n    ".join(lines))
    return "\n".join(blocks)
