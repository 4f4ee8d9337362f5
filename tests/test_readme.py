"""What the README shows of a problem of one's own comes out as it says. What else it shows is tried in
test_docs.py; the soak runs all of it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from core.cli import main
from finance.markets import embedded_prices
from tests.pages import ROOT, blocks, run_python


def test_the_example_of_an_own_problem_runs_and_keeps_its_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_python(ROOT / "README.md", tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert {"sgd", "momentum", "adam"} <= {line.split(" ")[0] for line in lines}
    assert {p.name for p in (tmp_path / "my-comparison").iterdir()} >= {"table.txt", "comparison.svg"}


README = ROOT / "README.md"
LINES = [shlex.split(x, comments=True) for b in blocks(README, "sh") for x in b.text.splitlines() if x]
SCRIPTS = [words for words in LINES if words[0] == "python" and "--tickers" not in words]


@pytest.mark.soak
@pytest.mark.parametrize("words", SCRIPTS, ids=" ".join)
def test_its_scripts_run_as_they_stand(words: list[str], tmp_path: Path) -> None:
    """Prices that only a network has are asked of a stub server elsewhere."""
    prices = embedded_prices()
    table = pd.DataFrame(prices.close, index=prices.dates, columns=list(prices.tickers))
    table.to_csv(tmp_path / "prices.csv", index_label="date")
    line = [sys.executable, str(ROOT / words[1]), *words[2:]]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    assert {p.suffix for p in tmp_path.rglob("*")} & {".svg", ".png", ".html"}, done.stdout


@pytest.mark.soak
def test_its_vhat_commands_work_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the tiny plan, where they take one; the problem is that of the page."""
    monkeypatch.chdir(tmp_path)
    run_python(README, tmp_path)
    (tmp_path / "README_page.py").rename(tmp_path / "mine.py")
    asked = [words[1:] for words in LINES if words[0] == "vhat"]
    assert {"list", "plan", "run", "show", "report", "export", "doctor", "clean", "tune"} <= {
        w[0] for w in asked
    }
    for words in asked:
        known = [w for w in words if w != "--full"]
        plan = ["--tiny"] if words[0] in ("plan", "run", "show", "report", "export") else []
        assert main([*known, *plan]) == 0, f"vhat {' '.join(known)}: {capsys.readouterr().err}"
