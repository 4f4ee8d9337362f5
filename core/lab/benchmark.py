"""Stored measurements of speed: what a benchmark writes, and what the report's page of benchmarks reads."""

from __future__ import annotations

import json
import math
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from core.lab.errors import VhatError, one_line
from core.lab.plain_data import REFUSALS, built, listed, read_object, reason
from core.lab.staging import write_whole

FORMAT = "vhat benchmark 1"
FOLDER = "bench"
"""Beside the results: where measurements lie."""


@dataclass(frozen=True)
class Ratio:
    """A ratio that was taken in each turn.

    Attributes:
        median: over the turns.
        low, high: the smallest and the largest of them.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Ratio:
        """Of at least one turn."""
        ordered = sorted(values)
        middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
        return cls(middle, ordered[0], ordered[-1])


def ratio_text(value: float) -> str:
    """Three significant digits, and thousands in full."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


@dataclass(frozen=True)
class Measured:
    """One contestant in one case.

    Attributes:
        case: the problem, its size.
        contestant: who was timed.
        ratio: to the benchmark's yardstick, in the same turns.
        goal: what the ratio was meant to reach; None where no goal was set.
        beside: further numbers as ready text, by column.
    """

    case: str
    contestant: str
    ratio: Ratio
    goal: float | None = None
    beside: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Machine:
    """Where it was measured.

    Attributes:
        processor: its model, in words.
        cores: how many of them the process may use.
        threads: of torch.
        system: operating system and architecture.
        python, torch: their versions.
    """

    processor: str
    cores: int
    threads: int
    system: str
    python: str
    torch: str

    @classmethod
    def here(cls) -> Machine:
        """This process's machine, with the threads that torch uses now."""
        return cls(
            processor=_processor(),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            threads=torch.get_num_threads(),
            system=f"{platform.system()} {platform.machine()}",
            python=platform.python_version(),
            torch=torch.__version__,
        )

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return (
            f"{self.processor}, {self.cores} cores, {threads}; {self.system}, "
            f"Python {self.python}, torch {self.torch}"
        )


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


@dataclass(frozen=True)
class Benchmark:
    """A finished measurement.

    Attributes:
        name: of its file.
        title: as shown.
        about: how it was measured, and what the contestants are.
        unit: what the ratio is, an axis label.
        faster: `up` where a larger ratio is better, `down` where a smaller one is.
        rows: in the order in which they are shown; the rows of a case follow each other.
        turns: how often the contestants took turns.
        command: what measures it again.
        date: of the measurement, ISO 8601.
        machine: where.
        missing: a line for each contestant that could not take part.

    Raises:
        ValueError: for a name that cannot name a file, another word than up or down, or no rows.
    """

    name: str
    title: str
    about: str
    unit: str
    faster: str
    rows: tuple[Measured, ...]
    turns: int
    command: str
    date: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    machine: Machine = field(default_factory=Machine.here)
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9-]+", self.name):
            raise ValueError(
                f"a benchmark's name names a file: letters, digits and hyphens, got {self.name!r}"
            )
        if self.faster not in ("up", "down"):
            raise ValueError(f"faster is 'up' or 'down', got {self.faster!r}")
        if not self.rows:
            raise ValueError("a benchmark without rows")

    def save(self, folder: Path) -> Path:
        """Write it into `folder`, whole or not at all; an earlier measurement of that name is replaced.

        Raises:
            VhatError: if the folder cannot be written.
        """
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False, allow_nan=False)
        path = folder / f"{self.name}.json"
        try:
            write_whole(path, f"{text}\n".encode())
        except OSError as error:
            raise VhatError(
                f"cannot write {path}: {error.strerror or error}; choose another --out"
            ) from error
        return path


def stored_benchmarks(folder: Path) -> tuple[tuple[Benchmark, ...], tuple[str, ...]]:
    """The measurements in a folder by name, and a line for each file that is none."""
    found, problems = [], []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            found.append(_read(path))
        except REFUSALS as error:
            problems.append(
                f"skipped {one_line(path.name)}, which is no benchmark of this version: {reason(error)}"
            )
    return tuple(found), tuple(problems)


def _read(path: Path) -> Benchmark:
    loaded = read_object(path, FORMAT)
    machine = built(Machine, loaded.pop("machine", None))
    rows = tuple(_row(row) for row in listed(loaded.pop("rows", None)))
    missing = tuple(str(line) for line in listed(loaded.pop("missing", [])))
    benchmark: Benchmark = built(Benchmark, {**loaded, "rows": rows, "machine": machine, "missing": missing})
    if f"{benchmark.name}.json" != path.name:
        raise ValueError(f"it holds {benchmark.name!r}")
    return benchmark


def _row(row: Any) -> Measured:
    if not isinstance(row, dict):
        raise ValueError("a row is not an object")
    ratio = built(Ratio, row.get("ratio"))
    numbers = (ratio.low, ratio.median, ratio.high)
    if not all(math.isfinite(x) and x > 0 for x in numbers) or sorted(numbers) != list(numbers):
        raise ValueError("a ratio is not three positive numbers in order")
    if not isinstance(row.get("beside"), dict):
        raise ValueError("a row has no further columns")
    beside = {str(key): str(value) for key, value in row["beside"].items()}
    measured: Measured = built(Measured, {**row, "ratio": ratio, "beside": beside})
    if measured.goal is not None and not (math.isfinite(measured.goal) and measured.goal > 0):
        raise ValueError("a goal is not a positive number")
    return measured
