"""Bad input to every command and script: a code other than 0 and one line that says what is wrong, where, and
what to do; no traceback, and nothing computed first."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import tyro

from core.cli import main
from core.lab import retrial
from core.lab.terminal import guarded
from tests.cli.bad_command_lines import SCRIPTS, VHAT
from tests.script_modules import script_module

pytestmark = pytest.mark.usefixtures("bad_folder")

ROOT = Path(__file__).resolve().parents[2]


def ends(action: Callable[[], int], capsys: pytest.CaptureFixture[str], word: str) -> None:
    """The action ends as a person can bear: a usage error of the parser, or one line."""
    capsys.readouterr()
    try:
        code, usage = action(), False
    except SystemExit as stopped:
        code, usage = stopped.code, True
    said = capsys.readouterr()
    assert code == 2, said
    assert "Traceback" not in said.out + said.err
    assert word in said.out + said.err, said
    if not usage:
        lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, said.err
        assert "unexpected" not in lines[0]
        assert said.err.count("\n") == 1, said.err


@pytest.mark.parametrize(
    ("argv", "word"), VHAT, ids=lambda v: " ".join(v)[:60] if isinstance(v, tuple) else ""
)
def test_vhat(argv: tuple[str, ...], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    ends(lambda: main(list(argv)), capsys, word)


@pytest.fixture(scope="module")
def scripts() -> dict[str, ModuleType]:
    """The scripts as modules."""
    names = ("reproduce", "rl", "games", "finance")
    return {name: script_module(ROOT / "scripts" / f"{name}.py") for name in names}


@pytest.mark.parametrize(
    ("name", "argv", "word"), SCRIPTS, ids=lambda v: " ".join(v)[:60] if isinstance(v, tuple) else ""
)
def test_scripts(
    name: str,
    argv: tuple[str, ...],
    word: str,
    scripts: dict[str, ModuleType],
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = scripts[name]

    def action() -> int:
        if name == "games":
            return guarded(tyro.cli(script.Game, args=list(argv)))
        arguments = tyro.cli(script.Args, args=list(argv))
        return guarded(lambda: script.main(arguments))

    ends(action, capsys, word)


@pytest.mark.parametrize("argv", [("list",), ("run", "tiny-bowl", "--tiny", "--workers", "1"), ("doctor",)])
def test_a_closed_pipe_is_no_traceback(
    argv: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reader of what is written has gone, as in `vhat list | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        assert main(list(argv)) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_the_tests_of_the_promises_need_pytest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(retrial.importlib.util, "find_spec", lambda name: None)
    ends(lambda: main(["doctor", "--full", "--out", "empty"]), capsys, "make test")
    assert list(Path("empty").iterdir()) == []
