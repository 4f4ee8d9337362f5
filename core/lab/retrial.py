"""Tries every promise again: runs the tests that try to break them, and keeps what they count."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from core.lab.errors import VhatError
from core.lab.promises import PROMISES
from core.lab.registry import root
from core.lab.staging import write_whole
from core.lab.trust import VARIABLE, Standing, standings, stored_trials


def retry_promises(folder: Path) -> tuple[tuple[Standing, ...], bool]:
    """Run every test that tries a promise, keep what they count in `folder`, and say how the promises stand.

    Returns:
        The standings, and whether all tests passed.

    Raises:
        VhatError: without pytest or the tests, or if they cannot be run to their end.
    """
    tests = root() / "tests"
    if importlib.util.find_spec("pytest") is None or importlib.util.find_spec("hypothesis") is None:
        raise VhatError(
            "vhat doctor --full reruns the tests of the promises, which need the development install: "
            "make test once, or pip install -e '.[dev]'"
        )
    if not tests.is_dir():
        raise VhatError(
            f"vhat doctor --full reruns the tests of the promises, and there is no folder {tests}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / ".begun", b"")
        begun = (folder / ".begun").stat().st_mtime
        (folder / ".begun").unlink()
    except OSError as error:
        raise VhatError(f"cannot write to {folder}: {error.strerror}; choose another --out") from error
    files = dict.fromkeys(t.partition("::")[0] for p in PROMISES for t in p.tests)
    there = [name for name in files if (root() / name).exists()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "trust", *there]
    if importlib.util.find_spec("xdist") is not None:
        command += ["-n", "auto", "--dist", "worksteal"]
    code = subprocess.run(
        command, cwd=root(), env={**os.environ, VARIABLE: str(folder.resolve())}, check=False
    ).returncode
    if code not in (0, 1):
        raise VhatError(f"the tests of the promises could not be run to their end (pytest says {code})")
    # Figures of tests that are no more.
    for path in folder.glob("*.json"):
        if path.stat().st_mtime < begun:
            path.unlink()
    return standings(stored_trials(folder)[0]), code == 0


def verdict_on(found: Iterable[Standing], *, passed: bool) -> None:
    """One line for promises that are broken.

    Raises:
        VhatError: naming them.
    """
    broken = [s for s in found if s.state == "broken"]
    if broken:
        tests = [t for s in broken for t in s.failed]
        raise VhatError(
            f"broken: {', '.join(s.promise.name for s in broken)} ({len(tests)} tests, first {tests[0]}); "
            "run that test alone to see how"
        )
    if not passed:
        raise VhatError("a test failed without figures; see the lines of pytest above")
