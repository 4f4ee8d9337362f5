"""The engine beyond one machine: an existing Dask cluster, behind the same `concurrent.futures.Executor`.

The very same shards go to its workers, and their results come back to the store of the one who asked. Dask
moves code and results as pickles, so whoever may connect to a cluster may run anything on it and on those who
use it: connect to clusters of your own only, and protect them (addresses that begin with tls:// take their
certificates from Dask's own configuration).

Same bits as anywhere else need the same code and packages, and one shard at a time in a worker process: this
is asked of every worker when it is first seen, and the code again before each shard. Processors of different
kinds round differently; that is said, not refused.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import logging
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import torch

from core.lab.engines import Done, WorkerDied, check_device
from core.lab.errors import VhatError
from core.lab.fingerprint import code_digest, package_versions
from core.lab.registry import Registered, root

if TYPE_CHECKING:
    from distributed import Client

P = ParamSpec("P")
T = TypeVar("T")

_TO_CONNECT = 10.0
"""Seconds for a scheduler to answer at all."""
_TO_ANSWER = 60.0
"""Seconds for a scheduler or a worker that is connected to answer; importing torch takes some."""
_LOOK = 2.0
"""Seconds between two looks at which workers there are."""
_PACKAGES = ("torch", "numpy", "distributed", "dask")
_PROCESSOR = "processor"


@dataclass(frozen=True)
class Wanted:
    """What every worker must agree on.

    Attributes:
        modules: that hold the studies.
        packages: installed packages that results depend on.
        device: where shards are computed.
    """

    modules: tuple[str, ...]
    packages: tuple[str, ...]
    device: str

    @classmethod
    def of(cls, chosen: Sequence[Registered], device: str) -> Wanted:
        """For these studies."""
        packages = dict.fromkeys((*_PACKAGES, *(p for r in chosen for p in r.study.packages)))
        return cls(tuple(r.module for r in chosen), tuple(packages), device)


def describe(wanted: Wanted) -> dict[str, str]:
    """What results depend on, as it is in the process that is asked."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    found |= {f"the package {name}": version for name, version in package_versions(wanted.packages).items()}
    for module in wanted.modules:
        study = importlib.import_module(module).STUDY
        found[f"the code of study {study.id!r}"] = code_digest(study, module)[:12]
    found[_PROCESSOR] = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return found


def _describe_worker(wanted: Wanted) -> dict[str, str]:
    """The same on a worker, where the device must be usable as well."""
    _reach_domains()
    check_device(wanted.device)
    return describe(wanted)


def _on_worker(fn: Callable[..., object], args: tuple[object, ...]) -> object:
    """Compute a shard on a worker, whose address goes into what is said of a failure."""
    from distributed import get_worker

    _reach_domains()
    worker = get_worker()
    if worker.state.nthreads != 1:
        return Done(None, 0.0, _threads(worker.address, worker.state.nthreads))
    done = fn(*args)
    if isinstance(done, Done) and done.error:
        return dataclasses.replace(done, error=f"worker {worker.address}: {done.error}")
    return done


def _reach_domains() -> None:
    """Let a worker import domains that lie beside `core` and that its installation does not know."""
    if (here := str(root())) not in sys.path:
        sys.path.append(here)


def _threads(address: str, count: int) -> str:
    return (
        f"worker {address} has {count} threads, and results would depend on what they do beside each other; "
        "start workers with --nthreads 1, several a machine with --nworkers"
    )


@dataclass
class DaskExecutor(Executor):
    """Hands calls that give a `Done` to the workers of a cluster.

    Attributes:
        client: connected to the scheduler.
        address: the scheduler's, as it was given.
        wanted: what workers must agree on.
        notify: for lines that are no errors.
    """

    client: Client
    address: str
    wanted: Wanted
    notify: Callable[[str], None]
    _here: Mapping[str, str] = field(init=False)
    _seen: frozenset[str] = field(init=False, default=frozenset())
    _workers: int = field(init=False, default=0)
    _looked: float = field(init=False, default=-_LOOK)
    _idle: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._here = describe(self.wanted)
        # Not pure: Dask must not take a call for another of the same name that somebody made before.
        self._executor: Executor = self.client.get_executor(pure=False)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """A future whose errors are typed; a lost worker's call is repeated by Dask on another."""
        ours: Future[T] = Future()
        # As one callable: Dask would search arguments for names of other tasks, and replace them.
        call = partial(_on_worker, partial(fn, **kwargs), args)
        try:
            theirs: Future[Any] = self._executor.submit(call)
            theirs.add_done_callback(lambda done: self._pass_on(done, ours))
        except Exception as error:
            ours.set_exception(self._lost(f"it takes no work ({error})"))
        return ours

    def _pass_on(self, theirs: Future[Any], ours: Future[Any]) -> None:
        try:
            ours.set_result(theirs.result())
        except CancelledError:
            ours.set_exception(self._lost("the connection to it was lost"))
        except Exception as error:
            ours.set_exception(self._failed(error))

    def width(self) -> int:
        """How many shards to have under way: two a worker, so that none waits, and some for workers to come.

        Looks at the cluster now and then.

        Raises:
            WorkerDied: if the scheduler is gone or does not answer.
            VhatError: if a worker differs.
        """
        if self.client.status != "running":
            raise self._lost("the connection to it was lost")
        if time.monotonic() - self._looked >= _LOOK:
            self._look()
            self._looked = time.monotonic()
        return 2 * self._workers + 8

    def _look(self) -> None:
        workers: Mapping[str, int] = self._ask(self.client.nthreads)
        for address, threads in sorted(workers.items()):
            if threads != 1:
                raise VhatError(_threads(address, threads))
        fresh = sorted(workers.keys() - self._seen)
        if fresh:
            answers = self._ask(
                self.client.run, _describe_worker, self.wanted, workers=fresh, on_error="return"
            )
            self._check(answers)
        self._seen, self._workers = frozenset(workers), len(workers)
        if not workers and not self._idle:
            self.notify(
                f"the cluster at {self.address} has no workers: start some (dask worker {self.address} "
                "--nthreads 1), or stop here and go on later"
            )
        self._idle = not workers

    def _check(self, told: Mapping[str, Mapping[str, str] | Exception]) -> None:
        others = []
        for address, there in told.items():
            if isinstance(there, OSError):
                continue  # It has gone meanwhile.
            if isinstance(there, Exception):
                raise VhatError(
                    f"worker {address} cannot compute these studies: {there}; start it in the environment "
                    "that you start vhat in, with the same checkout"
                )
            for what, ours in self._here.items():
                if what == _PROCESSOR or there.get(what) == ours:
                    continue
                raise VhatError(
                    f"worker {address} differs in {what}: {there.get(what)} there, {ours} here; bring its "
                    "environment and checkout to the state of this one, and start it again"
                )
            if there[_PROCESSOR] != self._here[_PROCESSOR]:
                others.append(f"{address} ({there[_PROCESSOR]})")
        if others and self.wanted.device == "cpu":
            self.notify(
                f"{', '.join(others)}: processors of another kind than this one ({self._here[_PROCESSOR]}); "
                "what they compute is close to what is computed here, not the same bits"
            )

    def _ask(self, call: Callable[..., T], *args: object, **kwargs: object) -> T:
        """The answer to a call of the client, within time."""
        try:
            answer: T = self.client.sync(call, *args, callback_timeout=_TO_ANSWER, **kwargs)
        except TimeoutError as error:
            raise self._lost(f"it has not answered for {_TO_ANSWER:.0f} s") from error
        except (OSError, RuntimeError, CancelledError, asyncio.CancelledError) as error:
            raise self._lost("the connection to it was lost") from error
        return answer

    def _lost(self, why: str) -> WorkerDied:
        return WorkerDied(
            f"the scheduler at {self.address} is gone: {why}; finished shards are kept: run the same command "
            "again when it is back, or without --engine dask to go on here"
        )

    def _failed(self, error: Exception) -> VhatError:
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            return WorkerDied(
                f"{error.allowed_failures + 1} workers died one after the other while they computed the same "
                "shard, perhaps for want of memory (vhat plan says how much it takes); finished shards are "
                "kept: run the same command again"
            )
        if isinstance(error, OSError):
            return self._lost("the connection to it was lost")
        line = " ".join(str(error).split()) or "no message"
        return VhatError(
            f"the cluster at {self.address} cannot take the work ({type(error).__name__}: {line}); start its "
            "scheduler and workers in the environment that you start vhat in, with the same checkout"
        )


@contextmanager
def dask_engine(
    address: str, chosen: Sequence[Registered], device: str, notify: Callable[[str], None]
) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """An executor on the cluster of that scheduler, and how many shards to have under way there.

    What is still under way at the end is given up: queued shards are dropped, and what workers compute just
    then is thrown away.

    Raises:
        VhatError: if Dask is not installed, the scheduler cannot be reached, or a worker differs.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise VhatError("--engine dask needs the extra 'cluster': pip install -e '.[cluster]'") from error
    with _quiet():
        try:
            # First without a client: one that was never connected cannot be closed without a word.
            kind = asyncio.run(_greet(address))
            if kind != "Scheduler":
                raise ValueError(f"a {kind} answers there")
            client = Client(address, timeout=_TO_CONNECT, set_as_default=False, name="vhat")
        except Exception as error:
            # Any: each kind of address has a backend with errors of its own.
            slow = f"nothing answers within {_TO_CONNECT:.0f} s"
            reason = slow if isinstance(error, TimeoutError) else " ".join(str(error).split())
            raise VhatError(
                f"cannot reach a Dask scheduler at {address!r} ({reason}); give the address that `dask "
                "scheduler` prints when it starts, such as tcp://10.0.0.1:8786"
            ) from error
        try:
            executor = DaskExecutor(client, address, Wanted.of(chosen, device), notify)
            yield executor, executor.width
        finally:
            client.close(timeout=_TO_CONNECT)


async def _greet(address: str) -> str:
    """What listens at an address: Scheduler, Worker, ..."""
    from distributed import Security
    from distributed.core import rpc

    arguments = Security().get_connection_args("client")
    async with asyncio.timeout(_TO_CONNECT):
        async with rpc(address, timeout=_TO_CONNECT, connection_args=arguments) as there:
            identity = await there.identity()
    return str(identity.get("type"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Dask's own loggers and warnings say in many lines what is said here in one."""
    names = ["distributed", *(n for n in logging.root.manager.loggerDict if n.startswith("distributed."))]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
