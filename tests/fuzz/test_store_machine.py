"""The store against a dictionary: any order of putting, forgetting, reopening and damage, by two handles."""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.lab.errors import StoreError
from core.lab.store import Store, address_of
from core.lab.store_health import examine
from tests.fuzz.mutations import changed_bytes
from tests.lab.filled_store import equal

Key = tuple[str, int, str]
KEYS = st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 4), st.sampled_from(["code", "other"]))
STUDIES = st.sampled_from(["a", "b", None])
COLUMNS = ("study", "spec", "code", "seconds", "payload", "digest")


def payload_of(number: int) -> dict[str, np.ndarray]:
    return {"v": np.random.default_rng(number).normal(size=(number % 7, 40)), "n": np.array(number)}


class AgainstADictionary(RuleBasedStateMachine):
    """`model` holds what was put. At a `shaken` address damage has been done since it was last written or
    seen whole: the row may be found whole or missing, and never otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="vhat-store-"))
        self.path = self.folder / "s.sqlite"
        self.said: list[str] = []
        self.model: dict[Key, int] = {}
        self.shaken: set[Key] = set()
        self.count = 0
        self.open()

    def open(self) -> None:
        """Two handles, as two processes would have them."""
        self.first = Store(self.path, notify=self.said.append)
        self.second = Store(self.path, notify=self.said.append)

    def close(self) -> None:
        self.first.close()
        self.second.close()

    def spec(self, key: Key) -> dict[str, object]:
        return {"i": key[1], "text": "x" * 30}

    def look(self, store: Store, key: Key) -> None:
        found = store.get(key[0], self.spec(key), key[2])
        if found is None:
            assert key not in self.model or key in self.shaken, key
            self.model.pop(key, None)
        else:
            assert equal(found, payload_of(self.model[key])), key
        self.shaken.discard(key)

    @rule(key=KEYS, by=st.booleans())
    def put(self, key: Key, by: bool) -> None:
        self.count += 1
        store = self.first if by else self.second
        store.put(key[0], self.spec(key), key[2], payload_of(self.count), 1.0)
        self.model[key] = self.count
        self.shaken.discard(key)

    @rule(key=KEYS, by=st.booleans())
    def get(self, key: Key, by: bool) -> None:
        self.look(self.first if by else self.second, key)

    @rule(key=KEYS)
    def claim(self, key: Key) -> None:
        state = self.first.claim(key[0], self.spec(key), key[2]).state
        # A claim looks for the row only: a damaged one is found by `get`, and computed after that.
        assert key in self.shaken or state == ("stored" if key in self.model else "ours")

    @rule()
    def release(self) -> None:
        self.first.release()

    @rule(study=STUDIES)
    def forget(self, study: str | None) -> None:
        gone = {k for k in self.model if study in (None, k[0])}
        assert self.second.forget(study) == len(gone) or self.shaken
        for key in gone:
            # A row whose study is damaged stays, and is found damaged by whoever asks for it.
            del self.model[key]
        if study is None:
            self.shaken.clear()

    @rule()
    def reopen(self) -> None:
        self.close()
        assert {p.name for p in self.folder.iterdir() if "damaged" not in p.name} == {"s.sqlite"}
        if not self.shaken:
            health = examine(self.path)
            assert (health.rows, health.damaged) == (len(self.model), 0)
        self.open()

    @precondition(lambda self: self.model)
    @rule(data=st.data(), column=st.sampled_from(COLUMNS), value=st.sampled_from([b"\xff", "other", 7, 2.5]))
    def change_a_row(self, data: st.DataObject, column: str, value: object) -> None:
        """As a bad disk or a careless person would."""
        key = data.draw(st.sampled_from(sorted(self.model)))
        db = sqlite3.connect(self.path)
        address = address_of(key[0], self.spec(key), key[2])
        db.execute(f"UPDATE shards SET {column} = ? WHERE address = ?", (value, address))
        db.commit()
        db.close()
        self.shaken.add(key)

    @precondition(lambda self: self.model)
    @rule(seed=st.integers(0, 2**16))
    def change_the_file(self, seed: int) -> None:
        """While nobody has it open."""
        self.close()
        whole = self.path.read_bytes()
        self.path.write_bytes(changed_bytes(whole, random.Random(seed)))
        self.shaken |= self.model.keys()
        try:
            Store(self.path, notify=self.said.append).close()
        except StoreError as error:
            # The damage looks like another version's store, which is left alone.
            if "another version of vhat" not in str(error):
                raise
            self.path.write_bytes(whole)
        self.open()

    @invariant()
    def nothing_else_is_stored(self) -> None:
        for study in ("a", "b"):
            known = {address_of(k[0], self.spec(k), k[2]) for k in self.model}
            assert {s.address for s in self.first.shards(study)} <= known

    @invariant()
    def what_is_said_is_one_line(self) -> None:
        assert all(line.isprintable() for line in self.said)

    def teardown(self) -> None:
        for key in sorted(self.model):
            self.look(self.second, key)
        self.close()
        shutil.rmtree(self.folder)


TestStore = AgainstADictionary.TestCase
TestStore.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)


@pytest.mark.soak
class TestStoreAtLength(AgainstADictionary.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
