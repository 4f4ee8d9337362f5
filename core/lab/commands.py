"""What the commands do: the same functions serve the command line and `scripts/reproduce.py`."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from core.lab.benchmark import FOLDER, stored_benchmarks
from core.lab.engines import check_device, engine
from core.lab.errors import VhatError, nearest
from core.lab.planning import estimates, plan_table
from core.lab.progress import Bar
from core.lab.registry import Domain, Registered, find, survey
from core.lab.results import RESULTS, complete_results, opened, run_command
from core.lab.runner import Job, job_of, run_jobs
from core.lab.store import Store
from core.lab.study import Study, Table
from core.lab.tables import findings_table, markdown_table, number, text_table
from core.lab.tensorboard import check_tensorboard, write_results
from core.lab.terminal import say
from core.lab.trust import FOLDER as TRUST
from core.lab.trust import standings, stored_trials
from core.lab.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from core.lab.report import Entry

REPORT = "report"
DRAWN = "drawn"
"""What reports have drawn, for the next one."""
EXPORT = "export"
ENGINES = ("local", "dask")


def _print(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")


def studies() -> dict[str, Registered]:
    """All studies; of those that cannot be loaded a line is said."""
    found, broken = survey()
    for problem in broken:
        say(f"left out: {problem}")
    return found


def _chosen(names: Sequence[str]) -> list[Registered]:
    return [find(name) for name in dict.fromkeys(names)] if names else list(studies().values())


def _jobs(
    chosen: Iterable[Registered],
    plan: str,
    seeds: int | None,
    device: str,
    store: Store,
    *,
    elsewhere: bool = False,
) -> list[Job]:
    if not elsewhere:
        check_device(device)
    return [job_of(r, r.study.plan(plan).with_seeds(seeds), store, device=device) for r in chosen]


def list_studies() -> None:
    """The studies of all domains."""
    found, broken = survey()
    rows = [(r.domain.name, name, r.study.title, ", ".join(r.study.plans)) for name, r in found.items()]
    rows += [("broken", b.module, str(b), "") for b in broken]
    _print(text_table(Table("", ("domain", "study", "title", "plans"), tuple(rows))))


def list_verdicts(plan: str, seeds: int | None, device: str, out: Path) -> None:
    """The verdicts of the studies that are stored, as a Markdown table.

    Raises:
        VhatError: if no study has been run in this plan.
    """
    rows: list[tuple[str, ...]] = []
    left_out: list[VhatError] = []
    chosen = _chosen(())
    with opened(out, reading=True) as store:
        for registered, job in zip(chosen, _jobs(chosen, plan, seeds, device, store), strict=True):
            study = registered.study
            try:
                run = run_command(study, job.plan, out, device)
                verdict = study.judge(complete_results(registered, job, run))
            except VhatError as error:
                left_out.append(error)
                continue
            claim = f"{registered.domain.name} `{study.id}`: {study.question or study.title}"
            label = verdict.label.value + (": too few seeds" if verdict.few_seeds else "")
            holds, decisive = _held(verdict)
            rows.append((claim, f"**{label}**", f"{holds} of {decisive}", verdict.brief))
    if not rows:
        flag = "" if plan == "quick" else f" --{plan}"
        raise VhatError(
            f"no verdicts: no study of the {plan} plan is stored in {out}; vhat run{flag} --out {out}"
        )
    for problem in left_out:
        say(f"left out: {problem}")
    _print(markdown_table(Table("", ("claim", "verdict", "findings that hold", "in short"), tuple(rows))))


def run_studies(
    names: Sequence[str],
    plan: str,
    seeds: int | None,
    device: str,
    out: Path,
    workers: int | None,
    *,
    fresh: bool = False,
    kind: str = "local",
    scheduler: str | None = None,
    tensorboard: Path | None = None,
    judged: bool = True,
) -> None:
    """Run studies to their end, on an engine of that kind, print their verdicts (unless a report that follows
    does), and write what TensorBoard shows if a folder is given for it."""
    chosen = _chosen(names)
    if tensorboard is not None:
        check_tensorboard()
    _check_engine(kind, scheduler, workers)
    with opened(out, new=True) as store:
        jobs = _jobs(chosen, plan, seeds, device, store, elsewhere=scheduler is not None)
        start = time.perf_counter()
        with Bar("vhat") as progress, ExitStack() as stack:
            executor: Executor
            width: int | Callable[[], int]
            if scheduler is None:
                executor, width = stack.enter_context(engine(workers, device))
            else:
                from core.lab.cluster import dask_engine

                cluster = dask_engine(scheduler, chosen, device, progress.note)
                executor, width = stack.enter_context(cluster)
            for job in jobs if fresh else ():
                job.forget()
            run_jobs(jobs, executor, width, progress)
        say(
            f"{len(jobs)} studies in {time.perf_counter() - start:.0f} s, {plan} plan; "
            f"results in {store.path}"
        )
        for registered, job in zip(chosen, jobs, strict=True) if judged else ():
            study = registered.study
            _print(verdict_lines(registered.domain, study, study.judge(job.results())))
        if tensorboard is not None:
            for job in jobs:
                _show_on_tensorboard(job, tensorboard)


def _check_engine(kind: str, scheduler: str | None, workers: int | None) -> None:
    if kind not in ENGINES:
        raise VhatError(nearest(kind, ENGINES, kind="engine"))
    if kind == "local" and scheduler is not None:
        raise VhatError(f"--scheduler {scheduler} is for --engine dask; give both, or neither")
    if kind == "dask" and scheduler is None:
        raise VhatError(
            "--engine dask needs --scheduler ADDRESS: what `dask scheduler` prints when it starts, such as "
            "tcp://10.0.0.1:8786"
        )
    if kind == "dask" and workers is not None:
        raise VhatError(
            "--workers counts processes of this machine, and with --engine dask the cluster says how many "
            "there are; leave --workers out"
        )


def _show_on_tensorboard(job: Job, folder: Path) -> None:
    count = write_results(job.study_id, job.results(), folder)
    if count:
        say(f"{job.study_id}: {count} runs for TensorBoard; look at them with: tensorboard --logdir {folder}")
    else:
        say(f"{job.study_id}: no curves for TensorBoard; vhat export {job.study_id} writes what it measured")


def plan_study(name: str, plan: str, seeds: int | None, device: str, out: Path) -> None:
    """What a study's plan will take."""
    check_device(device)
    registered = find(name)
    chosen = registered.study.plan(plan).with_seeds(seeds)
    with opened(out, new=True) as store:
        say(f"measuring shards of {name} for about a minute; what is needed of their results is kept")
        table = plan_table(registered, chosen, out, estimates(registered, chosen, store, device=device))
    _print(f"{table.caption}\n\n{text_table(table)}")


def _held(verdict: Verdict) -> tuple[int, int]:
    """How many decisive findings hold, and how many there are."""
    outcomes = [f.outcome for f in verdict.findings if f.decisive]
    return outcomes.count(Outcome.HOLDS), len(outcomes)


def verdict_lines(domain: Domain, study: Study, verdict: Verdict) -> str:
    """Study, verdict, main effect with interval, and the answer in short, for the terminal."""
    main = verdict.main or verdict.findings[0]
    holds, decisive = _held(verdict)
    return (
        f"{domain.name}/{study.id}: {verdict.label.value.upper()} "
        f"({holds} of {decisive} findings hold; {main.regime}: {number(main.effect)} "
        f"[{number(main.low)}, {number(main.high)}] {main.unit}, {main.replicas} replicas)\n"
        f"    {verdict.brief}"
    )


def show_study(name: str, plan: str, seeds: int | None, device: str, out: Path) -> None:
    """A study's verdict, findings and tables."""
    registered = find(name)
    study = registered.study
    run = run_command(study, study.plan(plan).with_seeds(seeds), out, device)
    with opened(out, reading=True, run=run) as store:
        (job,) = _jobs([registered], plan, seeds, device, store)
        results = complete_results(registered, job, run)
        verdict = study.judge(results)
        _print(f"{study.title} ({study.id}, {plan} plan)\n\nClaim: {study.claim}\n")
        _print(f"{verdict.label.value.upper()}: {verdict.sentence}\n")
        for table in (findings_table(verdict.findings), *study.tables(results)):
            _print(f"{table.caption}\n{text_table(table)}\n")


def write_report(
    plan: str,
    seeds: int | None,
    device: str,
    out: Path,
    workers: int | None = 1,
    *,
    redraw: bool = False,
    tell: Callable[[Sequence[Entry]], None] = lambda _: None,
) -> Path:
    """Write the report of all studies that are stored; those that are not are listed as not run. Its entries
    are given to `tell`. What an earlier report has drawn from the same results is taken from there, unless
    all is to be drawn anew.

    Raises:
        VhatError: if no study has been run in this plan.
    """
    from core.lab.report import Stored, build_report
    from core.lab.report.kept import forget, kept_beside

    check_device(device)
    with opened(out, reading=True) as store:
        chosen = [
            Stored(r, r.study.plan(plan).with_seeds(seeds), store.path, device, checked=True)
            for r in _chosen(())
        ]
        if redraw:
            forget(out / DRAWN)
        kept = kept_beside(store, chosen, out / DRAWN)
    flag = "" if plan == "quick" else f" --{plan}"
    nothing = f"nothing to report: no study of the {plan} plan is stored in {out}; vhat run{flag} --out {out}"
    measured, damaged = stored_benchmarks(out / FOLDER)
    trials, unread = stored_trials(out / TRUST)
    with engine(workers, "cpu", start="fork") as (executor, _):
        index, problems = build_report(
            chosen,
            out / REPORT,
            measured,
            standings(trials),
            executor=executor,
            kept=kept,
            nothing=nothing,
            tell=tell,
        )
    for problem in (*damaged, *unread, *problems):
        say(problem)
    say(f"report: {index}")
    return index


def export_studies(
    names: Sequence[str], plan: str, seeds: int | None, device: str, out: Path, kind: str, to: Path | None
) -> None:
    """Write stored results of studies as files.

    Raises:
        VhatError: if a study that was named, or any at all, has no results; or as `core.lab.export`.
    """
    from core.lab.export import export_study

    flag = "" if plan == "quick" else f" --{plan}"
    exported, chosen = 0, _chosen(names)
    with opened(out, reading=True) as store:
        for job in _jobs(chosen, plan, seeds, device, store):
            done = export_study(job, kind, to or out / EXPORT)
            if done is None and names:
                raise VhatError(
                    f"study {job.study_id!r} has no results of its {plan} plan with this code in {out}: "
                    f"vhat run {job.study_id}{flag} --out {out}"
                )
            if done is not None:
                exported += 1
                rest = "" if done.complete else "; not all of the plan has been run"
                say(f"{job.study_id}: {sum(done.rows.values())} values in {done.folder}{rest}")
    if not exported:
        raise VhatError(
            f"nothing to export: no study of the {plan} plan is stored in {out}; vhat run{flag} --out {out}"
        )


def print_verdicts(entries: Sequence[Entry]) -> None:
    """The verdicts of a report, for the terminal."""
    for entry in entries:
        if entry.verdict is not None:
            _print(verdict_lines(entry.domain, entry.study, entry.verdict))


def doctor(out: Path, device: str, *, full: bool) -> None:
    """Say what is right and what is wrong with this machine and these results; rerun the promises' tests."""
    from core.lab.doctor import examine_machine

    examine_machine(out / RESULTS, device, full=full, show=_print)


def clean(names: Sequence[str], out: Path) -> None:
    """Remove stored results and the report."""
    from core.lab.report.kept import forget

    ids = [find(name).study.id for name in names]
    with opened(out) as store:
        count = sum(store.forget(i) for i in ids) if ids else store.forget()
    shutil.rmtree(out / REPORT, ignore_errors=True)
    forget(out / DRAWN)
    _print(f"removed {count} stored shards and the report from {out}")
