"""Processes that run the same study on one store share its shards, and outlive each other."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.lab.commands import RESULTS
from core.lab.owner import is_alive, pid_of, this_process
from core.lab.store import Store
from tests.crash.children import Children, begun, claims, rows, sweep, task
from tests.tally import kept

KILLED = -signal.SIGKILL


def test_no_shard_is_computed_twice(
    children: Children, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    assert children.run(*[task(folder, slow=0.03) for _ in range(3)]) == [0, 0, 0]
    shards = begun(folder)
    assert len(shards) == len({spec for _, spec in shards}) == len(undisturbed)
    assert len({pid for pid, _ in shards}) == 3
    assert rows(folder) == undisturbed
    assert claims(folder) == 0
    assert [p.name for p in folder.iterdir()] == [RESULTS]
    kept("runs at once", 3)
    kept("rows compared", len(undisturbed))


def survived(children: Children, undisturbed: dict[str, bytes], folder: Path, **point: object) -> bool:
    """Whether one of two was killed at that point; the other has come to the right end in any case."""
    statuses = children.run(task(folder, slow=0.04, **point), task(folder, slow=0.04))
    assert statuses[1] == 0, point
    assert statuses[0] in (0, KILLED), point
    shards = [spec for _, spec in begun(folder)]
    # What the dead one had begun is computed again, and nothing else.
    assert len(shards) - len(set(shards)) <= (statuses[0] == KILLED), point
    assert rows(folder) == undisturbed, point
    assert claims(folder) == 0, point
    assert [p.name for p in folder.iterdir()] == [RESULTS], point
    sweep(folder)
    kept("runs at once", 2)
    kept("rows compared", len(undisturbed))
    return statuses[0] == KILLED


@pytest.mark.parametrize("point", [{"where": "field", "count": 30}, {"where": "statement", "count": 17}])
def test_the_claim_of_a_killed_process_is_taken_over(
    point: dict[str, object], children: Children, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    assert survived(children, undisturbed, tmp_path / "out", **point)


@pytest.mark.soak
def test_one_of_two_is_killed_anywhere(
    children: Children, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    rng = random.Random(3)
    died = 0
    for _ in range(20):
        died += survived(children, undisturbed, tmp_path / "out", after=rng.uniform(0.02, 0.8))
    for number in range(1, 100, 5):
        died += survived(children, undisturbed, tmp_path / "out", where="statement", count=number)
    assert died > 20


SPEC = {"x": 1}


def put(store: Store) -> None:
    import numpy as np

    store.put("s", SPEC, "c", {"v": np.arange(3)}, 0.1)


def test_a_claim_holds_while_its_process_lives_and_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    program = (
        "import sys; from pathlib import Path; from core.lab.store import Store;"
        "print(Store(Path(sys.argv[1])).claim('s', {'x': 1}, 'c').state, flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "ours\n"
    store = Store(path)
    claim = store.claim("s", SPEC, "c")
    assert (claim.state, pid_of(claim.owner)) == ("elsewhere", str(other.pid))
    store.release()
    assert store.claim("s", SPEC, "c").state == "elsewhere"
    assert store.claim("s", {"x": 2}, "c").state == "ours"
    other.kill()
    # Ended, but nobody has asked how: not alive.
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert store.claim("s", SPEC, "c").state == "ours"
    other.communicate()
    put(store)
    assert store.claim("s", SPEC, "c").state == "stored"
    store.release()
    assert store._db.execute("SELECT count(*) FROM claims").fetchone() == (0,)
    store.close()


def test_names_tell_processes_apart() -> None:
    me = this_process()
    boot, pid, started = me.split("/")
    assert pid == str(os.getpid())
    assert is_alive(me)
    for other in (
        "",
        "x",
        "//",
        f"{boot}/{pid}/",
        f"{boot}/{pid}/1",
        f"other/{pid}/{started}",
        f"{boot}/-1/{started}",
    ):
        assert not is_alive(other), other
