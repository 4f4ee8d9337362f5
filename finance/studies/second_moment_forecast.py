"""The part of the study second-moment-is-risk that asks whether v̂ forecasts next month's volatility."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from core.lab import figures, stats
from core.lab.experiment import Array
from core.lab.measurement import Cell
from core.lab.random import Keys
from core.lab.study import Results, Table
from core.lab.tables import with_interval
from core.lab.verdict import Finding, finding
from finance.correlates import permutation_band
from finance.forecast import (
    known_forecasts,
    online_second_moment,
    qlike,
    rank_skill,
    realised_variance,
)
from finance.markets import embedded_returns, standardise
from finance.objective import MeanVariance
from finance.parametrisation import CHARTS, Parametrisation
from finance.performance import intervals
from finance.studies.second_moment_settings import PARAMETRISATIONS, RISK_AVERSIONS

MEMORIES = (0.94, 0.999)
"""RiskMetrics' for days, and Adam's own."""
LR = 1e-3
MODES = tuple(itertools.product(MEMORIES, RISK_AVERSIONS, (False, True)))
"""beta2, risk aversion, volatilities made equal."""
BLOCK = 12.0  # months
AS_GOOD = 0.02
"""Rank correlations, and QLIKE, nearer than that count as equal."""
RIVAL = "EWMA 0.94"


def online(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor | Array]:
    """Skill of v̂ of a run through the days in order of time, from starting portfolios near equal weights.

    Returns:
        `ranks` `[R, 8, M]`, `qlike` `[R, 8, M - 1]` and `gap` `[R, 8]`, that of the portfolio after the
        last day to the optimum over all of them (1/N's is 1), in the order of `MODES`; `shuffled` `[R, M]`:
        rank correlation when v̂ of the first mode is shuffled over assets.
    """
    rows = len(keys)
    raw = embedded_returns()[-cell["days"] :] if cell["days"] else embedded_returns()
    both = np.stack([raw, standardise(raw)])
    chart = CHARTS[cell["parametrisation"]]
    logits = 0.1 * keys.fold("start").normal(raw.shape[1], dtype=torch.float64)
    start = logits if chart.start(2) == 0.0 else torch.softmax(logits, dim=-1)
    which = torch.tensor([int(equal) for _, _, equal in MODES], device=device).repeat(rows)
    memory, aversion = (
        torch.tensor([mode[i] for mode in MODES], dtype=torch.float64, device=device).repeat(rows)
        for i in (0, 1)
    )
    second_moment, ends = online_second_moment(
        torch.as_tensor(both, device=device)[which],
        start.repeat_interleave(len(MODES), dim=0),
        chart=chart,
        risk_aversion=aversion,
        beta2=memory,
        lr=LR,
    )
    said = second_moment.cpu().numpy().reshape(rows, len(MODES), -1, raw.shape[1])
    came = realised_variance(both)[[int(equal) for _, _, equal in MODES]]
    order = keys.fold("shuffle").uniform(said.shape[2], raw.shape[1], dtype=torch.float64).argsort(dim=-1)
    return {
        "ranks": rank_skill(said, came),
        "qlike": qlike(said, np.broadcast_to(came, said.shape)),
        "gap": _gaps(ends.view(rows, len(MODES), -1), both, cell["parametrisation"]),
        "shuffled": rank_skill(np.take_along_axis(said[:, 0], order.cpu().numpy(), axis=-1), came[0]),
    }


def _gaps(ends: Tensor, both: Array, parametrisation: Parametrisation) -> Tensor:
    """`[R, 8]` of parameters `[R, 8, N]` and the returns `[2, T, N]`, as they are and made equal."""
    found = []
    for place, (_, gamma, equal) in enumerate(MODES):
        problem = MeanVariance(
            both[int(equal)], risk_aversion=gamma, batch=None, parametrisation=parametrisation
        )
        rows = ends[:, place].cpu()
        found.append(problem.measure(rows, Keys.of([0], study=""))["relative_gap"])
    return torch.stack(found, dim=1)


def forecast_cells(days: int) -> tuple[Cell, ...]:
    """One a parametrisation, on the last `days` days (0: all)."""
    return tuple({"parametrisation": p, "days": days} for p in PARAMETRISATIONS)


def _arrays(results: Results, parametrisation: str) -> dict[str, Array]:
    return dict(results.measurement("forecast").only(parametrisation=parametrisation))


def _skill(
    results: Results, parametrisation: str, beta2: float, gamma: float, *, equal: bool = False
) -> tuple[Array, Array]:
    """Rank correlation `[M]` and QLIKE `[M - 1]` a month: medians over starting portfolios."""
    arrays, mode = _arrays(results, parametrisation), MODES.index((beta2, gamma, equal))
    return np.median(arrays["ranks"][:, mode], axis=0), np.median(arrays["qlike"][:, mode], axis=0)


def _rivals(results: Results, *, equal: bool) -> dict[str, tuple[Array, Array]]:
    days = results.measurement("forecast").cells[0]["days"]
    returns = embedded_returns()[-days:] if days else embedded_returns()
    returns = standardise(returns) if equal else returns
    came = realised_variance(returns)
    return {name: (rank_skill(v, came), qlike(v, came)) for name, v in known_forecasts(returns).items()}


def _mean(series: Array) -> stats.Interval:
    """With an interval over months, in blocks of a year on average."""
    return intervals(series, {"mean": lambda x: x.mean(axis=-1)}, mean_block=BLOCK)["mean"]


def _difference(series: Array, rival: Array) -> stats.Interval:
    return _mean(series - rival)


def findings(results: Results) -> list[Finding]:
    """Beside the verdict: v̂ against RiskMetrics, memory by memory; and the control."""
    rivals, found = results.once(_rivals, equal=False), []
    rival = rivals[RIVAL]
    # The window that does best over all months, which favours it.
    rolling = max((name for name in rivals if "rolling" in name), key=lambda name: rivals[name][0].mean())
    replicas = len(rival[0])
    for p in PARAMETRISATIONS:
        for beta2 in MEMORIES:
            ranks, losses = _skill(results, p, beta2, RISK_AVERSIONS[0])
            where = f"{p}, days in order, β₂ = {beta2:g}"
            found += [
                finding(
                    where,
                    _difference(ranks, rival[0]),
                    above=-AS_GOOD,
                    replicas=replicas,
                    text="v̂ ranks next month's volatility as well as RiskMetrics (difference of Spearman)",
                    unit="Spearman",
                    decisive=False,
                ),
                finding(
                    where,
                    _difference(ranks, rivals[rolling][0]),
                    above=-AS_GOOD,
                    replicas=replicas,
                    text="v̂ ranks next month's volatility as well as the best of the rolling windows "
                    f"({rolling}; difference of Spearman)",
                    unit="Spearman",
                    decisive=False,
                ),
                finding(
                    where,
                    _difference(losses, rival[1]),
                    below=AS_GOOD,
                    replicas=replicas,
                    text="v̂ forecasts next month's variance as well as RiskMetrics (difference of QLIKE)",
                    unit="QLIKE",
                    decisive=False,
                ),
            ]
        shuffled = _arrays(results, p)["shuffled"].mean(axis=1)
        found.append(
            finding(
                f"{p}, shuffled over assets",
                stats.interval(np.abs(shuffled)),
                below=AS_GOOD,
                replicas=len(shuffled),
                text="v̂ shuffled every month forecasts nothing (abs of the mean rank correlation)",
                unit="Spearman",
                decisive=False,
            )
        )
    return found


def table(results: Results) -> Table:
    """All forecasts, raw and with volatilities made equal."""
    raw, equal = (results.once(_rivals, equal=each) for each in (False, True))
    rows = [(name, *_cells(raw[name]), *_cells(equal[name]), "") for name in raw]
    rows += [
        (
            f"v̂, {p}, β₂ = {beta2:g}, γ = {gamma:g}",
            *_cells(_skill(results, p, beta2, gamma)),
            *_cells(_skill(results, p, beta2, gamma, equal=True)),
            with_interval(
                stats.interval(_arrays(results, p)["gap"][:, MODES.index((beta2, gamma, False))]), 2
            ),
        )
        for p in PARAMETRISATIONS
        for beta2 in MEMORIES
        for gamma in RISK_AVERSIONS
    ]
    count = len(raw[RIVAL][0])
    return Table(
        f"Forecasts of next month's variance, asset by asset, in {count} months: mean over months with 95% "
        "intervals by the stationary bootstrap (blocks of a year). Rank correlation over the 20 companies "
        f"(of a shuffled forecast it lies within ±{permutation_band(20):.2f} in 95 of 100 months); QLIKE, "
        "0 perfect, each forecast with one unit for all assets taken from the past. v̂: Adam given the "
        "days one by one in order of time, median over starting portfolios near 1/N. Volatilities made "
        "equal: over the whole sample, so that what is left is what changes in time.",
        (
            "forecast",
            "rank correlation",
            "QLIKE",
            "equal volatilities: rank correlation",
            "QLIKE",
            "gap of the portfolio (1/N = 1)",
        ),
        tuple(rows),
    )


def _cells(skill: tuple[Array, Array]) -> tuple[str, str]:
    return with_interval(_mean(skill[0])), with_interval(_mean(skill[1]))


def draw_forecasts(results: Results) -> Figure:
    """Rank correlation and QLIKE of all forecasts at the lower risk aversion."""
    gamma = RISK_AVERSIONS[0]
    rivals = results.once(_rivals, equal=False)
    skills = dict(rivals)
    for p in PARAMETRISATIONS:
        for beta2 in MEMORIES:
            skills[f"v̂, {p}, β₂ = {beta2:g}"] = _skill(results, p, beta2, gamma)
    figure, panels = figures.new_figure(columns=2, width=10.0, height=4.6, sharey=True)
    texts = ("rank correlation with next month", "QLIKE of next month's variance (0 is perfect)")
    colours = ["#222222" if name in rivals else figures.colour("Adam") for name in skills]
    for axes, number, text in zip(panels, (0, 1), texts, strict=True):
        axes.axvline(
            float(rivals[RIVAL][number].mean()), color="#222222", linestyle=(0, (4, 3)), linewidth=1.0
        )
        for row, (skill, colour) in enumerate(zip(skills.values(), colours, strict=True)):
            middle, low, high = _mean(skill[number])
            axes.plot([low, high], [row, row], color=colour, linewidth=2.4, solid_capstyle="butt")
            axes.plot(middle, row, color=colour, marker="o", markersize=6.5)
        axes.set_yticks(range(len(skills)), list(skills))
        axes.set_ylim(len(skills) - 0.5, -0.5)
        axes.grid(False, axis="y")
        figures.label(axes, x=text)
    return figure
