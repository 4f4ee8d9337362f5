"""A run that is killed at any point goes on to the very same rows, and leaves no stray file."""

from __future__ import annotations

import random
import shutil
import signal
from itertools import count
from pathlib import Path

import pytest

from core.lab.commands import RESULTS
from tests.crash.children import Children, begun, claims, files, rows, sweep, task
from tests.tally import kept as counted
from tests.tally import note

KILLED = -signal.SIGKILL
FATAL = (KILLED, -signal.SIGXFSZ)


def killed_and_resumed(
    children: Children, undisturbed: dict[str, bytes], folder: Path, **point: object
) -> bool:
    """Whether there was such a point; a run that was killed there has gone on to the same bits."""
    (status,) = children.run(task(folder, **point))
    if status not in FATAL:
        assert status == 0, point
        return False
    kept = rows(folder) if (folder / RESULTS).exists() else {}
    assert kept.items() <= undisturbed.items(), point
    before = len(begun(folder))
    # At most the shard in flight is lost.
    assert before - len(kept) in (0, 1), point
    assert children.run(task(folder)) == [0], point
    assert rows(folder) == undisturbed, point
    assert len(begun(folder)) - before == len(undisturbed) - len(kept), point
    assert [p.name for p in folder.iterdir()] == [RESULTS], point
    assert claims(folder) == 0, point
    sweep(folder)
    counted("kill points")
    counted("rows compared", len(undisturbed))
    return True


@pytest.mark.parametrize(
    ("where", "counts"),
    [
        ("statement", (1, 2, 7, 16, 48, 200)),
        ("opcode", (1, 23, 90)),
        ("byte", (1, 4097, 40_000, 61_234)),
        ("field", (1, 33, 170)),
        ("system", (1, 9, 25, 60)),
        ("torn", (2, 40)),
    ],
)
def test_a_killed_run_goes_on_to_the_same_bits(
    where: str, counts: tuple[int, ...], children: Children, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    for number in counts if can_die_at(where, children) else ():
        assert killed_and_resumed(children, undisturbed, tmp_path / "out", where=where, count=number), number


def can_die_at(where: str, children: Children) -> bool:
    """Whether children can be killed there; where they cannot, the reader of the figures is told."""
    if where in ("system", "torn") and not children.at_system_calls:
        note(
            "no kill at sqlite's own system calls: there is no C compiler here; its instructions were counted"
        )
        return False
    return True


@pytest.mark.soak
@pytest.mark.parametrize("where", ["system", "torn"])
def test_every_system_call_that_changes_a_file(
    where: str, children: Children, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """All that come from sqlite; `torn` cuts every fifth write in two."""
    points = 0
    for number in count(1, 5 if where == "torn" else 1) if can_die_at(where, children) else ():
        if not killed_and_resumed(children, undisturbed, tmp_path / "out", where=where, count=number):
            break
        points += 1
        counted("kill points at system calls")
    assert points > 20 or not children.at_system_calls


def test_a_run_that_is_killed_again_and_again_goes_on_each_time(
    children: Children, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    folder, before = tmp_path / "out", set[str]()
    for number in (20, 60, 40, 90, 70):
        assert children.run(task(folder, where="statement", count=number)) == [KILLED]
        kept = rows(folder)
        assert kept.items() <= undisturbed.items()
        assert before <= kept.keys()
        before = set(kept)
        counted("kill points")
    assert children.run(task(folder)) == [0]
    assert rows(folder) == undisturbed


def stored(children: Children, folder: Path) -> Path:
    """A folder with results, to be copied."""
    assert children.run(task(folder)) == [0]
    return folder


def killed_and_written_again(
    children: Children, do: str, source: Path | None, folder: Path, whole: dict[str, bytes], **point: object
) -> bool:
    """Whether there was such a point; after it the same command leaves the same files and no other."""
    if source is not None:
        shutil.copytree(source, folder)
    (status,) = children.run(task(folder, do, **point))
    if status not in FATAL:
        assert status == 0, point
        return False
    # Whatever is visible under its own name is whole.
    # The store is compared by its rows elsewhere; beside it sqlite leaves its log and the log's index.
    visible = {
        n: d
        for n, d in files(folder).items()
        if not n.startswith(RESULTS) and not any(p.startswith(".") for p in Path(n).parts)
    }
    assert {n: whole[n] for n in visible} == visible, point
    assert children.run(task(folder, do)) == [0], point
    assert files(folder).keys() == whole.keys(), point
    assert all(files(folder)[n] == whole[n] for n in whole if n != RESULTS), point
    sweep(folder)
    counted("kill points")
    return True


@pytest.mark.parametrize(("do", "counts"), [("report", (1, 5, 12)), ("cache", (1, 6, 9, 21))])
def test_a_killed_report_or_cache_leaves_nothing_half_written(
    do: str, counts: tuple[int, ...], children: Children, tmp_path: Path
) -> None:
    source = stored(children, tmp_path / "source") if do == "report" else None
    whole_folder = tmp_path / "whole"
    if source is not None:
        shutil.copytree(source, whole_folder)
    assert children.run(task(whole_folder, do)) == [0]
    whole = files(whole_folder)
    for number in counts:
        assert killed_and_written_again(
            children, do, source, tmp_path / "out", whole, where="file", count=number
        ), number


@pytest.mark.soak
def test_every_statement_every_file_every_fsync(
    children: Children, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    points = 0
    for number in count(1):
        if not killed_and_resumed(children, undisturbed, tmp_path / "out", where="statement", count=number):
            break
        points += 1
    assert points > 100
    source = stored(children, tmp_path / "source")
    for do in ("report", "cache"):
        sweep(tmp_path / "out")
        whole_folder = tmp_path / f"whole-{do}"
        if do == "report":
            shutil.copytree(source, whole_folder)
        assert children.run(task(whole_folder, do)) == [0]
        whole = files(whole_folder)
        for where in ("file", "fsync", "system"):
            for number in count(1) if can_die_at(where, children) else ():
                sweep(tmp_path / "out")
                if not killed_and_written_again(
                    children,
                    do,
                    source if do == "report" else None,
                    tmp_path / "out",
                    whole,
                    where=where,
                    count=number,
                ):
                    break


@pytest.mark.soak
@pytest.mark.parametrize(
    ("where", "top", "points"), [("byte", 90_000, 40), ("opcode", 200, 40), ("field", 400, 40)]
)
def test_torn_writes_instructions_and_steps(
    where: str, top: int, points: int, children: Children, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    rng = random.Random(where)
    died = 0
    for number in sorted(rng.sample(range(1, top), points)):
        sweep(tmp_path / "out")
        died += killed_and_resumed(children, undisturbed, tmp_path / "out", where=where, count=number)
    assert died > points // 2


@pytest.mark.soak
def test_random_instants(children: Children, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    rng = random.Random(7)
    died = 0
    for _ in range(80):
        sweep(tmp_path / "out")
        died += killed_and_resumed(
            children, undisturbed, tmp_path / "out", after=rng.uniform(0.0, 0.8), slow=0.03
        )
    assert died > 40
