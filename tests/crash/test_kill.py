"""A run that is killed at any point goes on to the very same rows, and leaves no stray file."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.lab.store import Store

# Imports once and forks a child a request: `path <tab> where <tab> count`, answered by the child's exit
# status. A child runs the tiny bowl and kills itself around its n-th commit, statement, or evaluation of the
# field.
SERVER = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from core.lab import store as module
from core.lab.engines import InProcess
from core.lab.progress import Quiet
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from tests.lab import bowls

def counted(function, count, *, after=False):
    calls = 0
    def call(*args, **kwargs):
        nonlocal calls
        calls += 1
        result = function(*args, **kwargs) if after or calls != count else None
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

def run(path, where, count):
    if where == "before put":
        Store.put = counted(Store.put, count)
    elif where == "after put":
        Store.put = counted(Store.put, count, after=True)
    elif where == "in training":
        bowls.Bowl.field = counted(bowls.Bowl.field, count)
    elif where == "on opening":
        Store._wait_for = counted(Store._wait_for, count, after=True)
    elif where == "in the database":
        # sqlite calls this every few hundred of its own instructions, also within a commit.
        open_ = Store._open
        def opened(self):
            open_(self)
            self._db.set_progress_handler(counted(lambda: 0, count), 20)
        Store._open = opened
    store = Store(Path(path))
    run_jobs([job_of(bowls.REGISTERED, bowls.STUDY.plan("tiny"), store)], InProcess(), 1, Quiet())
    store.close()

for line in sys.stdin:
    path, where, count = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run(path, where, int(count))
            code = 0
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Children:
    """Runs children in a process of their own; `-9` means killed, 0 that the run came to its end."""

    def __init__(self) -> None:
        root = Path(__file__).resolve().parents[2]
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
        )

    def run(self, path: Path, where: str = "nowhere", count: int = 0) -> int:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(f"{path}\t{where}\t{count}\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def close(self) -> None:
        self.server.communicate(timeout=60)


def rows(path: Path) -> dict[str, bytes]:
    store = Store(path)
    found = {}
    for shard in store.shards("tiny-bowl"):
        payload = store.get(shard.study, shard.spec, shard.code)
        assert payload is not None
        found[shard.address] = b"".join(
            f"{k}{v.dtype}{v.shape}".encode() + v.tobytes() for k, v in sorted(payload.items())
        )
    store.close()
    return found


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    running = Children()
    yield running
    running.close()


@pytest.fixture(scope="module")
def uninterrupted(children: Children, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("whole") / "s.sqlite"
    assert children.run(path) == 0
    found = rows(path)
    assert len(found) > 10
    return found


@pytest.mark.parametrize(
    ("where", "counts"),
    [
        ("before put", (1, 2, 5)),
        ("after put", (1, 3, 4)),
        ("in training", (1, 33, 170, 7)),
        ("on opening", (1, 2, 1)),
        ("in the database", (1, 2, 5, 11, 23)),
    ],
)
def test_a_killed_run_goes_on_to_the_same_bits(
    where: str, counts: tuple[int, ...], children: Children, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "s.sqlite"
    before: set[str] = set()
    for count in counts:
        assert children.run(path, where, count) == -signal.SIGKILL, count
        # What a kill leaves is a part of the whole, bit for bit, and holds what was there before.
        kept = rows(path)
        assert kept.items() <= uninterrupted.items()
        assert before <= kept.keys()
        before = set(kept)
    assert children.run(path) == 0
    assert rows(path) == uninterrupted
    assert [p.name for p in tmp_path.iterdir()] == ["s.sqlite"]


def test_each_commit_before_a_kill_is_kept(
    children: Children, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    path, done = tmp_path / "s.sqlite", 0
    for total in (1, 4, 9, len(uninterrupted)):
        assert children.run(path, "after put", total - done) == -signal.SIGKILL
        done = total
        assert len(rows(path)) == total
    # Nothing is left to compute: the next run never reaches a commit to be killed at.
    assert children.run(path, "before put", 1) == 0
