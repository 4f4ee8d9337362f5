"""What tests count while they try to break a promise; written where VHAT_TRUST names a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.lab.promises import promise_of
from core.lab.registry import root
from core.lab.trust import VARIABLE, Count, Measure, Trial, stored_trials, versions_here

GO_ON = "VHAT_TRUST_GO_ON"
"""Where it is set, a test whose figures are of this very code, and kept, is not tried again: a soak that was
stopped goes on."""
_LONGEST = 200


def _shown(test: str) -> str:
    """A test's name as its figures carry it: parameters may be bad input."""
    return "".join(c if c.isprintable() else "?" for c in test)[:_LONGEST]


class Tally:
    """The counts of the test that runs now."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Another test starts."""
        self.counts: dict[str, list[int]] = {}
        self.measures: list[Measure] = []
        self.notes: list[str] = []
        self.start = time.perf_counter()

    def trial(self, test: str, *, passed: bool) -> Trial | None:
        """The figures of a test, if it tries a promise."""
        promise = promise_of(test)
        if promise is None:
            return None
        counts = self.counts or ({} if self.measures or self.notes else {promise.each: [1, int(passed)]})
        return Trial(
            promise.name,
            _shown(test),
            passed,
            round(time.perf_counter() - self.start, 1),
            tuple(Count(what, *numbers) for what, numbers in counts.items()),
            tuple(self.measures),
            tuple(self.notes),
        )


_NOW = Tally()


@contextmanager
def trial(what: str, number: int = 1) -> Iterator[None]:
    """A trial, or several at once: kept unless it raises."""
    numbers = _NOW.counts.setdefault(what, [0, 0])
    numbers[0] += number
    yield
    numbers[1] += number


def kept(what: str, number: int = 1) -> None:
    """Trials that have just been seen to keep the promise."""
    with trial(what, number):
        pass


def measured(what: str, value: float, limit: float, unit: str) -> None:
    """A number that must not pass its limit."""
    _NOW.measures.append(Measure(what, value, limit, unit))


def note(line: str) -> None:
    """What the reader of the figures should know."""
    _NOW.notes.append(line)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test begins."""
    _NOW.begin()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write the figures of a test that has come to its end, or failed on the way to it."""
    report = yield
    folder = os.environ.get(VARIABLE)
    if folder and (report.when == "call" or report.failed):
        found = _NOW.trial(item.nodeid, passed=report.passed)
        if found is not None:
            found.save(Path(folder))
    return report


def forget_the_gone(folder: Path, collected: Iterable[str]) -> None:
    """Remove figures of tests that are no more: not among those of a file whose tests are all here, or
    of a file that is gone."""
    names = {_shown(test) for test in collected}
    files = {name.partition("::")[0] for name in names}
    for own in stored_trials(folder)[0]:
        file = own.test.partition("::")[0]
        if own.test not in names and (file in files or not (root() / file).exists()):
            (folder / own.file).unlink(missing_ok=True)


def tried(folder: Path, tests: Path) -> frozenset[str]:
    """Tests whose promise was kept on this code and these packages, and none was changed since."""
    changed = max(path.stat().st_mtime for path in tests.rglob("*.py"))
    here = versions_here()
    return frozenset(
        own.test
        for own in stored_trials(folder)[0]
        if own.kept and own.versions == here and (folder / own.file).stat().st_mtime > changed
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what tries a promise; before any test is left out, forget the figures of tests that are gone."""
    for item in items:
        if promise_of(item.nodeid) is not None:
            item.add_marker("trust")
    folder = os.environ.get(VARIABLE)
    whole_files = not any("::" in argument for argument in config.args) and not config.getoption("lf", False)
    if folder and whole_files:
        forget_the_gone(Path(folder), (item.nodeid for item in items))
    if folder and GO_ON in os.environ:
        known = tried(Path(folder), root() / "tests")
        config.hook.pytest_deselected(items=[item for item in items if _shown(item.nodeid) in known])
        items[:] = [item for item in items if _shown(item.nodeid) not in known]
