"""The portfolio's page in a real browser, from disk: nothing breaks, nothing asks for a network, all can read
it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.e2e.browser import launched, needs_browser, opened
from tests.script_modules import script_module

pytestmark = needs_browser
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "finance.py"
TICKERS = ("CALM", "BRK-B", "WILD", "A$B_C", "SOME", "MORE")
looks = pytest.mark.parametrize(
    ("width", "dark"), [(1280, False), (1280, True), (360, False), (360, True)], ids=str
)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    moves = 0.02 * np.random.default_rng(5).standard_normal((400, len(TICKERS))) + 0.001
    days = np.busday_offset("2021-01-04", np.arange(400), roll="forward")
    lines = [
        f"{day},{','.join(f'{price:.6f}' for price in row)}"
        for day, row in zip(days, 100 * np.cumprod(1 + moves, axis=0), strict=True)
    ]
    own = folder / "own.csv"
    own.write_text("date," + ",".join(TICKERS) + "\n" + "\n".join(lines) + "\n")
    script = script_module(SCRIPT)
    script.main(script.Args(csv=own, upper=0.5, risk_free=0.02, out=folder / "made"))
    return folder / "made" / "tearsheet.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@looks
def test_the_page_opens_without_a_complaint_and_fits(
    browser: Browser, page_file: Path, width: int, dark: bool
) -> None:
    complaints: list[str] = []
    page = opened(browser, complaints, dark=dark, width=width)
    page.goto(page_file.as_uri(), wait_until="load")
    page.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.evaluate("document.images.length") == 6
    assert page.evaluate("[...document.images].every(i => i.src.startsWith('data:image/svg+xml'))")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (not dark)
    page.context.close()
    assert [url for url in complaints if not url.startswith("data:")] == []


@looks
def test_axe_finds_nothing_to_mend(browser: Browser, page_file: Path, width: int, dark: bool) -> None:
    page = opened(browser, [], dark=dark, width=width)
    page.goto(page_file.as_uri(), wait_until="load")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.context.close()


def test_axe_would_find_it(browser: Browser, page_file: Path) -> None:
    page = opened(browser, [])
    page.goto(page_file.as_uri())
    page.evaluate("document.querySelector('img').removeAttribute('alt')")
    page.evaluate("document.querySelector('h1').style.color = '#eee'")
    found = {v["id"] for v in Axe().run(page).response["violations"]}
    assert {"color-contrast", "image-alt"} <= found
    page.context.close()


def test_what_stands_in_the_tables_is_what_was_made(browser: Browser, page_file: Path) -> None:
    page = opened(browser, [])
    page.goto(page_file.as_uri())
    cells = page.evaluate("[...document.querySelectorAll('tbody th')].map(cell => cell.textContent)")
    assert set(TICKERS) <= set(cells)
    caption = page.evaluate("[...document.querySelectorAll('caption')].map(c => c.textContent).join(' ')")
    assert caption.count("2% a year taken off") == 2
    assert page.evaluate("[...document.images].every(i => i.alt.length > 20)")
    page.context.close()
