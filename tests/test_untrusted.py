"""Nothing untrusted runs: no source file loads code from data, and no name becomes markup or a formula."""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tyro

from core.lab.registry import domains, root
from core.lab.terminal import guarded
from tests import tally
from tests.script_modules import script_module

MODULES = (
    "pickle",
    "_pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "jsonpickle",
    "code",
)
"""Whose import is forbidden: they make objects, or run text, from what they read."""
NAMES = {"eval", "exec", "compile", "__import__"}
CALLS = {
    *(f"os.{name}" for name in ("system", "popen", "execv", "execvp", "spawnv", "startfile")),
    *(f"yaml.{name}" for name in ("load", "load_all", "unsafe_load", "full_load")),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "builtins.eval", "builtins.exec"),
    *("pandas.read_pickle", "pd.read_pickle", "torch.jit.load", "torch.hub.load"),
}
NEEDED = {
    "torch.load": ("weights_only", True),
    "numpy.load": ("allow_pickle", False),
    "np.load": ("allow_pickle", False),
}
"""Calls that must say so."""
FORBIDDEN_UNLESS = {"shell": False, "allow_pickle": False, "weights_only": True}
"""Keywords that may have no other value."""


def sources() -> list[Path]:
    """Every file of ours that people run: packages, scripts, and files that new domains are made of."""
    folders = [
        root() / name for name in ("core", "scripts", *(p for _, p in domains() if (root() / p).is_dir()))
    ]
    return sorted({p for folder in folders for p in folder.rglob("*.py")})


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an expression that is nothing else."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (a.name for a in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{a.name}" for a in node.names)


def untrusted(text: str) -> list[str]:
    """What a source text does that it must not."""
    wrong = []
    for node in ast.walk(ast.parse(text)):
        for name in imported(node):
            banned = any(name == m or name.startswith(f"{m}.") for m in MODULES)
            if banned or (isinstance(node, ast.ImportFrom) and name in CALLS | NEEDED.keys()):
                wrong.append(name)
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        if called in NAMES | CALLS:
            wrong.append(called)
        values = {
            k.arg: k.value.value if isinstance(k.value, ast.Constant) else ... for k in node.keywords if k.arg
        }
        wrong += [
            f"{k}={values[k]}"
            for k, only in FORBIDDEN_UNLESS.items()
            if k in values and values[k] is not only
        ]
        keyword, value = NEEDED.get(called, ("", None))
        if keyword and values.get(keyword) is not value:
            wrong.append(called)
    return wrong


def test_no_source_file_runs_what_it_reads() -> None:
    files = sources()
    wrong = {str(p.relative_to(root())): found for p in files if (found := untrusted(p.read_text("utf-8")))}
    assert wrong == {}
    tally.kept("source files", len(files))


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "def f():\n    from pickle import loads",
        "import cloudpickle as c",
        "import marshal, json",
        "eval('1')",
        "exec(text)",
        "compile(text, '', 'exec')",
        "__import__('os')",
        "torch.load('x')",
        "torch.load('x', weights_only=False)",
        "torch.load('x', weights_only=flag)",
        "from torch import load",
        "torch.jit.load('x')",
        "np.load('x')",
        "np.load('x', allow_pickle=True)",
        "numpy.load('x', allow_pickle=flag)",
        "from numpy import load",
        "yaml.load(text)",
        "from yaml import load",
        "subprocess.run('x', shell=True)",
        "run('x', shell=flag)",
        "os.system('x')",
        "from os import system",
        "pd.read_pickle('x')",
    ],
)
def test_the_ban_finds_what_it_bans(text: str) -> None:
    assert untrusted(text)


def test_the_ban_leaves_the_rest_alone() -> None:
    for text in (
        "import re\nre.compile('x')",
        "torch.load('x', weights_only=True)",
        "np.load('x', allow_pickle=False)",
        "subprocess.run(['x'], shell=False)",
        "model.eval()",
        "yaml.safe_load(text)",
    ):
        assert untrusted(text) == []


NAMED = ('<SCRIPT>ALERT("1")</SCRIPT>', "<IMG SRC=X ONERROR=A>", "$\\FRAC{$", "{{7*7}}", "A&B'\">", "$X^2$")


class Tags(HTMLParser):
    """Names of tags and of their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_tickers_are_text_in_the_tearsheet_and_its_figures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    days = np.arange("2019-01-01", "2019-07-01", dtype="datetime64[D]")
    close = 100 * np.exp(np.cumsum(0.01 * rng.normal(size=(len(days), len(NAMED))), axis=0))
    with (tmp_path / "own.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["date", *NAMED])
        rows.writerows([str(d), *map(float, row)] for d, row in zip(days, close, strict=True))
    script = script_module(root() / "scripts" / "finance.py")
    arguments = tyro.cli(
        script.Args,
        args=[
            *("--csv", str(tmp_path / "own.csv"), "--out", str(tmp_path / "sheet")),
            *("--window", "60", "--optimizer", "adam", "--steps", "5", "--seeds", "2"),
        ],
    )
    assert guarded(lambda: script.main(arguments)) == 0
    (page,) = (tmp_path / "sheet").glob("*.html")
    text = page.read_text("utf-8")
    seen = Tags(text)
    assert not {"script", "iframe", "object", "embed"} & seen.tags
    assert not any(name.startswith("on") for name in seen.attributes)
    assert all(name in seen.text for name in NAMED)
    tally.kept("names with markup", len(NAMED))
