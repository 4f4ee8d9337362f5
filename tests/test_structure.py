"""What holds for the whole tree: imports run one way, every study says what it must."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.lab.registry import studies
from core.lab.store import canonical

ROOT = Path(__file__).resolve().parents[1]
DOMAINS = sorted(p.parent.name for p in ROOT.glob("*/domain.py") if p.parent.name != "core")
PACKAGES = ["core", *(d for d in ("rl", "games", "finance") if (ROOT / d).is_dir())]
SOURCES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").rglob("*.py"))
OUTER = {*PACKAGES, *DOMAINS, "scripts", "tests"} - {"core"}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Dotted names of all modules that a file imports, also inside functions."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{a.name}" for a in node.names)


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_imports_run_one_way() -> None:
    wrong = []
    for path in SOURCES:
        package, *rest = path.relative_to(ROOT).parts
        forbidden = OUTER - {package}
        if package == "core" and rest[0] == "optim":
            forbidden |= {"core.lab", "core.studies", "core.problems", "core.cli"}
        elif package == "core" and rest[0] == "lab":
            forbidden |= {"core.studies", "core.problems", "core.cli"}
        wrong += [f"{path}: {n}" for n in imports(path) if any(inside(n, f) for f in forbidden)]
    assert wrong == []


def test_nothing_imports_scripts_and_scripts_import_no_test() -> None:
    assert [p for p in SCRIPTS for n in imports(p) if inside(n, "tests")] == []


def test_core_names_no_domain() -> None:
    """Not even in a string: the registry finds domains, nothing lists them."""
    names = {"rl", "games", "finance", *DOMAINS}
    wrong = [
        f"{path}:{node.lineno}"
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] == "core"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if node.value in names or any(node.value.startswith(f"{n}.") for n in names)
    ]
    assert wrong == []


def test_what_is_forbidden_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / "core" / "lab" / "bad.py"
    bad.parent.mkdir(parents=True)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    monkeypatch.setitem(globals(), "SOURCES", [bad])
    for text, test in (
        ("from rl import policies\n", test_imports_run_one_way),
        ("import core.studies.canyon\n", test_imports_run_one_way),
        ("from core import studies\n", test_imports_run_one_way),
        ("X = 'games'\n", test_core_names_no_domain),
        ("X = ['finance.domain']\n", test_core_names_no_domain),
    ):
        bad.write_text(text)
        with pytest.raises(AssertionError):
            test()


STUDIES = sorted(studies())


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_says_what_it_must(name: str) -> None:
    study = studies()[name].study
    for field in ("title", "claim", "setup", "criterion", "source"):
        assert getattr(study, field).strip(), field
    assert set(study.plans) >= {"tiny", "quick", "full"}
    assert all(plan.name == key for key, plan in study.plans.items())
    seeds = [study.plans[p].reporting_seeds for p in ("tiny", "quick", "full")]
    assert seeds == sorted(seeds)
    assert seeds[1] >= 10
    assert len(study.sceptic) >= 2
    assert all(question.strip().endswith(("?", ".")) and answer.strip() for question, answer in study.sceptic)
    assert study.figures
    for figure in study.figures:
        assert figure.name.replace("-", "").replace("_", "").isalnum()
        assert len(figure.caption) > 20
        assert len(figure.alt) > 20
    assert len({f.name for f in study.figures}) == len(study.figures)


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("plan", ["tiny", "quick", "full"])
def test_the_addresses_of_a_study_are_the_same_in_every_process(name: str, plan: str) -> None:
    """A spec that held an object's memory address would never be found again."""
    registered = studies()[name]
    experiments = registered.study.experiments(registered.study.plan(plan))
    names = [e.name for e in experiments]
    assert len(set(names)) == len(names)
    addresses = set()
    for experiment in experiments:
        shards = experiment.pending(lambda _: None)
        assert shards
        for shard in shards:
            assert shard.cost > 0
            text = canonical(shard.spec)
            assert " at 0x" not in text
            assert "lambda" not in text
            assert shard.spec["seeds"] >= 2
            addresses.add(text)
    again = registered.study.experiments(registered.study.plan(plan))
    assert addresses == {canonical(s.spec) for e in again for s in e.pending(lambda _: None)}
