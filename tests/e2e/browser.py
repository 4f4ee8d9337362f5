"""A browser for tests: pages whose every complaint is written down, and JavaScript by itself."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NODE = shutil.which("node")
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
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on the PATH: install one of them"
)
needs_javascript = pytest.mark.skipif(
    CHROMIUM is None and NODE is None, reason="neither node nor chromium on the PATH: install one of them"
)


@contextmanager
def launched() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def opened(
    browser: Browser, complaints: list[str], *, dark: bool = False, width: int = 1280, motion: bool = True
) -> Page:
    """A page whose every error, dialog and request to anywhere but the disk is written down."""
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if dark else "light",
        reduced_motion="no-preference" if motion else "reduce",
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


def javascript(files: Sequence[Path], expression: str, data: object = None) -> Any:
    """What an expression of `data` gives after these files have run: by node if there is one, else by a
    browser. Numbers keep all their digits on the way."""
    sources = [path.read_text("utf-8") for path in files]
    if NODE is None:
        with launched() as browser:
            page = browser.new_page()
            for source in sources:
                page.add_script_tag(content=source)
            return json.loads(page.evaluate(f"data => JSON.stringify({expression})", data))
    script = "\n".join(
        [*sources, f"const data = {json.dumps(data)};", f"console.log(JSON.stringify({expression}));"]
    )
    done = subprocess.run([NODE, "-"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
