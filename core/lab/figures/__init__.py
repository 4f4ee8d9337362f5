"""One visual language for the figures of all studies, on matplotlib's object-oriented interface.

A study's `draw` function builds its figure from these pieces and returns it:

    def draw_curves(results: Results) -> Figure:
        sweep = results.sweep("tuned")
        figure, (axes,) = new_figure()
        for name in sweep.variants:
            run = sweep.run("axis-aligned", name)
            curves_with_intervals(axes, run.steps, run.curves["loss"], name)
        label(axes, x="step", y="loss above the optimum", log="y")
        legend_below(figure)
        return figure

A variant looks the same everywhere: `line(name)` gives its colour and marker (its rule) and its line style
(what was changed about the rule). Nothing here keeps state, and nothing needs a display.
"""

from core.lab.figures.effects import dots_with_intervals, effect_bars
from core.lab.figures.palette import Line, colour, family, line, lines
from core.lab.figures.paths import landscape, phase_path
from core.lab.figures.scatter import scatter_log
from core.lab.figures.series import curves_with_intervals, drawn_values, lr_curve, rate_curve, wide
from core.lab.figures.style import (
    label,
    legend_below,
    new_figure,
    new_grid,
    note,
    plain,
    save_png,
    save_svg,
    style,
)

__all__ = [
    "Line",
    "colour",
    "curves_with_intervals",
    "dots_with_intervals",
    "drawn_values",
    "effect_bars",
    "family",
    "label",
    "landscape",
    "legend_below",
    "line",
    "lines",
    "lr_curve",
    "new_figure",
    "new_grid",
    "note",
    "phase_path",
    "plain",
    "rate_curve",
    "save_png",
    "save_svg",
    "scatter_log",
    "style",
    "wide",
]
