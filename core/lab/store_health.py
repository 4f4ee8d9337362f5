"""A look at every row of a store that changes nothing: for `vhat doctor`."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from core.lab.errors import StoreError
from core.lab.store import is_sound, row_address
from core.lab.store_file import ERRORS, check_pages, connect_to_read, is_damage, tables_of

_ROWS = "SELECT address, study, spec, code, seconds, payload, digest FROM shards"


@dataclass(frozen=True)
class Health:
    """A store's rows, and how many of them are not sound.

    Attributes:
        rows: how many there are.
        damaged: those whose digest does not fit, or which are not in their place.
    """

    rows: int
    damaged: int


def examine(path: Path) -> Health:
    """Read every row of a store and compare its digest; nothing is changed or set aside.

    Raises:
        StoreError: for a file that is no store, or that of another version.
    """
    try:
        with contextlib.closing(connect_to_read(path, beside=False)) as db:
            tables = tables_of(db, path)
            check_pages(db, tables)
            sound, before = [], ""
            for row in db.execute(_ROWS) if "shards" in tables else ():
                # A row out of order would be looked for in vain.
                sound.append(is_sound(row) and before < row[0] == row_address(*row[1:4]))
                before = row[0] if sound[-1] else before
    except ERRORS as error:
        if not is_damage(error):
            raise StoreError(f"{path} cannot be read: {error}") from error
        raise StoreError(
            f"{path} is damaged and cannot be read: {error}; the next run sets it aside"
        ) from error
    return Health(len(sound), sound.count(False))
