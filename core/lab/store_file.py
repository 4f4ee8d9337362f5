"""The file of a store: how it is opened, told from other people's files, and moved aside where it is damaged.

Processes that open or write it hold its folder's lock together; one that moves it aside holds it alone, so
that nobody writes into a file on its way out.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.lab.errors import StoreError

SCHEMA = 1
MEMORY = Path(":memory:")
_PATIENCE = 60.0
"""Seconds to wait for another process that writes."""
_SHARDS = """CREATE TABLE shards (
    address TEXT PRIMARY KEY,
    study TEXT NOT NULL,
    spec TEXT NOT NULL,
    code TEXT NOT NULL,
    seconds REAL NOT NULL,
    payload BLOB NOT NULL,
    digest TEXT NOT NULL
) WITHOUT ROWID"""
# Absent from stores of earlier days; it says nothing about results, so their version stays.
_CLAIMS = """CREATE TABLE claims (
    address TEXT PRIMARY KEY,
    owner TEXT NOT NULL
) WITHOUT ROWID"""
_TABLES = {"shards": _SHARDS, "claims": _CLAIMS}
# sqlite quotes what it found in a damaged file, and Python cannot always read that.
ERRORS = (sqlite3.Error, UnicodeDecodeError)
# What sqlite says of a file that is not as it was written. Anything else is what the world does to a sound
# one: it is busy, the disk is full, two processes raced for its log.
_DAMAGE = frozenset(
    (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
    )
)
# Given up at once, though another process is in the way for a moment only.
_PASSING = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL))


class NotAStore(StoreError):
    """A file of somebody else, or of another version: it is left as it is."""


def is_damage(error: Exception) -> bool:
    """Whether an error says that the file is damaged."""
    if isinstance(error, sqlite3.ProgrammingError):
        return False
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _DAMAGE


@contextmanager
def held(path: Path, *, alone: bool = False) -> Iterator[None]:
    """The lock on the file's folder: together with others, or alone; none where a folder cannot be locked."""
    with contextlib.ExitStack() as stack:
        if path != MEMORY:
            with contextlib.suppress(OSError):
                folder = os.open(path.parent, os.O_RDONLY)
                stack.callback(os.close, folder)
                fcntl.flock(folder, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
                # Given up by name: a process forked meanwhile has a copy of what is closed here.
                stack.callback(fcntl.flock, folder, fcntl.LOCK_UN)
        yield


def identity(path: Path) -> tuple[int, int] | None:
    """Which file lies there; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def connect(path: Path) -> sqlite3.Connection:
    """A connection that may write; the file is made when something is written."""
    return _prepared(sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None))


def connect_to_read(path: Path, *, beside: bool = True) -> sqlite3.Connection:
    """A connection that changes nothing.

    Args:
        path: of the file.
        beside: whether sqlite may make files beside it meanwhile, as it needs to read what another process
            writes just then.

    Raises:
        StoreError: where rows lie in a log that cannot be read, for nothing can be written there.
    """
    log = Path(f"{path}-wal")
    if beside and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        how = "mode=rw"
    else:
        # Without a log nobody has it open.
        how = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    db = sqlite3.connect(
        f"{path.resolve().as_uri()}?{how}", uri=True, timeout=_PATIENCE, isolation_level=None
    )
    try:
        db.execute("PRAGMA query_only=ON")
        wait_for(db, "PRAGMA schema_version")
    except sqlite3.OperationalError as error:
        db.close()
        if how == "mode=ro" and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CANTOPEN:
            raise StoreError(
                f"{path} has a log ({log.name}) of a run that goes on or was killed, which cannot be read "
                "where nothing may be written; copy the folder to such a place, and name it with --out"
            ) from error
        raise
    return _prepared(db)


def _prepared(db: sqlite3.Connection) -> sqlite3.Connection:
    # Damaged text is compared like any other: it must not stop the row from being read.
    db.text_factory = lambda data: data.decode("utf-8", errors="replace")
    return db


def wait_for(db: sqlite3.Connection, statement: str) -> list[Any]:
    """What a statement gives; asked again where sqlite gives up at once because waiting might be for ever, as
    on the way to write-ahead logging."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return db.execute(statement).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _PASSING or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def tables_of(db: sqlite3.Connection, path: Path) -> dict[str, str]:
    """Names and definitions of a store's tables, none for an empty file; nothing is written.

    Raises:
        NotAStore: for a database of something else, or the store of another version.
    """
    ((version,),) = wait_for(db, "PRAGMA user_version")
    stored = dict(wait_for(db, "SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    same = any(stored.get(name) == text for name, text in _TABLES.items())
    if stored and not (same or (version != 0 and _TABLES.keys() & stored.keys())):
        raise NotAStore(
            f"{path} is a database of something else than vhat and is left as it is; choose another place"
        )
    if version not in (0, SCHEMA):
        raise NotAStore(
            f"{path} was written by another version of vhat (schema {version}, this one writes {SCHEMA}); "
            "move it away, or choose another folder with --out"
        )
    return stored


def make_tables(db: sqlite3.Connection) -> None:
    """Make what is missing of a store's tables."""
    # At once, so that of two processes which meet an empty file only one makes the tables.
    wait_for(db, "BEGIN IMMEDIATE")
    stored = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    for name, text in _TABLES.items():
        if name not in stored:
            db.execute(text)
    db.execute(f"PRAGMA user_version={SCHEMA}")
    db.execute("COMMIT")


def check_pages(db: sqlite3.Connection, tables: dict[str, str]) -> None:
    """Read every page: damage in the middle of the file is found now and not halfway through a run.

    Raises:
        sqlite3.DatabaseError: if it is damaged, or a table is not as vhat makes it.
    """
    if any(tables.get(name, text) != text for name, text in _TABLES.items()):
        raise sqlite3.DatabaseError("its tables are not those that vhat makes")
    (state,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if state != "ok":
        raise sqlite3.DatabaseError(state)


def bears_marks(path: Path) -> bool:
    """Whether a file that cannot be read as a database was once a store: definitions of its tables are in
    it."""
    try:
        with path.open("rb") as file:
            start = file.read(1 << 16)
    except OSError:
        return False
    return any(text.encode() in start for text in _TABLES.values())


def set_aside(path: Path, damaged: tuple[int, int] | None, why: str) -> str:
    """Move a damaged store away; a line that says so, empty if another process was faster and what lies there
    now is another file.

    Raises:
        StoreError: if it cannot be moved.
    """
    with held(path, alone=True):
        if identity(path) != damaged:
            return ""
        number = 1
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        try:
            path.replace(aside)
            for suffix in ("-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"{path} is damaged ({why}) and cannot be moved aside: {error.strerror}"
            ) from error
    return f"{path} was damaged ({why}); it is kept as {aside.name}, and results are computed again"
