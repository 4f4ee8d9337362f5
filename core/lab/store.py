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
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.lab.errors import StoreError, one_line
from core.lab.experiment import Payload, Spec
from core.lab.owner import is_alive, this_process
from core.lab.store_file import (
    ERRORS,
    MEMORY,
    NotAStore,
    bears_marks,
    check_pages,
    connect,
    connect_to_read,
    held,
    identity,
    is_damage,
    make_tables,
    set_aside,
    tables_of,
    wait_for,
)

_TRIES = 3
"""How often to open a file that other processes move aside."""


def canonical(spec: Spec) -> str:
    """A spec as JSON text with one spelling."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)


def address_of(study: str, spec: Spec, code: str) -> str:
    """Where the result of a shard lies: a digest of the study, the spec, and the code that computes it."""
    return row_address(study, canonical(spec), code)


def row_address(study: str, spec: str, code: str) -> str:
    """The same of a spec as `canonical` writes it."""
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
    """What is known of a stored shard besides its arrays.

    Attributes:
        address: SHA-256 of `study`, `spec` and `code`.
        study: the study's id.
        spec: what was computed.
        code: digest of the code that computed it.
        seconds: that it took.
        digest: SHA-256 of all of these and of the arrays.
    """

    address: str
    study: str
    spec: Spec
    code: str
    seconds: float
    digest: str


@dataclass(frozen=True)
class Claim:
    """Who computes a shard.

    Attributes:
        state: `ours`, this process; `elsewhere`, another one; `stored`, nobody any more, for it is stored.
        owner: the process that does; empty where it is stored.
    """

    state: Literal["ours", "elsewhere", "stored"]
    owner: str = ""


class Store:
    """Results by address, in one file.

    Args:
        path: of the file.
        notify: for lines that are no errors.
        reading: nothing is changed: the file may lie where nothing can be written. It must exist.
        checked: all pages were read a moment ago by who asks for this; only rows are compared with their
            digests.
        chosen: a person named the file, not vhat: what is there and is no store of vhat's, not even a damaged
            one, is refused and not set aside.

    Raises:
        StoreError: if the folder cannot be made or the file cannot be opened or written, or belongs to
            something else; when reading, if it is damaged.
    """

    def __init__(
        self,
        path: Path,
        *,
        notify: Callable[[str], None] = lambda _: None,
        reading: bool = False,
        checked: bool = False,
        chosen: bool = False,
    ) -> None:
        self.path = path
        self._checked = checked
        self._notify = notify
        self._reading = reading
        if not reading:
            self._make_folder()
        for _ in range(_TRIES):
            try:
                with held(path):
                    try:
                        self._open()
                    finally:
                        self._file = identity(path)
            except StoreError:
                self._close_quietly()
                raise
            except ERRORS as error:
                self._close_quietly()
                self._bear(error, chosen=chosen)
            else:
                return
        raise StoreError(f"cannot open {path}: it is damaged again and again; choose another folder")

    def _make_folder(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", error)
            raise StoreError(
                f"cannot make the folder {self.path.parent}: {reason}; choose another with --out"
            ) from error

    def _bear(self, error: Exception, *, chosen: bool) -> None:
        """Set a damaged file aside; anything else that stops the file from being opened is one line."""
        why = one_line(str(error))
        if not is_damage(error):
            raise StoreError(f"cannot open {self.path}: {why}; choose another folder with --out") from error
        if self._reading:
            raise StoreError(
                f"{self.path} is damaged ({why}); the next vhat run sets it aside and computes again"
            ) from error
        if chosen and not bears_marks(self.path):
            raise NotAStore(
                f"{self.path} is no store of vhat ({why}) and is left as it is; choose another place"
            ) from error
        if said := set_aside(self.path, self._file, why):
            self._notify(said)

    def _open(self) -> None:
        self._db = connect_to_read(self.path) if self._reading else connect(self.path)
        tables = tables_of(self._db, self.path)
        if self._reading and not tables:
            # An empty file holds no results.
            self._db.close()
            self._db = connect(MEMORY)
            make_tables(self._db)
        elif not self._reading:
            wait_for(self._db, "PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            make_tables(self._db)
        if not self._checked:
            check_pages(self._db, tables)
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
            if not all(isinstance(t, str) for t in texts) or row_address(*texts).encode() != address:
                misplaced.append((address,))
        if misplaced:
            if not self._reading:
                self._db.executemany("DELETE FROM shards WHERE address = CAST(? AS TEXT)", misplaced)
            self._notify(
                f"{self.path}: {len(misplaced)} stored results were damaged and {self._again('are')}"
            )

    def _again(self, are: str) -> str:
        return f"{are} computed again" + (" by the next vhat run" if self._reading else "")

    def _close_quietly(self) -> None:
        db = getattr(self, "_db", None)
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    @contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._db
        except ERRORS as error:
            if not is_damage(error):
                raise StoreError(
                    f"cannot use {self.path}: {error}; what was stored before is kept, "
                    "run the same command again"
                ) from error
            raise StoreError(
                f"{self.path} is damaged: {error}; run the same command again to set it aside"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._guarded() as db, held(self.path):
            if identity(self.path) != self._file:
                raise StoreError(
                    f"{self.path} was moved or removed while it was in use; run the same command again"
                )
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
        if row[0] == address and is_sound(row):
            return decode(row[5])
        if not self._reading:
            with self._guarded() as db:
                db.execute("DELETE FROM shards WHERE address = ?", (address,))
        self._notify(f"{study}: a stored result was damaged and {self._again('is')}")
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
                for address, name, spec, code, seconds, _, digest in filter(is_sound, rows)
            ]

    def forget(self, study: str | None = None) -> int:
        """Remove the results of a study, or of all; returns how many shards there were."""
        with self._transaction() as db:
            count = db.execute("DELETE FROM shards WHERE ? IS NULL OR study = ?", (study, study)).rowcount
        self._shrink()
        return count

    def forget_rows(self, addresses: Iterable[str]) -> int:
        """Remove the results at these addresses; returns how many there were."""
        with self._transaction() as db:
            count = db.executemany("DELETE FROM shards WHERE address = ?", ((a,) for a in addresses)).rowcount
        self._shrink()
        return count

    def _shrink(self) -> None:
        with self._guarded() as db:
            db.execute("VACUUM")


def _row_digest(address: str, study: str, spec: str, code: str, seconds: float, blob: bytes) -> str:
    digest = hashlib.sha256(canonical({"row": [address, study, spec, code, seconds]}).encode())
    digest.update(blob)
    return digest.hexdigest()


def is_sound(row: Sequence[Any]) -> bool:
    """Whether a row's digest fits all the rest of it."""
    *texts, seconds, blob, digest = row
    if not isinstance(blob, bytes) or not isinstance(seconds, float) or not math.isfinite(seconds):
        return False
    if not all(isinstance(t, str) for t in texts):
        return False
    address, study, spec, code = texts
    return bool(digest == _row_digest(address, study, spec, code, seconds, blob))
