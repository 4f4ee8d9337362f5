"""Brings together what all pages show: kept from an earlier report, or drawn here or in other processes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path

from core.lab.engines import InProcess, WorkerDied, one_thread
from core.lab.figures.remembered import remembered
from core.lab.registry import Domain, Registered
from core.lab.report.entry import Entry, Stored
from core.lab.report.kept import NOTHING, Kept
from core.lab.report.material import FIGURES, Material, material_of, swept, undisturbed
from core.lab.study import Plan, Results


@undisturbed()
def materials(
    entries: Sequence[Entry | Stored], root: Path, executor: Executor, kept: Kept = NOTHING
) -> list[tuple[Entry, Material]]:
    """Everything taken or drawn, in the order of the entries, whatever the order in which it was done.

    Args:
        root: the report's folder.
        executor: draws what is stored and not kept.
        kept: what earlier reports have drawn; what is drawn now is kept there too.

    Raises:
        WorkerDied: if a process of the executor is gone.
    """
    figures, pages = root / FIGURES, dict[int, tuple[Entry, Material]]()
    for i, own in enumerate(entries):
        if isinstance(own, Stored) and (made := kept.take(own.registered.study.id, figures)):
            pages[i] = _joined(own, made)
    # What takes long goes first, so that no worker is left alone with it at the end.
    waiting = sorted(set(range(len(entries))) - set(pages), key=lambda i: -_weight(entries[i]))
    try:
        sent = {} if isinstance(executor, InProcess) else _sent(entries, waiting, root, executor)
        for i in waiting:
            own = entries[i]
            if isinstance(own, Stored):
                pages[i] = _joined(own, sent[i].result()) if i in sent else _here(own, root)
                kept.keep(own.registered.study.id, pages[i][1], figures)
            else:
                pages[i] = _here(own, root)
    except BrokenExecutor as error:
        raise WorkerDied(
            "report: a worker process died, perhaps for want of memory; run the same command with --workers 1"
        ) from error
    return [pages[i] for i in range(len(entries))]


def _sent(
    entries: Sequence[Entry | Stored], waiting: Sequence[int], root: Path, executor: Executor
) -> dict[int, Future[Material]]:
    """What other processes draw, by the entry's place."""
    sent = {}
    for i in waiting:
        own = entries[i]
        if isinstance(own, Stored):
            held, where = own.registered, (own.plan, own.store, own.device, own.checked, root)
            sent[i] = executor.submit(_by_name, held.module, held.domain, *where)
    return sent


def _by_name(
    module: str, domain: Domain, plan: Plan, store: Path, device: str, checked: bool, root: Path
) -> Material:
    """In another process, which finds the study by the module that holds it."""
    registered = Registered(domain, importlib.import_module(module).STUDY, module)
    return _here(Stored(registered, plan, store, device, checked), root)[1]


def _weight(own: Entry | Stored) -> int:
    study = own.study if isinstance(own, Entry) else own.registered.study
    return len(study.figures) + 3 * len(study.films)


def _here(own: Entry | Stored, root: Path) -> tuple[Entry, Material]:
    swept()
    with remembered(), one_thread():
        entry = own.entry() if isinstance(own, Stored) else own
        return entry, material_of(entry, root)


def _joined(own: Entry | Stored, made: Material) -> tuple[Entry, Material]:
    """The entry without its arrays, which pages do not need."""
    assert isinstance(own, Stored)
    results = Results(made.plan, {}) if made.plan else None
    registered = own.registered
    entry = Entry(
        registered.domain,
        registered.study,
        own.plan.name,
        results,
        made.verdict,
        made.provenance,
        registered.module,
    )
    return entry, made
