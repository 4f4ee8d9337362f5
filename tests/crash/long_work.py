"""Long work in a process of its own, which says how much memory it holds as it goes on.

`python -m tests.crash.long_work steps 20000` or `shards 400`: a JSON list of (done so far, bytes).
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from core.lab.engines import InProcess
from core.lab.measurement import Cell, Measurement
from core.lab.problem import Field
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.runner import local_job, run_jobs
from core.lab.store import Store
from core.lab.study import Plan
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


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, how_many = sys.argv[1:]
    sys.stdout.write(json.dumps({"steps": steps, "shards": shards}[what](int(how_many))))
