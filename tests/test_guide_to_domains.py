"""docs/adding-a-domain.md leads where it says: its blocks are those of the worked example, or run as they
stand."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.cli import main
from core.lab import new_domain, registry
from core.lab.runner import job_of
from core.lab.store import Store
from tests import pages
from tests.pages import ROOT

EXAMPLE = ROOT / "tests" / "example_domain"
GUIDE = ROOT / "docs" / "adding-a-domain.md"
NAME = "identification"


def blocks(language: str) -> list[tuple[str, str]]:
    """Pairs (file it is taken from or "", text)."""
    return [(block.quotes, block.text) for block in pages.blocks(GUIDE, language)]


def forget() -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == NAME]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that stands for the one that holds `core`."""
    for module in (registry, new_domain):
        monkeypatch.setattr(module, "root", lambda: tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    forget()


def follow_the_guide(checkout: Path) -> None:
    """The finished example in place of what `vhat new-domain` wrote, under the guide's name."""
    for source in EXAMPLE.rglob("*.py"):
        target = checkout / NAME / source.relative_to(EXAMPLE)
        target.write_text(source.read_text("utf-8").replace("tests.example_domain", NAME))
    for file in ("noisy_bowl.py", "studies/unequal_scales.py", f"test_{NAME}.py"):
        (checkout / NAME / file).unlink(missing_ok=True)
    forget()


def run(commands: str, capsys: pytest.CaptureFixture[str]) -> str:
    for line in commands.splitlines():
        program, *words = line.split()
        assert program == "vhat"
        in_this_process = ["--workers", "1"] if words[0] == "run" else []
        assert main([*words, *in_this_process]) == 0, line
    return capsys.readouterr().out


def lines(text: str) -> str:
    """The lines that say something, without their indent: a quoted method stands further left than in its
    class."""
    return "\n".join(["", *(line.strip() for line in text.splitlines() if line.strip()), ""])


def test_what_the_guide_quotes_stands_in_the_example() -> None:
    quoted = [(file, text) for file, text in blocks("python") if file]
    assert len(quoted) == 4
    for file, text in quoted:
        assert lines(text) in lines((EXAMPLE / file).read_text("utf-8")), file


def test_every_step_of_the_guide_works(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (_, first), (_, later) = blocks("sh")
    run(first, capsys)
    assert list(registry.studies()) == ["identification-scales"]
    follow_the_guide(checkout)
    (check,) = [text for file, text in blocks("python") if not file]
    done = subprocess.run(
        [sys.executable, "-c", check],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{checkout}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Claim: Adam identifies a system" in run(later, capsys)
    page = Path("out", "report", "studies", "system-identification.html").read_text("utf-8")
    assert 'class="problem"' not in page


def test_the_example_is_found_as_a_package_elsewhere(
    tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((_, text),) = blocks("toml")
    (value,) = tomllib.loads(text)["project"]["entry-points"][registry.ENTRY_POINT_GROUP].values()
    site = tmp_path / "site"
    new_domain.write_domain(NAME, site)
    follow_the_guide(site)
    info = site / "identification-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: identification\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{registry.ENTRY_POINT_GROUP}]\nidentification = {value}\n")
    monkeypatch.syspath_prepend(str(site))
    found = registry.find("system-identification")
    assert found.module == "identification.studies.slow_systems"
    assert found.domain.title == "System identification"


def test_what_the_guide_says_came_out_comes_out(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new_domain.write_domain(NAME)
    follow_the_guide(checkout)
    run("vhat run system-identification", capsys)
    study = registry.find("system-identification").study
    run("vhat show system-identification", capsys)
    store = Store(Path("out", "results.sqlite"))
    verdict = study.judge(job_of(registry.find(study.id), study.plan("quick"), store).results())
    store.close()
    found = {(f.regime, f.text.partition("than ")[2].partition(",")[0]): f for f in verdict.findings}
    assert verdict.label == "conditional"
    fast, slow = found["fast system", "Gradient descent"], found["slow system", "Gradient descent"]
    assert fast.low >= 2
    assert fast.high <= 6
    assert slow.high < 0.01
    assert found["slow system", "Momentum"].outcome == "unclear"
