"""Children that are killed, from the point of view of a test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from core.lab.commands import RESULTS
from core.lab.store import Store
from tests.stored_rows import stored_rows

ROOT = Path(__file__).resolve().parents[2]


def deadly_library(folder: Path) -> Path | None:
    """`deadly.c` as a library, or None where there is no C compiler."""
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        return None
    library = folder / "deadly.so"
    source = Path(__file__).with_name("deadly.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


COMMAND = """
import sys
from core.lab import commands
from core.cli import main
from tests.crash import slow_draws
from tests.lab import bowls
commands.find = {"tiny-bowl": bowls.REGISTERED, "slow-draws": slow_draws.REGISTERED}.__getitem__
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""
"""The command line, which knows two studies of the tests besides."""


def command(*words: str, **environment: str) -> subprocess.Popen[str]:
    """A `vhat` of its own, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


class Children:
    """Runs tasks in processes of their own; `-9` means killed, 0 that the task came to its end.

    `library` is loaded before the C library; with it children can die at system calls.
    """

    def __init__(self, library: Path | None = None) -> None:
        self.at_system_calls = library is not None
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **({"LD_PRELOAD": str(library)} if library else {})},
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


def rows(folder: Path, study: str = "tiny-bowl") -> dict[str, bytes]:
    """Every stored row's bits by address."""
    with closing(Store(folder / RESULTS)) as store:
        return stored_rows(store, study)


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
