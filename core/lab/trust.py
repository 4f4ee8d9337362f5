"""What vhat promises about its results, and what was counted when tests tried to break it.

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
from core.lab.registry import root, studies
from core.lab.staging import write_whole
from core.lab.tables import number

FORMAT = "vhat trust 1"
FOLDER = "trust"
"""Beside the results: where the test run's figures lie."""
VARIABLE = "VHAT_TRUST"
"""The environment variable that names the folder; without it a test run writes nothing."""
EVERY_STUDY = "every study"
"""A count to reach: as many as there are studies."""
OTHER_CODE = "measured on other code"


@dataclass(frozen=True)
class Promise:
    """A promise and how it is tried.

    Attributes:
        name: of its figures.
        text: the promise.
        tried: how tests try to break it.
        goal: the figure to reach, in words.
        tests: files of tests, or single tests, that try it.
        least: counts to reach before the promise counts as tried, by what is counted: a number or
            `EVERY_STUDY`.
        each: what a test that counts nothing itself is counted as.
    """

    name: str
    text: str
    tried: str
    goal: str
    tests: tuple[str, ...]
    least: Mapping[str, int | str] = field(default_factory=dict)
    each: str = "tests"


_COMMANDS = "tests/crash/test_commands.py"
_KILLED = (
    "test_a_command_with_two_workers_is_killed",
    "test_commands_with_two_workers_are_killed_at_random_instants",
)
PROMISES = (
    Promise(
        "kill",
        "A run that is killed at any moment loses at most the shard in flight, and ends in the same bits.",
        "A child kills itself with SIGKILL at the n-th statement of the store, sqlite instruction, byte, "
        "fsync, rename, deletion or step of training, at each system call by which sqlite changes a file, in "
        "the middle of a write, or is killed at a random instant; it is run again and every row is compared. "
        "`vhat run --workers 2` is killed at random instants, alone and with its workers.",
        "at least 200 kill points, all identical, no stray file",
        ("tests/crash/test_kill.py", *(f"{_COMMANDS}::{name}" for name in _KILLED)),
        {"kill points": 200, "kill points at system calls": 100, "killed commands with two workers": 10},
    ),
    Promise(
        "damage",
        "A damaged store or file is noticed, said in one line, and computed again.",
        "Flipped bits, cuts, appended, zeroed, garbled, exchanged and inserted bytes in stores, price "
        "caches, people's own files and benchmarks, and in the log and its index that a killed run leaves; "
        "stores of another version; a read-only and a full disk, which then has room again.",
        "at least 1,000 damages, none silent, none with a traceback",
        ("tests/crash/test_damage.py",),
        {"damages": 1000, "damaged logs of killed runs": 100, "stores of another version": 5},
    ),
    Promise(
        "same-bits",
        "The same bits for any shard size, worker count, engine and order of variants.",
        "Every study in a small plan with shards of three sizes in this process, in two others and on a Dask "
        "cluster, and with its variants and cells the other way round. In its quick plan every study on the "
        "same three engines, on each with its seeds in another number of shards (one, two, three; two seeds "
        "make one), on one of them the other way round: three of the nine pairs of engine and size a study, "
        "all nine over nine studies. Every array is compared.",
        "every study, all arrays identical",
        ("tests/crash/test_same_bits.py", "tests/crash/test_rounding.py"),
        dict.fromkeys(
            (
                "studies in shards of three sizes",
                "studies the other way round",
                "studies in two other processes",
                "studies on a Dask cluster",
                "quick plans on three engines, one the other way round",
            ),
            EVERY_STUDY,
        ),
    ),
    Promise(
        "replicas",
        "One replica harms no other.",
        "NaN, infinity and huge numbers take the place of one replica's field in every problem that a study "
        "trains or measures; the others are compared bit by bit with a run without the fault.",
        "all problems of all studies, all others identical",
        ("tests/crash/test_replicas.py",),
        {"studies with a broken replica": EVERY_STUDY, "whole lists of classes of problems": 1},
    ),
    Promise(
        "lost-worker",
        "A lost worker or scheduler loses no result.",
        "SIGKILL to a Dask worker in the middle of a shard, to all that come after it, to the scheduler, and "
        "to the process that asked; a scheduler that hangs.",
        "the study ends; or one clear line, and a resume that ends",
        ("tests/crash/test_cluster.py",),
        {"workers killed": 7, "schedulers killed or hung": 2, "askers killed": 1},
    ),
    Promise(
        "bad-input",
        "Bad input gets one clear line.",
        "Unknown names, rates of 0, NaN, no seeds, empty grids, folders that cannot be written, wrong shapes "
        "and types, old stores, closed pipes, bad CSV files, problems that break the contract: to every "
        "command, script and public function.",
        "at least 80 cases: an exit code other than 0 or a typed error, one line, no traceback",
        ("tests/cli/test_bad_command_lines.py", "tests/cli/test_bad_calls.py"),
        {"cases": 80},
        "cases",
    ),
    Promise(
        "untrusted",
        "Nothing untrusted runs.",
        "The syntax tree of every source file is searched for pickle, eval, exec, marshal, torch.load, "
        "yaml.load, shell=True and numpy.load with pickles; markup in names goes through the report; "
        "random bytes and changed bytes in place of every file that is read.",
        "none found, all markup escaped, no file believed that is not whole",
        ("tests/test_untrusted.py", "tests/fuzz"),
        {"source files": 100, "changed files": 1000},
    ),
    Promise(
        "memory",
        "Long work stays small.",
        "Memory of a process over tens of thousands of steps and thousands of shards, with a fixed number of "
        "recorded points, and of two workers over hundreds of shards of a study on prices; its growth in the "
        "second half, as the median of five windows.",
        "memory does not grow with steps or shards beyond what is recorded",
        ("tests/crash/test_memory.py",),
        {
            "long runs of steps": 2,
            "long runs of shards": 2,
            "long runs of shards of a study in two processes": 1,
        },
    ),
    Promise(
        "two-processes",
        "Two processes on one store share the work.",
        "The same study run by two and three processes at once; one of two killed at a statement of the "
        "store or a random instant.",
        "both end right, no shard computed twice",
        ("tests/crash/test_two_processes.py", f"{_COMMANDS}::test_two_commands_at_once_share_one_study"),
        {"runs at once": 20, "commands with two workers at once": 2},
    ),
)


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


def promise_of(test: str) -> Promise | None:
    """The promise that a test tries, by its name as pytest gives it."""
    for promise in PROMISES:
        if any(test == own or test.startswith((f"{own}::", f"{own}/", f"{own}[")) for own in promise.tests):
            return promise
    return None


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
