"""Damage of any kind to what is stored: noticed, said in one line, mended by the next run; never silent."""

from __future__ import annotations

import contextlib
import json
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from core.lab.benchmark import stored_benchmarks
from core.lab.commands import RESULTS
from core.lab.errors import StoreError, VhatError
from core.lab.staging import write_whole
from core.lab.store import Store
from finance.cache import Entry, PriceCache
from finance.csvfile import CsvFile
from tests import tally
from tests.crash.children import ROOT, Children, claims, files, rows, sweep, task
from tests.crash.damages import DAMAGES
from tests.lab.filled_store import check, fill


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[int, dict[str, np.ndarray]]]:
    path = tmp_path_factory.mktemp("sound") / "s.sqlite"
    payloads = fill(path)
    return path.read_bytes(), payloads


def damage_stores(kind: str, count: int, sound: tuple[bytes, dict], folder: Path) -> int:
    """How many of `count` damaged stores were spoken of; `check` fails where a wrong bit passes for right."""
    data, payloads = sound
    rng = random.Random(kind)
    spoken = 0
    for _ in range(count):
        folder.mkdir()
        path = folder / "s.sqlite"
        path.write_bytes(DAMAGES[kind](data, rng))
        survived, said = check(path, payloads)
        spoken += bool(said)
        assert all("\n" not in line for line in said)
        # What is neither there nor spoken of was an empty file, which is a store of nothing.
        assert survived == len(payloads) or said or survived == 0
        # The next run has all again, except where the damage looks like another version's store.
        after, said = check(path, payloads)
        assert after == len(payloads) or "another version of vhat" in said[0], (kind, said)
        shutil.rmtree(folder)
        tally.kept("damages")
    return spoken


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_few_damaged_stores(kind: str, sound: tuple[bytes, dict], tmp_path: Path) -> None:
    assert damage_stores(kind, 6, sound, tmp_path / "s") >= (
        3 if kind in ("truncate", "garble", "swap") else 0
    )


@pytest.mark.soak
@pytest.mark.parametrize("kind", DAMAGES)
def test_many_damaged_stores(kind: str, sound: tuple[bytes, dict], tmp_path: Path) -> None:
    assert damage_stores(kind, 150, sound, tmp_path / "s") > 5 or kind == "append"


OTHER_VERSIONS = (2, 3, 7, 1000, 2**31 - 1, -1)


def test_a_store_of_another_version_is_left_as_it_is(tmp_path: Path) -> None:
    """Older ones as well as newer ones: their rows may mean something else."""
    path = tmp_path / "s.sqlite"
    payloads = fill(path)
    for version in OTHER_VERSIONS:
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute(f"PRAGMA user_version = {version}")
        before = path.read_bytes()
        survived, (said,) = check(path, payloads)
        assert survived == 0
        assert "another version of vhat" in said
        assert "\n" not in said
        assert path.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == ["s.sqlite"]
        tally.kept("stores of another version")


LOGS = ("-wal", "-shm")


def damage_logs(number: int, kinds: list[str], children: Children, whole: dict[str, bytes], at: Path) -> int:
    """A run is killed in the middle of its work; the log or its index, which it leaves beside the store, is
    damaged; the same command ends in the same bits. How often that lost a row, to be computed again."""
    killed = at / "killed"
    (status,) = children.run(task(killed, where="statement", count=60))
    assert status == -signal.SIGKILL
    left = files(killed)
    assert {f"{RESULTS}{suffix}" for suffix in LOGS} < left.keys()
    stored, lost = len(rows_before(killed, at)), 0
    for suffix in LOGS:
        for kind in kinds:
            rng = random.Random(f"{kind}{suffix}")
            for _ in range(number):
                folder = at / "out"
                shutil.copytree(killed, folder)
                (folder / f"{RESULTS}{suffix}").write_bytes(DAMAGES[kind](left[f"{RESULTS}{suffix}"], rng))
                kept = rows(folder)
                assert kept.items() <= whole.items()
                lost += len(kept) < stored
                assert children.run(task(folder)) == [0]
                assert rows(folder) == whole
                assert claims(folder) == 0
                assert {p.name for p in folder.iterdir() if "damaged" not in p.name} == {RESULTS}
                sweep(folder)
                tally.kept("damaged logs of killed runs")
                tally.kept("damages")
    return lost


def rows_before(killed: Path, at: Path) -> dict[str, bytes]:
    """What the killed run had stored, read from a copy: whoever opens a store clears its log away."""
    copy = shutil.copytree(killed, at / "copy")
    found = rows(copy)
    sweep(copy)
    return found


def test_a_few_damaged_logs(children: Children, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    assert damage_logs(1, ["flip", "truncate", "garble"], children, undisturbed, tmp_path) > 0


@pytest.mark.soak
def test_many_damaged_logs(children: Children, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    assert damage_logs(8, list(DAMAGES), children, undisturbed, tmp_path) > 10


ENTRY = Entry("AAA", "2020-01-01", "2020-03-01", "none")
DAYS = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]")


def complaint(kind: type[Exception], action: Callable[[], object]) -> str | None:
    """What an error of that kind says, in one line; None if there is none, and any other error passes on."""
    try:
        action()
    except kind as error:
        said = str(error)
    else:
        return None
    assert "\n" not in said
    return said


def damage_files(count: int, folder: Path) -> None:
    """Price caches, benchmarks and people's own files, each damaged in every way."""
    series = (DAYS, np.linspace(10.0, 20.0, len(DAYS)))
    cache = PriceCache(folder / "prices")
    cache.store(ENTRY, series, str(DAYS[-1]))
    path = cache.path(ENTRY)
    data = path.read_bytes()
    csv = ("date,AAA,BBB\n" + "".join(f"{d},{10 + i},{20 + i}\n" for i, d in enumerate(DAYS))).encode()
    for kind, damage in DAMAGES.items():
        rng = random.Random(f"{kind} files")
        for _ in range(count):
            path.write_bytes(damage(data, rng))
            found = cache.load(ENTRY)
            # Whole, or set aside.
            same = found is None or all(map(np.array_equal, found.series, series))
            assert same, kind
            own = folder / "own.csv"
            own.write_bytes(damage(csv, rng))
            said = complaint(VhatError, lambda own=own: CsvFile(own).fetch(None, None, None))
            assert said is None or "own.csv" in said, said
            measured = folder / "bench" / "speed.json"
            measured.parent.mkdir(exist_ok=True)
            measured.write_bytes(damage(json.dumps({"format": 1, "name": "speed"}).encode(), rng))
            benchmarks, lines = stored_benchmarks(measured.parent)
            assert benchmarks == ()
            assert len(lines) == 1
            assert "\n" not in lines[0]
            tally.kept("damages", 3)


def test_a_few_damaged_files(tmp_path: Path) -> None:
    damage_files(4, tmp_path)


@pytest.mark.soak
def test_many_damaged_files(tmp_path: Path) -> None:
    damage_files(60, tmp_path)


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Every write beyond `size` fails, as on a disk without room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def fill_the_disk(sizes: list[int], folder: Path) -> int:
    """How many times there was no room; each time one line, and nothing that was stored is lost."""
    payloads = fill(folder / "s.sqlite")
    noise = np.random.default_rng(1).normal(size=20_000)
    refused = 0
    path = folder / "s.sqlite"

    def put() -> None:
        store = Store(path)
        try:
            store.put("study", {"big": len(noise)}, "code", {"v": noise}, 1.0)
        finally:
            store.close()

    for size in sizes:
        with no_file_beyond(size):
            refused += complaint(StoreError, put) is not None
            assert complaint(OSError, lambda size=size: write_whole(folder / "whole", bytes(size + 1)))
        assert check(folder / "s.sqlite", payloads) == (len(payloads), [])
        assert not (folder / "whole").exists()
        assert {p.name for p in folder.iterdir()} == {"s.sqlite"}
        tally.kept("writes without room")
    return refused


def test_no_room_at_a_few_sizes(tmp_path: Path) -> None:
    assert fill_the_disk([0, 100, 33_000, 60_000], tmp_path) == 4


@pytest.mark.soak
def test_no_room_at_many_sizes(tmp_path: Path) -> None:
    rng = random.Random(5)
    assert fill_the_disk([rng.randrange(150_000) for _ in range(100)], tmp_path) > 80


MOUNTED = """
import subprocess, sys
from pathlib import Path
mount, kind = sys.argv[1:]
size = "300k" if kind == "full" else "40m"
def sh(*words): subprocess.run(words, check=True)
sh("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", mount)
from core.cli import main
from core.lab import commands
from tests.crash.children import rows
from tests.lab import bowls
commands.find = lambda name: bowls.REGISTERED
commands.studies = lambda: {"tiny-bowl": bowls.REGISTERED}
run = ["run", "tiny-bowl", "--tiny", "--workers", "1", "--out", f"{mount}/out"]
if kind == "full":
    run += ["--seeds", "60"]
    code = main(run)
    print("ROOM AGAIN")
    sh("mount", "-o", "remount,size=40m", mount)
    assert main(run) == 0
    assert main([*run[:-3], f"{mount}/elsewhere", *run[-2:]]) == 0
    there, here = rows(Path(f"{mount}/out")), rows(Path(f"{mount}/elsewhere"))
    assert there == here and len(here) > 100
    assert [p.name for p in Path(f"{mount}/out").iterdir()] == ["results.sqlite"]
    print("SAME BITS")
else:
    assert main(run) == 0
    sh("mount", "-o", "remount,ro", mount)
    print("READ ONLY")
    code = max(main([*run, "--seeds", "40"]), main([*run[:-1], f"{mount}/new"]))
sys.exit(code)
"""


def mounted(kind: str, folder: Path) -> subprocess.CompletedProcess[str] | None:
    """A run on a small disk of its own, in a namespace of its own; None where that is not allowed."""
    inside = ["unshare", "--mount", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*inside, "true"], check=False).returncode:
        return None
    return subprocess.run(
        [*inside, sys.executable, "-c", MOUNTED, str(folder), kind],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


@pytest.mark.parametrize(("kind", "word"), [("full", "full"), ("read-only", "read")])
def test_a_full_and_a_read_only_disk_are_one_line(kind: str, word: str, tmp_path: Path) -> None:
    done = mounted(kind, tmp_path)
    if done is None:
        # Where nothing may be mounted, `test_no_room_at_a_few_sizes` has tried the same by a limit.
        tally.note(f"no {kind} disk: nothing may be mounted here; room was limited by RLIMIT_FSIZE instead")
        return
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert said, done.stderr
    assert all(word in line.lower() for line in said), said
    # With room again, the same command has come to the same bits as a run that never lacked it.
    assert ("SAME BITS" in done.stdout) == (kind == "full")
    tally.kept("small disks, full or read-only")
