"""What the README shows of a problem of one's own comes out as it says. What else it shows is tried in
test_docs.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import ROOT, run_python


def test_the_example_of_an_own_problem_runs_and_keeps_its_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_python(ROOT / "README.md", tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert {"sgd", "momentum", "adam"} <= {line.split(" ")[0] for line in lines}
    assert {p.name for p in (tmp_path / "my-comparison").iterdir()} >= {"table.txt", "comparison.svg"}
