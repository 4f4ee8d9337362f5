"""What the benchmarks share: contestants take turns, so that a machine that slows down slows all of them, and
each turn begins with another one, so that none always follows the same; a ratio is taken within its turn; and
what was measured is printed and stored.
"""

from __future__ import annotations

import importlib.util
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab.benchmark import FOLDER, Benchmark, Ratio, ratio_text
from core.lab.errors import one_line
from core.lab.study import Table
from core.lab.tables import text_table

Steps = Callable[[int], object]
"""Does so many steps."""


@dataclass(frozen=True)
class Times:
    """Seconds a step, by contestant and turn."""

    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        """Over the turns."""
        return median(self.seconds[name])

    def ratio(self, name: str, over: str, factor: float = 1.0) -> Ratio:
        """`factor` times the time of one over the time of another, turn by turn."""
        pairs = zip(self.seconds[name], self.seconds[over], strict=True)
        return Ratio.of([factor * a / b for a, b in pairs])


def timed(go: Steps, steps: int) -> float:
    """Seconds a step."""
    start = time.perf_counter()
    go(steps)
    return (time.perf_counter() - start) / steps


def in_turns(sides: Mapping[str, Steps], turns: int, seconds: float, *, fewest: int = 1) -> Times:
    """Each side for about `seconds` a turn, and for at least `fewest` steps."""
    counts = {name: max(fewest, _steps_for(go, seconds)) for name, go in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for _ in range(turns):
        for name in order:
            times[name].append(timed(sides[name], counts[name]))
        order = order[1:] + order[:1]
    return Times(times)


def _steps_for(go: Steps, seconds: float) -> int:
    """How many steps take about so long: counted on more and more, until they last a quarter of it."""
    steps = 1
    go(1)
    while (each := timed(go, steps)) * steps < seconds / 4:
        steps *= 2
    return max(1, int(seconds / each))


def missing_peer(package: str) -> str | None:
    """A line that says so, if a package to compare with is not installed."""
    if importlib.util.find_spec(package) is not None:
        return None
    return f"{package} is not installed: pip install -e '.[bench]'"


def failure(peer: str, attempt: Callable[[], object]) -> str | None:
    """A line that says why, if a peer fails at what it is to be timed for."""
    try:
        attempt()
    except Exception as error:  # somebody else's package may raise anything
        return f"{peer} takes no part: {type(error).__name__}: {one_line(str(error))}"
    return None


def command() -> str:
    """What was typed, without the folder for the results."""
    words = ["python", "scripts/bench/" + Path(sys.argv[0]).name]
    rest = iter(sys.argv[1:])
    for word in rest:
        if word == "--out":
            next(rest, None)
        elif not word.startswith("--out="):
            words.append(word)
    return shlex.join(words)


def finish(benchmark: Benchmark, out: Path) -> None:
    """Store the measurements where the report finds them, and print them."""
    path = benchmark.save(out / FOLDER)
    beside = list(dict.fromkeys(name for row in benchmark.rows for name in row.beside))
    rows = tuple(
        (
            row.case,
            row.contestant,
            *(row.beside.get(name, "") for name in beside),
            f"{ratio_text(row.ratio.median)} ({ratio_text(row.ratio.low)} to {ratio_text(row.ratio.high)})",
            "" if row.goal is None else ratio_text(row.goal),
        )
        for row in benchmark.rows
    )
    columns = ("case", "contestant", *beside, f"{benchmark.unit} (range)", "goal")
    print(f"{benchmark.title}\n{benchmark.machine}")
    print(text_table(Table("", columns, rows)))
    for line in benchmark.missing:
        print(line)
    print(f"stored: {path}")
