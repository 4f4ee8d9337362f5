"""A study whose shards say when they have begun and wait until they may go on, so that a test can step in."""

from __future__ import annotations

import os
import time
from pathlib import Path

from torch import Tensor

from core.lab.experiment import Experiment
from core.lab.measurement import Cell, Measurement
from core.lab.random import Keys
from core.lab.registry import Registered
from core.lab.study import Plan, Study
from tests.lab import bowls

FOLDER = "VHAT_TEST_FOLDER"
"""The environment variable with the folder where marks are made; without it nothing waits."""
CELLS = tuple({"number": n} for n in range(6))
PATIENCE = 200.0


def draw(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:
    """Normals; before, a mark `begun-<number>-<process>`, and a wait for `go-<number>` or `go`."""
    if FOLDER in os.environ:
        folder, number = Path(os.environ[FOLDER]), cell["number"]
        (folder / f"begun-{number}-{os.getpid()}").touch()
        deadline = time.monotonic() + PATIENCE
        while not any((folder / name).exists() for name in (f"go-{number}", "go")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    return {"value": keys.fold(str(cell["number"])).normal(1000)}


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """One measurement, a shard a cell."""
    return (Measurement("draws", "slow-draws", draw, CELLS, plan.reporting_seeds),)


STUDY = Study(
    id="slow-draws",
    title="Draws that wait",
    claim="None.",
    setup="None.",
    criterion="None.",
    plans={"tiny": Plan("tiny", 0, 0, 4)},
    experiments=experiments,
    judge=bowls.judge,
    figures=(),
    tables=bowls.tables,
    sceptic=(),
)
REGISTERED = Registered(bowls.DOMAIN, STUDY, "tests.crash.slow_draws")
