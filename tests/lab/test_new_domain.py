"""`vhat new-domain`: what it writes works as it is, is found, runs, and has its page in the report."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.cli import main
from core.lab import new_domain, registry
from core.lab.errors import VhatError

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("acoustics", "tide_tables", "z" + 23 * "x")
"""Before core in the alphabet, after it, and the longest."""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that stands for the one that holds `core`."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    before = set(sys.modules)
    for module in (registry, new_domain):
        monkeypatch.setattr(module, "root", lambda: folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield folder
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in NAMES:
            del sys.modules[name]
    importlib.invalidate_caches()


def test_it_is_found_runs_and_has_its_page_without_touching_anything_else(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new-domain", "tide_tables"]) == 0
    assert "vhat run tide-tables-scales --tiny" in capsys.readouterr().out
    assert [p.name for p in checkout.iterdir()] == ["tide_tables"]
    found = registry.studies()
    assert list(found) == ["tide-tables-scales"]
    assert found["tide-tables-scales"].domain.title == "Tide tables"
    assert main(["run", "tide-tables-scales", "--tiny", "--workers", "1"]) == 0
    assert "tide_tables/tide-tables-scales: " in capsys.readouterr().out
    assert main(["report", "--tiny"]) == 0
    report = Path("out", "report")
    assert "Tide tables" in (report / "index.html").read_text("utf-8")
    page = (report / "studies" / "tide-tables-scales.html").read_text("utf-8")
    assert 'class="problem"' not in page
    assert (report / "figures" / "tide-tables-scales" / "curves.svg").stat().st_size > 1000


def test_its_own_test_passes(tmp_path: Path) -> None:
    folder = new_domain.write_domain("tide_tables", tmp_path)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--import-mode=importlib",
            str(folder),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_what_it_writes_is_clean_under_every_name(tmp_path: Path) -> None:
    for name in NAMES:
        new_domain.write_domain(name, tmp_path)
    config = ("--no-cache", "--config", str(ROOT / "pyproject.toml"), ".")
    for command in (("check", *config), ("format", "--check", *config)):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_elsewhere_it_says_how_it_is_found_and_is(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    assert main(["new-domain", "tide_tables", "--into", str(site)]) == 0
    group, value = (line.strip() for line in capsys.readouterr().out.splitlines()[-2:])
    assert group == '[project.entry-points."vhat.domains"]'
    info = site / "tides-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tides\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[vhat.domains]\n{value.replace(chr(34), '')}\n")
    monkeypatch.syspath_prepend(str(site))
    assert list(registry.studies()) == ["tide-tables-scales"]


@pytest.mark.parametrize(
    "name", ["", "A", "1a", "a-b", "a b", "_a", "a__b", "a.b", "../a", "class", 25 * "a", "é"]
)
def test_a_name_that_is_no_packages_is_one_line(name: str, checkout: Path) -> None:
    with pytest.raises(VhatError, match=r"cannot name a domain: give .* such as tide_tables"):
        new_domain.write_domain(name)
    assert not any(checkout.iterdir())


@pytest.mark.parametrize("name", ["json", "torch", "core", "numpy"])
def test_a_name_that_hides_a_module_is_one_line(name: str, checkout: Path) -> None:
    with pytest.raises(
        VhatError, match=f"'{name}' would hide the module of that name .* choose another name"
    ):
        new_domain.write_domain(name)
    assert not any(checkout.iterdir())


def test_nothing_that_exists_is_written_over(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "tide_tables").mkdir()
    (checkout / "tide_tables" / "mine.py").write_text("X = 1\n")
    assert main(["new-domain", "tide_tables"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert "tide_tables is already there; choose another name" in captured.err
    assert [p.name for p in (checkout / "tide_tables").iterdir()] == ["mine.py"]


def test_a_place_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        VhatError, match=r"cannot write .*file/tide_tables: .*; choose another place with --into"
    ):
        new_domain.write_domain("tide_tables", tmp_path / "file")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
