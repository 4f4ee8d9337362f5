"""The store's file: other people's files are left alone, a sound one is never set aside, and reading writes
nothing."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from core.lab import store as store_module
from core.lab import store_file
from core.lab.errors import StoreError
from core.lab.store import Store
from core.lab.store_file import NotAStore, held, is_damage
from core.lab.store_health import Health, examine
from tests.lab.filled_store import check, fill

ROW = ("study", {"row": "late"}, "code")


def foreign(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def everything(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize("chosen", [False, True])
@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TABLE people (name TEXT)", "INSERT INTO people VALUES ('Ada')"),
        ("CREATE TABLE people (name TEXT)", "PRAGMA user_version=1"),
        ("CREATE TABLE claims (number INTEGER)", "INSERT INTO claims VALUES (1)"),
    ],
)
def test_somebody_elses_database_is_refused_and_not_touched(
    statements: tuple[str, ...], chosen: bool, tmp_path: Path
) -> None:
    path = tmp_path / "results.sqlite"
    foreign(path, *statements)
    before = everything(tmp_path)
    for reading in (False, True):
        with pytest.raises(NotAStore, match="something else than vhat") as caught:
            Store(path, chosen=chosen, reading=reading)
        assert "\n" not in str(caught.value)
    with pytest.raises(StoreError, match="something else than vhat"):
        examine(path)
    assert everything(tmp_path) == before


def test_a_file_that_a_person_named_is_set_aside_only_if_it_was_a_store(tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear all,\n" * 500)
    before = everything(tmp_path)
    with pytest.raises(NotAStore, match="no store of vhat"):
        Store(letter, chosen=True)
    assert everything(tmp_path) == before
    run = tmp_path / "run.sqlite"
    fill(run)
    run.write_bytes(b"x" * 100 + run.read_bytes()[100:])
    said: list[str] = []
    Store(run, chosen=True, notify=said.append).close()
    assert "kept as run.sqlite.damaged-1" in said[0]
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    Store(empty, chosen=True).close()


def late(path: Path) -> Store:
    """A store with one more row, still open."""
    store = Store(path)
    store.put(*ROW, {"v": np.arange(3)}, 1.0)
    return store


def test_of_two_that_meet_a_damaged_store_the_slower_one_leaves_the_new_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"damage" * 2000)
    faster: list[Store] = []
    slow = store_file.set_aside

    def slower(*args: object) -> str:
        if not faster:
            # Meanwhile another has moved it away, and works on a new one.
            monkeypatch.setattr(store_module, "set_aside", slow)
            faster.append(late(path))
        return slow(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store_module, "set_aside", slower)
    said: list[str] = []
    store = Store(path, notify=said.append)
    assert said == []
    assert store.get(*ROW) is not None
    faster[0].put("study", {"row": "later"}, "code", {"v": np.arange(2)}, 1.0)
    assert store.get("study", {"row": "later"}, "code") is not None
    for each in (store, *faster):
        each.close()
    assert sorted(everything(tmp_path)) == ["s.sqlite", "s.sqlite.damaged-1"]


def test_a_store_that_was_moved_takes_no_rows_that_nobody_would_find(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    store = late(path)
    path.rename(tmp_path / "elsewhere")
    new = Store(path)
    with pytest.raises(StoreError, match="moved or removed while it was in use"):
        store.put("study", {"row": "lost"}, "code", {"v": np.arange(2)}, 1.0)
    store.close()
    new.put(*ROW, {"v": np.arange(3)}, 1.0)
    new.close()
    assert check(path, {})[1] == []


def test_moving_aside_waits_for_those_that_write(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"x")
    pid = 0
    with held(path):
        pid = os.fork()
        if pid == 0:
            store_file.set_aside(path, store_file.identity(path), "test")
            os._exit(0)
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
        assert path.exists()
    os.waitpid(pid, 0)
    assert [p.name for p in tmp_path.iterdir()] == ["s.sqlite.damaged-1"]


def with_code(kind: type[sqlite3.Error], code: int) -> sqlite3.Error:
    error = kind("made up")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_READ,
        sqlite3.SQLITE_NOMEM,
    ],
)
def test_what_the_world_does_is_no_damage(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.sqlite"
    payloads = fill(path)
    error = with_code(sqlite3.OperationalError, code)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(store_module, "check_pages", fail)
    with pytest.raises(StoreError, match=r"cannot open .* made up"):
        Store(path)
    monkeypatch.undo()
    assert check(path, payloads) == (12, [])
    assert list(everything(tmp_path)) == ["s.sqlite"]


def test_damage_is_what_sqlite_calls_so() -> None:
    for code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CORRUPT_INDEX, sqlite3.SQLITE_NOTADB):
        assert is_damage(with_code(sqlite3.DatabaseError, code))
    assert is_damage(sqlite3.DatabaseError("its rows are out of order"))
    assert not is_damage(sqlite3.ProgrammingError("Cannot operate on a closed database."))


def test_a_race_for_the_log_is_waited_for(tmp_path: Path) -> None:
    class Racing(sqlite3.Connection):
        left = 3

        def execute(self, *args: object) -> sqlite3.Cursor:
            if Racing.left:
                Racing.left -= 1
                raise with_code(sqlite3.OperationalError, sqlite3.SQLITE_PROTOCOL)
            return super().execute(*args)  # type: ignore[arg-type]

    db = sqlite3.connect(tmp_path / "s.sqlite", factory=Racing)
    assert store_file.wait_for(db, "SELECT 7") == [(7,)]
    db.close()


def test_a_damaged_store_that_cannot_be_made_anew_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"damage" * 2000)

    def no_room(_: object) -> None:
        raise with_code(sqlite3.OperationalError, sqlite3.SQLITE_FULL)

    monkeypatch.setattr(store_module, "make_tables", no_room)
    with pytest.raises(StoreError, match="cannot open"):
        Store(path)
    assert (tmp_path / "s.sqlite.damaged-1").exists()


@pytest.fixture(params=[True, False], ids=["writable", "read-only"])
def medium(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the folder can be written, as far as the store is told."""
    if not request.param:
        monkeypatch.setattr(store_file.os, "access", lambda *_: False)
    return bool(request.param)


def test_reading_changes_nothing(medium: bool, tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    fill(path)
    before = everything(tmp_path)
    store = Store(path, reading=True)
    assert len(store.shards("study")) == 12
    assert store.get("study", {"row": 1, "text": "x" * 50}, "code") is not None
    if not medium:
        assert everything(tmp_path) == before
    with pytest.raises(StoreError, match="readonly"):
        store.put(*ROW, {"v": np.arange(3)}, 1.0)
    store.close()
    assert everything(tmp_path) == before


def test_what_another_process_writes_is_read(medium: bool, tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    writer = late(path)
    store = Store(path, reading=True)
    assert store.get(*ROW) is not None
    store.close()
    writer.close()
    assert (Store(path, reading=True).get(*ROW) is not None) is True
    assert medium in (True, False)


def test_damage_met_while_reading_stays_for_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    fill(path)
    foreign(path, "UPDATE shards SET seconds = 2.5 WHERE spec LIKE '%\"row\":3,%'")
    before = everything(tmp_path)
    said: list[str] = []
    store = Store(path, reading=True, notify=said.append)
    assert store.get("study", {"row": 3, "text": "x" * 50}, "code") is None
    store.close()
    assert said == ["study: a stored result was damaged and is computed again by the next vhat run"]
    assert everything(tmp_path) == before
    path.write_bytes(b"damage" * 2000)
    with pytest.raises(StoreError, match=r"is damaged .* the next vhat run sets it aside"):
        Store(path, reading=True)
    assert list(everything(tmp_path)) == ["s.sqlite"]


def test_an_empty_file_is_a_store_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"")
    assert examine(path) == Health(0, 0)
    store = Store(path, reading=True)
    assert store.shards("study") == []
    store.close()
    assert everything(tmp_path) == {"s.sqlite": b""}


def test_rows_are_forgotten_by_address(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    fill(path)
    store = Store(path)
    gone = [s.address for s in store.shards("study")][:5]
    assert store.forget_rows([*gone, "none"]) == 5
    assert not {s.address for s in store.shards("study")} & set(gone)
    assert store.forget() == 7
    store.close()
