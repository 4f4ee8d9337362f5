"""The figures of the study of learning curves."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.study import Results
from rl.studies.learning_settings import TASKS, returns
from rl.studies.learning_verdict import SCALES, lead, variants_of
from rl.studies.settings import ADAM


def draw_curves(results: Results) -> Figure:
    """Return of the training episodes over updates, task by task."""
    figure, panels = figures.new_figure(columns=len(TASKS), height=4.2, width=10.8)
    for number, (axes, task) in enumerate(zip(panels, TASKS, strict=True)):
        sweep = results.sweep(task.id)
        # Adam last: AMSGrad all but coincides with it, and would hide it.
        for name in sorted(sweep.variants, key=lambda name: name == ADAM):
            run = sweep.run(task.id, name)
            curves = run.curves["field/return"][:, 1:]
            figures.curves_with_intervals(axes, run.steps[1:], curves, name, higher=True)
        axes.locator_params("x", integer=True)
        axes.axhline(task.learned, color="0.5", linewidth=0.8, linestyle=(0, (4, 3)))
        figures.label(
            axes, x=f"update ({task.episodes} episodes each)", y="" if number else "return", title=task.id
        )
    figures.legend_below(figure)
    return figure


def draw_effects(results: Results) -> Figure:
    """Adam's lead over every other variant, task by task, on three scales."""
    others = [name for name in variants_of(results) if name != ADAM]
    figure, panels = figures.new_figure(rows=len(SCALES), columns=len(TASKS), height=8.6, width=10.8)
    for row, (scale, words) in enumerate(SCALES.items()):
        for column, task in enumerate(TASKS):
            axes = panels[row * len(TASKS) + column]
            figures.dots_with_intervals(
                axes, others, [lead(results, task, name, scale) for name in others], reference=0.0
            )
            if column:
                axes.set_yticklabels([])
            figures.label(axes, x=f"Adam's lead, {words}", title="" if row else task.id)
    return figure


def _profile(scores: list[Array], at: Array) -> tuple[Array, Array, Array]:
    """Share of runs with a score above each of `at`, mean over tasks, with its stratified bootstrap band."""
    rng = np.random.default_rng(7)

    def share(samples: list[Array]) -> Array:
        return np.asarray(np.mean([(s[..., None] > at).mean(axis=-2) for s in samples], axis=0))

    drawn = share([s[rng.integers(0, len(s), (500, len(s)))] for s in scores])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return share(scores), low, high


def draw_profiles(results: Results) -> Figure:
    """Performance profiles: the share of runs that score above a bound, over all tasks and on each."""
    groups = [(TASKS, "all tasks"), *(((task,), task.id) for task in TASKS)]
    figure, panels = figures.new_figure(columns=len(groups), height=3.8, width=10.8, sharey=True)
    at = np.linspace(-0.1, 1.0, 111)
    for number, (axes, (tasks, title)) in enumerate(zip(panels, groups, strict=True)):
        for name in variants_of(results):
            centre, low, high = _profile([t.score(returns(results, t, name)) for t in tasks], at)
            look = figures.line(name)
            with figures.style():
                axes.fill_between(at, low, high, color=look["color"], alpha=0.15, linewidth=0)
                axes.plot(at, centre, **look, markevery=(10, 25), label=name)
        figures.label(axes, x="score", y="" if number else "share of runs above", title=title)
    figures.legend_below(figure)
    return figure


def draw_scores(results: Results) -> Figure:
    """IQM of the score over all tasks; and, task by task, the probability that a run of Adam beats a run of
    another variant, both samples of seeds resampled.
    """
    names = variants_of(results)
    figure, (left, *panels) = figures.new_figure(columns=1 + len(TASKS), height=3.6, width=10.8)
    strata = {name: [t.score(returns(results, t, name)) for t in TASKS] for name in names}
    figures.dots_with_intervals(left, names, [stats.interval(strata[name]) for name in names])
    figures.label(left, x="score, IQM over three tasks")
    others = [name for name in names if name != ADAM]
    for number, (axes, task) in enumerate(zip(panels, TASKS, strict=True)):
        chances = [
            stats.probability_of_improvement(-strata[ADAM][number], -strata[name][number]) for name in others
        ]
        figures.dots_with_intervals(axes, others, chances, reference=0.5)
        if number:
            axes.set_yticklabels([])
        figures.label(axes, x="P(a run of Adam is better)", title=task.id)
    return figure


def draw_rates(results: Results) -> Figure:
    """The whole learning-rate curve of each variant, on the tuning seeds."""
    figure, panels = figures.new_figure(columns=len(TASKS), height=4.2, width=10.8)
    for number, (axes, task) in enumerate(zip(panels, TASKS, strict=True)):
        figures.lr_curve(axes, results.sweep(task.id), task.id)
        axes.set_yscale("linear")
        figures.label(axes, y="" if number else "mean return over training", title=task.id)
    figures.legend_below(figure)
    return figure
