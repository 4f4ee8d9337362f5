"""The README and the pages of docs/, as what can be tried: blocks of code, commands, links."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import runpy
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro

from core.cli import parse
from tests.script_modules import script_module

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"(?:<!-- (\S+) -->\n)?```(\w*)\n(.*?)```", flags=re.S)


@dataclass(frozen=True)
class CodeBlock:
    """A fenced block: the file that it quotes (a comment above names it) or "", its language, its text."""

    quotes: str
    language: str
    text: str


def blocks(page: Path, language: str | None = None) -> list[CodeBlock]:
    """The blocks of a page, in order, of one language or of all."""
    found = [CodeBlock(*match) for match in _BLOCK.findall(page.read_text("utf-8"))]
    return [b for b in found if language in (None, b.language)]


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _BLOCK.sub("", page.read_text("utf-8"))


def links(page: Path) -> list[str]:
    """Targets that lie in this repository."""
    return [t.partition("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if "://" not in t]


def run_python(page: Path, folder: Path) -> dict[str, object]:
    """Run the Python blocks of a page, those that quote no file, as one script; what it leaves by name."""
    script = folder / f"{page.stem}_page.py"
    script.write_text("\n".join(b.text for b in blocks(page, "python") if not b.quotes), "utf-8")
    return runpy.run_path(str(script), run_name="__main__")


def commands(page: Path) -> Iterator[str]:
    """What a reader would type: the lines of sh blocks, and what stands in the prose as code."""
    for block in blocks(page, "sh"):
        yield from (shlex.join(words) for line in block.text.splitlines() if (words := _words(line)))
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        if re.match(r"(vhat|make|python3? scripts/|pip install) ", f"{code} "):
            yield code


def _words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def read(command: str) -> Callable[[], None] | None:
    """Read a command line as its program would, without running it; what vhat would call, if it is vhat's.

    Raises:
        AssertionError: if the program, its options, target or file are not there.
    """
    program, *words = _words(command)
    if program == "vhat":
        return _vhat(words)
    if program in ("python", "python3"):
        _script(words)
    elif program == "make":
        _make(words)
    elif program == "pip":
        extras = [e for group in re.findall(r"\[([\w,]+)\]", command) for e in group.split(",")]
        text = (ROOT / "pyproject.toml").read_text("utf-8")
        assert all(re.search(rf"^{extra} = \[", text, flags=re.M) for extra in extras), command
    else:
        raise AssertionError(f"nobody knows how to try {command!r}")
    return None


def _parsed(parser: Callable[[], Callable[[], None]], command: str) -> Callable[[], None] | None:
    """What a line asks for; None where it asks for help."""
    code: object = None
    try:
        return parser()
    except SystemExit as stop:
        code = stop.code
    assert code in (0, None), command
    return None


def _vhat(words: list[str]) -> Callable[[], None] | None:
    # In prose a command is named without what it needs.
    for tried in [words, [*words, "--help"]] if len(words) < 2 else [words]:
        with contextlib.suppress(AssertionError):
            return _parsed(lambda tried=tried: parse(tried), "")
    raise AssertionError(f"vhat {' '.join(words)}")


def _script(words: list[str]) -> None:
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1].partition(".")[0]), words
        return
    assert (ROOT / words[0]).is_file(), words[0]
    script = script_module(ROOT / words[0])
    asked = getattr(script, "Args", None) or script.Game
    _parsed(lambda: tyro.cli(asked, args=words[1:]), f"python {' '.join(words)}")


def _make(words: list[str]) -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    for word in words:
        name, assigned, _ = word.partition("=")
        pattern = rf"^{name} \?=" if assigned else rf"^{name}:"
        assert re.search(pattern, text, flags=re.M), f"make {word}"
