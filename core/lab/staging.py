"""Files that appear whole or not at all: they are made in a hidden folder beside their place and moved there.

The folder's name says which process made it, so that the next writer removes what a killed one left.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.lab.owner import is_alive, this_process


@contextmanager
def staged_beside(place: Path) -> Iterator[Path]:
    """An empty folder beside `place`, on the same disk; it is gone afterwards.

    Raises:
        OSError: if it cannot be made.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{place.name}-staged,"
    for left in place.parent.iterdir():
        if left.name.startswith(prefix) and not is_alive(
            left.name.removeprefix(prefix).rpartition(",")[0].replace(",", "/")
        ):
            shutil.rmtree(left, ignore_errors=True)
    owner = this_process().replace("/", ",")
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f"{prefix}{owner},") as folder:
        yield Path(folder)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file: afterwards it holds all of `data`, whatever happens to the process or the power.

    Raises:
        OSError: if it cannot be written; what was there before is kept.
    """
    with staged_beside(path) as folder:
        staged = folder / path.name
        with staged.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
