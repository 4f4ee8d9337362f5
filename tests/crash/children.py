"""Children that are killed, from the point of view of a test."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from core.lab.commands import RESULTS
from core.lab.store import Store

ROOT = Path(__file__).resolve().parents[2]


class Children:
    """Runs tasks in processes of their own; `-9` means killed, 0 that the task came to its end."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def run(self, *tasks: dict[str, Any]) -> list[int]:
        """All tasks at once; their exit statuses."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(tasks) + "\n")
        self.server.stdin.flush()
        statuses: list[int] = json.loads(self.server.stdout.readline())
        return statuses

    def close(self) -> None:
        """End the server."""
        self.server.communicate(timeout=60)


def task(folder: Path, do: str = "run", **more: Any) -> dict[str, Any]:
    """A task in a folder; it dies at the `count`-th event of the kind `where`, or `after` so many seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    return {"do": do, "folder": str(folder), "log": str(folder.with_name(f"{folder.name}.log")), **more}


def begun(folder: Path) -> list[tuple[int, str]]:
    """Process and spec of each shard whose computation was begun, in order."""
    log = folder.with_name(f"{folder.name}.log")
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(pid), spec) for pid, _, spec in (line.partition(" ") for line in lines)]


def rows(folder: Path) -> dict[str, bytes]:
    """Every stored row's bits by address."""
    store = Store(folder / RESULTS)
    found = {}
    for shard in store.shards("tiny-bowl"):
        payload = store.get(shard.study, shard.spec, shard.code)
        assert payload is not None
        found[shard.address] = b"".join(
            f"{k}{v.dtype}{v.shape}".encode() + v.tobytes() for k, v in sorted(payload.items())
        )
    store.close()
    return found


def claims(folder: Path) -> int:
    """How many shards are claimed."""
    store = Store(folder / RESULTS)
    (count,) = store._db.execute("SELECT count(*) FROM claims").fetchone()
    store.close()
    return int(count)


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def sweep(folder: Path) -> None:
    """Remove a folder and its log."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_name(f"{folder.name}.log").unlink(missing_ok=True)
