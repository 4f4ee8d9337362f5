"""The figures of the study of variance reduction."""

from __future__ import annotations

from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.study import Results
from rl.frozen import STAGES
from rl.studies.settings import BASELINES, EPISODES
from rl.studies.variance_reduction_settings import (
    ADAM_DIRECTION,
    ADAM_DIRECTION_DESCENT,
    BASE,
    DESCENT_DIRECTION,
    FULL,
    MOMENTS,
    MOMENTUM_DIRECTION,
    SCALING,
    TRUE,
    TRUE_SCALED,
)
from rl.studies.variance_reduction_verdict import NOISE, gain_shared, learned, measured, noise_shared

UNAVERAGED = (
    BASE,
    "Normalised descent",
    "Sign descent",
    SCALING,
    "Shared v, beta1 = 0",
    "Shuffled v, beta1 = 0",
    *MOMENTS,
)
AVERAGED = (
    "Momentum",
    "Normalised momentum",
    "Sign momentum",
    FULL,
    "AMSGrad",
    "Adam, shared v",
    "Adam, shuffled v",
)
SHARED = (
    "Momentum",
    "Normalised momentum",
    "Normalised descent",
    "Adam, shared v",
    MOMENTUM_DIRECTION,
    DESCENT_DIRECTION,
    ADAM_DIRECTION,
    ADAM_DIRECTION_DESCENT,
    "Adam, shuffled v",
    "Sign momentum",
    "Sign descent",
    SCALING,
    "RMSProp",
    "AMSGrad",
)
DRAWN = (BASE, "Momentum", FULL, SCALING, "Normalised descent", "Sign descent", "Adam, shuffled v")
RATES = (
    (BASE, "Momentum", "RMSProp", FULL, "AMSGrad", SCALING, "Sign descent", "Sign momentum"),
    (
        "Normalised descent",
        "Normalised momentum",
        "Adam, shared v",
        "Adam, shuffled v",
        MOMENTUM_DIRECTION,
        DESCENT_DIRECTION,
        ADAM_DIRECTION,
        ADAM_DIRECTION_DESCENT,
    ),
)
"""In two panels, since all in one hide each other."""


def draw_noise(results: Results) -> Figure:
    """Bars of the direction's noise, by stage and baseline, without and with averaging."""
    rules = (*UNAVERAGED, *AVERAGED)
    figure, panels = figures.new_figure(columns=len(STAGES), height=5.6, width=10.8, sharex=True)
    for number, (axes, stage) in enumerate(zip(panels, STAGES, strict=True)):
        with figures.style():
            for shift, (baseline, words) in zip((-0.19, 0.19), BASELINES.items(), strict=True):
                bars = [stats.interval(measured(results, stage, baseline, r, NOISE), "mean") for r in rules]
                axes.barh(
                    [row + shift for row in range(len(rules))],
                    [b[0] for b in bars],
                    height=0.36,
                    color=[figures.lines(rules)[r]["color"] for r in rules],
                    alpha=1.0 if baseline == "none" else 0.45,
                    xerr=[[b[0] - b[1] for b in bars], [b[2] - b[0] for b in bars]],
                    error_kw={"elinewidth": 1.0},
                    label=words,
                )
            axes.axhline(len(UNAVERAGED) - 0.5, color="0.6", linewidth=0.8)
            axes.set_yticks(range(len(rules)), rules if number == 0 else [""] * len(rules))
            axes.set_ylim(len(rules) - 0.4, -0.6)
            axes.grid(False, axis="y")
            axes.tick_params(axis="y", length=0)
        axes.set_xlim(0, 1.02)
        figures.label(axes, x="share of the direction that is noise", title=stage)
    return figure


def draw_shares(results: Results) -> Figure:
    """What each control has of Adam's cut in noise, and of its gain in return."""
    figure, panels = figures.new_figure(rows=2, columns=2, height=10.4, width=10.4)
    heads = (
        ("share of Adam's cut in noise (partly trained)", panels[:2]),
        ("share of Adam's gain in return", panels[2:]),
    )
    for (head, row), frozen in zip(heads, (True, False), strict=True):
        names = SHARED if frozen else (*SHARED, *MOMENTS)
        for number, (axes, (baseline, words)) in enumerate(zip(row, BASELINES.items(), strict=True)):
            shown = names if baseline == "none" else SHARED
            shares = [
                noise_shared(results, "partly trained", baseline, name)
                if frozen
                else gain_shared(results, words, name)
                for name in shown
            ]
            figures.dots_with_intervals(axes, shown, shares, reference=1.0)
            axes.axvline(0.0, color="0.6", linewidth=0.8)
            axes.set_ylim(len(names) - 0.4, -0.6)
            if number:
                axes.set_yticklabels([])
            figures.label(axes, x=head, title=words)
        low, high = zip(*(axes.get_xlim() for axes in row), strict=True)
        for axes in row:
            axes.set_xlim(min(*low, -0.05), max(high))
    return figure


def draw_gains(results: Results) -> Figure:
    """The change in return after one update of equal length, with and without noise."""
    names = (BASE, "Momentum", TRUE, SCALING, FULL, TRUE_SCALED, "Sign descent", "Adam, shuffled v")
    figure, panels = figures.new_figure(columns=len(STAGES), height=3.8, width=10.8)
    for number, (axes, stage) in enumerate(zip(panels, STAGES, strict=True)):
        gains = [
            stats.interval(measured(results, stage, "none", name, "measured gain"), "mean") for name in names
        ]
        figures.dots_with_intervals(axes, names, gains, reference=0.0)
        if number:
            axes.set_yticklabels([])
        figures.label(axes, x="change in return after one update", title=stage)
    return figure


def draw_curves(results: Results) -> Figure:
    """Return of the training episodes over updates, without and with baseline."""
    sweep = results.sweep("learning")
    figure, panels = figures.new_figure(columns=len(sweep.regimes), height=4.4, width=10.0, sharey=True)
    for axes, regime in zip(panels, sweep.regimes, strict=True):
        for name in DRAWN:
            run = sweep.run(regime, name)
            returns = run.curves["field/return"][:, 1:]
            figures.curves_with_intervals(axes, run.steps[1:], returns, name, higher=True)
        figures.label(axes, x=f"update ({EPISODES} episodes each)", y="return [steps]", title=regime)
    panels[1].set_ylabel("")
    figures.legend_below(figure)
    return figure


def draw_rates(results: Results) -> Figure:
    """Return of every variant at its tuned rate, and how it depends on the rate."""
    sweep = results.sweep("learning")
    count = len(sweep.regimes)
    figure, panels = figures.new_figure(rows=2 + len(RATES), columns=count, height=15.4, width=10.4)
    for number, (axes, regime) in enumerate(zip(panels, sweep.regimes, strict=False)):
        points = [stats.interval(learned(results, regime, v), "mean") for v in sweep.variants]
        figures.dots_with_intervals(axes, sweep.variants, points)
        if number:
            axes.set_yticklabels([])
        figures.label(axes, x="mean return over training [steps]", title=regime)
    for row, variants in enumerate(RATES, 1):
        for number, regime in enumerate(sweep.regimes):
            axes = panels[row * count + number]
            figures.lr_curve(axes, sweep, regime, variants=variants)
            axes.set_yscale("linear")
            axes.set_ylim(0, None)
            figures.label(axes, y="" if number else "mean return over training")
            if not number:
                with figures.style():
                    axes.legend(fontsize=7, loc="upper left")
    oracles = results.sweep("oracles")
    for number, (axes, name) in enumerate(zip(panels[-count:], oracles.regimes, strict=True)):
        figures.lr_curve(axes, oracles, name)
        axes.set_yscale("linear")
        axes.set_ylim(0, None)
        figures.label(axes, y="" if number else "mean return over training", title=name)
    return figure
