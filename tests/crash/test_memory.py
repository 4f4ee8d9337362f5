"""A long run holds no more memory than a short one, but for what it records."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from tests import tally
from tests.crash.children import ROOT
from tests.crash.long_work import RECORDED

STEP_LIMIT = 8.0
"""Bytes a step: less than any object that a step could leave behind."""
SHARD_LIMIT = 4096.0
"""Bytes a shard, besides its result, which is read back once the study is judged."""


def slope(what: str, count: int) -> float:
    """Bytes by which the second half of the work grows, a step or a shard."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.long_work", what, str(count)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    seen = np.array(json.loads(done.stdout), dtype=np.float64)
    assert len(seen) > 100
    late = seen[len(seen) // 2 :]
    return float(np.polyfit(late[:, 0] - late[0, 0], late[:, 1] - late[0, 1], 1)[0])


def grows_little(what: str, count: int, limit: float) -> None:
    found = slope(what, count)
    one = what.removesuffix("s")
    tally.measured(f"growth over {count:,} {what}", round(found, 3), limit, f"bytes a {one}")
    assert found <= limit


def test_memory_over_some_steps_and_shards() -> None:
    grows_little("steps", 6000, STEP_LIMIT)
    # Within the first 300 sqlite fills its cache of 2 MiB.
    grows_little("shards", 800, SHARD_LIMIT)
    assert SHARD_LIMIT < RECORDED


@pytest.mark.soak
@pytest.mark.parametrize(
    ("what", "count", "limit"), [("steps", 60_000, STEP_LIMIT), ("shards", 3000, SHARD_LIMIT)]
)
def test_memory_over_many(what: str, count: int, limit: float) -> None:
    grows_little(what, count, limit)
