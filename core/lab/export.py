"""Stored results as files: a folder a study, in it a CSV or Parquet file an experiment, in tidy long form.

Files are written shard by shard and appear whole or not at all. The same results give the same bytes, in
whatever order they were computed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.lab.errors import VhatError, nearest
from core.lab.experiment import Experiment, Payload, Spec
from core.lab.runner import Job
from core.lab.staging import staged_beside
from core.lab.store import canonical
from core.lab.table_files import FORMATS, WRITERS, Columns
from core.lab.tidy import Block, blocks_of_shard


@dataclass(frozen=True)
class Exported:
    """What was written for a study.

    Attributes:
        folder: which holds it.
        rows: by file name.
        complete: whether all results of the plan were stored.
    """

    folder: Path
    rows: Mapping[str, int]
    complete: bool


@dataclass(frozen=True)
class _Source:
    """What is stored of one experiment, in the order of its plan."""

    job: Job
    experiment: Experiment
    specs: tuple[Spec, ...]
    columns: Columns
    complete: bool

    def blocks(self) -> Iterator[Block]:
        """Every stored value, a shard at a time."""
        for spec in self.specs:
            payload = _read(self.job, spec)
            if payload is None:
                raise VhatError(
                    f"{self.job.study_id}: a stored result has gone while it was exported; run it again"
                )
            yield from _blocks(self.experiment, spec, payload)


def _blocks(experiment: Experiment, spec: Spec, payload: Payload) -> Iterator[Block]:
    # An experiment may hold another, whose shards name it.
    name = str(spec.get("experiment", experiment.name))
    return (block.of(name) for block in blocks_of_shard(spec, payload))


def _read(job: Job, spec: Spec) -> Payload | None:
    # Not through the job's view: it keeps all that it has read.
    return job.view.store.get(job.study_id, spec, job.view.code)


def _source(job: Job, experiment: Experiment) -> _Source:
    """Look at every stored shard once: what is pending tells which belong to the plan."""
    found: dict[str, Spec] = {}
    columns = Columns({"study": job.study_id, "plan": job.plan.name})

    def look(spec: Spec) -> Payload | None:
        payload, key = _read(job, spec), canonical(spec)
        if payload is not None and key not in found:
            found[key] = spec
            for block in _blocks(experiment, spec, payload):
                columns.see(block)
        return payload

    complete = not experiment.pending(look)
    return _Source(job, experiment, tuple(found.values()), columns, complete)


def export_study(job: Job, kind: str, to: Path) -> Exported | None:
    """Write everything that is stored of a study in its plan into the folder `to / <study>`.

    Args:
        job: of the study.
        kind: `csv` or `parquet`.
        to: may hold other studies, and earlier exports, of which files of the same name are replaced.

    Returns:
        What was written; None if nothing is stored.

    Raises:
        VhatError: for an unknown format, without the package that it needs, or if files cannot be written.
    """
    if kind not in WRITERS:
        raise VhatError(nearest(kind, FORMATS, kind="format"))
    sources = [s for e in job.experiments if (s := _source(job, e)).specs]
    if not sources:
        return None
    folder = to / job.study_id
    names = _file_names([s.experiment.name for s in sources], kind)
    files = dict(zip(names, sources, strict=True))
    complete = len(sources) == len(job.experiments) and all(s.complete for s in sources)
    try:
        with staged_beside(folder) as staged:
            for name, source in files.items():
                _write(source, kind, staged / name)
            (staged / "README.md").write_text(_description(files, job, complete=complete), "utf-8")
            folder.mkdir(parents=True, exist_ok=True)
            for name in (*names, "README.md"):
                (staged / name).replace(folder / name)
    except OSError as error:
        raise VhatError(
            f"cannot write into {folder}: {error.strerror or error}; choose another folder with --to"
        ) from error
    return Exported(folder, {n: s.columns.rows for n, s in files.items()}, complete)


def _write(source: _Source, kind: str, path: Path) -> None:
    with path.open("wb") as file:
        table = WRITERS[kind](source.columns, file)
        for block in source.blocks():
            table.write(block)
        table.end()
        file.flush()
        os.fsync(file.fileno())


def _file_names(experiments: list[str], kind: str) -> list[str]:
    """A name for each that every file system takes, no two alike."""
    names: dict[str, str] = {}
    for experiment in experiments:
        plain = re.sub(r"[^A-Za-z0-9.]+", "-", experiment).strip("-.") or "experiment"
        name, number = plain, 1
        while name.casefold() in names:
            number += 1
            name = f"{plain}-{number}"
        names[name.casefold()] = name
    return [f"{name}.{kind}" for name in names.values()]


_MEANING = {
    "study": "the study's name",
    "plan": "tiny, quick or full",
    "experiment": "the part of the study that the row is of: the file's own, or one that goes on from it",
    "stage": "tuning (settings are chosen on these seeds) or reporting (fresh seeds, at the chosen setting)",
    "regime": "the setting in which the claim is judged separately",
    "variant": "the rule with its settings, by the name that the report shows",
    "rule": "the update rule, as in core.optim.RULES",
    "lr": "learning rate",
    "outer_lr": "learning rate of meta-training",
    "schedule": "what multiplies the learning rate, by step",
    "play": "who steps when, on which sample",
    "seed": "counted from 0 within its stage; all variants of one seed see the same randomness",
    "step": "the training step; empty for a quantity without one",
    "quantity": (
        "what the value is of: a measure of the problem; field/NAME, a by-product of the field averaged "
        "since the last recorded step; diverged_at (a step, or -1); first hit, settled (a step, or -1); "
        "parameters, path, state; or an array of a measurement"
    ),
    "value": "a number; nan from the step at which a replica diverged",
}


def _description(files: Mapping[str, _Source], job: Job, *, complete: bool) -> str:
    """What the files hold, for whoever opens the folder."""
    lines = [
        f"# Results of the study {job.study_id}, {job.plan.name} plan",
        "",
        "One value a row. Files of several studies can be put together: columns mean the same in each.",
    ]
    if not complete:
        lines += ["", "The study was not run to its end: some results are missing."]
    for name, source in files.items():
        columns = source.columns
        lines += ["", f"## {name}", "", f"{columns.rows} rows.", "", "| column | meaning |", "|---|---|"]
        meanings = {c: meaning for c in columns.names() if (meaning := _meaning(c))}
        lines += [f"| {c} | {meaning} |" for c, meaning in meanings.items()]
        rest = [c for c in columns.names() if c not in meanings]
        if rest:
            lines += ["", f"Hyperparameters and settings, empty where they do not apply: {', '.join(rest)}."]
        lines += ["", f"Quantities: {', '.join(columns.quantities)}."]
    return "\n".join(lines) + "\n"


def _meaning(column: str) -> str:
    """Empty for hyperparameters and the cells of measurements."""
    if column.startswith("index_"):
        return f"place along axis {column.removeprefix('index_')} of a quantity that is an array, from 0"
    return _MEANING.get(column, "")
