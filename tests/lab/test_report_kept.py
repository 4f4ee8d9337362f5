"""What reports keep for the next one: taken to the same bytes where all that it is drawn from is what it was;
drawn anew where anything changed, is damaged, went wrong, or could do harm."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Never

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from core.lab.engines import InProcess
from core.lab.films import FilmSpec
from core.lab.progress import Quiet
from core.lab.report import Stored, build_report, gather, kept
from core.lab.report.films import Reel, Shown
from core.lab.report.kept import Kept, kept_beside
from core.lab.report.material import Draughtsman, Material
from core.lab.report.pages import Drawn
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from core.lab.study import Plan
from core.lab.verdict import Finding, Label, Outcome, Verdict
from tests.lab import bowls

PLAN = bowls.STUDY.plan("tiny")
STUDY = bowls.STUDY.id


@dataclasses.dataclass(frozen=True)
class Folder:
    """Results of a study, with what reports of it have drawn."""

    path: Path

    @property
    def place(self) -> Path:
        return self.path / "drawn" / STUDY

    def kept(self, plan: Plan = PLAN, device: str = "cpu") -> Kept:
        """As the next report finds it."""
        store = Store(self.path / "results.sqlite", reading=True)
        try:
            asked = Stored(bowls.REGISTERED, plan, store.path, device)
            return kept_beside(store, [asked], self.path / "drawn")
        finally:
            store.close()

    def report(self, name: str) -> dict[str, bytes]:
        """All files of a report."""
        asked = Stored(bowls.REGISTERED, PLAN, self.path / "results.sqlite")
        index, problems = build_report([asked], self.path / name, kept=self.kept())
        assert problems == ()
        return {
            str(p.relative_to(index.parent)): p.read_bytes() for p in index.parent.rglob("*") if p.is_file()
        }

    def taken(self) -> Material | None:
        """What another report would take."""
        target = self.path / "taken"
        shutil.rmtree(target, ignore_errors=True)
        return self.kept().take(STUDY, target)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, dict[str, bytes]]:
    """A folder with a report of results that were just computed."""
    path = tmp_path_factory.mktemp("kept")
    store = Store(path / "results.sqlite")
    run_jobs([job_of(bowls.REGISTERED, PLAN, store)], InProcess(), 1, Quiet())
    store.close()
    folder = Folder(path)
    return folder, folder.report("first")


@pytest.fixture
def folder(first: tuple[Folder, dict[str, bytes]], tmp_path: Path) -> Folder:
    """A copy of it that a test may harm."""
    shutil.copytree(first[0].path, tmp_path / "copy")
    return Folder(tmp_path / "copy")


def test_a_second_report_draws_nothing_and_has_the_same_bytes(
    first: tuple[Folder, dict[str, bytes]], folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(gather, "material_of", lambda *_: drawn.append(1))
    assert folder.report("second") == first[1]
    assert drawn == []


def test_another_plan_device_code_or_package_is_drawn_anew(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {folder.kept().keys[STUDY], folder.kept(device="cuda").keys[STUDY]}
    keys |= {folder.kept(PLAN.with_seeds(PLAN.reporting_seeds + 1)).keys[STUDY]}
    keys |= {folder.kept(bowls.STUDY.plan("quick")).keys[STUDY]}
    monkeypatch.setattr(kept, "package_versions", lambda names: dict.fromkeys(names, "0"))
    keys |= {folder.kept().keys[STUDY]}
    digest = kept._source_digest
    for package in ("core", "tests"):
        with monkeypatch.context() as patch:
            patch.setattr(
                kept, "_source_digest", lambda name, own=package: "new" if name == own else digest(name)
            )
            keys |= {folder.kept().keys[STUDY]}
            assert folder.taken() is None
    assert len(keys) == 7


def test_other_results_are_drawn_anew(folder: Folder) -> None:
    assert folder.taken() is not None
    store = Store(folder.path / "results.sqlite")
    store.put(STUDY, {"seeds": 1}, "of another code", {"x": np.zeros(2)}, 1.0)
    store.close()
    assert folder.taken() is None


def test_a_source_digest_sees_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_domain"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "data" / "prices.csv").write_text("1")
    monkeypatch.syspath_prepend(str(tmp_path))

    def digest() -> str:
        return kept._source_digest.__wrapped__("some_domain")

    before = digest()
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "x.pyc").write_text("compiled")
    assert digest() == before
    (package / "data" / "prices.csv").write_text("2")
    assert digest() != before


HARMS: dict[str, Callable[[bytes], bytes | None]] = {
    "flipped": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "flipped in its digest": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "cut": lambda data: data[: len(data) // 2],
    "grown": lambda data: data + b" ",
    "empty": lambda _: b"",
    "gone": lambda _: None,
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("name", ["material", "sensitivity-1.svg"])
def test_what_is_damaged_is_drawn_anew(
    first: tuple[Folder, dict[str, bytes]], folder: Folder, name: str, harm: str
) -> None:
    path = folder.place / name
    data = HARMS[harm](path.read_bytes())
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    assert folder.taken() is None
    assert not (folder.path / "taken" / STUDY).exists()
    assert folder.report("again") == first[1]
    # Without the file that says what it is, a folder may be somebody's own.
    known = (name, harm) != ("material", "gone")
    assert (folder.taken() is not None) == known, "it was kept anew"


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_no_damage_is_taken(first: tuple[Folder, dict[str, bytes]], data: st.DataObject) -> None:
    """Of what says what is kept: any change of any byte."""
    whole = (first[0].place / "material").read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    harmed = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    with pytest.raises(ValueError, match="digest"):
        kept._unpacked(harmed)


@given(st.binary(max_size=300), st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_nothing_else_is_read(
    first: tuple[Folder, dict[str, bytes]], noise: bytes, at: int, flip: int
) -> None:
    """Behind a digest that fits: bytes of any kind, and sound ones with one of them changed."""
    page = (first[0].place / "material").read_bytes()[kept._DIGITS :]
    at %= len(page)
    for data in (noise, page[:at] + bytes([page[at] ^ flip]) + page[at + 1 :]):
        try:
            found = kept._unpacked(kept._digest(data).encode() + data)
        except kept.REFUSALS:
            continue
        assert isinstance(found.material, Material)


def _written(folder: Folder, *, made: Material, files: dict[str, str] | None = None) -> None:
    """As somebody writes it who knows the format."""
    page = kept._Page(folder.kept().keys[STUDY], files or {}, made)
    (folder.place / "material").write_bytes(kept._packed(page))


def test_films_that_somebody_wrote_cannot_leave_their_script(folder: Folder) -> None:
    source = f"figures/{STUDY}/film.svg"
    (folder.place / "film.svg").write_text("a film's ground")
    files = {"film.svg": kept._digest(b"a film's ground")}

    def written(data: str) -> Material | None:
        reel = Reel(1, 1, (), (), 0, ("still",), Markup(data))
        _written(
            folder, made=Material(plan=PLAN, films=(Shown("f", "", "", source, reel=reel),)), files=files
        )
        return folder.taken()

    made = written('["</script><script>alert(1)</script>"]')
    assert made is not None
    assert made.films[0].reel is not None
    assert "<" not in made.films[0].reel.data
    assert "alert" in made.films[0].reel.data
    assert written("alert(1)") is None, "no JSON"


@pytest.mark.parametrize(
    "source", ["https://elsewhere.example/x.svg", "../index.html", "figures/other/x.svg"]
)
def test_no_other_file_is_shown(folder: Folder, source: str) -> None:
    _written(folder, made=Material(plan=PLAN, figures=(("", Drawn("curves", "", "", source)),)))
    assert folder.taken() is None


@pytest.mark.parametrize("name", ["../stolen.svg", "/etc/hostname", "deep/figure.svg"])
def test_no_file_is_taken_from_elsewhere(folder: Folder, name: str) -> None:
    (folder.path / "drawn" / "stolen.svg").write_text("x")
    _written(folder, made=Material(plan=PLAN), files={name: kept._digest(b"x")})
    assert folder.taken() is None


def test_other_types_are_refused(folder: Folder) -> None:
    wrong = dataclasses.replace(Material(plan=PLAN), tables="not tables")  # type: ignore[arg-type]
    _written(folder, made=wrong)
    assert folder.taken() is None


def fail(*_: object) -> Never:
    raise ZeroDivisionError("a study's own code")


def test_what_went_wrong_is_tried_again(folder: Folder) -> None:
    shutil.rmtree(folder.place)
    own, root = folder.kept(), folder.path / "first" / "figures"
    by, path = Draughtsman(root, "study"), f"figures/{STUDY}/failed.svg"
    broken = by.figure(Drawn("curves", "", "", path), fail)
    own.keep(STUDY, Material(plan=PLAN, figures=(("", broken),), problems=tuple(by.problems)), root)
    by = Draughtsman(root, "study")
    film = by.film(Shown("film", "", "", path), fail)
    own.keep(STUDY, Material(plan=PLAN, films=(film,), problems=tuple(by.problems)), root)
    assert broken.problem
    assert film.problem
    own.keep(STUDY, Material(plan=PLAN, problems=("tables failed",)), root)
    own.keep(STUDY, Material(), root)  # not run
    kept.NOTHING.keep(STUDY, Material(plan=PLAN), root)
    assert not folder.place.exists()
    own.keep(STUDY, Material(plan=PLAN), root)
    assert folder.taken() == Material(plan=PLAN)


def test_a_folder_that_cannot_be_written_keeps_nothing(
    first: tuple[Folder, dict[str, bytes]], folder: Folder
) -> None:
    shutil.rmtree(folder.path / "drawn")
    (folder.path / "drawn").write_text("a file in its place")
    assert folder.report("again") == first[1]
    assert (folder.path / "drawn").read_text() == "a file in its place"


def test_what_is_not_ours_stays(folder: Folder, first: tuple[Folder, dict[str, bytes]]) -> None:
    thesis = folder.path / "drawn" / "thesis" / "figure.svg"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    kept.forget(folder.path / "drawn")
    assert [p.name for p in thesis.parent.parent.iterdir()] == ["thesis"]
    thesis.parent.rename(folder.place)
    assert folder.report("again") == first[1]
    assert [p.name for p in folder.place.iterdir()] == ["figure.svg"]
    shutil.rmtree(folder.place)
    kept.forget(folder.path / "drawn")
    kept.forget(folder.path / "drawn")
    assert not (folder.path / "drawn").exists()


texts = st.text(max_size=8)
numbers = st.floats(allow_nan=False)
findings = st.builds(
    Finding, texts, numbers, numbers, numbers, numbers, st.integers(0, 99), st.sampled_from(Outcome), texts
)
verdicts = st.builds(
    Verdict,
    st.sampled_from(Label),
    texts,
    st.lists(findings, max_size=3).map(tuple),
    chosen=st.none() | findings,
)


@given(verdicts)
def test_verdicts_come_back_as_they_were(verdict: Verdict) -> None:
    page = kept._Page("key", {"a.svg": "digest"}, Material(plan=PLAN, verdict=verdict))
    assert kept._unpacked(kept._packed(page)) == page


def test_films_come_back_as_they_were(tmp_path: Path) -> None:
    """As a study that has one is kept."""
    from core.studies import canyon

    spec: FilmSpec = canyon.STUDY.films[0]
    reel = Reel(3, 4, (), ((0, 0, 3, 4),), 1, ("a", "b"), kept._safe(Markup, '[{"0":["M1 2"]},[1,2.5,null]]'))
    made = Material(plan=PLAN, films=(Shown(spec.name, spec.caption, spec.alt, "f.svg", 1, 2, reel),))
    assert kept._unpacked(kept._packed(kept._Page("key", {}, made))).material == made
