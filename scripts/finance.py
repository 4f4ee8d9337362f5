"""Train a mean-variance portfolio beside the exact optimum, and read the second moment as risk.

On the 20 S&P 500 companies that ship with vhat: python scripts/finance.py

On prices from Yahoo Finance, kept on disk: python scripts/finance.py --tickers AAPL MSFT KO

On prices of one's own: python scripts/finance.py --csv prices.csv --risk-aversion 5

It prints the weights, the gap to the optimum and how v̂ ranks the assets, and writes a figure.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure

# The root before this folder: `finance` is the package, not this script.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.lab import figures, stats
from core.lab.commands import check_device
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
from core.lab.tables import number, text_table, with_interval
from core.lab.terminal import guarded
from core.lab.train import Block, train
from core.lab.variant import Grid, Variant
from core.optim.rules import RULES
from finance.correlates import permutation_band, rank_agreement
from finance.csvfile import CsvFile
from finance.embedded import Embedded
from finance.moments import TRADING_DAYS, volatility
from finance.objective import MeanVariance, Parametrisation
from finance.prices import Prices, PriceSource
from finance.quality import require_quality
from finance.studies.second_moment_figures import name_points
from finance.yahoo import Yahoo

NAME = "scripts/finance"
TUNING_SEEDS = 6


@dataclass
class Args:
    """A portfolio of maximal mean-variance utility, from the gradient on days drawn at random."""

    tickers: tuple[str, ...] = ()
    """Yahoo's names (with --csv: columns of the file); the 20 embedded companies if left out"""
    csv: Path | None = None
    """a file of one's own: a column of days, one column of prices a ticker"""
    start: str | None = None
    """first day, like 2010-01-01; the source's own if left out"""
    end: str | None = None
    """last day"""
    allow: tuple[str, ...] = ()
    """defects of the prices to accept, by name: jump:RRC, gap, ..."""
    risk_aversion: float = 5.0
    """gamma in E[r·w] - gamma/2 E[(r·w)²]"""
    parametrisation: Parametrisation = "softmax"
    """softmax of parameters, parameters projected onto the simplex, or free parameters"""
    optimizer: str = "adam"
    """an update rule: adam, sgd, momentum, rmsprop, amsgrad, signsgd, adam_shared_v, ..."""
    lr: float | None = None
    """learning rate; tuned on seeds of their own if left out"""
    batch: int = 32
    """days drawn at each step; 0 takes all days, without noise"""
    steps: int = 2000
    """steps of each run"""
    seeds: int = 20
    """runs, trained all at once"""
    device: str = "cpu"
    """where it is computed"""
    out: Path = Path("out/finance/portfolio.png")
    """the figure, .png or .svg"""


def check(args: Args) -> None:
    """Raise one clear line for what cannot be run."""
    if args.optimizer not in RULES:
        raise VhatError(nearest(args.optimizer, RULES, kind="update rule"))
    if args.seeds < 2 or args.steps < 1 or args.batch < 0:
        raise VhatError(
            "--seeds must be at least 2, --steps at least 1 and --batch at least 0, "
            f"got {args.seeds}, {args.steps} and {args.batch}"
        )
    try:
        RULES[args.optimizer].validate(lr=1.0 if args.lr is None else args.lr)
    except ValueError as error:
        raise VhatError(str(error)) from error
    check_device(args.device)


def fetch(args: Args) -> Prices:
    """Prices from where the arguments say, checked for quality."""
    source: PriceSource = CsvFile(args.csv) if args.csv else Yahoo() if args.tickers else Embedded()
    return require_quality(source.fetch(args.tickers or None, args.start, args.end), args.allow)


def tuned_rate(args: Args, problem: MeanVariance) -> float:
    """The learning rate with the smallest gap to the optimum on tuning seeds."""
    sweep = Sweep(
        name="tuned",
        study=NAME,
        regimes=(Regime("own prices", lambda device: problem),),  # noqa: ARG005
        variants=(Variant(args.optimizer, args.optimizer),),
        grid=Grid.between(1e-3, 1.0),
        objective=Objective("utility_gap"),
        steps=args.steps,
        tuning_seeds=TUNING_SEEDS,
        reporting_seeds=2,
        recording=Recording(points=1),
        widen=4,
    )
    store = Store(Path(":memory:"))
    job = local_job(NAME, Plan("own", args.steps, TUNING_SEEDS, 2), (sweep,), store, device=args.device)
    with Bar(f"tuning {args.optimizer}") as bar:
        run_jobs([job], InProcess(), 1, bar)
    tuned = sweep.result(job.view).tuned["own prices", args.optimizer]
    store.close()
    return tuned.best["lr"]


def descend(args: Args, problem: MeanVariance, lr: float) -> Run:
    """All seeds at once."""
    keys = Keys.of(range(args.seeds), study=NAME, device=args.device)
    rates = torch.full((args.seeds,), lr, dtype=torch.float64, device=args.device)
    block = Block(Variant(args.optimizer, args.optimizer), slice(0, args.seeds), {"lr": rates})
    recording = Recording(points=20, params=True, state=("exp_avg_sq",))
    return train(problem, [block], keys, steps=args.steps, recording=recording)


@dataclass(frozen=True)
class Found:
    """Weights `[R, N]`, sqrt(v̂) `[R, N]` (None for a rule that has none), yearly volatilities `[N]`."""

    weights: Array
    root: Array | None
    volatility: Array


def read(args: Args, problem: MeanVariance, run: Run) -> Found:
    """Of a finished run."""
    assert run.params is not None
    weights = problem.weights(torch.from_numpy(run.params)).numpy()
    second_moment = run.state["exp_avg_sq"]
    beta2 = float(str(RULES[args.optimizer].hyper.get("beta2", 0.0)))
    root = None if np.isnan(second_moment).all() else np.sqrt(second_moment / (1.0 - beta2**args.steps))
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


def summary_table(args: Args, run: Run, found: Found, rate: str) -> Table:
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
        (f"{args.optimizer}, {args.parametrisation}", f"IQM of {args.seeds} seeds, 95% interval"),
        tuple(rows),
    )


def draw(args: Args, prices: Prices, problem: MeanVariance, found: Found) -> Figure:
    """Weights beside the optimum; and sqrt(v̂) against volatility where the rule has it."""
    tickers = np.array(prices.tickers)
    order = np.argsort(problem.optimum.weights, kind="stable")
    columns = 1 if found.root is None else 2
    figure, panels = figures.new_figure(
        columns=columns, width=4.9 * columns, height=max(3.4, 1.4 + 0.2 * len(tickers))
    )
    look, rows = figures.line(args.optimizer), np.arange(len(tickers))
    left = panels[0]
    left.barh(rows, 100 * problem.optimum.weights[order], color="#d9d9d9", label="exact optimum")
    middle, spread = 100 * found.weights.mean(axis=0)[order], 100 * found.weights.std(axis=0)[order]
    left.errorbar(
        middle,
        rows,
        xerr=spread,
        fmt=look["marker"],
        color=look["color"],
        label=f"{args.optimizer}, mean ± sd",
    )
    left.set_yticks(rows, tickers[order])
    left.grid(False, axis="y")
    figures.label(left, x="weight [%]", title=f"Weights, γ = {args.risk_aversion:g}")
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
        name_points(panels[1], 100 * found.volatility, up, prices.tickers)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the form that its name asks for."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figures.save_svg(figure, path) if path.suffix == ".svg" else figures.save_png(figure, path)
    except OSError as error:
        raise VhatError(f"cannot write {path}: {error.strerror}; choose another file with --out") from error


def main(args: Args) -> None:
    """Fetch, train, print, draw."""
    check(args)
    torch.set_num_threads(1)  # the tensors are small: threads would cost more than they bring
    prices = fetch(args)
    problem = MeanVariance(
        prices.returns(),
        risk_aversion=args.risk_aversion,
        batch=args.batch or None,
        parametrisation=args.parametrisation,
        device=args.device,
    )
    lr = tuned_rate(args, problem) if args.lr is None else args.lr
    run = descend(args, problem, lr)
    found = read(args, problem, run)
    print(prices.describe(), end="\n\n")
    print(text_table(weights_table(prices, problem, found)), end="\n\n")
    rate = f"{number(lr, 4)}, {'given' if args.lr is not None else f'tuned on {TUNING_SEEDS} other seeds'}"
    print(text_table(summary_table(args, run, found, rate)))
    save(draw(args, prices, problem, found), args.out)
    print(f"\nFigure: {args.out}")


if __name__ == "__main__":
    arguments = tyro.cli(Args, description=__doc__)
    sys.exit(guarded(lambda: main(arguments)))
