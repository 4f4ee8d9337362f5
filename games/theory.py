"""Linear theory beside closed forms and practice, as tables, and all methods' eigenvalues in their disks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from core.lab import figures
from core.lab.errors import VhatError
from core.lab.experiment import Array
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.study import Table
from core.lab.tables import number
from core.lab.train import Block, train
from core.lab.variant import Variant
from games.bilinear import BilinearGame
from games.disk import draw_disk, eigenvalue_paths
from games.rates import KNOWN
from games.spectrum import (
    Point,
    best_rate,
    has_theory,
    observed_rate,
    predicted_rates,
    remembered_points,
)

SEEDS = 8
"""Paths from which a rate is observed."""


HIGHEST = 100.0
"""The highest rate tried."""
_INSIDE = 1.0 - 1e-9
"""What conserves a form has eigenvalues on the circle, up to rounding."""


def played(game: BilinearGame, variant: Variant, lr: float, rounds: int) -> Array:
    """Paths of a method `[R, T, D]` from the game's own starts."""
    keys = Keys.of(range(SEEDS), study="theory", device=game.device)
    block = Block(variant, slice(0, SEEDS), {"lr": lr})
    run = train(game, [block], keys, steps=rounds, recording=Recording(points=rounds, path=True))
    assert run.path is not None
    return run.path


def observed(game: BilinearGame, variant: Variant, lr: float) -> float:
    """The factor a round that paths of this method show; NaN where they leave the finite numbers."""
    memory = remembered_points(Point.of(game), variant)
    period = variant.scheme.period
    paths = played(game, variant, lr, 60 * period)
    try:
        return observed_rate(paths, memory, period)
    except VhatError:
        return float("nan")


def theory_table(game: BilinearGame, lr: float) -> Table:
    """Method by method: the factor a round in closed form, by autograd, and observed; the best rate."""
    singular = torch.linalg.svdvals(game.payoff).tolist()
    rows = []
    for name, known in KNOWN.items():
        predicted = float(predicted_rates(Point.of(game), known.variant, [lr])[0])
        rows.append(
            (
                name,
                number(known.factor(lr, singular, game.regularization), 7),
                number(predicted, 7),
                number(observed(game, known.variant, lr), 7),
                best_text(Point.of(game), known.variant),
                f"{known.source}: {known.note}" if known.note else known.source,
            )
        )
    head = ("method", "closed form", "by autograd", "observed", "best lr (factor)", "source: what it says")
    return Table(f"Factor a round at lr {lr:g}; above 1 it diverges.", head, tuple(rows))


def factor_rows(point: Point, variant: Variant, lr: float, paths: Array | None) -> list[tuple[str, str]]:
    """Rows of a table: the factor a round by linear theory, as `paths` `[R, T, D]` of every step show it near
    the equilibrium (None leaves it out), and the best rate."""
    said = "factor a step, by linear theory"
    if not has_theory(variant):
        return [(said, "none: the rule is not smooth at the equilibrium")]
    rows = [(said, number(float(predicted_rates(point, variant, [lr])[0]), 8))]
    if paths is not None:
        rows += _observed_row(paths - point.at.cpu().numpy(), variant.scheme.period)
    return [*rows, ("best lr by linear theory", best_text(point, variant))]


def _observed_row(paths: Array, period: int) -> list[tuple[str, str]]:
    """From the last 200 rounds that are above the numbers' own precision; nothing where these do not do."""
    above = np.flatnonzero(np.abs(paths).max(axis=2).min(axis=0) > 1e-11)
    paths = paths[:, max(0, above[-1] - 200) : above[-1] + 1] if len(above) else paths[:, :0]
    if not np.isfinite(paths).all() or paths.shape[1] <= 4 * period or paths.shape[2] > 32:
        return []
    return [("factor a step, observed", number(observed_rate(paths, 3, period), 8))]


def best_text(point: Point, variant: Variant) -> str:
    """The best rate by linear theory and its factor a round, in words."""
    best = best_rate(point, variant, high=HIGHEST)
    if best.factor >= _INSIDE:
        return "none converges"
    least = "at least " if best.lr >= HIGHEST else ""
    return f"{least}{best.lr:.3g} ({number(best.factor, 4)})"


def inside_text(inside: Array, rates: Sequence[float]) -> str:
    """For which of the ascending rates all eigenvalues lie inside (bool `[L]`): every unbroken stretch."""
    edges = np.flatnonzero(np.diff(np.r_[False, inside, False].astype(int)))
    spans = [f"{rates[a]:.2g} to {rates[b - 1]:.2g}" for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return f"inside for lr {', '.join(spans)}" if spans else "never inside"


def disk_figure(game: BilinearGame, names: Sequence[str], rates: Sequence[float]) -> Figure:
    """Eigenvalues in the unit disk as the learning rate grows, a panel a method."""
    figure, panels = figures.new_grid(len(names), 4, width=11.2, height=2.9)
    paths = eigenvalue_paths(Point.of(game), [KNOWN[name].variant for name in names], rates)
    for axes, name in zip(panels, names, strict=True):
        draw_disk(axes, paths[name], name)
        inside = np.abs(paths[name]).max(axis=1) < _INSIDE
        figures.label(axes, title=f"{name}\n{inside_text(inside, rates)}")
    return figure
