"""Stored results from Python: they are those of the run, and what is missing names its command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.lab import results
from core.lab.engines import InProcess
from core.lab.errors import NotComplete, VhatError
from core.lab.progress import Quiet
from core.lab.results import RESULTS, load, run_command
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from core.lab.study import Results
from tests.lab import bowls

PLAN = bowls.STUDY.plan("tiny")


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(results, "find", {"tiny-bowl": bowls.REGISTERED}.__getitem__)
    monkeypatch.chdir(tmp_path)


def ran(folder: Path, seeds: int | None = None) -> Path:
    store = Store(folder / RESULTS)
    run_jobs([job_of(bowls.REGISTERED, PLAN.with_seeds(seeds), store)], InProcess(), 1, Quiet())
    store.close()
    return folder


def test_what_is_asked_for_twice_is_made_once() -> None:
    made: list[str] = []

    def label(of: Results, word: str, *, times: int = 1) -> str:
        made.append(word)
        return f"{of.plan.name} {word * times}"

    first, second = Results(PLAN, {}), Results(PLAN, {})
    assert first.once(label, "a") == first.once(label, "a") == "tiny a"
    assert first.once(label, "a", times=2) == "tiny aa"
    assert first.once(label, "b") == "tiny b"
    assert made == ["a", "a", "b"]
    assert second.once(label, "b") == "tiny b"
    assert made == ["a", "a", "b", "b"]
    assert first == second


def test_what_is_loaded_is_what_was_run(tmp_path: Path) -> None:
    folder = ran(tmp_path / "out")
    before = (folder / RESULTS).read_bytes()
    found = load("tiny-bowl", "tiny")
    assert found.plan == PLAN
    sweep, stored = found.sweep("sweep"), {}
    store = Store(folder / RESULTS, reading=True)
    for shard in store.shards("tiny-bowl"):
        if shard.spec.get("stage") == "report" and shard.spec["regime"] == "loud":
            stored[shard.spec["first_seed"]] = store.get(shard.study, shard.spec, shard.code)
    store.close()
    # Rows of SGD come before those of Adam, in each shard of two seeds.
    losses = np.concatenate([p["curves:loss"][:2] for p in map(stored.get, sorted(stored)) if p is not None])
    assert np.array_equal(sweep.run("loud", "SGD").curves["loss"], losses)
    assert (folder / RESULTS).read_bytes() == before
    assert [p.name for p in folder.iterdir()] == [RESULTS]


def test_another_number_of_seeds_is_another_plan(tmp_path: Path) -> None:
    ran(tmp_path / "out")
    with pytest.raises(NotComplete, match=r"tiny plan .*: vhat run tiny-bowl --tiny --seeds 8$"):
        load("tiny-bowl", "tiny", seeds=8)
    ran(tmp_path / "out", seeds=8)
    assert len(load("tiny-bowl", "tiny", seeds=8).sweep("sweep").values("loud", "Adam")) == 8


def test_what_is_not_complete_names_the_command_that_makes_it_so(tmp_path: Path) -> None:
    odd = tmp_path / "my results"
    with pytest.raises(
        NotComplete, match=r"there is no folder .*: vhat run tiny-bowl --out '.*/my results'$"
    ):
        load("tiny-bowl", out=odd)
    odd.mkdir()
    with pytest.raises(NotComplete, match="there are no results in"):
        load("tiny-bowl", out=str(odd))
    ran(odd)
    store = Store(odd / RESULTS)
    store.forget_rows([store.shards("tiny-bowl")[3].address])
    store.close()
    with pytest.raises(NotComplete, match="no complete results of its tiny plan"):
        load("tiny-bowl", "tiny", odd)
    with pytest.raises(VhatError, match="unknown plan"):
        load("tiny-bowl", "tinny", odd)


def test_the_command_says_what_differs_from_its_defaults() -> None:
    assert run_command(bowls.STUDY, bowls.STUDY.plan("quick"), Path("out")) == "vhat run tiny-bowl"
    asked = run_command(bowls.STUDY, PLAN.with_seeds(9), Path("a b"), "cuda")
    assert asked == "vhat run tiny-bowl --tiny --seeds 9 --device cuda --out 'a b'"


def test_a_damaged_row_is_not_taken_for_a_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ran(tmp_path / "out")
    store = Store(folder / RESULTS)
    store._db.execute(
        "UPDATE shards SET seconds = seconds + 1 WHERE address = (SELECT min(address) FROM shards)"
    )
    store.close()
    with pytest.raises(NotComplete, match="vhat run tiny-bowl --tiny"):
        load("tiny-bowl", "tiny")
    assert "damaged" in capsys.readouterr().err
