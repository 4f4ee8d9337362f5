r"""How large Adam's steps can be, and are: bounds, measured sizes, findings, figure and table of `memory`.

Bounds. With `q = beta1^2 / beta2`, Cauchy and Schwarz give for every stream of gradients (eps = 0, long after
the start; before it the corrected step is bounded by no more)

.. math::
    \frac{|m_t|}{\sqrt{v_t}} \le \frac{1-\beta_1}{\sqrt{1-\beta_2}} \frac{1}{\sqrt{1-q}} \quad (q < 1),

with equality for gradients that grow by beta2 / beta1 a step; for q >= 1 there is no bound. Kingma and Ba
(2015, section 2.1) state `(1-beta1)/sqrt(1-beta2)` where this exceeds 1, and 1 elsewhere: exact for beta1 = 0
and for a lone gradient after long silence, but not for a burst of them.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import torch
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.measurement import Cell
from core.lab.random import Keys
from core.lab.study import Results, Table
from core.lab.tables import number
from core.lab.verdict import Finding, finding
from core.optim.rules import RULES
from core.problems.streams import follow
from core.studies.memory_settings import (
    BETA1,
    BETA2,
    COORDINATES,
    LONG,
    PAIRS,
    SHORT,
    STREAMS,
    by_seed,
    tiled,
)

EDGES = np.arange(-6.0, 9.01, 0.1)
"""Of the histogram, decimal logarithms of a step's size over lr; the outer bins take what lies beyond."""
STEADIER = f"the largest step is smaller with beta2 = {LONG:g} than with beta2 = 0"
BOUNDED = "the largest step keeps Kingma and Ba's bound"


def paper_bound(beta1: float, beta2: float) -> float:
    """Kingma and Ba's bound on a step over lr, with its two cases."""
    return max(1.0, (1 - beta1) / math.sqrt(1 - beta2))


def sharp_bound(beta1: float, beta2: float) -> float:
    """The least bound on a step over lr (module docstring); infinite where there is none."""
    if beta1 == 0:
        return 1 / math.sqrt(1 - beta2)
    if beta1**2 >= beta2:
        return math.inf
    return (1 - beta1) / math.sqrt((1 - beta2) * (1 - beta1**2 / beta2))


def step_sizes(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:
    """The sizes of Adam's steps over lr along a stream, for every pair of betas.

    Returns:
        `largest` `[R, pairs]`; `counts` `[R, pairs, bins]`, a histogram over steps and coordinates.
    """
    rows, hyper = tiled(keys, device)
    gradients = (g[rows] for g in STREAMS[cell["stream"]].gradients(keys, cell["steps"], COORDINATES))
    edges = torch.tensor(EDGES[1:-1], dtype=torch.float64, device=device)
    bins = len(EDGES) - 1
    largest = torch.zeros(len(rows), dtype=torch.float64, device=device)
    counts = torch.zeros(len(rows), bins, dtype=torch.int64, device=device)
    one = torch.ones(len(rows), COORDINATES, dtype=torch.int64, device=device)
    for descent, _ in follow(RULES["adam"], gradients, **hyper):
        size = descent.abs()
        largest = torch.maximum(largest, size.amax(dim=1))
        counts.scatter_add_(1, torch.bucketize(size.log10(), edges), one)
    return {"largest": by_seed(largest, len(keys)), "counts": by_seed(counts, len(keys))}


def largest_step(results: Results, stream: str, beta1: float, beta2: float) -> Array:
    """`[seeds]`: the largest step over lr of a run."""
    found = results.measurement("sizes").only(stream=stream)["largest"]
    largest: Array = found[:, PAIRS.index((beta1, beta2))]
    return largest


def steadier_findings(results: Results) -> list[Finding]:
    """Does long memory make the largest step smaller?"""
    return [
        finding(
            f"{stream}, beta1 = {beta1:g}",
            stats.ratio(
                largest_step(results, stream, beta1, LONG),
                largest_step(results, stream, beta1, SHORT),
                "median",
            ),
            below=1.0,
            replicas=results.plan.reporting_seeds,
            text=STEADIER,
            unit="x the step",
        )
        for stream in list(STREAMS)[1:]
        for beta1 in BETA1
    ]


def bound_findings(results: Results) -> list[Finding]:
    """The largest step over the paper's bound, with Adam's usual beta2 and with none."""
    # Rounding may put a step that reaches the bound just above it.
    return [
        finding(
            f"{stream}, beta1 = {beta1:g}, beta2 = {beta2:g}",
            stats.interval(largest_step(results, stream, beta1, beta2) / paper_bound(beta1, beta2), "median"),
            below=1.0 + 1e-6,
            replicas=results.plan.reporting_seeds,
            text=BOUNDED,
            unit="x the bound",
            decisive=False,
        )
        for beta2 in (SHORT, LONG)
        for stream in STREAMS
        for beta1 in BETA1
    ]


def _shares(results: Results, stream: str, pair: tuple[float, float]) -> Array:
    """The share of steps in each bin of the histogram."""
    counts = results.measurement("sizes").only(stream=stream)["counts"][:, PAIRS.index(pair)].sum(axis=0)
    shares: Array = counts / counts.sum()
    return shares


def draw_distribution(results: Results) -> Figure:
    """How often a step is larger than a size, for every beta2, with beta1 = 0 and 0.9, stream by stream."""
    names = [s for s in STREAMS if s != "steady"]
    betas = (0.0, 0.9)
    figure, panels = figures.new_figure(rows=2, columns=3, height=6.0, width=10.8)
    looks = figures.lines([f"beta2 {b:g}" for b in BETA2])
    for axes, (beta1, stream) in zip(panels, product(betas, names), strict=True):
        for beta2 in BETA2:
            beyond = np.cumsum(_shares(results, stream, (beta1, beta2))[::-1])[::-1]
            seen, label = beyond > 0, f"beta2 = {beta2:g}"
            look = looks[f"beta2 {beta2:g}"]
            axes.plot(10 ** EDGES[:-1][seen], beyond[seen], **look, markevery=15, label=label)
        axes.axvline(
            paper_bound(beta1, LONG), color="black", linewidth=1.1, linestyle=":", label="bound of the paper"
        )
        axes.axvline(
            sharp_bound(beta1, LONG), color="black", linewidth=1.1, linestyle="--", label="sharp bound"
        )
        title = f"{stream}, beta1 = {beta1:g}"
        figures.label(axes, x="step / lr", y="share of larger steps", title=title, log="xy")
        axes.set_xlim(left=1e-3)
    figures.legend_below(figure)
    return figure


def largest_table(results: Results) -> Table:
    """Largest steps for every stream and pair, beside both bounds."""
    rows = []
    for beta1, beta2 in PAIRS:
        largest = (number(float(np.median(largest_step(results, s, beta1, beta2)))) for s in STREAMS)
        bounds = (number(paper_bound(beta1, beta2)), number(sharp_bound(beta1, beta2)))
        rows.append((f"{beta1:g}", f"{beta2:g}", *largest, *bounds))
    return Table(
        "The largest step over lr (median over seeds of the largest over steps and coordinates).",
        ("beta1", "beta2", *STREAMS, "bound of the paper", "sharp bound"),
        tuple(rows),
    )
