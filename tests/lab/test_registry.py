"""Studies are found, not listed: a new folder, an entry point, and the one line for each way to get it
wrong."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.lab import registry
from core.lab.errors import ConformanceError, VhatError, nearest

DOMAIN = 'from core.lab.registry import Domain\nDOMAIN = Domain("{name}", "Title", "About.", order={order})\n'
STUDY = (
    'import dataclasses\nfrom tests.lab import bowls\nSTUDY = dataclasses.replace(bowls.STUDY, id="{id}")\n'
)


def make(root: Path, name: str, studies: dict[str, str], *, order: int = 5, domain: str = DOMAIN) -> None:
    folder = root / name
    (folder / "studies").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "domain.py").write_text(domain.format(name=name, order=order))
    (folder / "studies" / "__init__.py").write_text("")
    for module, text in studies.items():
        (folder / "studies" / f"{module}.py").write_text(text)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "checkout"
    folder.mkdir()
    before = set(sys.modules)
    monkeypatch.setattr(registry, "root", lambda: folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith("vhat_test_"):
            del sys.modules[name]
    importlib.invalidate_caches()


def install(site: Path, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    info = site / "vhat_test_elsewhere-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vhat-test-elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[vhat.domains]\nelsewhere = {value}\n")
    monkeypatch.syspath_prepend(str(site))


def test_a_new_folder_is_a_new_domain(root: Path) -> None:
    make(root, "vhat_test_b", {"one": STUDY.format(id="b-one"), "helper": "X = 1\n"}, order=9)
    make(root, "vhat_test_a", {"two": STUDY.format(id="a-two"), "three": STUDY.format(id="a-three")})
    found = registry.studies()
    assert list(found) == ["a-three", "a-two", "b-one"]
    assert found["b-one"].module == "vhat_test_b.studies.one"
    assert found["b-one"].domain.name == "vhat_test_b"
    assert registry.find("a-two").study.id == "a-two"
    assert [d.name for d, _ in registry.domains()] == ["vhat_test_a", "vhat_test_b"]


@pytest.mark.parametrize("value", ["vhat_test_c.domain", "vhat_test_c.domain:DOMAIN"])
def test_a_domain_in_another_package_is_found_by_its_entry_point(
    value: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    make(site, "vhat_test_c", {"one": STUDY.format(id="c-one")})
    install(site, value, monkeypatch)
    assert list(registry.studies()) == ["c-one"]


def test_a_domain_that_is_found_twice_is_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(root, "vhat_test_d", {"one": STUDY.format(id="d-one")})
    install(root, "vhat_test_d.domain:DOMAIN", monkeypatch)
    assert list(registry.studies()) == ["d-one"]


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"domain": "X = 1\n"}, "vhat_test_e.domain holds no DOMAIN; add DOMAIN = Domain"),
        ({"domain": "DOMAIN = 'a word'\n"}, "holds no DOMAIN"),
        ({"domain": "import vhat_no_such_package\n"}, "cannot import vhat_test_e.domain: No module named"),
        ({"domain": "def broken(:\n"}, "cannot import vhat_test_e.domain: SyntaxError"),
        ({"domain": "1 / 0\n"}, "cannot import vhat_test_e.domain: ZeroDivisionError"),
        ({"studies": {"bad": "import vhat_no_such_package\n"}}, "cannot import vhat_test_e.studies.bad"),
        (
            {"studies": {"x": STUDY.format(id="same"), "y": STUDY.format(id="same")}},
            "two studies are called 'same': vhat_test_e.studies.x and vhat_test_e.studies.y",
        ),
    ],
)
def test_each_mistake_is_one_line(wrong: dict[str, object], line: str, root: Path) -> None:
    make(root, "vhat_test_e", **{"studies": {}, **wrong})  # type: ignore[arg-type]
    with pytest.raises(VhatError, match=line) as caught:
        registry.studies()
    assert "\n" not in str(caught.value)


def test_a_domain_without_a_studies_package_is_one_line(root: Path) -> None:
    (root / "vhat_test_f").mkdir()
    (root / "vhat_test_f" / "__init__.py").write_text("")
    (root / "vhat_test_f" / "domain.py").write_text(DOMAIN.format(name="f", order=1))
    with pytest.raises(VhatError, match=r"vhat_test_f\.studies"):
        registry.studies()


def test_an_unknown_study_gets_the_nearest_names(root: Path) -> None:
    make(root, "vhat_test_g", {"one": STUDY.format(id="canyon"), "two": STUDY.format(id="first-step")})
    with pytest.raises(VhatError, match="unknown study 'canyn'; did you mean 'canyon'"):
        registry.find("canyn")
    with pytest.raises(VhatError, match="known: canyon, first-step"):
        registry.find("zzzzz")


def test_a_broken_neighbour_stops_nothing(root: Path) -> None:
    make(root, "vhat_test_h", {"fine_one": STUDY.format(id="fine-one"), "other": STUDY.format(id="renamed")})
    make(root, "vhat_test_i", {"bad": "import vhat_no_such_package\n", "good": STUDY.format(id="good")})
    make(root, "vhat_test_j", {}, domain="1 / 0\n")
    make(
        root,
        "vhat_test_k",
        {"typed": "from core.lab.errors import ConformanceError\nraise ConformanceError('x')"},
    )
    found, broken = registry.survey()
    assert sorted(found) == ["fine-one", "good", "renamed"]
    assert sorted(b.module for b in broken) == [
        "vhat_test_i.studies.bad",
        "vhat_test_j.domain",
        "vhat_test_k.studies.typed",
    ]
    assert registry.find("renamed").module == "vhat_test_h.studies.other"
    assert registry.find("good").domain.name == "vhat_test_i"
    for name in [m for m in sys.modules if m.startswith("vhat_test_")]:
        del sys.modules[name]
    # The named one is loaded, and its neighbours are not.
    assert registry.find("fine-one").module == "vhat_test_h.studies.fine_one"
    assert "vhat_test_h.studies.other" not in sys.modules
    with pytest.raises(VhatError, match=r"cannot import vhat_test_i\.studies\.bad"):
        registry.find("bad")
    with pytest.raises(ConformanceError):
        registry.find("typed")
    with pytest.raises(VhatError, match=r"unknown study 'god'; did you mean 'good'.*left out: .*vhat_test_j"):
        registry.find("god")


def test_nearest_names_are_near() -> None:
    assert nearest("adm", ["adam", "sgd"], kind="rule").endswith("did you mean 'adam'?")
    assert nearest("b", ["abc", "xyz"], kind="k").endswith("did you mean 'abc'?")
    assert nearest("q", ["b", "a"], kind="k") == "unknown k 'q'; known: a, b"


def test_cores_own_studies_are_found_in_the_checkout() -> None:
    found = registry.studies()
    assert {"canyon", "first-step"} <= set(found)
    assert (registry.root() / "core" / "domain.py").exists()
