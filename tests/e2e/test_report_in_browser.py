"""The report in a real browser, from disk: nothing breaks, nothing asks for a network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from core.lab.report import build_report
from tests.lab import synthetic_study as synthetic

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on the PATH: install one of them"
)
def test_the_report_opens_from_disk_without_a_word_of_complaint(tmp_path: Path) -> None:
    index, _ = build_report(synthetic.entries(), tmp_path / "report")
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        for dark in (False, True):
            for width in (1280, 390):
                page = opened(browser, complaints, dark=dark, width=width)
                look_at_all(page, index, dark=dark)
                page.context.close()
        page = opened(browser, complaints, dark=False, width=1280)
        go_by_keyboard(page, index)
        browser.close()
    assert not complaints


def opened(browser: Browser, complaints: list[str], *, dark: bool, width: int) -> Page:
    """A page whose every error, dialog and request to anywhere but the disk is written down."""
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light"
    )
    page = context.new_page()

    def asked(url: str) -> None:
        if not url.startswith(("file:", "data:,")):
            complaints.append(url)

    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: asked(request.url))
    return page


def look_at_all(page: Page, index: Path, *, dark: bool) -> None:
    """Images are there, nothing is wider than the window, the style sheet is in use."""
    paths = sorted(index.parent.rglob("*.html"))
    assert len(paths) == 4
    for path in paths:
        page.goto(path.as_uri(), wait_until="load")
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)"), path.name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path.name
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (not dark)


def go_by_keyboard(page: Page, index: Path) -> None:
    """From the first page to a study and back."""
    page.goto(index.as_uri())
    for _ in range(2):  # the skip link, then the first study
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/studies/synthetic.html")
    assert page.locator("h1").inner_text() == synthetic.STUDY.title
    for _ in range(2):  # the skip link, then the way back
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/index.html")
