"""A portfolio of one's own prices by an update rule: trained on sampled days, beside the exact optimum."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.engines import InProcess
from core.lab.errors import VhatError, nearest
from core.lab.experiment import Array
from core.lab.progress import Bar
from core.lab.random import Keys
from core.lab.run import Recording, Run
from core.lab.runner import local_job, run_jobs
from core.lab.store import Store
from core.lab.study import Plan, Table
from core.lab.sweep import Objective, Regime, Sweep
from core.lab.tables import number, with_interval
from core.lab.train import Block, train
from core.lab.variant import Grid, Variant
from core.optim.rules import RULES
from finance.correlates import permutation_band, rank_agreement
from finance.moments import TRADING_DAYS, volatility
from finance.objective import MeanVariance
from finance.point_names import laid_out, name_points
from finance.prices import Prices

NAME = "scripts/finance"
TUNING_SEEDS = 6


@dataclass(frozen=True)
class Descent:
    """How to train.

    Attributes:
        optimizer: an update rule.
        parametrisation: how parameters give weights (named in figures and tables).
        risk_aversion: gamma.
        lr: learning rate; tuned on seeds of their own if None.
        steps, seeds: of each run, and how many runs.
        device: where it is computed.

    Raises:
        VhatError: for an unknown rule, fewer than two seeds or one step, or a rate that the rule refuses or
            that is 0.
    """

    optimizer: str
    parametrisation: str
    risk_aversion: float
    lr: float | None
    steps: int
    seeds: int
    device: str

    def __post_init__(self) -> None:
        if self.optimizer not in RULES:
            raise VhatError(nearest(self.optimizer, RULES, kind="update rule"))
        if self.seeds < 2 or self.steps < 1:
            raise VhatError(
                f"--seeds must be at least 2 and --steps at least 1, got {self.seeds} and {self.steps}"
            )
        try:
            RULES[self.optimizer].validate(lr=1.0 if self.lr is None else self.lr)
        except ValueError as error:
            raise VhatError(str(error)) from error
        if self.lr == 0.0:
            raise VhatError("with --lr 0 nothing moves; give a rate above 0, or none to have it tuned")


def tuned_rate(plan: Descent, problem: MeanVariance) -> float:
    """The learning rate with the smallest gap to the optimum on tuning seeds."""
    sweep = Sweep(
        name="tuned",
        study=NAME,
        regimes=(Regime("own prices", lambda device: problem),),  # noqa: ARG005
        variants=(Variant(plan.optimizer, plan.optimizer),),
        grid=Grid.between(1e-3, 1.0),
        objective=Objective("utility_gap"),
        steps=plan.steps,
        tuning_seeds=TUNING_SEEDS,
        reporting_seeds=2,
        recording=Recording(points=1),
        widen=4,
    )
    store = Store(Path(":memory:"))
    job = local_job(NAME, Plan("own", plan.steps, TUNING_SEEDS, 2), (sweep,), store, device=plan.device)
    with Bar(f"tuning {plan.optimizer}") as bar:
        run_jobs([job], InProcess(), 1, bar)
    tuned = sweep.result(job.view).tuned["own prices", plan.optimizer]
    store.close()
    return tuned.best["lr"]


def descend(plan: Descent, problem: MeanVariance, lr: float) -> Run:
    """All seeds at once."""
    keys = Keys.of(range(plan.seeds), study=NAME, device=plan.device)
    rates = torch.full((plan.seeds,), lr, dtype=torch.float64, device=plan.device)
    block = Block(Variant(plan.optimizer, plan.optimizer), slice(0, plan.seeds), {"lr": rates})
    recording = Recording(points=20, params=True, state=("exp_avg_sq",))
    return train(problem, [block], keys, steps=plan.steps, recording=recording)


@dataclass(frozen=True)
class Found:
    """What the runs ended with, beside what is known of the assets.

    Attributes:
        weights: `[R, N]`.
        root: `[R, N]`, sqrt(v̂); None for a rule that has none.
        volatility: `[N]`, a year, of all days' returns.
    """

    weights: Array
    root: Array | None
    volatility: Array


def read(plan: Descent, problem: MeanVariance, run: Run) -> Found:
    """Of a finished run."""
    assert run.params is not None
    weights = problem.weights(torch.from_numpy(run.params)).numpy()
    second_moment = run.state["exp_avg_sq"]
    beta2 = float(str(RULES[plan.optimizer].hyper.get("beta2", 0.0)))
    root = None if np.isnan(second_moment).all() else np.sqrt(second_moment / (1.0 - beta2**plan.steps))
    return Found(weights, root, volatility(problem.returns.cpu().numpy()))


def weights_table(prices: Prices, problem: MeanVariance, found: Found) -> Table:
    """Ticker by ticker, the largest optimal weight first."""
    best = problem.optimum.weights
    rows = tuple(
        (
            prices.tickers[i],
            f"{100 * found.volatility[i]:.1f}",
            f"{100 * best[i]:.1f}",
            f"{100 * found.weights[:, i].mean():.1f} ± {100 * found.weights[:, i].std():.1f}",
            "n/a" if found.root is None else number(float(np.median(found.root[:, i]))),
        )
        for i in np.argsort(-best, kind="stable")
    )
    head = ("ticker", "volatility % a year", "optimum %", "found % (mean ± sd of seeds)", "sqrt(v̂), median")
    return Table("", head, rows)


def summary_table(plan: Descent, run: Run, found: Found, rate: str) -> Table:
    """The gap and the rank correlation, with intervals over seeds."""
    gap = run.curves["utility_gap"][:, -1]
    gap = np.where(np.isnan(gap), np.inf, 1e4 * TRADING_DAYS * gap.round(15))  # beyond: float64's rounding
    relative = run.curves["relative_gap"][:, -1]
    rows = [
        ("learning rate", rate),
        (
            "utility below the optimum, basis points a year",
            with_interval(stats.interval(gap)),
        ),
    ]
    if not np.isnan(relative).any():
        rows.append(
            ("the same as a share of the gap of equal weights", with_interval(stats.interval(relative)))
        )
    if found.root is not None:
        chance = permutation_band(found.weights.shape[1])
        for name, other in (("volatility", found.volatility), ("weight", found.weights)):
            rho = with_interval(stats.interval(rank_agreement(found.root, other)), 2)
            rows.append((f"Spearman's ρ of sqrt(v̂) with {name} (chance: within ±{chance:.2f})", rho))
    rows.append(("share of runs that diverged", with_interval(stats.proportion(run.diverged), 2)))
    return Table(
        "",
        (f"{plan.optimizer}, {plan.parametrisation}", f"IQM of {plan.seeds} seeds, 95% interval"),
        tuple(rows),
    )


def draw(plan: Descent, prices: Prices, problem: MeanVariance, found: Found) -> Figure:
    """Weights beside the optimum; and sqrt(v̂) against volatility where the rule has it."""
    tickers = np.array([figures.plain(t) for t in prices.tickers])
    order = np.argsort(problem.optimum.weights, kind="stable")
    columns = 1 if found.root is None else 2
    figure, panels = figures.new_figure(
        columns=columns, width=4.9 * columns, height=max(3.4, 1.4 + 0.2 * len(tickers))
    )
    look, rows = figures.line(plan.optimizer), np.arange(len(tickers))
    left = panels[0]
    left.barh(rows, 100 * problem.optimum.weights[order], color="#d9d9d9", label="exact optimum")
    middle, spread = 100 * found.weights.mean(axis=0)[order], 100 * found.weights.std(axis=0)[order]
    left.errorbar(
        middle,
        rows,
        xerr=spread,
        fmt=look["marker"],
        color=look["color"],
        label=f"{plan.optimizer}, mean ± sd",
    )
    left.set_yticks(rows, tickers[order])
    left.grid(False, axis="y")
    figures.label(left, x="weight [%]", title=f"Weights, γ = {number(plan.risk_aversion, 6)}")
    if found.root is not None:
        right, up = panels[1], np.median(found.root, axis=0)
        right.scatter(100 * found.volatility, up, color=look["color"], marker=look["marker"], s=24)
        right.margins(x=0.1)
        rho = stats.interval(rank_agreement(found.root, found.volatility))[0]
        figures.label(
            right, x="volatility [% a year]", y="sqrt(v̂)", title=f"Second moment: ρ = {rho:.2f}", log="y"
        )
    figures.legend_below(figure)
    if found.root is not None:
        laid_out(figure)
        name_points(panels[1], 100 * found.volatility, up, tickers.tolist())
    return figure
