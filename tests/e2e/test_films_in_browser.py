"""Films in a real browser, from disk: still without scripts, calm where that is wanted, played by keys."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from core.lab.films import FilmSpec
from core.lab.report import build_report
from core.lab.study import Results
from tests.e2e.browser import launched, needs_browser, opened
from tests.e2e.circle import FRAMES, STILL, draw_circle
from tests.lab import synthetic_study as synthetic

pytestmark = needs_browser


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with two films, the second far below the first."""
    films = tuple(
        FilmSpec(name, f"The {name} film.", "A circle is drawn.", draw_circle) for name in ("one", "two")
    )
    own = dataclasses.replace(synthetic.STUDY, figures=(), tables=lambda _: (), films=films)
    entry = dataclasses.replace(synthetic.entries()[0], study=own, results=Results(synthetic.PLAN, {}))
    index, problems = build_report([entry], tmp_path_factory.mktemp("out") / "report")
    assert problems == ()
    return index.parent / "studies" / "synthetic.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


def shown(page: Page, film: int = 1) -> tuple[int, str, list[str]]:
    """The frame of the slider, the words beside it, and the path data."""
    figure = page.locator(f"#film-{film}")
    paths = figure.locator(".moving path").evaluate_all("paths => paths.map(p => p.getAttribute('d'))")
    words = figure.locator("output").text_content() or ""
    assert words == figure.locator("input").get_attribute("aria-valuetext")
    return int(figure.locator("input").input_value()), words, paths


def frames(page: Page) -> list[list[str]]:
    """All frames' path data, from the film's own numbers."""
    film: dict[str, Any] = json.loads(page.locator("#film-1 script").text_content() or "")
    return [
        [
            whole[:part] if isinstance(part, int) else part
            for whole, part in zip(film["longest"], moves, strict=True)
        ]
        for moves in film["moves"]
    ]


def settled(page: Page, film: int = 1) -> None:
    page.wait_for_function(
        f"document.querySelector('#film-{film} button').textContent === 'Play'"
        f" && document.querySelector('#film-{film} input').value === '{FRAMES - 1}'"
    )


@pytest.fixture
def still(browser: Browser, study: Path) -> Iterator[Page]:
    """The page for a reader who does not want motion."""
    complaints: list[str] = []
    page = opened(browser, complaints, motion=False)
    page.set_default_timeout(10_000)
    page.goto(study.as_uri())
    yield page
    page.context.close()
    assert complaints == []


def test_without_scripts_the_still_is_shown_and_nothing_that_does_not_work(
    browser: Browser, study: Path
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(study.as_uri())
    assert page.locator("#film-1 img").is_visible()
    assert page.locator("#film-1 .moving").is_visible()
    assert page.locator("#film-1 .controls").is_hidden()
    assert page.locator("#film-1 .still-only").inner_text() == f"The picture stands at step {10 * STILL}."
    still = [page.locator("#film-1 .moving path").nth(k).get_attribute("d") for k in range(2)]
    context.close()
    complaints: list[str] = []
    with_scripts = opened(browser, complaints, motion=False)
    with_scripts.goto(study.as_uri())
    assert still == frames(with_scripts)[STILL]
    with_scripts.context.close()


def test_nothing_moves_by_itself_where_motion_is_not_wanted(still: Page) -> None:
    for film in (1, 2):
        still.locator(f"#film-{film}").scroll_into_view_if_needed()
        still.wait_for_timeout(400)
        assert shown(still, film)[0] == STILL


def test_it_plays_once_by_itself_when_it_is_seen_and_ends_by_itself(browser: Browser, study: Path) -> None:
    complaints: list[str] = []
    page = opened(browser, complaints)
    page.set_default_timeout(10_000)
    page.set_viewport_size({"width": 1280, "height": 500})
    page.goto(study.as_uri())
    assert shown(page, 2)[0] == STILL, "it is not in view yet"
    page.locator("#film-1 .screen").evaluate("node => node.scrollIntoView({block: 'center'})")
    settled(page)
    assert shown(page)[0] == FRAMES - 1
    page.evaluate("scrollTo(0, 0)")
    page.locator("#film-1 .screen").evaluate("node => node.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(400)
    assert shown(page)[0] == FRAMES - 1
    page.context.close()
    assert complaints == []


def test_it_is_played_and_paused_by_keys(still: Page) -> None:
    button = still.locator("#film-1 button")
    button.focus()
    still.keyboard.press("Enter")
    assert button.inner_text() == "Pause"
    still.wait_for_function("Number(document.querySelector('#film-1 input').value) > 15")
    still.keyboard.press("Space")
    assert button.inner_text() == "Play"
    at, words, paths = shown(still)
    assert words == f"step {10 * at}"
    assert paths == frames(still)[at]
    still.wait_for_timeout(400)
    assert shown(still)[0] == at
    still.keyboard.press("Enter")
    settled(still)
    still.keyboard.press("Enter")  # from the end it starts again
    still.wait_for_function("Number(document.querySelector('#film-1 input').value) < 10")


def test_every_frame_is_reached_by_keys(still: Page) -> None:
    expected = frames(still)
    slider = still.locator("#film-1 input")
    slider.focus()
    still.keyboard.press("Home")
    for frame in range(FRAMES):
        assert shown(still) == (frame, f"step {10 * frame}", expected[frame])
        still.keyboard.press("ArrowRight")
    still.keyboard.press("End")
    assert shown(still)[0] == FRAMES - 1


def test_the_slider_stops_a_film_that_plays(still: Page) -> None:
    still.locator("#film-1 button").click()
    still.locator("#film-1 input").focus()
    still.keyboard.press("Home")
    assert still.locator("#film-1 button").inner_text() == "Play"
    still.wait_for_timeout(300)
    assert shown(still)[0] == 0


def test_paper_shows_the_still_and_no_controls(still: Page) -> None:
    still.locator("#film-1 button").click()
    still.evaluate("dispatchEvent(new Event('beforeprint'))")
    still.emulate_media(media="print")
    assert shown(still)[0] == STILL
    assert still.locator("#film-1 .controls").is_hidden()
    assert still.locator("#film-1 .still-only").is_visible()
    assert still.locator("#film-1 .moving").is_visible()


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True)])
def test_what_moves_lies_on_what_stands_still(browser: Browser, study: Path, width: int, dark: bool) -> None:
    complaints: list[str] = []
    page = opened(browser, complaints, width=width, dark=dark, motion=False)
    page.goto(study.as_uri())
    ground, above = (page.locator(f"#film-1 {part}").bounding_box() for part in ("img", ".moving"))
    assert ground is not None
    assert above is not None
    assert all(abs(ground[side] - above[side]) < 1 for side in ("x", "y", "width", "height"))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for control in ("button", "input"):
        box = page.locator(f"#film-1 {control}").bounding_box()
        assert box is not None
        assert box["height"] >= 24
        assert 0 <= box["x"] <= box["x"] + box["width"] <= width
    page.context.close()
    assert complaints == []
