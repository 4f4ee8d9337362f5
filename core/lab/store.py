"""The store: one SQLite file that keeps the results of shards, each under the digest of what determines it.

A shard is written in one transaction and carries a SHA-256 over its own content, so a damaged row is noticed,
set aside and computed again; a file that is no longer a database is moved aside whole. Arrays are kept in
numpy's own format, read with pickles refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.lab.errors import StoreError, one_line
from core.lab.experiment import Payload, Spec
from core.lab.owner import is_alive, this_process

SCHEMA = 1
_PATIENCE = 60.0
"""Seconds to wait for another process that writes."""
_TABLE = """CREATE TABLE shards (
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
_ROWS = "SELECT address, study, spec, code, seconds, payload, digest FROM shards"
_TABLES = {"shards": _TABLE, "claims": _CLAIMS}
# sqlite quotes what it found in a damaged file, and Python cannot always read that.
_ERRORS = (sqlite3.Error, UnicodeDecodeError)
# What the world may do to a sound file; any other error is the file's own.
_CIRCUMSTANCES = frozenset(
    (
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    )
)


def canonical(spec: Spec) -> str:
    """A spec as JSON text with one spelling."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)


def address_of(study: str, spec: Spec, code: str) -> str:
    """Where the result of a shard lies: a digest of the study, the spec, and the code that computes it."""
    return _address(study, canonical(spec), code)


def _address(study: str, spec: str, code: str) -> str:
    return hashlib.sha256("\n".join((study, spec, code)).encode()).hexdigest()


def encode(payload: Payload) -> bytes:
    """Arrays as compressed bytes.

    Raises:
        ValueError: for an array of Python objects.
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(payload))
    return zlib.compress(buffer.getvalue(), 1)


def decode(data: bytes) -> dict[str, np.ndarray]:
    """The inverse of `encode`: arrays of any shape `[...]` by name."""
    with np.load(io.BytesIO(zlib.decompress(data)), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def payload_digest(payload: Payload) -> str:
    """SHA-256 over names, types, shapes and bytes of the arrays: equal when the bits are."""
    digest = hashlib.sha256()
    for name in sorted(payload):
        array = np.ascontiguousarray(payload[name])
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class StoredShard:
    """What is known of a stored shard besides its arrays."""

    address: str
    study: str
    spec: Spec
    code: str
    seconds: float
    digest: str


@dataclass(frozen=True)
class Claim:
    """Who computes a shard: this process (`ours`), the process `owner` (`elsewhere`), or nobody any more, for
    it is `stored`."""

    state: Literal["ours", "elsewhere", "stored"]
    owner: str = ""


class Store:
    """Results by address, in one file.

    Raises:
        StoreError: if the folder cannot be made or the file cannot be opened or written.
    """

    def __init__(self, path: Path, *, notify: Callable[[str], None] = lambda _: None) -> None:
        self.path = path
        self._notify = notify
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", error)
            raise StoreError(
                f"cannot make the folder {path.parent}: {reason}; choose another with --out"
            ) from error
        try:
            self._open()
        except _ERRORS as error:
            self._close_quietly()
            if _is_circumstance(error):
                raise StoreError(f"cannot open {path}: {error}; choose another folder with --out") from error
            self._set_aside(str(error))
            self._open()

    def _open(self) -> None:
        self._db = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
        # Damaged text is compared like any other: it must not stop the row from being read.
        self._db.text_factory = lambda data: data.decode("utf-8", errors="replace")
        self._wait_for("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA):
            self._db.close()
            raise StoreError(
                f"{self.path} was written by another version of vhat (schema {version}, this one writes "
                f"{SCHEMA}); move it away, or choose another folder with --out"
            )
        # At once, so that of two processes which meet an empty file only one makes the table.
        self._wait_for("BEGIN IMMEDIATE")
        stored = dict(self._db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
        for name, text in _TABLES.items():
            if name not in stored:
                self._db.execute(text)
        self._db.execute(f"PRAGMA user_version={SCHEMA}")
        self._db.execute("COMMIT")
        if any(stored.get(name, text) != text for name, text in _TABLES.items()):
            raise sqlite3.DatabaseError("its tables are not those that vhat makes")
        # Reads every page: damage in the middle of the file is found now and not halfway through a run.
        (state,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise sqlite3.DatabaseError(state)
        self._check_addresses()

    def _check_addresses(self) -> None:
        """Find rows that would be looked for in vain, or found in place of others: quick_check knows no
        order."""
        before, misplaced = b"", []
        rows = self._db.execute("SELECT CAST(address AS BLOB), study, spec, code FROM shards")
        for address, *texts in rows:
            if not isinstance(address, bytes) or address <= before:
                raise sqlite3.DatabaseError("its rows are out of order")
            before = address
            if not all(isinstance(t, str) for t in texts) or _address(*texts).encode() != address:
                misplaced.append((address,))
        if misplaced:
            self._db.executemany("DELETE FROM shards WHERE address = CAST(? AS TEXT)", misplaced)
            self._notify(f"{self.path}: {len(misplaced)} stored results were damaged and are computed again")

    def _wait_for(self, statement: str) -> None:
        # sqlite gives up at once where waiting might be for ever, as on the way to write-ahead logging.
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._db.execute(statement)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def _close_quietly(self) -> None:
        db = getattr(self, "_db", None)
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _set_aside(self, why: str) -> None:
        why = one_line(why)
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.damaged-{number}")).exists():
            number += 1
        try:
            self.path.replace(aside)
            for suffix in ("-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self.path} is damaged ({why}) and cannot be moved aside: {error.strerror}"
            ) from error
        self._notify(
            f"{self.path} was damaged ({why}); it is kept as {aside.name}, and results are computed again"
        )

    @contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._db
        except _ERRORS as error:
            if _is_circumstance(error):
                raise StoreError(
                    f"cannot use {self.path}: {error}; what was stored before is kept, "
                    "run the same command again"
                ) from error
            raise StoreError(
                f"{self.path} is damaged: {error}; run the same command again to set it aside"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._guarded() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                # Where the disk is full, sqlite has already rolled back.
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file."""
        self._close_quietly()

    def put(self, study: str, spec: Spec, code: str, payload: Payload, seconds: float) -> None:
        """Keep the result of a shard, in one transaction."""
        address, text = address_of(study, spec, code), canonical(spec)
        blob = encode(payload)
        digest = _row_digest(address, study, text, code, float(seconds), blob)
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO shards VALUES (?, ?, ?, ?, ?, ?, ?)",
                (address, study, text, code, float(seconds), blob, digest),
            )
            db.execute("DELETE FROM claims WHERE address = ?", (address,))

    def get(self, study: str, spec: Spec, code: str) -> dict[str, np.ndarray] | None:
        """The result of a shard, arrays `[...]` by name, or None; a row whose digest does not fit is removed
        and is None."""
        address = address_of(study, spec, code)
        with self._guarded() as db:
            row = db.execute("SELECT * FROM shards WHERE address = ?", (address,)).fetchone()
        if row is None:
            return None
        # A damaged index may lead to another row, sound in itself.
        if row[0] == address and _is_sound(row):
            return decode(row[5])
        with self._guarded() as db:
            db.execute("DELETE FROM shards WHERE address = ?", (address,))
        self._notify(f"{study}: a stored result was damaged and is computed again")
        return None

    def claim(self, study: str, spec: Spec, code: str) -> Claim:
        """Say that this process computes a shard, unless it is stored or another process computes it.

        The claim of a process that has ended is taken over, whatever ended it.
        """
        address, me = address_of(study, spec, code), this_process()
        with self._transaction() as db:
            if db.execute("SELECT 1 FROM shards WHERE address = ?", (address,)).fetchone():
                return Claim("stored")
            row = db.execute("SELECT owner FROM claims WHERE address = ?", (address,)).fetchone()
            if row is not None and row[0] != me and is_alive(str(row[0])):
                return Claim("elsewhere", str(row[0]))
            db.execute("INSERT OR REPLACE INTO claims VALUES (?, ?)", (address, me))
        return Claim("ours", me)

    def release(self) -> None:
        """Give up what this process has claimed and not stored, and forget what ended processes left."""
        me = this_process()
        with self._transaction() as db:
            owners = [str(o) for (o,) in db.execute("SELECT DISTINCT owner FROM claims")]
            for owner in owners:
                if owner == me or not is_alive(owner):
                    db.execute("DELETE FROM claims WHERE owner = ?", (owner,))

    def shards(self, study: str) -> list[StoredShard]:
        """All sound shards of a study, in the order of their addresses."""
        with self._guarded() as db:
            # One row at a time: all payloads together may be large.
            rows = db.execute("SELECT * FROM shards WHERE study = ? ORDER BY address", (study,))
            return [
                StoredShard(address, name, json.loads(spec), code, seconds, digest)
                for address, name, spec, code, seconds, _, digest in filter(_is_sound, rows)
            ]

    def forget(self, study: str | None = None) -> int:
        """Remove the results of a study, or of all; returns how many shards there were."""
        with self._guarded() as db:
            cursor = db.execute("DELETE FROM shards WHERE ? IS NULL OR study = ?", (study, study))
            db.execute("VACUUM")
        return cursor.rowcount


def _row_digest(address: str, study: str, spec: str, code: str, seconds: float, blob: bytes) -> str:
    digest = hashlib.sha256(canonical({"row": [address, study, spec, code, seconds]}).encode())
    digest.update(blob)
    return digest.hexdigest()


def _is_sound(row: Sequence[Any]) -> bool:
    """Whether a row's digest fits all the rest of it."""
    *texts, seconds, blob, digest = row
    if not isinstance(blob, bytes) or not isinstance(seconds, float) or not math.isfinite(seconds):
        return False
    if not all(isinstance(t, str) for t in texts):
        return False
    address, study, spec, code = texts
    return bool(digest == _row_digest(address, study, spec, code, seconds, blob))


def _is_circumstance(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _CIRCUMSTANCES


@dataclass(frozen=True)
class Health:
    """A store's rows, and how many of them have a digest that does not fit."""

    rows: int
    damaged: int


def examine(path: Path) -> Health:
    """Read every row of a store and compare its digest; nothing is changed or set aside.

    Raises:
        StoreError: for a file that is no store, or that of another version.
    """
    # Without a log nobody has it open: then sqlite need not make files beside it to read it.
    alone = "" if Path(f"{path}-wal").exists() else "&immutable=1"
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{alone}", uri=True, timeout=_PATIENCE)
        ) as db:
            db.text_factory = lambda data: data.decode("utf-8", errors="replace")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version != SCHEMA:
                raise StoreError(
                    f"{path} was written by another version of vhat (schema {version}, not {SCHEMA})"
                )
            (state,) = db.execute("PRAGMA quick_check(1)").fetchone()
            sound, before = [], ""
            for row in db.execute(_ROWS):
                # A row out of order would be looked for in vain.
                sound.append(_is_sound(row) and before < row[0] == _address(*row[1:4]))
                before = row[0] if sound[-1] else before
    except _ERRORS as error:
        raise StoreError(
            f"{path} cannot be read: {error}; the next run sets aside what is damaged"
        ) from error
    if state != "ok":
        raise StoreError(f"{path} is damaged: {state}; the next run sets it aside")
    return Health(len(sound), sound.count(False))
