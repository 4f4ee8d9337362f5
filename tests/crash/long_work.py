"""Long work in a process of its own, which says how much memory it holds as it goes on.

`python -m tests.crash.long_work steps 20000`, `shards 400` or `study 400`: for each process that worked a
JSON list of (done so far, bytes).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import resource
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.lab.engines import InProcess, compute_by_name, processes
from core.lab.fingerprint import code_digest
from core.lab.measurement import Cell, Measurement
from core.lab.problem import Field
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.registry import find
from core.lab.runner import local_job, run_jobs
from core.lab.store import Store
from core.lab.study import Plan
from core.lab.sweep import Sweep
from core.lab.train import Block, Recording, train
from core.lab.variant import Variant
from tests.lab.bowls import Bowl

FLOATS = 500
"""Kept of a seed in a shard."""
SEEDS_A_SHARD = 2
RECORDED = FLOATS * SEEDS_A_SHARD * 8
"""Bytes of a shard's result."""
_SAMPLES = 200


def memory() -> int:
    """Bytes of its own that this process holds; pages of mapped files come and go with the machine's load."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


class Watched(Bowl):
    """A bowl that looks at the memory now and then."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every, self.seen = every, []

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        if step % self.every == 0:
            self.seen.append((step, memory()))
        return super().field(params, keys, step)

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        return super().measure(params, keys)


def steps(count: int) -> list[tuple[int, int]]:
    """Training with a fixed number of recorded points, a watched measure and a rule with memory."""
    problem = Watched(max(1, count // _SAMPLES))
    keys = Keys.of(range(8), study="long work")
    train(
        problem,
        [Block(Variant("Adam", "adam"), slice(0, 8), {"lr": 0.01})],
        keys,
        steps=count,
        recording=Recording(points=10, params=True, state=("exp_avg_sq",)),
        watch={"loss": 1e-3},
    )
    return problem.seen


def draws(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:
    """Some numbers."""
    return {"value": cell["scale"] * keys.normal(FLOATS, dtype=torch.float64)}


class Watching(Quiet):
    """Looks at the memory after each shard."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def advance(self, cost: float, label: str) -> None:
        self.seen.append((len(self.seen) + 1, memory()))


def shards(count: int) -> list[tuple[int, int]]:
    """A measurement in so many shards, through the store."""
    watching = Watching()
    plan = Plan("own", 0, 0, SEEDS_A_SHARD * count)
    experiment = Measurement(
        "draws", "long-work", draws, ({"scale": 2.0},), plan.reporting_seeds, seeds_per_shard=SEEDS_A_SHARD
    )
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "s.sqlite")
        run_jobs([local_job("long-work", plan, (experiment,), store)], InProcess(), 1, watching)
        store.close()
    return watching.seen


STUDY = "mean-variance"
"""A study of ours, on prices, whose shards take a twentieth of a second."""


def watched(*asked: Any) -> tuple[int, int]:
    """Compute a shard; the process and what it holds then."""
    done = compute_by_name(*asked)
    assert done.payload is not None, done.error
    return os.getpid(), memory()


def study(count: int) -> list[list[tuple[int, int]]]:
    """So many shards of a study in two other processes, which are given one after the other."""
    registered = find(STUDY)
    plan = dataclasses.replace(registered.study.plan("tiny"), tuning_seeds=count, reporting_seeds=count)
    digest = code_digest(registered.study, registered.module)
    (tuned, *_) = registered.study.experiments(plan)
    assert isinstance(tuned, Sweep)
    small = dataclasses.replace(tuned, seeds_per_shard=SEEDS_A_SHARD)
    asked = [s.spec for s in itertools.islice(small.pending(lambda _: None), count)]
    assert len(asked) == count
    with processes(2) as pool:
        sent = [
            pool.submit(watched, registered.module, plan, tuned.name, spec, "cpu", digest) for spec in asked
        ]
        held: dict[int, list[int]] = {}
        for process, bytes_ in (future.result() for future in sent):
            held.setdefault(process, []).append(bytes_)
    return [list(enumerate(own, 1)) for own in held.values()]


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, how_many = sys.argv[1], int(sys.argv[2])
    found = study(how_many) if what == "study" else [{"steps": steps, "shards": shards}[what](how_many)]
    sys.stdout.write(json.dumps(found))
