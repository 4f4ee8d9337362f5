"""For tests of commands: the tiny bowl in place of all studies, and folders to run in."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.lab import commands, looks
from core.lab.errors import VhatError, nearest
from core.lab.registry import Registered
from tests.cli import bad_files
from tests.lab import bowls


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def only_the_tiny_bowl(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other study is there: what other folders hold does not matter here."""

    def find(name: str) -> Registered:
        if name != "tiny-bowl":
            raise VhatError(nearest(name, ["tiny-bowl"], kind="study"))
        return bowls.REGISTERED

    monkeypatch.setattr(commands, "find", find)
    monkeypatch.setattr(commands, "survey", lambda: ({"tiny-bowl": bowls.REGISTERED}, ()))
    monkeypatch.delenv("VHAT_DEBUG", raising=False)


@pytest.fixture
def bad_folder(only_the_tiny_bowl: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands run in: it holds files that are not what they should be."""
    bad_files.write(tmp_path)
    monkeypatch.setenv("VHAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    # Its answer takes seconds, and has nothing to do with what was typed.
    monkeypatch.setattr(looks, "_same_bits", lambda device: looks.Check("same bits", "fine", "as before"))
    return tmp_path
