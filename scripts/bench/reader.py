"""How long a reader waits: for a frame of the explorer while something is dragged, and for the whole report.

A frame: the state changes, all paths are computed anew and everything is drawn, pixels included, in headless
Chromium on the processor alone, with all ten rules and the longest runs that the page allows. Counted as a
part of the 16.7 ms that a screen of 60 Hz leaves.

The report: `vhat report` in a process of its own on the results that lie in the folder named by --out, from
the command's start to its end. Counted as a part of 30 seconds. Left out where no results lie there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

import torch
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab.benchmark import Benchmark, Measured, Ratio
from core.lab.errors import VhatError
from core.lab.report import build_report
from core.lab.results import RESULTS
from core.lab.terminal import guarded
from scripts.bench.timing import command, failure, finish

FRAME_MS, REPORT_S = 1000.0 / 60.0, 30.0
FRAMES = 40
_DRAG = """
(frames) => {
  const stage = document.querySelector('#stage').getContext('2d');
  const rules = vhat.rules.map((r) => r.id);
  const spent = [];
  for (let i = 0; i < frames; i++) {
    const begin = performance.now();
    vhat.explorer.change({ rules, steps: 600, at: 600, noise: 0.1, lr: 0.001 * (1 + i / frames) }, false);
    vhat.explorer.redraw();
    stage.getImageData(0, 0, 1, 1);  // waits until it is drawn
    spent.push(performance.now() - begin);
  }
  return spent;
}
"""


@dataclass
class Args:
    """Time of a frame of the explorer, and of a report."""

    plan: Literal["tiny", "quick", "full"] = "quick"
    """of the stored results"""
    turns: int = 3
    """how often each is measured"""
    out: Path = field(default_factory=lambda: Path("out"))
    """folder of the results and the report"""


def frames(turns: int) -> list[Measured]:
    """A row a landscape: the median frame of each turn.

    Raises:
        VhatError: without a browser.
    """
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise VhatError("no chromium, chromium-browser or google-chrome on the PATH: install one of them")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        index, _ = build_report([], Path(folder) / "report")
        page.goto(index.with_name("explorer.html").as_uri())
        spent: dict[str, list[list[float]]] = {}
        for _ in range(turns):
            for problem in page.evaluate("vhat.problems.map((p) => p.id)"):
                page.evaluate("(problem) => vhat.explorer.change(vhat.shown(problem), false)", problem)
                spent.setdefault(problem, []).append(page.evaluate(_DRAG, FRAMES))
        browser.close()
    return [
        Measured(
            "a frame of the explorer",
            problem,
            Ratio.of([median(turn) / FRAME_MS for turn in own]),
            1.0,
            {"median": f"{median(map(median, own)):.1f} ms", "slowest": f"{max(map(max, own)):.1f} ms"},
        )
        for problem, own in spent.items()
    ]


def report(args: Args) -> list[Measured]:
    """One row.

    Raises:
        VhatError: if there is nothing to report.
    """
    if not (args.out / RESULTS).is_file():
        raise VhatError(f"no results lie in {args.out}: run make reproduce first")
    line = [sys.executable, "-m", "core.cli", "report", f"--{args.plan}", "--out", str(args.out)]
    seconds = []
    for _ in range(args.turns):
        start = time.perf_counter()
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode:
            raise VhatError(done.stderr.strip())
        seconds.append(time.perf_counter() - start)
    ratio = Ratio.of([s / REPORT_S for s in seconds])
    beside = {"median": f"{median(seconds):.1f} s", "slowest": f"{max(seconds):.1f} s"}
    return [Measured("the report", f"all studies, {args.plan} plan", ratio, 1.0, beside)]


def main(args: Args) -> None:
    """Measure, print and store."""
    torch.set_num_threads(1)
    rows: list[Measured] = []
    parts = {"explorer": lambda: frames(args.turns), "report": lambda: report(args)}
    missing = [failure(name, lambda part=part: rows.extend(part())) for name, part in parts.items()]
    benchmark = Benchmark(
        name="reader",
        title="What a reader waits for",
        about=(
            "A frame of the explorer while something is dragged: all ten rules, 600 steps, paths computed "
            "and pixels drawn anew, in headless Chromium without a graphics card, as a part of the 16.7 ms "
            "of a screen of 60 Hz. And the whole report from stored results, from the command's start to "
            "its end, as a part of 30 seconds."
        ),
        unit="time allowed = 1",
        faster="down",
        rows=tuple(rows),
        turns=args.turns,
        command=command(),
        missing=tuple(line for line in missing if line is not None),
    )
    finish(benchmark, args.out)


if __name__ == "__main__":
    arguments = tyro.cli(Args, description=__doc__)
    sys.exit(guarded(lambda: main(arguments)))
