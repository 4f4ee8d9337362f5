"""The valleys of the study `amsgrad`: findings on eruptions and their price, figure, table."""

from __future__ import annotations

from itertools import product

import numpy as np
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.study import Results, Table
from core.lab.tables import number
from core.lab.verdict import Finding, finding
from core.problems.calm_valley import (
    ERUPTION,
    LEAST,
    NEAR,
    SPIKES,
    VALLEY,
    VALLEY_BETA2,
    WINDOW,
    height,
    rise,
)
from core.problems.online import RULE_NAMES

DIVERGENT = 10.0
ERUPTS = "Adam erupts: having come down, abs(x) grows more than tenfold"
STAYS = "AMSGrad stays down: abs(x) does not grow tenfold"


def valley_findings(results: Results) -> list[Finding]:
    """What is judged: does the envelope grow again?"""
    rows = []
    for rule, (spike, (beta2, lr)) in product(RULE_NAMES, product(SPIKES, VALLEY)):
        envelope = results.measurement("valley").only(rule=RULE_NAMES[rule], spike=spike)["envelope"]
        rows.append(
            finding(
                f"valley, {spike}, beta2 = {beta2:g}, lr = {lr:g}",
                stats.interval(rise(envelope[:, VALLEY.index((beta2, lr))]), "median"),
                above=ERUPTION if rule == "Adam" else None,
                below=None if rule == "Adam" else ERUPTION,
                replicas=results.plan.reporting_seeds,
                text=ERUPTS if rule == "Adam" else STAYS,
                unit="x",
            )
        )
    return rows


def price_findings(results: Results) -> list[Finding]:
    """Steps to come near the minimum after an outlier."""
    near = {
        r: results.measurement("valley").only(rule=RULE_NAMES[r], spike="spike")["near"] for r in RULE_NAMES
    }
    return [
        finding(
            f"valley, spike, beta2 = {beta2:g}, lr = {lr:g}",
            stats.ratio(near["AMSGrad"][:, i], near["Adam"][:, i], "median"),
            below=1.0,
            replicas=results.plan.reporting_seeds,
            text=f"AMSGrad is within {NEAR:g} of the minimum for good in fewer steps than Adam",
            unit="x the steps",
            decisive=False,
        )
        for i, (beta2, lr) in enumerate(VALLEY)
    ]


def height_findings(results: Results) -> list[Finding]:
    """How far an eruption goes."""
    rows = []
    for spike, (i, (beta2, lr)) in product(SPIKES, enumerate(VALLEY)):
        envelope = results.measurement("valley").only(rule="adam", spike=spike)["envelope"][:, i]
        rows.append(
            finding(
                f"valley, {spike}, beta2 = {beta2:g}, lr = {lr:g}",
                stats.interval(height(envelope) / lr, "median"),
                below=DIVERGENT,
                replicas=results.plan.reporting_seeds,
                text=f"Adam's eruptions stay within {DIVERGENT:g} lr of the minimum",
                unit="lr",
                decisive=False,
            )
        )
    return rows


def draw_valley(results: Results) -> Figure:
    """The envelope of abs(x) over steps, with and without a spike, at lr 0.01."""
    figure, panels = figures.new_figure(columns=2, height=4.0, width=9.6, sharey=True)
    for axes, spike in zip(panels, SPIKES, strict=True):
        for rule, beta2 in product(RULE_NAMES, VALLEY_BETA2):
            envelope = results.measurement("valley").only(rule=RULE_NAMES[rule], spike=spike)["envelope"]
            first = np.maximum(envelope[0, VALLEY.index((beta2, 0.01))], LEAST)
            look = figures.line(rule)
            look["linestyle"] = "--" if beta2 == VALLEY_BETA2[0] else "-"
            steps = WINDOW * (1 + np.arange(len(first)))
            every = max(1, len(first) // 8)
            axes.plot(steps, first, **look, markevery=every, label=f"{rule}, beta2 = {beta2:g}")
        figures.label(axes, x="step", y=f"largest |x| in {WINDOW} steps", title=spike, log="y")
    figures.legend_below(figure)
    return figure


def valley_table(results: Results) -> Table:
    """Rises and steps in the valley."""
    rows = []
    for spike, (i, (beta2, lr)) in product(SPIKES, enumerate(VALLEY)):
        cells: list[str] = []
        for rule in RULE_NAMES:
            arrays = results.measurement("valley").only(rule=RULE_NAMES[rule], spike=spike)
            cells += [number(float(np.median(rise(arrays["envelope"][:, i]))))]
            cells += [number(float(np.median(arrays["near"][:, i])))]
        rows.append((spike, f"{beta2:g}", f"{lr:g}", *cells))
    heads = [f"{r}: {what}" for r in RULE_NAMES for what in ("rise", "steps")]
    return Table(
        f"Valley: largest rise of the envelope, and steps until abs(x) stays within {NEAR:g}; medians.",
        ("gradient", "beta2", "lr", *heads),
        tuple(rows),
    )
