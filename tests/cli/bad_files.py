"""Files that are not what they should be."""

from __future__ import annotations

from pathlib import Path

from core.lab.commands import RESULTS
from core.lab.store import Store

BOWL = """
import torch
from core.lab.problem import Field
class Bowl:
    dim = 2
    def init(self, keys): return keys.normal(2)
    def field(self, params, keys, step): return Field(params)
    def measure(self, params, keys): return {"loss": (params ** 2).sum(1)}
"""
OWN_FILES = {
    "bowl.py": BOWL,
    "broken.py": "def f(:\n",
    "raises.py": "raise OSError('no such luck')\n",
    "nothing.py": "x = 3\n",
    "wide.py": BOWL.replace("normal(2)", "normal(3)"),
    "whole.py": BOWL.replace("keys.normal(2)", "keys.integers(5, 2)"),
    "nan.py": BOWL.replace("Field(params)", "Field(params * float('nan'))"),
    "silent.py": BOWL.replace('{"loss": (params ** 2).sum(1)}', "{}"),
    "mixing.py": BOWL.replace("Field(params)", "Field(params - params.mean(0))"),
    "empty.csv": "",
    "head.csv": "date,AAA,BBB\n",
    "one.csv": "date\n2020-01-01\n",
    "words.csv": "date,AAA\n2020-01-01,many\n2020-01-02,3\n",
    "days.csv": "date,AAA\nyesterday,1\n2020-01-02,3\n",
    "twice.csv": "date,AAA,AAA\n2020-01-01,1,2\n2020-01-02,3,4\n",
    "backwards.csv": "date,AAA\n2020-01-02,1\n2020-01-01,3\n",
    "ragged.csv": "date,AAA,BBB\n2020-01-01,1\n2020-01-02,3,4\n",
    "negative.csv": "date,AAA\n2020-01-01,-1\n2020-01-02,3\n",
    "odd.csv": "date,AAA\n2020-01-01,1\n2020-01-02,12_5\n",
    "short.csv": "date,AAA,BBB\n2020-01-01,1,2\n2020-01-02,1.1,2.2\n",
}


def write(folder: Path) -> None:
    """All of them, and with them an empty folder, a store of another version, and one that is no store."""
    for name, text in {**OWN_FILES, "file": "I was here first"}.items():
        (folder / name).write_text(text)
    for name in ("empty", "old", "garbled"):
        (folder / name).mkdir()
    store = Store(folder / "old" / RESULTS)
    store._db.execute("PRAGMA user_version=9")
    store.close()
    (folder / "garbled" / RESULTS).write_bytes(b"\x1b[31m" * 3000)
