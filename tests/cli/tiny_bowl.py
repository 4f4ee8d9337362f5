"""Runs of the tiny bowl from the command line, and what they store."""

from __future__ import annotations

from pathlib import Path

from core.cli import main
from core.lab.store import Store


def run(out: Path, *more: str) -> int:
    return main(["run", "tiny-bowl", "--tiny", "--workers", "1", "--out", str(out), *more])


def stored(out: Path) -> dict[str, float]:
    store = Store(out / "results.sqlite")
    found = {s.address: s.seconds for s in store.shards("tiny-bowl")}
    store.close()
    return found
