"""The store: gives back the bits it was given, or notices that it cannot."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core.lab.errors import StoreError, VhatError
from core.lab.store import Store, address_of, canonical, decode, encode, payload_digest
from tests.lab.filled_store import check, equal, fill

DTYPES = st.one_of(
    hnp.floating_dtypes(),
    hnp.integer_dtypes(),
    hnp.unsigned_integer_dtypes(),
    hnp.boolean_dtypes(),
    hnp.unicode_string_dtypes(),
)
ARRAYS = DTYPES.flatmap(
    lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
PAYLOADS = st.dictionaries(
    st.sampled_from(["a", "curves:loss", "field/x", "ü"]), ARRAYS, min_size=1, max_size=3
)


@given(PAYLOADS)
@settings(max_examples=60)
def test_any_arrays_come_back_bit_for_bit(payload: dict[str, np.ndarray]) -> None:
    assert equal(decode(encode(payload)), payload)
    store = Store(Path(":memory:"))
    store.put("s", {"x": 1}, "code", payload, 0.5)
    found = store.get("s", {"x": 1}, "code")
    store.close()
    assert found is not None
    assert equal(found, payload)
    assert payload_digest(found) == payload_digest(payload)


def test_arrays_in_any_layout_keep_their_values() -> None:
    array = np.arange(24.0).reshape(4, 6)[::2, ::-1].T
    found = decode(encode({"a": array}))["a"]
    assert np.array_equal(found, array)
    assert payload_digest({"a": array}) == payload_digest({"a": array.copy()})


def test_objects_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    with pytest.raises(ValueError, match=r"[Oo]bject arrays"):
        store.put("s", {}, "c", {"a": np.array([{"x": 1}], dtype=object)}, 0.0)
    assert store.shards("s") == []
    store.close()


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()), st.text(), st.text())
def test_addresses_do_not_depend_on_the_order_of_keys(spec: dict[str, object], study: str, code: str) -> None:
    back = dict(reversed(spec.items()))
    assert canonical(spec) == canonical(back)
    assert address_of(study, spec, code) == address_of(study, back, code)
    assert address_of(study, spec, code) != address_of(study, {**spec, "another key": 1.5}, code)
    assert address_of(study, spec, code) != address_of(study, spec, code + "x")


def test_digests_tell_names_types_shapes_and_bits_apart() -> None:
    a = np.array([0.0, 1.0])
    others = [
        {"b": a},
        {"a": a.astype(np.float32)},
        {"a": a[None]},
        {"a": np.array([-0.0, 1.0])},
        {"a": a, "b": a},
    ]
    assert len({payload_digest(p) for p in ({"a": a}, *others)}) == 6


def test_rows_are_kept_by_study_spec_and_code_and_forgotten_by_study(tmp_path: Path) -> None:
    store = Store(tmp_path / "new" / "folder" / "s.sqlite")
    for i, (study, code) in enumerate([("a", "1"), ("a", "2"), ("b", "1")]):
        store.put(study, {"x": 1}, code, {"v": np.array([i])}, float(i))
    found = [store.get(s, {"x": 1}, c) for s, c in [("a", "1"), ("a", "2"), ("b", "1")]]
    assert [int(f["v"][0]) for f in found if f is not None] == [0, 1, 2]
    assert store.get("a", {"x": 2}, "1") is None
    assert store.get("b", {"x": 1}, "2") is None
    rows = store.shards("a")
    assert [r.address for r in rows] == sorted(r.address for r in rows)
    assert {(r.study, r.code, r.seconds) for r in rows} == {("a", "1", 0.0), ("a", "2", 1.0)}
    assert all(r.spec == {"x": 1} for r in rows)
    store.put("a", {"x": 1}, "1", {"v": np.array([9])}, 1)
    again = store.get("a", {"x": 1}, "1")
    assert again is not None
    assert again["v"].tolist() == [9]
    assert store.forget("a") == 2
    assert store.shards("a") == []
    assert len(store.shards("b")) == 1
    assert store.forget() == 1
    store.close()
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir()] == ["s.sqlite"]


def test_any_damaged_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    payloads = fill(path)
    sound = path.read_bytes()
    rng = random.Random(1)
    # The header and the table's definition lie on the first page: most positions there mean something.
    positions = [
        *rng.sample(range(100), 30),
        *rng.sample(range(3500, 4096), 60),
        *rng.sample(range(len(sound)), 90),
    ]
    noticed = 0
    for number, position in enumerate(positions):
        folder = tmp_path / str(number)
        folder.mkdir()
        damaged = bytearray(sound)
        damaged[position] ^= 1 << rng.randrange(8)
        (folder / "s.sqlite").write_bytes(damaged)
        _, said = check(folder / "s.sqlite", payloads)
        noticed += bool(said)
        assert all("\n" not in line for line in said)
    assert noticed > 60


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.99])
def test_a_cut_file_is_noticed_or_empty(share: float, tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    payloads = fill(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    survived, said = check(path, payloads)
    assert survived == 12 or said or share == 0.0
    assert check(path, payloads)[0] == 12


@pytest.mark.parametrize("extra", [b"x", b"\0" * 4096, b"y" * 5000])
def test_appended_bytes_change_nothing_or_are_noticed(extra: bytes, tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    payloads = fill(path)
    path.write_bytes(path.read_bytes() + extra)
    survived, said = check(path, payloads)
    assert survived == 12 or said


def test_random_bytes_in_place_of_a_store_are_set_aside_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    said: list[str] = []
    for number in (1, 2):
        path.write_bytes(bytes([number]) * 9000)
        store = Store(path, notify=said.append)
        assert store.shards("study") == []
        store.close()
        assert (tmp_path / f"s.sqlite.damaged-{number}").read_bytes() == bytes([number]) * 9000
    assert len(said) == 2


@pytest.mark.parametrize("column", ["study", "spec", "code", "seconds", "payload", "digest"])
@pytest.mark.parametrize("value", [b"\xff\xfe", "other", 7, 1.5])
def test_a_changed_column_makes_the_row_vanish_aloud(column: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    payloads = fill(path, rows=2)
    address = address_of("study", {"row": 1, "text": "x" * 50}, "code")
    db = sqlite3.connect(path)
    cast = "CAST(? AS TEXT)" if isinstance(value, bytes) and column != "payload" else "?"
    db.execute(f"UPDATE shards SET {column} = {cast} WHERE address = ?", (value, address))
    db.commit()
    db.close()
    said: list[str] = []
    store = Store(path, notify=said.append)
    assert [s.spec["row"] for s in store.shards("study")] == [0]
    store.close()
    survived, more = check(path, payloads)
    said += more
    assert survived == 1
    assert len(said) == 1
    assert "damaged and" in said[0]
    assert "computed again" in said[0]


def test_a_row_is_compared_with_its_digest_also_where_the_pages_were_checked_before(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    fill(path, rows=2)
    address = address_of("study", {"row": 1, "text": "x" * 50}, "code")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE shards SET payload = x'00' || payload WHERE address = ?", (address,))
    said: list[str] = []
    store = Store(path, notify=said.append, reading=True, checked=True)
    found = [store.get("study", {"row": row, "text": "x" * 50}, "code") for row in range(2)]
    store.close()
    assert found[0] is not None
    assert found[1] is None
    assert len(said) == 1


def test_a_store_of_another_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    fill(path)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=77")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"schema 77.*move it away") as caught:
        Store(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_folder_or_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="cannot open"):
        Store(tmp_path / "folder")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot make the folder"):
        Store(tmp_path / "file" / "s.sqlite")
    with pytest.raises(StoreError, match="cannot make the folder"):
        Store(tmp_path / "file" / "deeper" / "s.sqlite")


def test_a_full_disk_is_one_line_and_keeps_what_was_stored(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    payloads = fill(path)
    store = Store(path)
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count={pages + 1}")
    noise = np.random.default_rng(1).bytes(200_000)
    with pytest.raises(StoreError, match="full; what was stored before is kept"):
        store.put("study", {"big": 1}, "code", {"v": np.frombuffer(noise, np.uint8)}, 1.0)
    store.close()
    assert check(path, payloads) == (12, [])


def test_a_closed_store_is_no_traceback(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    store.close()
    store.close()
    with pytest.raises(VhatError):
        store.get("s", {}, "c")


WRITER = """
import sys
import time
from pathlib import Path
import numpy as np
from core.lab.store import Store
path, name = Path(sys.argv[1]), sys.argv[2]
for i in range(40):
    while time.time() < float(sys.argv[3]) + 0.03 * i:
        pass
    Store(path.with_name(f"new-{i}.sqlite")).close()
for i in range(15):
    store = Store(path, notify=lambda line: sys.exit(line))
    store.put(name, {"i": i}, "code", {"v": np.full(1000, i)}, 0.1)
    assert store.get(name, {"i": i}, "code")["v"][0] == i
    store.close()
"""


def test_several_processes_write_at_once_from_the_first_moment(tmp_path: Path) -> None:
    path = tmp_path / "new" / "s.sqlite"
    # All at the same instants, once everybody has imported what it needs.
    start = str(time.time() + 3.0)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), f"w{i}", start], stderr=subprocess.PIPE, text=True
        )
        for i in range(3)
    ]
    errors = [w.communicate(timeout=120)[1] for w in writers]
    assert errors == [""] * 3
    assert [w.returncode for w in writers] == [0] * 3
    store = Store(path)
    assert [len(store.shards(f"w{i}")) for i in range(3)] == [15] * 3
    store.close()
    # Where the last two close at the same instant, sqlite leaves its log to the next who opens the file.
    for opened in path.parent.glob("*.sqlite"):
        Store(opened).close()
    assert all(p.suffix == ".sqlite" for p in path.parent.iterdir())
