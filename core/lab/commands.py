"""What the commands do: the same functions serve the command line and `scripts/reproduce.py`."""

from __future__ import annotations

import platform
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from core.lab.benchmark import FOLDER, stored_benchmarks
from core.lab.engines import engine
from core.lab.errors import VhatError
from core.lab.fingerprint import package_versions
from core.lab.planning import estimates, plan_table
from core.lab.progress import Bar
from core.lab.registry import Registered, find, studies
from core.lab.runner import Job, job_of, run_jobs
from core.lab.store import Store
from core.lab.study import Table
from core.lab.tables import findings_table, number, text_table
from core.lab.terminal import say
from core.lab.verdict import Verdict

RESULTS = "results.sqlite"
REPORT = "report"


def _print(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")


def _chosen(names: Sequence[str]) -> list[Registered]:
    return [find(name) for name in dict.fromkeys(names)] if names else list(studies().values())


@contextmanager
def _opened(out: Path, *, to_write: bool = False) -> Iterator[Store]:
    try:
        there, stored = out.exists(), (out / RESULTS).exists()
    except OSError as error:
        raise VhatError(
            f"cannot look into {out}: {error.strerror}; choose another folder with --out"
        ) from error
    if not to_write and out.is_dir() and not stored:
        raise VhatError(f"there are no results in {out}; name the folder with --out, or vhat run first")
    if not to_write and not there:
        raise VhatError(
            f"there is no folder {out}; name the one with the results with --out, or vhat run first"
        )
    store = Store(out / RESULTS, notify=say)
    try:
        yield store
    finally:
        store.close()


def _jobs(chosen: Iterable[Registered], plan: str, seeds: int | None, device: str, store: Store) -> list[Job]:
    check_device(device)
    return [job_of(r, r.study.plan(plan).with_seeds(seeds), store, device=device) for r in chosen]


def check_device(device: str) -> None:
    """One clear line for a device that torch does not know or that is not there.

    Raises:
        VhatError: saying so.
    """
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise VhatError(f"device {device!r} cannot be used here ({reason}); use --device cpu") from error


def list_studies() -> None:
    """The studies of all domains."""
    rows = [(r.domain.name, name, r.study.title, ", ".join(r.study.plans)) for name, r in studies().items()]
    _print(text_table(Table("", ("domain", "study", "title", "plans"), tuple(rows))))


def run_studies(
    names: Sequence[str],
    plan: str,
    seeds: int | None,
    device: str,
    out: Path,
    workers: int | None,
    *,
    fresh: bool = False,
) -> None:
    """Run studies to their end and print their verdicts."""
    chosen = _chosen(names)
    with _opened(out, to_write=True) as store:
        jobs = _jobs(chosen, plan, seeds, device, store)
        start = time.perf_counter()
        with engine(workers, device) as (executor, width), Bar("vhat") as progress:
            for registered in chosen if fresh else ():
                store.forget(registered.study.id)
            run_jobs(jobs, executor, width, progress)
        say(
            f"{len(jobs)} studies in {time.perf_counter() - start:.0f} s, {plan} plan; "
            f"results in {store.path}"
        )
        _print(verdict_table(zip(chosen, jobs, strict=True)))


def plan_study(name: str, plan: str, seeds: int | None, device: str, out: Path) -> None:
    """What a study's plan will take."""
    check_device(device)
    registered = find(name)
    chosen = registered.study.plan(plan).with_seeds(seeds)
    with _opened(out, to_write=True) as store:
        table = plan_table(registered, chosen, out, estimates(registered, chosen, store, device=device))
    _print(f"{table.caption}\n\n{text_table(table)}")


def judge(registered: Registered, job: Job) -> Verdict:
    """A study's verdict from stored results.

    Raises:
        VhatError: if it has not been run in this plan.
    """
    if not job.complete():
        flag = "" if job.plan.name == "quick" else f" --{job.plan.name}"
        raise VhatError(
            f"study {registered.study.id!r} has no complete results of its {job.plan.name} plan "
            f"with this code in {job.view.store.path.parent}: vhat run {registered.study.id}{flag}"
        )
    return registered.study.judge(job.results())


def verdict_table(pairs: Iterable[tuple[Registered, Job]]) -> str:
    """Study, verdict, main effect with interval, and the sentence, for the terminal."""
    blocks = []
    for registered, job in pairs:
        verdict = judge(registered, job)
        main = verdict.findings[0]
        holds = sum(f.outcome == "holds" for f in verdict.findings if f.decisive)
        decisive = sum(f.decisive for f in verdict.findings)
        blocks.append(
            f"{registered.domain.name}/{registered.study.id}: {verdict.label.value.upper()} "
            f"({holds} of {decisive} findings hold; {main.regime}: {number(main.effect)} "
            f"[{number(main.low)}, {number(main.high)}] {main.unit}, {main.replicas} replicas)\n"
            f"    {verdict.sentence}"
        )
    return "\n".join(blocks)


def show_study(name: str, plan: str, seeds: int | None, device: str, out: Path) -> None:
    """A study's verdict, findings and tables."""
    registered = find(name)
    with _opened(out) as store:
        (job,) = _jobs([registered], plan, seeds, device, store)
        verdict = judge(registered, job)
        study = registered.study
        _print(f"{study.title} ({study.id}, {plan} plan)\n\nClaim: {study.claim}\n")
        _print(f"{verdict.label.value.upper()}: {verdict.sentence}\n")
        for table in (findings_table(verdict.findings), *study.tables(job.results())):
            _print(f"{table.caption}\n{text_table(table)}\n")


def write_report(plan: str, seeds: int | None, device: str, out: Path) -> Path:
    """Write the report of all studies that are stored; those that are not are listed as not run.

    Raises:
        VhatError: if no study has been run in this plan.
    """
    from core.lab.report import Entry, Provenance, build_report

    entries = []
    with _opened(out) as store:
        chosen = _chosen(())
        for registered, job in zip(chosen, _jobs(chosen, plan, seeds, device, store), strict=True):
            if not job.complete():
                entries.append(Entry(registered.domain, registered.study, plan))
                continue
            results = job.results()
            shards = [s for s in store.shards(registered.study.id) if s.address in job.view.addresses]
            provenance = Provenance.of(
                shards,
                job.view.code,
                {"python": platform.python_version()}
                | package_versions(("torch", "numpy", *registered.study.packages)),
            )
            entries.append(
                Entry(
                    registered.domain,
                    registered.study,
                    plan,
                    results,
                    registered.study.judge(results),
                    provenance,
                )
            )
    if all(e.results is None for e in entries):
        flag = "" if plan == "quick" else f" --{plan}"
        raise VhatError(
            f"nothing to report: no study of the {plan} plan is stored in {out}; vhat run{flag} --out {out}"
        )
    measured, damaged = stored_benchmarks(out / FOLDER)
    index, problems = build_report(entries, out / REPORT, measured)
    for problem in (*damaged, *problems):
        say(problem)
    say(f"report: {index}")
    return index


def clean(names: Sequence[str], out: Path) -> None:
    """Remove stored results and the report."""
    ids = [find(name).study.id for name in names]
    with _opened(out) as store:
        count = sum(store.forget(i) for i in ids) if ids else store.forget()
    shutil.rmtree(out / REPORT, ignore_errors=True)
    _print(f"removed {count} stored shards and the report from {out}")
