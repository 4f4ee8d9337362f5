"""`vhat doctor`: what is wrong with a machine or its results is named, and looking changes nothing."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from core.cli import main
from core.lab import looks, retrial
from core.lab.commands import RESULTS
from core.lab.promises import PROMISES
from core.lab.store import Store
from core.lab.trust import FOLDER, VARIABLE, Count, Trial, stored_trials
from tests.lab.filled_store import fill

SAME_BITS = looks._same_bits


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process takes seconds to start: one test does."""
    monkeypatch.setattr(looks, "_same_bits", lambda device: looks.Check("same bits", "fine", "as before"))
    monkeypatch.delenv("VHAT_DEBUG", raising=False)


def states(out: Path) -> dict[str, str]:
    return {c.what: c.state for c in looks.look_around(out / RESULTS, "cpu")}


def said(out: Path, what: str) -> looks.Check:
    return next(c for c in looks.look_around(out / RESULTS, "cpu") if c.what == what)


def damage(path: Path) -> None:
    db = sqlite3.connect(path)
    address = db.execute("SELECT address FROM shards LIMIT 1").fetchone()[0]
    db.execute("UPDATE shards SET seconds = 2.5 WHERE address = ?", (address,))
    db.commit()
    db.close()


def test_a_sound_machine_is_told_so_and_nothing_is_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / RESULTS)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert main(["doctor", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "12 rows" in shown
    assert "every digest fits" in shown
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert not any(state == "wrong" for state in states(tmp_path).values())


def test_a_folder_that_is_not_there_yet_is_fine(tmp_path: Path) -> None:
    found = states(tmp_path / "new" / "out")
    assert (found["folder"], found["store"], found["files"]) == ("fine", "note", "fine")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_row_is_wrong_and_stays_for_the_next_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / RESULTS)
    damage(tmp_path / RESULTS)
    before = (tmp_path / RESULTS).read_bytes()
    assert main(["doctor", "--out", str(tmp_path)]) == 2
    assert "1 of 12 rows are damaged; vhat run computes them again" in capsys.readouterr().err
    assert (tmp_path / RESULTS).read_bytes() == before


def test_a_store_in_use_is_read(tmp_path: Path) -> None:
    fill(tmp_path / RESULTS)
    store = Store(tmp_path / RESULTS)
    assert states(tmp_path)["store"] == "fine"
    store.close()
    assert [p.name for p in tmp_path.iterdir()] == [RESULTS]


def test_files_that_hold_no_figures_are_named(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "odd.json").write_text("[")
    found = said(tmp_path, "files")
    assert found.state == "note"
    assert "skipped odd.json" in found.said


def test_little_room_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, state in ((10 * 2**20, "wrong"), (500 * 2**20, "note"), (2**40, "fine")):
        monkeypatch.setattr(
            looks.shutil, "disk_usage", lambda _, free=free: type("Usage", (), {"free": free})()
        )
        assert said(tmp_path, "folder").state == state


def test_versions_are_compared_with_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(tmp_path, "versions").state == "fine"
    installed = looks._installed
    monkeypatch.setattr(looks, "_installed", lambda n: "1.0" if n == "scipy" else installed(n))
    other = said(tmp_path, "versions")
    assert other.state == "note"
    assert "scipy 1.0 (lock: " in other.said
    monkeypatch.setattr(looks, "_installed", lambda n: "" if n == "scipy" else installed(n))
    assert said(tmp_path, "versions").state == "wrong"
    monkeypatch.setattr(looks, "_locked", dict)
    assert said(tmp_path, "versions").state == "note"


def test_extras_that_are_absent_are_named_with_what_they_lack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = looks._installed
    monkeypatch.setattr(looks, "_installed", lambda n: "" if n == "pytest" else installed(n))
    assert "dev (without pytest)" in said(tmp_path, "extras").said


def test_the_same_bits_twice_and_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SAME_BITS("cpu")
    assert found.state == "fine"
    assert looks.small_sweep("cpu")[:8] in found.said
    digests = iter("abc")
    monkeypatch.setattr(looks, "small_sweep", lambda device: next(digests))

    class Executor:
        def __enter__(self) -> Executor:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def submit(self, *_: object) -> Any:
            return type("Future", (), {"result": lambda self: "z"})()

    monkeypatch.setattr(looks, "one_process_a_shard", Executor)
    assert SAME_BITS("cpu").state == "wrong"


def only(name: str, *tests: str) -> tuple[Any, ...]:
    return tuple(dataclasses.replace(p, tests=tests) for p in PROMISES if p.name == name)


def test_full_reruns_the_tests_and_keeps_their_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(retrial, "PROMISES", only("memory", "tests/crash/test_two_processes.py::x"))
    run = subprocess.run

    def narrowed(command: list[str], **more: Any) -> subprocess.CompletedProcess[bytes]:
        assert command[-1] != "tests"
        assert "trust" in command
        # Without the workers of pytest-xdist, which take longer to start than this one test.
        alone = command[: command.index("-n")] if "-n" in command else command
        return run([*alone, "-k", "names"], **more)

    monkeypatch.setattr(retrial.subprocess, "run", narrowed)
    stale = Trial("damage", "tests/gone.py::x", True, 1.0).save(tmp_path / FOLDER)
    os.utime(stale, (1e9, 1e9))
    assert main(["doctor", "--full", "--out", str(tmp_path)]) == 0
    ((found,), problems) = stored_trials(tmp_path / FOLDER)
    assert problems == ()
    assert found.test == "tests/crash/test_two_processes.py::test_names_tell_processes_apart"
    assert "two-processes: TRIED IN PART" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("code", "kept", "line"),
    [(1, False, "broken: kill"), (1, True, "a test failed"), (3, True, "to their end")],
)
def test_full_fails_when_a_promise_is_broken(
    code: int,
    kept: bool,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def ran(command: list[str], *, env: dict[str, str], **_: object) -> subprocess.CompletedProcess[bytes]:
        (least,) = (promise.least for promise in PROMISES if promise.name == "kill")
        counts = tuple(Count(what, goal, goal if kept else goal - 1) for what, goal in least.items())
        Trial("kill", "tests/a.py::b", kept, 1.0, counts).save(Path(env[VARIABLE]))
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(retrial.subprocess, "run", ran)
    assert main(["doctor", "--full", "--out", str(tmp_path)]) == 2
    assert line in capsys.readouterr().err
    # What was stored is said again by the quick look.
    assert main(["doctor", "--out", str(tmp_path)]) == (0 if kept else 2)
    assert "kill: " + ("HOLDS" if kept else "BROKEN") in capsys.readouterr().out
