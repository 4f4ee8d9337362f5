"""The explorer in a real browser, from disk: quiet, shareable, usable by pointer and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Browser, Page

from core.lab.report import build_report
from tests.e2e.browser import launched, needs_browser, opened

pytestmark = needs_browser
STATE = (
    "problem=rosenbrock&lr=0.0004&rate=0.07&beta1=0.85&beta2=0.99&eps=0.001&decay=0.05&noise=0.5&seed=3"
    "&steps=230&start=-0.75,1.5&at=111&rules=sgd,adam,adamw"
)


@pytest.fixture(scope="module")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_report([], tmp_path_factory.mktemp("out") / "report")[0].with_name("explorer.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    complaints: list[str] = []
    page = opened(browser, complaints)
    page.set_viewport_size({"width": 1280, "height": 1400})
    page.set_default_timeout(10_000)
    yield page
    page.context.close()
    assert complaints == []


def address(page: Page) -> dict[str, str]:
    """The state in the page's address, as soon as it is the state of the page."""
    page.wait_for_function("location.hash === '#' + vhat.explorer.address()")
    return {name: values[0] for name, values in parse_qs(page.url.partition("#")[2]).items()}


def test_an_address_shows_its_state(page: Page, explorer: Path) -> None:
    page.goto(f"{explorer.as_uri()}#{STATE}")
    assert page.evaluate("vhat.explorer.address()") == STATE
    assert page.locator("[name=problem]:checked").get_attribute("value") == "rosenbrock"
    chosen = page.locator("[name=rule]:checked").evaluate_all("boxes => boxes.map(box => box.value)")
    assert chosen == ["sgd", "adam", "adamw"]
    shown = {"lr": "4e−4", "rate": "0.07", "beta2": "0.99", "eps": "0.001", "noise": "0.5", "y": "1.5"}
    for name, value in shown.items():
        assert page.locator(f"#{name}-value").inner_text() == value
    assert page.locator("#at-value").inner_text() == "111 of 230"
    page.wait_for_function("document.querySelector('#summary').textContent.includes('Rosenbrock, step 111')")


def test_on_paper_one_reads_what_was_set(page: Page, explorer: Path) -> None:
    page.goto(f"{explorer.as_uri()}#{STATE}")
    page.emulate_media(media="print")
    assert page.locator("#lr-value").inner_text() == "4e−4"
    assert page.locator("#lr-value").is_visible()
    for moved in (".slider input", "#play", "#copy", "#handle"):
        assert page.locator(moved).first.is_hidden(), moved
    rules = page.locator("#rules tbody tr").filter(visible=True).evaluate_all("rows => rows.length")
    assert rules == page.locator("[name=rule]:checked").count() == 3


def test_back_and_forward_go_through_the_states(page: Page, explorer: Path) -> None:
    page.goto(explorer.as_uri())
    page.locator("#problems label", has_text="The game xy").click()
    assert address(page)["problem"] == "xy"
    page.locator("#rate").focus()
    before = float(address(page)["rate"])
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"!location.hash.includes('rate={before:g}&')")
    assert before < float(address(page)["rate"]) < 1.1 * before
    page.go_back()
    assert float(address(page)["rate"]) == before
    page.go_back()
    page.wait_for_function("vhat.explorer.address().startsWith('problem=canyon&')")
    page.go_forward()
    assert address(page)["problem"] == "xy"
    page.locator(".things a").first.click()
    page.wait_for_function("vhat.explorer.address().startsWith('problem=turned&')")


def test_a_shared_state_survives_the_skip_to_the_content(page: Page, explorer: Path) -> None:
    page.goto(f"{explorer.as_uri()}#{STATE}")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    # Waits for the event that the link causes, and for what the page does about it.
    page.evaluate("addEventListener('hashchange', () => { window.skipped = true; })")
    page.keyboard.press("Enter")
    page.wait_for_function("window.skipped")
    assert page.evaluate("vhat.explorer.address()") == STATE
    assert page.evaluate("location.hash") == f"#{STATE}"
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def painted(page: Page) -> str:
    page.evaluate("vhat.explorer.redraw()")
    pixels: str = page.evaluate("document.querySelector('#stage').toDataURL()")
    return pixels


def test_the_start_is_dragged_by_mouse_and_moved_by_keys(page: Page, explorer: Path) -> None:
    page.goto(f"{explorer.as_uri()}#problem=canyon&start=-0.5,0.5")
    before = painted(page)
    handle = page.locator("#handle")
    box = handle.bounding_box()
    stage = page.locator("#stage").bounding_box()
    assert box is not None
    assert stage is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(stage["x"] + 0.8 * stage["width"], stage["y"] + 0.5 * stage["height"], steps=4)
    page.mouse.up()
    page.wait_for_function("!location.hash.includes('start=-0.5,0.5')")
    x, y = map(float, address(page)["start"].split(","))
    assert (x, y) == (pytest.approx(0.75, abs=0.01), pytest.approx(0.0, abs=0.01))
    assert painted(page) != before
    handle.focus()
    page.keyboard.press("ArrowUp")
    page.wait_for_function(f"!location.hash.includes('start={x:g},{y:g}&')")
    moved = tuple(map(float, address(page)["start"].split(",")))
    assert moved == (pytest.approx(x), pytest.approx(y + 0.02, abs=0.0011))


def test_the_step_that_is_looked_at_is_shown_everywhere(page: Page, explorer: Path) -> None:
    page.goto(f"{explorer.as_uri()}#problem=canyon&rules=sgd&lr=0.01&start=1,1&steps=50")
    curve = page.locator("#heights").bounding_box()
    assert curve is not None
    page.mouse.click(curve["x"] + 44 + (curve["width"] - 56) * 0.2, curve["y"] + 20)
    assert address(page)["at"] == "10"
    page.evaluate("vhat.explorer.redraw()")
    height, length = page.locator("[data-rule=sgd] td").all_inner_texts()
    # Across, a rate of 1 / curvature is there in one step; along, each step takes off a hundredth.
    assert float(height) == pytest.approx(0.5 * 0.99**20, rel=5e-3)
    assert float(length.replace("−", "-")) == pytest.approx(0.01 * 0.99**9, rel=5e-3)


def test_a_rule_that_diverges_says_when(page: Page, explorer: Path) -> None:
    page.goto(f"{explorer.as_uri()}#problem=canyon&rules=sgd,adam&lr=1&start=1,0&steps=50")
    page.evaluate("vhat.explorer.redraw()")
    # |1 - 100|^t passes a billion in step 5.
    assert page.locator("[data-rule=sgd] td").first.inner_text() == "diverges at 5"
    page.wait_for_function(
        "document.querySelector('#summary').textContent.includes('Gradient descent diverged at step 5')"
    )


@pytest.mark.parametrize("width", [1280, 360])
def test_it_is_made_for_everybody(page: Page, explorer: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(explorer.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    nameless = "inputs => inputs.filter(i => i.labels.length === 0 && !i.ariaLabel).map(i => i.id)"
    assert page.locator("input").evaluate_all(nameless) == []
    assert page.locator("main button, main canvas").evaluate_all(
        "nodes => nodes.every(n => n.ariaHidden === 'true' || n.ariaLabel || n.textContent.trim())"
    )
    ids = page.locator("[id]").evaluate_all("nodes => nodes.map(n => n.id)")
    assert len(ids) == len(set(ids))


def test_nothing_plays_where_motion_is_not_wanted(browser: Browser, explorer: Path) -> None:
    complaints: list[str] = []
    for motion in (True, False):
        page = opened(browser, complaints, motion=motion)
        page.goto(explorer.as_uri())
        assert page.locator("#play").is_visible() == motion
        page.context.close()
    assert complaints == []


def test_it_plays_and_pauses(page: Page, explorer: Path) -> None:
    page.goto(explorer.as_uri())
    page.locator("#play").click()
    assert page.locator("#play").inner_text() == "Pause"
    page.wait_for_function("Number(document.querySelector('#at').value) > 3")
    page.locator("#play").click()
    assert page.locator("#play").inner_text() == "Play"
    assert 0 < int(address(page)["at"]) < 120


def test_the_theme_follows_the_system(page: Page, explorer: Path) -> None:
    page.goto(explorer.as_uri())
    light = painted(page)
    page.emulate_media(color_scheme="dark")
    # The page's colours and its canvas learn of it one after the other.
    page.wait_for_function("getComputedStyle(document.body).backgroundColor !== 'rgb(255, 255, 255)'")
    other = "light => (vhat.explorer.redraw(), document.querySelector('#stage').toDataURL() !== light)"
    page.wait_for_function(other, arg=light)
