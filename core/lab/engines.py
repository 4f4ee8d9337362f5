"""Engines: where shards are computed. The seam is `concurrent.futures.Executor`; results do not depend on
which.

A shard is always computed on one thread: sums over several threads, torch's and those of numpy's linear
algebra, depend on how many there are; and two workers that both run on all cores wait for each other.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Literal, ParamSpec, TypeVar

import torch
from threadpoolctl import threadpool_limits

from core.lab.errors import VhatError
from core.lab.experiment import Experiment, Payload, Spec
from core.lab.fingerprint import code_digest
from core.lab.study import Plan, Study

P = ParamSpec("P")
T = TypeVar("T")
Start = Literal["spawn", "fork"]


class WorkerDied(VhatError):
    """A worker, or the way to it, is gone."""


class InProcess(Executor):
    """Computes at once, in this process: for one core, for accelerators, and for problems that cannot be
    sent."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """A future that is done."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass(frozen=True)
class Done:
    """What a worker gives back: a shard's result, or what went wrong.

    Attributes:
        payload: arrays `[...]` by name; None where something went wrong.
        seconds: of time that it took, also where it failed.
        error: what went wrong, in one line; empty if nothing did.
        trace: the same in full, a traceback.
    """

    payload: Payload | None
    seconds: float
    error: str = ""
    trace: str = ""


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch and of numpy's and scipy's linear algebra inside, as before outside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


def compute(experiment: Experiment, spec: Spec, device: str) -> Done:
    """Compute a shard; an error becomes a value, so that it crosses process borders whole."""
    start = time.perf_counter()
    try:
        with one_thread():
            payload = experiment.run(spec, device=device)
    except Exception as error:
        return _failed(error, time.perf_counter() - start)
    return Done(payload, time.perf_counter() - start)


def _failed(error: Exception, seconds: float) -> Done:
    line = f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"
    said = str(error) if isinstance(error, VhatError) else line
    return Done(None, seconds, said, traceback.format_exc())


def compute_by_name(module: str, plan: Plan, experiment: str, spec: Spec, device: str, code: str) -> Done:
    """The same in another process, which finds the study by the module that holds it.

    A process imports a study when its first shard comes, perhaps hours after the run began: `code` is the
    digest that the study had then, and a shard of other code is not computed.
    """
    try:
        found = _find(module, plan, experiment, code)
    except Exception as error:
        # Somebody else's module may raise anything.
        return _failed(error, 0.0)
    return compute(found, spec, device)


def _find(module: str, plan: Plan, experiment: str, code: str) -> Experiment:
    study: Study = importlib.import_module(module).STUDY
    if code_digest(study, module) != code:
        raise VhatError(
            f"the code of study {study.id!r} is not what it was where this run began (edited meanwhile, or "
            "another checkout); run the same command again, after a restart of the workers if they are a "
            "cluster's"
        )
    return next(e for e in study.experiments(plan) if e.name == experiment)


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


def cores() -> int:
    """How many processors this process may use."""
    # A container or a batch system lends some of those that the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    """End when the parent has, whatever ended it: a worker that waits for work would wait for ever.

    A thread and not Linux's PR_SET_PDEATHSIG, which is sent when the parent's thread ends that started the
    worker.
    """
    parent.join()
    os._exit(1)


class _Pool(ProcessPoolExecutor):
    """A process pool whose workers leave Ctrl-C to their parent from their first moment on.

    A worker that printed a traceback of its own, perhaps while it still imports torch, would bury the one
    line that matters. A blocked signal stays blocked in a process that is started meanwhile.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def one_process_a_shard() -> ProcessPoolExecutor:
    """One at a time, each in a process that has done nothing else: for what is measured of a process."""
    return _Pool(
        1, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker, max_tasks_per_child=1
    )


@contextmanager
def engine(workers: int | None, device: str, *, start: Start = "spawn") -> Iterator[tuple[Executor, int]]:
    """An executor and how many shards it computes at a time.

    Args:
        workers: processes; None means one a core that may be used, and 1 means this process. An accelerator
            is driven from this process.
        start: see `processes`.

    Raises:
        VhatError: for fewer than one worker.
    """
    count = workers if workers is not None else cores()
    if count < 1:
        raise VhatError(f"--workers needs at least 1, got {count}")
    if count == 1 or device != "cpu":
        yield InProcess(), 1
        return
    with processes(count, start=start) as pool:
        yield pool, count


@contextmanager
def processes(count: int, *, start: Start = "spawn") -> Iterator[Executor]:
    """That many processes, which end with the block: at once if it ends in an error.

    Args:
        start: `spawn` begins each anew, as computing needs: a forked torch may hang on locks held by threads
            that do not exist in the child. `fork` copies this process with all that it has imported, which
            takes seconds otherwise: for short work on one thread that leaves torch's threads alone. Where
            forking is not safe (outside Linux) it is spawned all the same.
    """
    others = multiprocessing.active_children()
    method = start if sys.platform == "linux" else "spawn"
    pool = _Pool(count, mp_context=multiprocessing.get_context(method), initializer=_start_worker)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()
        raise
    pool.shutdown()
