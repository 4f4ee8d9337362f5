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
    remove_left(place)
    owner = this_process().replace("/", ",")
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f"{_prefix(place)}{owner},") as folder:
        yield Path(folder)


def remove_left(place: Path) -> None:
    """Remove what killed processes have left beside `place`.

    Raises:
        OSError: if one cannot look there.
    """
    prefix = _prefix(place)
    for left in place.parent.iterdir():
        if left.name.startswith(prefix) and not is_alive(
            left.name.removeprefix(prefix).rpartition(",")[0].replace(",", "/")
        ):
            shutil.rmtree(left, ignore_errors=True)


def _prefix(place: Path) -> str:
    return f".{place.name}-staged,"


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
