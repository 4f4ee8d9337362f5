"""A long run holds no more memory than a short one, but for what it records."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest

from tests import tally
from tests.crash.children import ROOT
from tests.crash.long_work import RECORDED

STEP_LIMIT = 8.0
"""Bytes a step: less than any object that a step could leave behind."""
SHARD_LIMIT = 4096.0
"""Bytes a shard, besides its result, which is read back once the study is judged."""


WINDOWS = 5


def growth(seen: npt.NDArray[np.float64]) -> float:
    """Bytes a step or shard over the second half of the work, as the median of its windows.

    What leaks, leaks in every window; an allocator that fetches its next block does so in one or two.
    `seen [N, 2]`: how much was done, bytes held then.
    """
    ends = np.linspace(len(seen) // 2, len(seen) - 1, WINDOWS + 1).astype(int)
    done, held = np.diff(seen[ends], axis=0).T
    return float(np.median(held / done))


def slopes(what: str, count: int) -> list[float]:
    """Bytes by which the second half of the work grows, a step or a shard, in each process that worked."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.long_work", what, str(count)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    seen = [np.array(own, dtype=np.float64) for own in json.loads(done.stdout)]
    assert all(len(own) > 100 for own in seen)
    return [growth(own) for own in seen]


def grows_little(what: str, count: int, limit: float, processes: int = 1) -> None:
    found = slopes(what, count)
    assert len(found) == processes
    work, one = ("shards of a study in two processes", "shard") if what == "study" else (what, what[:-1])
    for number in found:
        tally.measured(f"growth over {count:,} {work}", round(number, 3), limit, f"bytes a {one}")
    assert max(found) <= limit
    tally.kept(f"long runs of {work}")


def test_memory_over_some_steps() -> None:
    grows_little("steps", 12_000, STEP_LIMIT)


@pytest.mark.soak
def test_memory_over_some_shards() -> None:
    # Within the first 300 sqlite fills its cache of 2 MiB.
    grows_little("shards", 800, SHARD_LIMIT)


def test_less_may_be_kept_of_a_shard_than_is_recorded() -> None:
    assert SHARD_LIMIT < RECORDED


@pytest.mark.parametrize("leak", [0.0, 7.0, 9.0, 64.0])
def test_a_leak_shows_and_a_lone_jump_does_not(leak: float) -> None:
    done = np.arange(0, 12_000, 60.0)
    held = np.floor((1e8 + leak * done) / 4096) * 4096 + 300_000 * (done > 7000)
    found = growth(np.stack([done, held], axis=1))
    assert abs(found - leak) <= 4096 / 1200


@pytest.mark.soak
@pytest.mark.parametrize(
    ("what", "count", "limit", "processes"),
    [("steps", 60_000, STEP_LIMIT, 1), ("shards", 3000, SHARD_LIMIT, 1), ("study", 800, SHARD_LIMIT, 2)],
)
def test_memory_over_many(what: str, count: int, limit: float, processes: int) -> None:
    grows_little(what, count, limit, processes)
