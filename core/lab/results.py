"""Stored results, from Python: `load` reads what a run has left, computes nothing and writes nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.lab.errors import NotComplete, VhatError
from core.lab.registry import Registered, find
from core.lab.runner import Job, job_of
from core.lab.store import Store
from core.lab.study import Plan, Results, Study
from core.lab.terminal import say

RESULTS = "results.sqlite"
OUT = Path("out")


def load(
    study: str,
    plan: str = "quick",
    out: Path | str = OUT,
    *,
    seeds: int | None = None,
    device: str = "cpu",
) -> Results:
    """The results of a study, as `vhat run` has stored them.

    Args:
        study: its name, as `vhat list` shows it.
        plan: tiny, quick or full.
        out: the folder that `vhat run --out` was given.
        seeds: reporting seeds a variant, if the run was given a number.
        device: where they were computed.

    Returns:
        All of them: by name the results of its sweeps (`[seeds, ...]` by regime and variant) and measurements
        (`[seeds, ...]` by cell), or all values as a data frame.

    Raises:
        NotComplete: if not all are stored, of this plan and of the code as it is; it names the command.
        StoreError: if what is stored cannot be read.
        VhatError: for an unknown study or plan, or too few seeds.
    """
    registered, out = find(study), Path(out)
    chosen = registered.study.plan(plan).with_seeds(seeds)
    run = run_command(registered.study, chosen, out, device)
    with opened(out, reading=True, run=run) as store:
        return complete_results(registered, job_of(registered, chosen, store, device=device), run)


def run_command(study: Study, plan: Plan, out: Path, device: str = "cpu") -> str:
    """What one types to compute a study's results."""
    words = ["vhat", "run", study.id]
    if plan.name != "quick":
        words.append(f"--{plan.name}")
    if plan != study.plan(plan.name):
        words += ["--seeds", str(plan.reporting_seeds)]
    if device != "cpu":
        words += ["--device", device]
    if out != OUT:
        words += ["--out", str(out)]
    return shlex.join(words)


def complete_results(registered: Registered, job: Job, run: str) -> Results:
    """All results of a job of this study, which the command `run` computes.

    Raises:
        NotComplete: if some are not stored.
    """
    try:
        return job.results()
    except VhatError as error:
        # Asked only now: to look for what is pending takes as long as to read what is there.
        if job.complete():
            raise
        raise NotComplete(
            f"study {registered.study.id!r} has no complete results of its {job.plan.name} plan "
            f"with this code in {job.view.store.path.parent}: {run}"
        ) from error


@contextmanager
def opened(out: Path, *, new: bool = False, reading: bool = False, run: str = "vhat run") -> Iterator[Store]:
    """The store in a folder, which must be there unless a new one may be made; the command `run` makes one.

    Raises:
        NotComplete: if there is none.
        VhatError: if the folder cannot be looked into, or as `Store`.
    """
    try:
        there, stored = out.exists(), (out / RESULTS).exists()
    except OSError as error:
        raise VhatError(
            f"cannot look into {out}: {error.strerror}; choose another folder with --out"
        ) from error
    if not new and out.is_dir() and not stored:
        raise NotComplete(f"there are no results in {out}; name the folder with --out, or first: {run}")
    if not new and not there:
        raise NotComplete(
            f"there is no folder {out}; name the one with the results with --out, or first: {run}"
        )
    store = Store(out / RESULTS, notify=say, reading=reading)
    try:
        yield store
    finally:
        store.close()
