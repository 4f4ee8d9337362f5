"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_example_of_an_own_problem_runs_and_keeps_its_comparison(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {"sgd", "momentum", "adam"} <= {line.split(" ")[0] for line in done.stdout.splitlines()}
    assert {p.name for p in (tmp_path / "my-comparison").iterdir()} >= {"table.txt", "comparison.svg"}


def test_paths_and_commands_that_are_named_exist() -> None:
    for path in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / path).exists(), path
    for script in set(re.findall(r"python (scripts/\S+\.py)", README)):
        done = subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 0, script
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.M))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE)) <= targets
