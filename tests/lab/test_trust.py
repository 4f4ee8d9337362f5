"""Promises and their figures: what is counted is what stands, and nothing stands without figures."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.lab.errors import VhatError
from core.lab.promises import EVERY_STUDY, PROMISES, Promise, promise_of
from core.lab.registry import root, studies
from core.lab.report import build_report
from core.lab.trust import (
    VARIABLE,
    Count,
    Measure,
    Standing,
    Trial,
    code_version,
    standings,
    stored_trials,
    trust_text,
    versions_here,
)
from tests.tally import GO_ON, Tally, forget_the_gone, tried

OTHER_KILLS = tuple(
    Count(what, int(least), int(least))
    for promise in PROMISES
    if promise.name == "kill"
    for what, least in promise.least.items()
    if what != "kill points"
)


def trial(promise: str = "kill", test: str = "tests/a.py::b", **changes: object) -> Trial:
    plain = Trial(
        promise,
        test,
        True,
        1.0,
        (Count("kill points", 150, 150), *OTHER_KILLS),
        date="2026-02-03",
        versions={"code": code_version(), "x": "1"},
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def by_name(name: str) -> Promise:
    return next(p for p in PROMISES if p.name == name)


def standing(*trials: Trial) -> Standing:
    return next(s for s in standings(trials) if s.promise.name == "kill")


TEXT = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
COUNTS = st.tuples(TEXT, st.integers(0, 2**40), st.integers(0, 2**40)).map(
    lambda x: Count(x[0], max(x[1:]), min(x[1:]))
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TRIALS = st.builds(
    Trial,
    st.sampled_from([p.name for p in PROMISES]),
    TEXT,
    st.booleans(),
    st.floats(0, 1e6),
    st.lists(COUNTS, max_size=3).map(tuple),
    st.lists(st.builds(Measure, TEXT, FINITE, FINITE, TEXT), max_size=2).map(tuple),
    st.lists(TEXT, max_size=2).map(tuple),
    st.just("2026-01-01"),
    st.dictionaries(TEXT, TEXT, max_size=2),
)


@given(st.lists(TRIALS, max_size=4, unique_by=lambda t: t.file))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, trials: list[Trial]) -> None:
    folder = tmp_path_factory.mktemp("trust")
    for own in trials:
        own.save(folder)
        own.save(folder)
    found, problems = stored_trials(folder)
    assert problems == ()
    assert sorted(found, key=lambda t: t.file) == sorted(trials, key=lambda t: t.file)
    assert len(list(folder.iterdir())) == len(trials)
    stands = standings(found)
    assert [s.promise for s in stands] == list(PROMISES)
    for own in stands:
        mine = [t for t in trials if t.promise == own.promise.name]
        assert (own.state == "not tried here") == (not mine)
        assert (own.state == "broken") == any(not t.kept for t in mine)
    assert trust_text(stands)


def test_a_folder_without_figures_is_empty(tmp_path: Path) -> None:
    assert stored_trials(tmp_path / "nowhere") == ((), ())
    assert {s.state for s in standings(())} == {"not tried here"}


def test_counts_of_all_tests_add_up_to_the_goal() -> None:
    first, second = trial(), trial(test="tests/a.py::c")
    assert standing(first).state == "tried in part"
    both = standing(first, second)
    assert both.state == "holds"
    assert both.reached.startswith("300 of 300 kill points; ")
    assert both.date == "2026-02-03"
    assert standing(first, dataclasses.replace(second, date="2026-01-01")).date == "2026-01-01"


@pytest.mark.parametrize(
    "changes",
    [
        {"passed": False},
        {"counts": (Count("kill points", 150, 149),)},
        {"measures": (Measure("growth", 8.1, 8.0, "bytes"),)},
    ],
)
def test_one_failure_breaks_a_promise(changes: dict[str, object]) -> None:
    broken = standing(trial(), trial(test="tests/a.py::c"), trial(test="tests/a.py::d", **changes))
    assert broken.state == "broken"
    assert broken.failed == ("tests/a.py::d",)


def test_versions_that_differ_stand_side_by_side() -> None:
    other = {"code": code_version(), "x": "2", "y": "3"}
    found = standing(trial(), trial(test="tests/a.py::c", versions=other))
    assert found.versions == {"code": code_version(), "x": "1 and 2", "y": "3"}


@pytest.mark.parametrize("versions", [{}, {"code": "older"}])
def test_figures_of_other_code_do_not_hold(versions: dict[str, str]) -> None:
    """Nor do they take away what is broken or too little."""
    old = trial(test="tests/a.py::c", versions=versions)
    assert standing(trial(), old).state == "measured on other code"
    assert standing(old).state == "tried in part"
    assert standing(trial(), dataclasses.replace(old, passed=False)).state == "broken"


def test_every_study_is_as_many_as_there_are() -> None:
    counts = {what: len(studies()) for what in by_name("same-bits").least}
    assert set(by_name("same-bits").least.values()) == {EVERY_STUDY}

    def state(counts: dict[str, int]) -> str:
        own = trial("same-bits", counts=tuple(Count(w, n, n) for w, n in counts.items()))
        return next(s.state for s in standings([own]) if s.promise.name == "same-bits")

    assert state(counts) == "holds"
    for what, number in counts.items():
        assert state({**counts, what: number - 1}) == "tried in part"
        assert state({w: n for w, n in counts.items() if w != what}) == "tried in part"


def test_no_promise_holds_by_a_test_that_counts_nothing_it_asks_for() -> None:
    for promise in PROMISES:
        assert promise.least, promise.name
        own = trial(promise.name, counts=(Count("something", 10**6, 10**6),))
        assert next(s.state for s in standings([own]) if s.promise == promise) == "tried in part"


def test_a_terminal_is_told_when_and_on_what_code_it_was_measured() -> None:
    (line,) = [x for x in trust_text(standings([trial()])).splitlines() if "measured" in x]
    assert line.strip() == f"measured 2026-02-03: code {code_version()}, x 1"
    old = trust_text(standings([trial(versions={"code": "older"})]))
    assert "measured 2026-02-03: code older (other code than this)" in old


def test_figures_of_tests_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    here = "tests/lab/test_trust.py"
    kept = trial(test=f"{here}::kept[a?b]")
    gone = trial(test=f"{here}::gone")
    elsewhere = trial(test="tests/lab/test_stats.py::not_asked_for")
    no_file = trial(test="tests/lab/test_no_more.py::gone")
    for own in (kept, gone, elsewhere, no_file):
        own.save(tmp_path)
    forget_the_gone(tmp_path, [f"{here}::kept[a\0b]", f"{here}::new"])
    assert {t.test for t in stored_trials(tmp_path)[0]} == {kept.test, elsewhere.test}


def test_a_soak_goes_on_with_what_was_not_kept_on_this_code_by_these_tests(tmp_path: Path) -> None:
    tests, folder = tmp_path / "tests", tmp_path / "trust"
    tests.mkdir()
    (tests / "test_a.py").write_text("", "utf-8")
    os.utime(tests / "test_a.py", (1e9, 1e9))
    here = versions_here()
    broken = Count("kill points", 9, 8)
    for name, changes in {
        "kept": {},
        "failed": {"passed": False},
        "broken": {"counts": (broken,)},
        "older": {"versions": {**here, "code": "older"}},
        "other": {"versions": {**here, "torch": "0"}},
    }.items():
        trial(test=f"tests/a.py::{name}", **{"versions": here, **changes}).save(folder)
    assert tried(folder, tests) == {"tests/a.py::kept"}
    (tests / "test_a.py").write_text("# changed", "utf-8")
    os.utime(tests / "test_a.py", (2e10, 2e10))
    assert tried(folder, tests) == frozenset()


def test_a_run_that_goes_on_leaves_out_what_was_tried(tmp_path: Path) -> None:
    own = "tests/test_untrusted.py::test_the_ban_leaves_the_rest_alone"
    environment = {**os.environ, VARIABLE: str(tmp_path), "PYTHONPATH": str(root()), GO_ON: "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", own]
    for said in ("1 passed", "1 deselected"):
        done = subprocess.run(
            command, cwd=root(), env=environment, capture_output=True, text=True, check=False
        )
        assert said in done.stdout


def test_the_tests_of_the_promises_exist_and_know_their_promise() -> None:
    for promise in PROMISES:
        assert promise.tests
        for test in promise.tests:
            path, _, name = test.partition("::")
            assert (root() / path).exists(), test
            assert not name or f"def {name}(" in (root() / path).read_text("utf-8")
            assert promise_of(f"{test}::test_x" if not name else test) is promise
    assert promise_of("tests/lab/test_trust.py::test_x") is None
    assert len({p.name for p in PROMISES}) == len(PROMISES)


def test_a_test_that_counts_nothing_counts_as_itself() -> None:
    tally = Tally()
    found = tally.trial("tests/cli/test_bad_command_lines.py::test_vhat[x\0y]", passed=True)
    assert found is not None
    assert found.counts == (Count("cases", 1, 1),)
    assert found.test == "tests/cli/test_bad_command_lines.py::test_vhat[x?y]"
    failed = tally.trial("tests/cli/test_bad_command_lines.py::test_vhat[x]", passed=False)
    assert failed is not None
    assert failed.counts == (Count("cases", 1, 0),)
    assert tally.trial("tests/lab/test_trust.py::test_x", passed=True) is None


def test_a_run_writes_figures_where_it_is_told_to(tmp_path: Path) -> None:
    own = "tests/test_untrusted.py::test_the_ban_leaves_the_rest_alone"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", own],
        cwd=root(),
        env={**os.environ, VARIABLE: str(tmp_path / "trust")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    ((found,), problems) = stored_trials(tmp_path / "trust")
    assert problems == ()
    assert (found.promise, found.test, found.passed) == ("untrusted", own, True)
    assert found.versions.keys() == versions_here().keys()


def test_figures_that_are_changed_are_no_figures(tmp_path: Path) -> None:
    path = trial(passed=False).save(tmp_path)
    text = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**text, "passed": True}), "utf-8")
    found, (problem,) = stored_trials(tmp_path)
    assert found == ()
    assert problem.endswith("its digest does not fit")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VhatError, match=r"cannot write .*kill-"):
        trial().save(tmp_path / "file")


def test_the_report_shows_every_promise(tmp_path: Path) -> None:
    versions = {"code": code_version(), "torch": "2.13.0"}
    trials = [
        trial(counts=(Count("kill points", 604, 604), *OTHER_KILLS), versions=versions),
        trial(
            "memory",
            "m",
            counts=tuple(Count(w, int(n), int(n)) for w, n in by_name("memory").least.items()),
            measures=(Measure("growth", 1.5, 8.0, "bytes a step"),),
            versions=versions,
        ),
        trial("damage", "d", passed=False, counts=(Count("damages", 7, 6),), versions={"code": "older"}),
        trial("bad-input", "i", counts=(Count("cases", 3, 3),), versions=versions, notes=("a note",)),
    ]
    index, problems = build_report([], tmp_path / "report", (), standings(trials))
    assert problems == ()
    assert 'href="trust.html"' in index.read_text("utf-8")
    page = (index.parent / "trust.html").read_text("utf-8").replace("&#39;", "'")
    for promise in PROMISES:
        for text in (promise.text, promise.tried, promise.goal):
            for odd, part in enumerate(text.split("`")):
                assert (f"<code>{part}</code>" if odd % 2 else part) in page
    for text in (
        "604 of 604 kill points",
        "growth: 1.5 bytes a step (limit 8)",
        "6 of 7 damages",
        "broken by <code>d</code>",
        "code older (other code than this)",
        f"Where nothing else is said: code {code_version()}, torch 2.13.0.",
        "a note",
        "2 hold, 1 broken, 1 tried in part, 5 not tried here",
    ):
        assert text in page, text
    again, _ = build_report([], tmp_path / "again", (), standings(trials[::-1]))
    assert (again.parent / "trust.html").read_text("utf-8").replace("&#39;", "'") == page
    without, _ = build_report([], tmp_path / "without")
    assert not (without.parent / "trust.html").exists()
