"""What a search found, for people: a table, a figure, a data frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.lab import figures
from core.lab.figures.palette import line
from core.lab.study import Table
from core.lab.tables import number, setting_text, with_interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from core.lab.tune import Tuned


def tuned_table(found: Sequence[Tuned]) -> Table:
    """A row a search: its best setting, the loss there on tuning and on fresh seeds, and what it cost."""
    seeds = len(found[0].fresh)
    return Table(
        "",
        ("method", "best setting", "tuning loss", f"loss on {seeds} fresh seeds", "cost", "seconds"),
        tuple(
            (
                one.method,
                setting_text(dict(one.best)),
                number(one.loss, 4),
                with_interval(one.interval, 4),
                f"{one.cost} trainings",
                f"{one.seconds:.1f}",
            )
            for one in found
        ),
    )


def tuned_frame(found: Tuned) -> pd.DataFrame:
    """A row a setting that was tried, in the order in which it was paid for.

    Columns: method, round, start (of descent; point of a grid or a random search), the hyperparameters that
    were tuned, loss (mean over the tuning seeds, not finite where a training diverged) and cost (all that had
    been paid after the round, in trainings of one setting on all tuning seeds).
    """
    import pandas as pd

    losses = found.path.losses.double().cpu().numpy()
    rounds, start = (x.ravel() for x in np.indices((losses.shape[0], losses.shape[2])))
    settings = {n: v.double().cpu().numpy()[:, 0].ravel() for n, v in found.path.settings.items()}
    costs = found.path.costs().cpu().numpy()
    return pd.DataFrame(
        {
            "method": found.method,
            "round": rounds,
            "start": start,
            **settings,
            "loss": losses[:, 0].ravel(),
            "cost": costs[rounds],
        }
    )


def tuned_figure(found: Tuned) -> Figure:
    """The loss of every setting that was tried, over each tuned hyperparameter; the best one is ringed."""
    tried = tuned_frame(found)
    names = list(found.path.settings)
    figure, panels = figures.new_figure(columns=len(names), sharey=True)
    losses = tried["loss"].to_numpy()
    finite = np.isfinite(losses)
    look = line(found.method)
    spread = finite.any() and losses[finite].min() > 0 and losses[finite].max() > 30 * losses[finite].min()
    for axes, name in zip(panels, names, strict=True):
        values = tried[name].to_numpy()
        with figures.style():
            for start in range(found.path.losses.shape[2]) if found.method == "hypergradient" else ():
                path = finite & (tried["start"].to_numpy() == start)
                axes.plot(values[path], losses[path], color=look["color"], linewidth=0.8, alpha=0.6)
            axes.plot(values[finite], losses[finite], "o", color=look["color"], markersize=3.5)
            axes.plot(
                found.best[name],
                found.loss,
                "o",
                color=look["color"],
                markersize=11,
                markerfacecolor="none",
                markeredgewidth=1.6,
            )
        wide = values.max() > 30 * values.min() > 0
        figures.label(axes, x=name, log="x" if wide else "")
        figures.label(axes, log="y" if spread else "")
    figures.label(panels[0], y="tuning loss")
    return figure
