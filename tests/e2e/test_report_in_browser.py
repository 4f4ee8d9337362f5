"""The report in a real browser, from disk: nothing breaks, nothing asks for a network."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from core.lab.report import build_report
from tests.e2e.browser import launched, needs_browser, opened
from tests.lab import synthetic_study as synthetic


@needs_browser
def test_the_report_opens_from_disk_without_a_word_of_complaint(tmp_path: Path) -> None:
    index, _ = build_report(synthetic.entries(), tmp_path / "report")
    complaints: list[str] = []
    with launched() as browser:
        for dark in (False, True):
            for width in (1280, 390):
                page = opened(browser, complaints, dark=dark, width=width)
                look_at_all(page, index, dark=dark)
                page.context.close()
        page = opened(browser, complaints)
        go_by_keyboard(page, index)
    assert not complaints


def look_at_all(page: Page, index: Path, *, dark: bool) -> None:
    """Images are there, nothing is wider than the window, the style sheet is in use."""
    paths = sorted(index.parent.rglob("*.html"))
    assert len(paths) == 5
    for path in paths:
        page.goto(path.as_uri(), wait_until="load")
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)"), path.name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path.name
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (not dark)


def go_by_keyboard(page: Page, index: Path) -> None:
    """From the first page to a study and back."""
    page.goto(index.as_uri())
    for _ in range(3):  # the skip link, the explorer, then the first study
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/studies/synthetic.html")
    assert page.locator("h1").inner_text() == synthetic.STUDY.title
    for _ in range(2):  # the skip link, then the way back
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/index.html")
