"""The report's pages: complete, linked, self-contained, escaped, made for everybody; a failing figure does
not stop them."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from core.lab.report import build_report
from core.lab.study import Table
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
    main = Page(report / "studies" / "synthetic.html").all("img")[0]
    assert [(f"../{image['src']}", image["alt"]) for image in small] == [(main["src"], main["alt"])]


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


@pytest.mark.parametrize("rows", [12, 13])
def test_a_long_table_is_folded_under_its_caption(rows: int, tmp_path: Path) -> None:
    table = Table("Of <every> row", ("row", "square"), tuple((str(i), str(i**2)) for i in range(rows)))
    entry = synthetic.entries()[0]
    entry = dataclasses.replace(entry, study=dataclasses.replace(entry.study, tables=lambda _: (table,)))
    index, _ = build_report([entry], tmp_path / "report")
    path = index.parent / "studies" / "synthetic.html"
    summaries = re.findall(r"<summary>(.*?)</summary>", path.read_text("utf-8"))
    folded = f'Of &lt;every&gt; row <span class="count">{rows} rows</span>'
    assert (folded in summaries) == (rows > 12)
    assert table.caption in Page(path).text
    assert f"{(rows - 1) ** 2}" in Page(path).text


def test_a_figure_without_its_words_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> tuple[()]:
        raise OverflowError("no words")

    monkeypatch.setattr("core.lab.report.material.words_of", fail)
    index, problems = build_report(synthetic.entries()[:1], tmp_path / "report")
    assert "study 'synthetic': figure 'effects' in numbers failed: OverflowError: no words" in problems
    page = Page(index.parent / "studies" / "synthetic.html")
    assert "effects" in {Path(image["src"]).stem for image in page.all("img")}
    assert all(line in page.text for line in problems if line.startswith("study"))


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
