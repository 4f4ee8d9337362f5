"""Study `maml`: figures and tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.meta_sweep import QUANTILES, MetaSweepResult
from core.lab.study import Results, Table
from core.lab.tables import number, with_interval
from core.studies.maml_derivatives import EPSILONS
from core.studies.maml_settings import (
    ADAPTATIONS,
    FOLLOWED,
    MEASURED,
    SHOTS,
    STEPS,
    VARIANTS,
    control,
    regime,
    variant,
)
from core.studies.maml_verdict import distances, steps_measured, tuned, worst_errors

COLOURS = {
    "SGD": "#D55E00",
    "SGD with momentum": "#E69F00",
    "Adam cold": "#0072B2",
    "Adam cold, v alone": "#6A5FE0",
    "Adam warm": "#56B4E9",
    "Adam warm, v alone": "#009E73",
}
MARKS = {"full": "o", "state cut": "s", "first order": "D"}
CONTROL_MARKS = {"joint": "^", "random": "v"}
_GREY = "#6b6b6b"


def _row(axes: Axes, y: float, values: stats.Interval, colour: str, marker: str) -> None:
    estimate, low, high = (v if np.isfinite(v) else np.nan for v in values)
    axes.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
    axes.plot(estimate, y, color=colour, **_mark(colour, marker))


def _mark(colour: str, marker: str) -> dict[str, Any]:
    """A full disc for the full meta-gradient, hollow marks for the rest."""
    face = colour if marker == MARKS["full"] else "white"
    return {"marker": marker, "linestyle": "", "markersize": 7, "markerfacecolor": face, "mew": 1.6}


def draw_errors(results: Results) -> Figure:
    """A row an inner rule, a mark a kind of meta-gradient; controls in the same rows."""
    found = tuned(results)
    known = {v.name for v in VARIANTS}
    figure, panels = figures.new_figure(columns=2, height=4.6, width=10.4, sharey=True)
    with figures.style():
        for label, marker in {**MARKS, **CONTROL_MARKS}.items():
            name = f"{label} start (control)" if label in CONTROL_MARKS else f"{label} meta-gradient"
            panels[0].plot([], [], color=_GREY, label=name, **_mark(_GREY, marker))
        for axes, shots in zip(panels, SHOTS, strict=True):
            for row, name in enumerate(ADAPTATIONS):
                marks = [(f"{name}: {kind}", marker) for kind, marker in MARKS.items()]
                marks += [(control(name, start), marker) for start, marker in CONTROL_MARKS.items()]
                shown = [mark for mark in marks if mark[0] in known]
                for place, (full_name, marker) in enumerate(shown):
                    y = row + 0.15 * (place - (len(shown) - 1) / 2)
                    interval = stats.interval(found.errors(regime(shots), full_name))
                    _row(axes, y, interval, COLOURS[name], marker)
            axes.set_yticks(range(len(ADAPTATIONS)), list(ADAPTATIONS))
            axes.set_ylim(len(ADAPTATIONS) - 0.5, -0.5)
            axes.grid(False, axis="y")
            axes.tick_params(axis="y", length=0)
            figures.label(axes, x=f"mean squared error after {STEPS} steps", title=regime(shots), log="x")
    figures.legend_below(figure)
    return figure


def _look(name: str) -> dict[str, Any]:
    marks = dict(zip(COLOURS, ("d", "<", "o", "P", "^", "s"), strict=True))
    return {"color": COLOURS[name], "marker": marks[name]}


def draw_parts(results: Results) -> Figure:
    """Distance from the full meta-gradient against inner steps, and against eps."""
    figure, (first, cut, eps) = figures.new_figure(columns=3, height=3.9, width=10.8)
    steps = steps_measured(results)
    for cell in MEASURED:
        name = cell["adaptation"]
        for axes, what in ((first, "first order"), (cut, "cut")):
            middle = np.median(distances(results, name, what), axis=0)
            axes.plot(steps, np.where(middle > 0, middle, np.nan), **_look(name), label=name)
    by_eps = distances(results, "Adam cold", "by eps")
    points = [stats.interval(column, "median") for column in by_eps.T]
    middle, low, high = (np.array(x) for x in zip(*points, strict=True))
    eps.fill_between(EPSILONS, low, high, color=COLOURS["Adam cold"], alpha=0.18, linewidth=0)
    eps.plot(EPSILONS, middle, **_look("Adam cold"))
    for axes, title in ((first, "first order"), (cut, "state cut")):
        figures.label(axes, x="inner steps", y="distance / length of the full one", title=title, log="xy")
        axes.set_xticks(steps, [str(s) for s in steps])
    figures.label(
        eps, x="eps", y="distance / length of the full one", title="first order, one cold step", log="xy"
    )
    figures.legend_below(figure)
    return figure


def _lines() -> list[tuple[str, dict[str, Any]]]:
    """Variants drawn as curves, with their looks."""
    full = [(variant(n), {**_look(n), "linestyle": "-"}) for n in ADAPTATIONS]
    controls = [
        (control(n, s), {**_look(n), "linestyle": style})
        for n in ("SGD", "Adam cold")
        for s, style in (("joint", "--"), ("random", ":"))
    ]
    return full + controls


def draw_along(results: Results) -> Figure:
    """Error along the adaptation."""
    found = tuned(results)
    figure, panels = figures.new_figure(columns=2, height=4.6, width=10.4, sharey=True)
    for axes, shots in zip(panels, SHOTS, strict=True):
        axes.axvline(STEPS, color=_GREY, linewidth=0.8)
        for name, look in _lines():
            curves = found.runs[regime(shots), name]["errors"]
            figures.curves_with_intervals(
                axes,
                np.arange(FOLLOWED + 1),
                curves,
                name,
                legend=name.removesuffix(": full"),
                look=look,  # type: ignore[arg-type]
            )
        figures.label(axes, x="inner steps", y="mean squared error", title=regime(shots), log="y")
    figures.legend_below(figure)
    return figure


def draw_rates(results: Results) -> Figure:
    """Error against the inner rate of starts that were learned at another."""
    found = tuned(results)
    figure, panels = figures.new_figure(columns=2, height=4.6, width=10.4, sharey=True)
    rates = np.array(found.sweep.rates)
    for axes, shots in zip(panels, SHOTS, strict=True):
        for name, look in _lines():
            middle = _by_rate(found, shots, name)
            shown = np.where(middle < 30, middle, np.nan)
            axes.plot(rates, shown, **look, label=name.removesuffix(": full"))
            own = int(np.argmin(np.abs(np.log(rates / found.tuned[regime(shots), name].best[0]))))
            axes.plot(
                rates[own],
                shown[own],
                marker="o",
                markersize=12,
                mfc="none",
                mew=1.5,
                color=look["color"],
                linestyle="",
            )
        figures.label(
            axes,
            x="inner learning rate",
            y=f"mean squared error after {STEPS} steps",
            title=regime(shots),
            log="xy",
        )
    figures.legend_below(figure)
    return figure


def _by_rate(found: MetaSweepResult, shots: int, name: str) -> Array:
    """`[rates]`: the interquartile mean over seeds; infinite where it diverged."""
    errors = found.runs[regime(shots), name]["by_rate"]
    return np.array([stats.centre(e) for e in np.where(np.isnan(errors), np.inf, errors).T])


def _reference(name: str) -> str:
    """The variant that a row is compared with: its own rule's full meta-gradient."""
    return f"{name.partition(':')[0]}: full"


def _errors_table(results: Results, shots: int) -> Table:
    found, where = tuned(results), regime(shots)
    names = [v.name for v in VARIANTS]
    compared = [n for n in names if _reference(n) != n]
    differences = [
        stats.differences(found.errors(where, n), found.errors(where, _reference(n))) for n in compared
    ]
    p_values = stats.sign_flip_p(np.array(differences))
    adjusted = dict(zip(compared, stats.adjusted(p_values), strict=True))
    rows = []
    for name in names:
        chosen = found.tuned[where, name]
        by_rate = _by_rate(found, shots, name)
        best = int(np.argmin(by_rate))
        ratio = stats.ratio(found.errors(where, name), found.errors(where, _reference(name)))
        norms = np.median(found.runs[where, name]["norms"], axis=0)
        rows.append(
            (
                name,
                *(
                    number(r) + (" (edge)" if e in chosen.edges else "")
                    for r, e in zip(chosen.best, ("inner", "outer"), strict=True)
                ),
                *(
                    with_interval(stats.interval(found.errors(where, name, t)))
                    for t in (0, 1, STEPS, FOLLOWED)
                ),
                "" if name not in adjusted else with_interval(ratio),
                "" if name not in adjusted else number(adjusted[name], 2),
                f"{number(by_rate[best])} at {found.sweep.rates[best]:g}",
                number(float(norms[-1] / norms[QUANTILES.index(0.5)])),
            )
        )
    return Table(
        f"{where}: error after so many inner steps, interquartile mean over {results.plan.reporting_seeds} "
        f"fresh seeds with 95% bootstrap intervals. Ratio: of the error after {STEPS} steps to that of the "
        "same rule's full meta-gradient, paired; p by sign flips, false discovery controlled over all rows. "
        "Best rate: the inner rate that turned out best. Spikes: largest over median length of the "
        "meta-gradient.",
        (
            "variant",
            "inner lr",
            "outer lr",
            "0 steps",
            "1 step",
            f"{STEPS} steps",
            f"{FOLLOWED} steps",
            "ratio",
            "p",
            "best rate",
            "spikes",
        ),
        tuple(rows),
    )


def _parts_table(results: Results) -> Table:
    steps = steps_measured(results)
    rows = []
    for cell in MEASURED:
        for what in ("cut", "first order"):
            away = np.median(distances(results, cell["adaptation"], what), axis=0)
            cosine = np.median(distances(results, cell["adaptation"], f"{what} cosine"), axis=0)
            cells = [f"{number(a, 2)} ({number(c, 2)})" for a, c in zip(away, cosine, strict=True)]
            rows.append((cell["adaptation"], what, *cells))
    return Table(
        "Distance of a cheaper meta-gradient to the full one, over its length, and in brackets the cosine "
        "between them (medians over seeds), by inner steps.",
        ("inner rule", "meta-gradient", *(f"{s} step{'s' if s > 1 else ''}" for s in steps)),
        tuple(rows),
    )


def _exactness_table(results: Results) -> Table:
    rows = []
    for cell in MEASURED:
        found = results.measurement("exactness").only(adaptation=cell["adaptation"])
        parts = [number(float(np.median(found[n].max(axis=1))), 2) for n in ("params", "lr")]
        state = number(float(np.median(found["state"].max(axis=1))), 2) if cell["warm"] else "fresh"
        rows.append(
            (
                cell["adaptation"],
                *parts,
                state,
                number(float(worst_errors(results, cell["adaptation"]).max()), 2),
            )
        )
    return Table(
        "Full meta-gradient against central differences in float64, relative error (median over seeds of the "
        "larger one at 1 and 3 inner steps), by what it is taken.",
        ("inner rule", "start", "inner lr", "carried state", "worst seed"),
        tuple(rows),
    )


def tables(results: Results) -> tuple[Table, ...]:
    """Errors by regime, the parts of the meta-gradient, exactness."""
    return (*(_errors_table(results, s) for s in SHOTS), _parts_table(results), _exactness_table(results))
