"""The report: complete, self-contained, escaped, the same twice; a failing figure does not stop it."""

from __future__ import annotations

import dataclasses
import importlib
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.lab.engines import InProcess, engine
from core.lab.errors import VhatError
from core.lab.progress import Quiet
from core.lab.registry import root, studies
from core.lab.report import Entry, Provenance, Stored, build_report, idea
from core.lab.report.bar import WIDTH, bar_of
from core.lab.report.formulas import formula
from core.lab.report.generic import generic_figures
from core.lab.report.pages import Drawn, doubt_of, groups_of, paragraphs, parts_of
from core.lab.report.sources import sources_of
from core.lab.report.surprises import surprises_of
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store, StoredShard
from core.lab.verdict import Label, Verdict, finding, first_sentence, verdict
from tests.lab import bowls
from tests.lab import synthetic_study as synthetic

STYLE = Path(build_report.__code__.co_filename).parent / "style.css"


class Page(HTMLParser):
    """Tags with attributes, and the text outside of them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, ...]]:
    return build_report(synthetic.entries(), tmp_path_factory.mktemp("out") / "report")


@pytest.fixture(scope="module")
def report(built: tuple[Path, tuple[str, ...]]) -> Path:
    return built[0].parent


def pages(report: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(report.rglob("*.html"))}


def test_there_is_a_page_a_study(report: Path) -> None:
    names = {p.relative_to(report).as_posix() for p in report.rglob("*.html")}
    assert names == {
        "index.html",
        "explorer.html",
        *(f"studies/{e.study.id}.html" for e in synthetic.entries()),
        "source/tests/lab/synthetic_study.py.html",
    }


def test_every_link_and_image_is_relative_and_leads_somewhere(report: Path) -> None:
    for path, page in pages(report).items():
        ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
        targets = [attrs[key] for _, attrs in page.tags for key in ("href", "src") if key in attrs]
        assert targets
        for target in targets:
            if target.startswith("#"):
                state = path.name == "explorer.html" and "=" in target
                assert state or target[1:] in ids
            elif target != "data:,":
                assert not re.match(r"[a-z]+:|/", target), target
                file, _, line = target.partition("#L")
                assert (path.parent / file).is_file(), f"{path.name}: {target}"
                if line:
                    assert f'id="L{line}"' in (path.parent / file).read_text("utf-8"), target


def test_all_pages_are_reached_from_the_first(report: Path) -> None:
    seen: set[Path] = set()
    waiting = [report / "index.html"]
    while waiting:
        path = waiting.pop().resolve()
        if path in seen or path.suffix != ".html":
            continue
        seen.add(path)
        links = (a["href"].partition("#")[0] for a in Page(path).all("a"))
        waiting += [path.parent / link for link in links if link]
    assert seen == {p.resolve() for p in report.rglob("*.html")}


def test_nothing_is_loaded_from_elsewhere_and_no_script_runs_but_the_explorers(report: Path) -> None:
    for path, page in pages(report).items():
        scripts = [a["src"] for a in page.all("script")]
        assert all(s.startswith("explorer/") for s in scripts)
        assert bool(scripts) == (path.name == "explorer.html")
        assert not page.all("iframe")
        assert not re.search(r"https?://", path.read_text("utf-8")), path.name
        assert not [k for _, attrs in page.tags for k in attrs if k.startswith("on")]
    for asset in [*report.rglob("*.css"), *report.rglob("*.js")]:
        assert not re.search(r"@import|url\(|https?:|fetch\(|import\(", asset.read_text("utf-8")), asset
    for figure in report.rglob("*.svg"):
        references = re.findall(r'(?:href|src)="([^"]*)"', figure.read_text("utf-8"))
        assert all(r.startswith("#") for r in references)


def test_names_are_escaped_and_shown_as_they_are(report: Path) -> None:
    for path in (report / "index.html", report / "studies" / "synthetic.html"):
        page = Page(path)
        assert "<script" not in path.read_text("utf-8")
        assert synthetic.EVIL in page.text
    labels = [a.get("alt", "") for a in Page(report / "studies" / "synthetic.html").all("img")]
    assert f"Curves of six variants, {synthetic.EVIL}." in labels


def test_the_first_page_gives_every_claim_with_its_verdict(report: Path) -> None:
    text = Page(report / "index.html").text
    for entry in synthetic.entries():
        assert entry.study.title in text
        assert entry.domain.title in text
    for words in ("conditional", "inconclusive: too few seeds", "not run", "holds: along the axes", "0.42"):
        assert words in text
    small = [image for image in Page(report / "index.html").all("img") if image.get("loading") == "lazy"]
    assert [image["src"] for image in small] == ["figures/synthetic/thumbnail.png"]
    assert (report / small[0]["src"]).stat().st_size < 40_000


def test_a_study_page_has_all_its_parts(report: Path) -> None:
    page = Page(report / "studies" / "synthetic.html")
    entry = synthetic.entries()[0]
    assert entry.verdict is not None
    for text in (
        *entry.study.claim.split("\n\n"),
        entry.study.setup,
        entry.study.criterion,
        entry.study.source,
        entry.verdict.sentence,
        "vhat run synthetic --quick",
        "ab" * 32,
        "cd" * 32,
        "2.13.0",
        "tests.lab.synthetic_study",
        "tests/lab/synthetic_study.py:",
        entry.study.would_change,
        entry.study.question,
        "The verdict rests on 5 findings",
    ):
        assert text in page.text
    for found in entry.verdict.findings:
        assert found.text in page.text
    for question, answer in entry.study.sceptic:
        assert question in page.text
        assert answer in page.text
    assert "on the edge of the widest grid" in page.text
    assert "control: no scaling" in page.text
    assert "1e-30, 1" in page.text


def test_pages_are_made_for_everybody(report: Path) -> None:
    for page in pages(report).values():
        assert page.all("html")[0]["lang"] == "en"
        assert all(a["alt"] for a in page.all("img"))
        assert all(a.get("aria-label") for a in page.all("svg") if a.get("role") == "img")
        assert all(a.get("aria-hidden") == "true" for a in page.all("svg") if a.get("role") != "img")
        assert all(a.get("scope") for a in page.all("th"))
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        assert {a["aria-labelledby"] for a in page.all("section")} <= set(ids)
        assert len(page.all("h1")) == 1


def test_a_figure_that_fails_is_told_and_shown_in_its_place(built: tuple[Path, tuple[str, ...]]) -> None:
    index, (problem,) = built
    assert "study 'broken': figure 'bad' failed: KeyError" in problem
    page = Page(index.parent / "studies" / "broken.html")
    assert problem in page.text
    shown = [Path(image["src"]).stem for image in page.all("img")]
    assert shown == ["effects", "paths", "sensitivity-1", "learning-1"]


def test_tables_and_verdict_survive_each_others_failure(tmp_path: Path) -> None:
    def fail(_: object) -> tuple[()]:
        raise ZeroDivisionError("on two\nlines")

    entry = synthetic.entries()[0]
    entry = dataclasses.replace(entry, study=dataclasses.replace(entry.study, tables=fail, figures=()))
    index, problems = build_report([entry], tmp_path / "report")
    assert problems == ("study 'synthetic': tables failed: ZeroDivisionError: on two lines",)
    assert problems[0] in Page(index.parent / "studies" / "synthetic.html").text


def test_the_same_entries_give_the_same_bytes(report: Path, tmp_path: Path) -> None:
    again = build_report(synthetic.entries(), tmp_path / "again")[0].parent
    files = sorted(p.relative_to(report) for p in report.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    for name in files:
        assert (report / name).read_bytes() == (again / name).read_bytes(), name


def test_an_earlier_report_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "report"
    never = synthetic.entries()[2]
    gone = dataclasses.replace(never, study=dataclasses.replace(never.study, id="gone"))
    build_report([never, gone], out)
    index, _ = build_report([never], out)
    found = {p.name for p in index.parent.rglob("*.html") if "source" not in p.parts}
    assert found == {"index.html", "explorer.html", "never.html"}
    assert [p.name for p in out.parent.iterdir()] == ["report"]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(VhatError, match="something other than a vhat report"):
        build_report(synthetic.entries(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(VhatError, match="is a file"):
        build_report(synthetic.entries(), tmp_path / "thesis.txt")
    with pytest.raises(VhatError, match="cannot write the report"):
        build_report(synthetic.entries(), tmp_path / "thesis.txt" / "report")


def test_any_number_of_processes_draws_the_same_bytes(tmp_path: Path) -> None:
    store = Store(tmp_path / "results.sqlite")
    plan = bowls.STUDY.plan("tiny")
    run_jobs([job_of(bowls.REGISTERED, plan, store)], InProcess(), 1, Quiet())
    store.close()
    asked = [Stored(bowls.REGISTERED, p, store.path) for p in (plan, bowls.STUDY.plan("quick"))]
    alone, problems = build_report(asked, tmp_path / "alone")
    assert problems == ()
    with engine(2, "cpu") as (executor, _):
        together, _ = build_report(asked, tmp_path / "together", executor=executor)
    files = sorted(p.relative_to(alone.parent) for p in alone.parent.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(together.parent) for p in together.parent.rglob("*") if p.is_file())
    assert Path("figures/tiny-bowl/sensitivity-1.svg") in files
    for name in files:
        assert (alone.parent / name).read_bytes() == (together.parent / name).read_bytes(), name


def test_a_report_of_nothing_is_refused_where_results_are_asked_for(tmp_path: Path) -> None:
    Store(tmp_path / "results.sqlite").close()
    asked = [Stored(bowls.REGISTERED, bowls.STUDY.plan("tiny"), tmp_path / "results.sqlite")]
    with pytest.raises(VhatError, match="run it first"):
        build_report(asked, tmp_path / "report", nothing="run it first")
    assert not (tmp_path / "report").exists()


def test_sweeps_show_their_rates_and_curves_where_the_study_does_not() -> None:
    results = synthetic.results()
    none = dataclasses.replace(synthetic.STUDY, figures=())
    assert [f.part for f in generic_figures(none, results)] == ["learning rates", "learning curves"]
    assert [f.part for f in generic_figures(synthetic.STUDY, results)] == ["learning rates"]
    for spec in generic_figures(none, results):
        assert len([axes for axes in spec.draw(results).axes if axes.get_visible()]) == 2
        assert all(name in spec.alt for name in synthetic.NAMES)


def test_figures_are_numbered_as_they_are_shown() -> None:
    order = ("", "learning rates", "controls", "", "learning curves", "controls")
    parts = parts_of([(part, Drawn(str(i), "", "")) for i, part in enumerate(order)])
    assert [p.name for p in parts] == ["closer-look", "controls", "learning-rates", "learning-curves"]
    assert [n for p in parts for n, _ in p.figures] == [2, 3, 4, 5, 6]
    assert [d.name for p in parts for _, d in p.figures] == ["3", "2", "5", "1", "4"]


def test_formulas_are_mathematics_and_nothing_else() -> None:
    shown = formula(r"\frac{m}{\sqrt{v}} < 1")
    assert shown.startswith('<math display="block">')
    assert "<mfrac>" in shown
    assert "&lt;" in shown
    bad = (r"\text{<script>}", r"\text{<script>x</script>}", r"\href{https://example.org}{x}", r"\frac{1}")
    for latex in (*bad, r"x_1_2", r"\style{color:red}{x}"):
        with pytest.raises(VhatError, match="formula"):
            formula(latex)


@pytest.mark.parametrize("name", sorted(studies()))
def test_every_study_has_its_mathematics(name: str) -> None:
    study = studies()[name].study
    assert 1 <= len(study.mathematics) <= 3
    for latex, words in study.mathematics:
        assert formula(latex)
        assert words.endswith(".")
    assert study.would_change.endswith(".")


@pytest.mark.parametrize("name", sorted(studies()))
def test_every_study_asks_one_plain_question(name: str) -> None:
    question = studies()[name].study.question
    assert question.count("?") == 1
    assert question.endswith("?")
    assert 5 <= len(question.split()) <= 20


@given(st.floats(0.01, 100.0), st.sampled_from(idea.BETA2), st.integers(1, 50))
def test_the_first_figures_v_hat_is_exact_for_a_constant_gradient(g: float, beta2: float, steps: int) -> None:
    np.testing.assert_allclose(idea.second_moment(np.full(steps, g), beta2), g * g, rtol=1e-12)


def test_the_first_figures_v_hat_is_that_of_adam() -> None:
    gradient = np.random.default_rng(0).normal(size=30)
    parameter = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([parameter], betas=(0.9, 0.99))
    for g in gradient:
        parameter.grad = torch.tensor([g])
        adam.step()
    expected = float(adam.state[parameter]["exp_avg_sq"]) / (1 - 0.99**30)
    assert idea.second_moment(gradient, 0.99)[-1] == pytest.approx(expected, rel=1e-12)


def judged_as(label: Label, holds: int, fails: int) -> Entry:
    """An entry whose verdict has so many findings of each outcome."""
    made = [
        finding(f"{label} {i}", (x, x, x), above=0.0, replicas=12, text="")
        for i, x in enumerate([1.0] * holds + [-1.0] * fails)
    ]
    found = Verdict(label, f"{label} {holds} {fails}. And more.", tuple(made))
    return Entry(synthetic.DOMAIN, synthetic.STUDY, "quick", verdict=found)


def test_what_surprised_us_begins_with_what_failed_most() -> None:
    C, R = Label.CONDITIONAL, Label.REFUTED
    cases = [(C, 3, 1), (Label.SUPPORTED, 2, 0), (R, 0, 2), (Label.INCONCLUSIVE, 1, 0), (C, 1, 3)]
    found = surprises_of([*(judged_as(*case) for case in cases), synthetic.entries()[2]])
    assert [line.sentence for line in found] == ["refuted 0 2.", "conditional 1 3.", "conditional 3 1."]
    own = dataclasses.replace(synthetic.STUDY, surprise=lambda found: f"Of {len(found.findings)}: look!")
    entry = dataclasses.replace(judged_as(R, 0, 2), study=own)
    assert surprises_of([entry])[0].sentence == "Of 2: look!"


@given(st.lists(st.sampled_from(["One (a. B) two.", "3.5 of 4.", "Yes.", "no."]), min_size=1))
def test_the_first_sentence_ends_where_the_second_begins(sentences: list[str]) -> None:
    text = " ".join(sentences)
    first = first_sentence(text)
    assert text.startswith(first)
    assert first.startswith(sentences[0])
    assert first.count("(") == first.count(")")


@given(st.floats(-1e6, 1e6), st.floats(0.01, 1e3), st.floats(0.0, 10.0))
def test_doubt_names_the_finding_that_is_nearest_to_its_threshold(
    threshold: float, half: float, widths: float
) -> None:
    near, far = (threshold + half + share * 2 * half for share in (widths, widths + 1.0))
    made = [
        finding(name, (x, x - half, x + half), above=threshold, replicas=12, text="")
        for name, x in (("far", far), ("near", near))
    ]
    said = " ".join(doubt_of(verdict(made, "")))
    assert "“near”" in said
    assert "“far”" not in said


def test_doubt_says_that_an_interval_holds_its_threshold() -> None:
    found = verdict([finding("r", (1.0, 0.0, 2.0), above=0.5, replicas=12, text="")], "")
    assert "an interval that holds the threshold" in " ".join(doubt_of(found))
    assert doubt_of(None) == ()


def test_source_lines_lead_to_what_they_name() -> None:
    study = studies()["canyon"]
    found = sources_of(Entry(study.domain, study.study, "quick", held_by=study.module))
    assert found[0].what == "the study"
    for source in found:
        assert source.file == root() / source.path
        line = source.file.read_text("utf-8").splitlines()[source.line - 1]
        assert line.startswith(("STUDY", "def ", "@"))
        assert source.href == f"source/{source.path}.html#L{source.line}"


def test_a_study_outside_of_the_checkout_is_named_from_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "faraway" / "studies"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "one.py").write_text("def judge(results):\n    ...\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    judge = importlib.import_module("faraway.studies.one").judge
    study = dataclasses.replace(synthetic.STUDY, judge=judge)
    found = sources_of(Entry(synthetic.DOMAIN, study, "quick", held_by=synthetic.__name__))
    assert [s.place for s in found if s.what == "verdict"] == ["faraway/studies/one.py:1"]


def shard(digest: str, spec: dict[str, object]) -> StoredShard:
    return StoredShard(f"address {digest}", "s", spec, "code", 0.5, digest)


def test_provenance_counts_replicas_and_does_not_depend_on_order() -> None:
    shards = [shard("a", {"rows": [1, 2, 3], "seeds": 4}), shard("b", {"cell": {}, "seeds": 5})]
    one = Provenance.of(shards, "code", {})
    assert (one.shards, one.replicas, one.seconds) == (2, 17, 1.0)
    assert one == Provenance.of(shards[::-1], "code", {})
    assert one.digest != Provenance.of(shards[:1], "code", {}).digest


def test_the_command_runs_exactly_this_again() -> None:
    entry = synthetic.entries()[0]
    assert entry.results is not None
    assert entry.provenance is not None
    assert entry.command == "vhat run synthetic --quick"
    more = dataclasses.replace(entry.results, plan=entry.results.plan.with_seeds(99))
    moved = dataclasses.replace(entry.provenance, code="cd@cuda")
    changed = dataclasses.replace(entry, results=more, provenance=moved)
    assert changed.command == "vhat run synthetic --quick --seeds 99 --device cuda"
    assert Entry(synthetic.DOMAIN, synthetic.STUDY, "tiny").command == "vhat run synthetic --tiny"


def test_studies_are_grouped_by_domain_in_their_order() -> None:
    found = [
        (g.domain.name, [line.entry.study.id for line in g.lines]) for g in groups_of(synthetic.entries())
    ]
    assert found == [("made-up", ["synthetic", "broken"]), ("elsewhere", ["never"])]


def test_a_regime_counts_as_held_only_if_all_its_findings_hold() -> None:
    (group, _) = groups_of(synthetic.entries())
    line = group.lines[0]
    assert line.holds == ("along the axes",)
    assert line.fails == ("turned by 45°",)
    assert set(line.unclear) == {synthetic.EVIL, "nothing came back", "no number"}


def test_paragraphs_part_at_blank_lines() -> None:
    assert paragraphs(" one\ntwo\n\n\nthree ") == ["one two", "three"]


numbers = st.floats(allow_nan=False, allow_infinity=True)


@given(numbers, numbers, numbers, st.floats(allow_nan=False, allow_infinity=False))
def test_a_bar_keeps_the_order_of_its_numbers(a: float, b: float, c: float, threshold: float) -> None:
    low, effect, high = sorted((a, b, c))
    bar = bar_of(finding("r", (effect, low, high), above=threshold, replicas=2, text=""))
    assert 0 <= bar.low <= bar.high <= WIDTH
    assert 0 <= bar.threshold <= WIDTH
    assert bar.arrow_left == (low == -math.inf)
    assert bar.arrow_right == (high == math.inf)
    if bar.effect is not None:
        assert bar.low <= bar.effect <= bar.high
        assert (bar.effect < bar.threshold) <= (effect < threshold)
        assert (bar.effect > bar.threshold) <= (effect > threshold)


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2."""
    c = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in c)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_contrast_is_at_least_that_of_wcag_aa(scheme: str) -> None:
    css = STYLE.read_text("utf-8")
    light, dark = (
        dict(re.findall(r"--(\S+): (#\w{6});", block))
        for block in re.findall(r":root {(.*?)}", css, re.S)[:2]
    )
    colours = light if scheme == "light" else light | dark
    grounds = {"ink": "paper", "quiet": "paper", "link": "paper"}
    pairs = [*grounds.items(), ("ink", "wash"), *((k, f"{k}-wash") for k in ("good", "part", "bad", "open"))]
    pairs += [(k, "paper") for k in ("good", "part", "bad", "open")]
    pairs += [("ink", f"{k}-wash") for k in ("good", "part", "bad", "open")]
    for text, ground in pairs:
        a, b = sorted((luminance(colours[text]), luminance(colours[ground])))
        assert (b + 0.05) / (a + 0.05) >= 4.5, (text, ground)
