"""Nothing untrusted runs: no source file loads code from data, and no name becomes markup or a formula."""

from __future__ import annotations

import csv
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tyro

from core.lab.registry import domains, root
from core.lab.terminal import guarded
from tests import tally
from tests.script_modules import script_module
from tests.untrusted import untrusted


def sources() -> list[Path]:
    """Every file of ours that people run: packages, scripts, and files that new domains are made of."""
    folders = [
        root() / name for name in ("core", "scripts", *(p for _, p in domains() if (root() / p).is_dir()))
    ]
    return sorted({p for folder in folders for p in folder.rglob("*.py")})


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
        "import torch as t\nt.load('x')",
        "import os as o\no.system('x')",
        "from os import path, system as s",
        "import torch.jit as j\nj.load('x')",
        "f = torch.load\nf('x')",
        "import torch\nt = torch\nt.load('x')",
        "map(torch.load, files)",
        "run = os.system",
        "call(eval)",
        "look = [compile]",
        "getattr(torch, 'load')('x')",
        "getattr(os, 'system')",
        "import asyncio\nasyncio.create_subprocess_shell('x')",
        "from asyncio import create_subprocess_shell",
        "subprocess.run('x', **{'shell': True})",
        "more = {'shell': True}\nsubprocess.run('x', **more)",
        "np.load('x', **{'allow_pickle': True})",
        "import runpy",
        "from runpy import run_path",
        "import importlib\nimportlib.import_module('pickle')",
        "from importlib import import_module\nimport_module('os').system('x')",
        "os.execvp('x', [])",
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
        "import numpy as n\nn.load('x', allow_pickle=False)",
        "getattr(torch, 'save')(x, 'x')",
        "from core.lab.agents import load\nload('x')",
        "self.load('x')",
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
