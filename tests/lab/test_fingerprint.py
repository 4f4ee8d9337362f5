"""The digest of code: what moves numbers changes it, and nothing else does."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.lab import fingerprint
from core.lab.fingerprint import code_digest, package_versions
from core.lab.study import Study
from core.studies import canyon
from tests.lab import bowls

ROOT = Path(__file__).resolve().parents[2]
MODULE = "core.studies.canyon"


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, tuple[str, str]]]:
    """Replacements by relative path, applied when a file is read: nothing on disk is touched."""
    edits: dict[str, tuple[str, str]] = {}
    read_text = Path.read_text

    def edited_text(path: Path, *args: str, **kwargs: str) -> str:
        text = read_text(path, *args, **kwargs)
        for name, (old, new) in edits.items():
            if path == ROOT / name:
                assert old in text, f"{name} no longer holds {old!r}"
                text = text.replace(old, new)
        return text

    monkeypatch.setattr(Path, "read_text", edited_text)
    forget()
    yield edits
    monkeypatch.undo()
    forget()


def forget() -> None:
    fingerprint._file_digest.cache_clear()
    fingerprint._imported.cache_clear()


def digest(study: Study = canyon.STUDY, module: str = MODULE) -> str:
    forget()
    return code_digest(study, module)


BOWL = "tests/lab/bowls.py"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import torch\n", "# a comment\nimport   torch\n\n"),
        ('"""A measurement: normals', '"""Other words: normals'),
        ("    return Figure()", "    return Figure(dpi=300)"),
        ('"It is larger."', '"It is much larger."'),
        ("    return ()", "    return (1, 2)"),
        ('claim="Twice is more."', 'claim="Thrice is more."'),
        (
            "import torch\n",
            "import torch\nfrom core.lab.films import FilmSpec\nfrom bowls_films import film\n",
        ),
    ],
)
def test_prose_judgement_tables_and_figures_change_no_digest(
    old: str, new: str, edited: dict[str, tuple[str, str]]
) -> None:
    before = digest(bowls.STUDY, "tests.lab.bowls")
    edited[BOWL] = (old, new)
    assert digest(bowls.STUDY, "tests.lab.bowls") == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("grid=Grid(-4, -3)", "grid=Grid(-4, -2)"),
        ("self._curvature() * params + noise", "self._curvature() * params - noise"),
        ('cell["scale"] * keys.normal(3)', 'cell["scale"] * keys.normal(4)'),
        ('Variant("SGD", "sgd")', 'Variant("SGD", "momentum")'),
        ("noise: float = 0.1", "noise: float = 0.2"),
    ],
)
def test_problems_grids_and_variants_change_the_digest(
    old: str, new: str, edited: dict[str, tuple[str, str]]
) -> None:
    before = digest(bowls.STUDY, "tests.lab.bowls")
    edited[BOWL] = (old, new)
    assert digest(bowls.STUDY, "tests.lab.bowls") != before


MOVES = [
    "core/__init__.py",
    "core/problems/quadratic.py",
    "core/lab/train.py",
    "core/lab/random.py",
    f"{MODULE.replace('.', '/')}.py",
]
MOVES_NOTHING = [
    "core/domain.py",
    "core/cli.py",
    "core/lab/verdict.py",
    "core/lab/films.py",
    "core/lab/figures/style.py",
    "core/studies/first_step.py",
    "core/problems/valleys.py",
    "core/optim/torch_optim.py",
]


def appended(path: str, text: str) -> tuple[str, str]:
    whole = (ROOT / path).read_text("utf-8")
    return whole, whole + text


@pytest.mark.parametrize("path", MOVES)
def test_files_that_compute_count_and_their_comments_do_not(
    path: str, edited: dict[str, tuple[str, str]]
) -> None:
    before = digest()
    edited[path] = appended(path, '\n# a comment\n"""and a string"""\n')
    assert digest() == before
    edited.clear()
    edited[path] = appended(path, "\nUNHEARD_OF = 1\n")
    assert digest() != before


@pytest.mark.parametrize("path", MOVES_NOTHING)
def test_files_that_compute_nothing_do_not_count(path: str, edited: dict[str, tuple[str, str]]) -> None:
    before = digest()
    edited[path] = appended(path, "\nUNHEARD_OF = 1\n")
    assert digest() == before


@pytest.mark.parametrize("name", ["adam", "rules", "rule", "ops", "controls", "scalars", "play/orders"])
def test_the_update_rules_count(name: str, edited: dict[str, tuple[str, str]]) -> None:
    before = digest()
    edited[f"core/optim/{name}.py"] = appended(f"core/optim/{name}.py", "\nUNHEARD_OF = 1\n")
    assert digest() != before


def test_versions_of_packages_and_of_the_study_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest()
    assert digest(dataclasses.replace(canyon.STUDY, version=2)) != before
    assert digest(dataclasses.replace(canyon.STUDY, packages=("scipy",))) != before
    monkeypatch.setattr(fingerprint, "version", lambda name: {"torch": "1.0+cpu"}.get(name, "2.0"))
    changed = digest()
    assert changed != before
    monkeypatch.setattr(fingerprint, "version", lambda name: {"torch": "1.0+cu999"}.get(name, "2.0"))
    assert digest() == changed


def test_an_absent_package_is_said_so() -> None:
    found = package_versions(("numpy", "no-such-package-anywhere"))
    assert found["no-such-package-anywhere"] == "absent"
    assert found["numpy"][0].isdigit()


def test_a_study_outside_of_any_domain_has_a_digest() -> None:
    assert digest(bowls.STUDY, "tests.lab.bowls") == digest(bowls.STUDY, "tests.lab.bowls")
    assert digest(bowls.STUDY, "tests.lab.bowls") != digest()


@pytest.mark.parametrize("package", ["core", "rl", "games", "finance"])
def test_all_imports_are_seen_however_deep(package: str) -> None:
    """Against a walk through every node of every tree."""
    for path in (ROOT / package).rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        every = {id(node) for node in ast.walk(tree) if isinstance(node, ast.stmt)}
        assert every == {id(node) for node in fingerprint._blocks(tree) if isinstance(node, ast.stmt)}, path
