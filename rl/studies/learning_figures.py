"""The figures of the study of learning curves."""

from __future__ import annotations

from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.study import Results
from rl.studies.learning_settings import EPISODES, LIMIT, returns


def draw_curves(results: Results) -> Figure:
    """Return of the training episodes over updates, without and with baseline."""
    sweep = results.sweep("training")
    figure, panels = figures.new_figure(columns=len(sweep.regimes), height=4.6, width=10.0, sharey=True)
    for axes, regime in zip(panels, sweep.regimes, strict=True):
        for name in sweep.variants:
            run = sweep.run(regime, name)
            figures.curves_with_intervals(
                axes, run.steps[1:], run.curves["field/return"][:, 1:], name, higher=True
            )
        axes.set_ylim(0, LIMIT * 1.02)
        figures.label(axes, x=f"update ({EPISODES} episodes each)", y="return [steps]", title=regime)
    panels[1].set_ylabel("")
    figures.legend_below(figure)
    return figure


def draw_effects(results: Results) -> Figure:
    """Adam's lead over every other variant."""
    sweep = results.sweep("training")
    others = [name for name in sweep.variants if name != "Adam"]
    figure, panels = figures.new_figure(columns=len(sweep.regimes), height=3.8, width=10.0)
    for number, (axes, regime) in enumerate(zip(panels, sweep.regimes, strict=True)):
        adam = returns(results, regime, "Adam")
        leads = [stats.paired_difference(adam, returns(results, regime, name), "mean") for name in others]
        figures.dots_with_intervals(axes, others, leads, reference=0.0)
        if number:
            axes.set_yticklabels([])
        figures.label(axes, x="Adam's lead in mean return over training [steps]", title=regime)
    return figure


def draw_rates(results: Results) -> Figure:
    """The whole learning-rate curve of each variant, on the tuning seeds."""
    sweep = results.sweep("training")
    figure, panels = figures.new_figure(columns=len(sweep.regimes), height=4.6, width=10.0, sharey=True)
    for axes, regime in zip(panels, sweep.regimes, strict=True):
        figures.lr_curve(axes, sweep, regime)
        axes.set_yscale("linear")
        figures.label(axes, title=regime)
    panels[1].set_ylabel("")
    figures.legend_below(figure)
    return figure
