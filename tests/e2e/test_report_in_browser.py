"""The report in a real browser, from disk: nothing breaks, nothing asks for a network, all can read it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from core.lab.films import FilmSpec
from core.lab.report import build_report
from core.lab.trust import standings
from tests.e2e.browser import launched, needs_browser, opened
from tests.e2e.circle import draw_circle
from tests.lab import synthetic_study as synthetic
from tests.lab.test_benchmark import benchmark
from tests.lab.test_trust import trial

pytestmark = needs_browser
LISTING = "source/tests/lab/synthetic_study.py"
PAGES = (
    *("index", "explorer", "benchmarks", "trust", LISTING),
    *("studies/synthetic", "studies/broken", "studies/never"),
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of page: a film, benchmarks, promises kept, broken and not tried, listings."""
    made = synthetic.entries()
    film = FilmSpec("circle", "A film of a circle.", "A circle is drawn.", draw_circle)
    made[0] = dataclasses.replace(made[0], study=dataclasses.replace(synthetic.STUDY, films=(film,)))
    promises = standings([trial(), trial(promise="damage", test="tests/a.py::damage", passed=False)])
    place = tmp_path_factory.mktemp("out") / "report"
    return build_report(made, place, [benchmark(), benchmark("two", title="Another", faster="up")], promises)[
        0
    ].parent


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


def unfold(page: Page) -> None:
    """What is folded is read too."""
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")


def test_these_are_all_pages(report: Path) -> None:
    found = {p.relative_to(report).with_suffix("").as_posix() for p in report.rglob("*.html")}
    listings = {name for name in found if name.startswith("source/")}
    assert found - listings == set(PAGES) - {LISTING}
    assert LISTING in listings


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_every_page_opens_without_a_complaint_and_fits(
    browser: Browser, report: Path, width: int, dark: bool
) -> None:
    complaints: list[str] = []
    page = opened(browser, complaints, dark=dark, width=width)
    for name in PAGES:
        page.goto((report / f"{name}.html").as_uri(), wait_until="load")
        unfold(page)
        # What is far down is loaded when one comes to it.
        page.evaluate("[...document.images].forEach(i => { i.loading = 'eager'; })")
        page.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (not dark)
    page.context.close()
    assert complaints == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_to_mend(browser: Browser, report: Path, width: int, dark: bool) -> None:
    """Contrast, names, alternative texts, landmarks, headings, tables: axe-core with all its rules."""
    page = opened(browser, [], dark=dark, width=width)
    for name in PAGES:
        page.goto((report / f"{name}.html").as_uri(), wait_until="load")
        unfold(page)
        found = Axe().run(page)
        assert found.violations_count == 0, f"{name}:\n{found.generate_report()}"
    page.context.close()


def test_axe_would_find_it(browser: Browser, report: Path) -> None:
    page = opened(browser, [])
    page.goto((report / "index.html").as_uri())
    page.evaluate("document.querySelector('img').alt = ''; document.querySelector('th a').textContent = ''")
    page.evaluate("document.querySelector('h1').style.color = '#ddd'")
    found = {v["id"] for v in Axe().run(page).response["violations"]}
    assert {"color-contrast", "link-name"} <= found
    page.context.close()


def test_figures_say_what_they_show(browser: Browser, report: Path) -> None:
    """More than axe asks: no alternative text is the caption again, or a file's name."""
    page = opened(browser, [])
    for name in PAGES:
        page.goto((report / f"{name}.html").as_uri())
        figures = page.locator("figure:has(img)").evaluate_all(
            "nodes => nodes.map(n => [n.querySelector('img').alt, n.querySelector('figcaption').innerText])"
        )
        for alt, caption in figures:
            assert len(alt) > 10
            assert alt not in caption
            assert ".svg" not in alt
    page.context.close()


def test_a_screen_reader_is_told_what_a_figure_shows(browser: Browser, report: Path) -> None:
    """Nothing around a picture takes the place of its alternative text."""
    page = opened(browser, [])
    page.goto((report / "studies" / "synthetic.html").as_uri())
    images = page.locator("figure img")
    assert images.count() > 3
    for image in images.all():
        alt = image.get_attribute("alt") or ""
        assert page.get_by_role("main").get_by_role("img", name=alt, exact=True).count() == 1
        assert image.evaluate("node => node.closest('a, button') === null")
    alone = page.get_by_role("link", name="Figure 1 by itself", exact=True)
    assert alone.get_attribute("href") == images.first.get_attribute("src")
    page.context.close()


def test_a_figure_is_read_in_numbers(browser: Browser, report: Path) -> None:
    """Folded until one asks; then a table that names its panel, each row with its head."""
    page = opened(browser, [])
    page.goto((report / "studies" / "synthetic.html").as_uri())
    figure = page.locator("figure", has=page.get_by_alt_text("A row a regime.", exact=True))
    fold = figure.locator("xpath=following-sibling::*[1]")
    assert fold.locator("summary").inner_text().startswith("Figure ")
    table = fold.get_by_role("table")
    assert not table.is_visible()
    fold.locator("summary").click()
    assert table.is_visible()
    row = table.get_by_role("row", name="along the axes")
    assert row.get_by_role("rowheader").inner_text() == "along the axes [x]"
    assert row.get_by_role("cell").inner_text() == "0.42 [0.31, 0.58]"
    page.context.close()


def test_one_goes_through_it_by_keyboard(browser: Browser, report: Path) -> None:
    """From the first page to a study and back; the first stop skips to the content."""
    page = opened(browser, [])
    page.goto((report / "index.html").as_uri())
    page.keyboard.press("Tab")
    assert focused(page) == "#content"
    tab_to(page, "studies/synthetic.html")
    page.keyboard.press("Enter")
    page.wait_for_url("**/studies/synthetic.html")
    assert page.locator("h1").inner_text() == synthetic.STUDY.title
    tab_to(page, "../index.html")
    page.keyboard.press("Enter")
    page.wait_for_url("**/index.html")
    page.context.close()


def test_a_source_link_leads_to_its_line(browser: Browser, report: Path) -> None:
    page = opened(browser, [], width=360)
    page.goto((report / "studies" / "synthetic.html").as_uri())
    page.locator(".sources a", has_text="synthetic_study.py").first.click()
    page.wait_for_url("**/source/**")
    line = page.locator(":target")
    assert line.inner_text().startswith("STUDY = Study(")
    assert 0 <= line.bounding_box()["y"] <= 800  # type: ignore[index]
    page.context.close()


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.getAttribute('href') ?? document.activeElement.id"))


def tab_to(page: Page, target: str, most: int = 40) -> None:
    for _ in range(most):
        page.keyboard.press("Tab")
        if focused(page) == target:
            return
    raise AssertionError(f"{target} is not reached by {most} presses of Tab")


def shown(page: Page) -> list[str]:
    """Titles of the claims that are seen."""
    rows = page.locator("tr[data-verdict]").filter(visible=True)
    return rows.locator("th a").all_inner_texts()


def test_claims_are_filtered_by_keyboard_and_without_a_script(browser: Browser, report: Path) -> None:
    page = opened(browser, [])
    page.goto((report / "index.html").as_uri())
    everything = [entry.study.title for entry in synthetic.entries()]
    assert page.locator("script").count() == 0
    assert shown(page) == everything
    tab_to(page, "only-domain-0")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "only-domain-1"
    assert shown(page) == everything[:2]
    tab_to(page, "only-any")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "only-conditional"
    assert shown(page) == everything[:1]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    # A study that was not run, in a domain that is not shown: no heading is left over.
    assert focused(page) == "only-not-run"
    assert shown(page) == []
    assert page.locator("section.group").filter(visible=True).count() == 0
    page.get_by_label("all").first.check()
    assert shown(page) == everything[2:]
    page.context.close()


def test_it_prints(browser: Browser, report: Path) -> None:
    """On A4: nothing is cut at the side, links are written out, and what only a screen needs is left out."""
    page = opened(browser, [], width=700)
    page.emulate_media(media="print")
    for name in PAGES:
        page.goto((report / f"{name}.html").as_uri())
        if name != "explorer":
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    page.goto((report / "index.html").as_uri())
    assert page.locator(".filters").is_hidden()
    link = "getComputedStyle(document.querySelector('main th a'), '::after').content"
    assert "studies/synthetic.html" in page.evaluate(link) or "attr(href)" in page.evaluate(link)
    page.goto((report / "studies" / "synthetic.html").as_uri())
    cut = "nodes => nodes.filter(n => n.getBoundingClientRect().right > innerWidth + 1).map(n => n.src)"
    assert page.locator("figure img").evaluate_all(cut) == []
    kept = "nodes => nodes.every(n => getComputedStyle(n).breakInside === 'avoid')"
    assert page.locator("figure, tr").evaluate_all(kept)
    # A long table is printed whole, though on screen it is folded.
    height = "node => node.getBoundingClientRect().height"
    last = page.locator("details.long:not([open]) tr").last
    assert last.evaluate(height) > 0
    page.emulate_media(media="screen")
    assert not last.evaluate("node => node.checkVisibility()")
    page.emulate_media(media="print")
    assert page.pdf(format="A4")[:5] == b"%PDF-"
    page.context.close()
