"""Weights of greatest mean-variance utility on prices of one's own, exactly, with a tearsheet.

On the 20 S&P 500 companies that ship with vhat: python scripts/finance.py --risk-aversion 5

On prices from Yahoo Finance, kept on disk: python scripts/finance.py --tickers AAPL KO --start 2015-01-01

On a file of one's own: python scripts/finance.py --csv prices.csv --upper 0.25 (or --parquet prices.parquet)

It prints the weights and writes a page, figures and tables. With --optimizer it also trains the same
portfolio on days drawn at random by an update rule, and says how v̂ ranks the assets.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

# The root before this folder: `finance` is the package, not this script.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.lab import figures
from core.lab.engines import check_device, one_thread
from core.lab.errors import VhatError
from core.lab.tables import number, text_table
from core.lab.terminal import guarded
from finance.allocation import EqualWeight, Estimate, MaximumUtility, MinimumVariance
from finance.backtest import Backtest, Fits, walk_forward
from finance.constraints import Constraints
from finance.csvfile import CsvFile
from finance.descent import (
    TUNING_SEEDS,
    Descent,
    descend,
    draw,
    read,
    summary_table,
    tuned_rate,
    weights_table,
)
from finance.embedded import Embedded
from finance.frontier import efficient_frontier
from finance.moments import TRADING_DAYS
from finance.objective import MeanVariance
from finance.parametrisation import Parametrisation
from finance.parquetfile import ParquetFile
from finance.performance import performance
from finance.prices import Prices, PriceSource
from finance.quality import require_quality
from finance.tearsheet import Tearsheet, performance_table, portfolios_table, write_tearsheet
from finance.tearsheet import weights_table as exact_weights_table
from finance.yahoo import Yahoo


@dataclass
class Args:
    """An exact mean-variance portfolio and its tearsheet."""

    tickers: tuple[str, ...] = ()
    """Yahoo's names (with --csv or --parquet: columns of the file); the 20 embedded companies if left out"""
    csv: Path | None = None
    """a file of one's own: a column of days, one column of prices a ticker"""
    parquet: Path | None = None
    """the same as a Parquet file (needs the extra `parquet`)"""
    adjustment: str | None = None
    """what the prices of that file are adjusted for, in words: "adjusted for splits and dividends"; every
    result says it"""
    start: str | None = None
    """first day, like 2010-01-01; the source's own if left out"""
    end: str | None = None
    """last day"""
    allow: tuple[str, ...] = ()
    """defects of the prices to accept, by name: jump:RRC, gap, ..."""
    risk_aversion: float = 5.0
    """gamma in w·m - gamma/2 w·Sw, from 0 (greatest return) to inf (least variance)"""
    covariance: Estimate = "ledoit-wolf"
    """estimate of S: sample, ledoit-wolf or ewma"""
    upper: float | None = None
    """largest weight of one asset, like 0.25; no limit if left out"""
    risk_free: float = 0.0
    """yearly risk-free rate, like 0.03, taken off in every Sharpe ratio"""
    window: int | None = None
    """backtest: days that weights are estimated from; a year, or half of a short history, if left out"""
    rebalance: int = 21
    """backtest: days between two rebalancings"""
    cost: float = 0.001
    """backtest: cost of each unit traded (0.001 is 10 basis points)"""
    turnover_limit: float | None = None
    """backtest: most that one rebalancing may trade, like 0.2; no limit if left out"""
    out: Path = Path("out/finance")
    """folder of the tearsheet and its files"""
    optimizer: str | None = None
    """also train by an update rule: adam, sgd, momentum, rmsprop, amsgrad, signsgd, adam_shared_v, ..."""
    parametrisation: Parametrisation = "softmax"
    """training: how parameters give weights"""
    lr: float | None = None
    """training: learning rate; tuned on seeds of their own if left out"""
    batch: int = 32
    """training: days drawn at each step; 0 takes all days, without noise"""
    steps: int = 2000
    """training: steps of each run"""
    seeds: int = 20
    """training: runs, all at once"""
    device: str = "cpu"
    """training: where it is computed"""


def fetch(args: Args) -> Prices:
    """Prices from where the arguments say, checked for quality."""
    return require_quality(source_of(args).fetch(args.tickers or None, args.start, args.end), args.allow)


def source_of(args: Args) -> PriceSource:
    """Where prices come from."""
    if args.csv and args.parquet:
        raise VhatError("--csv and --parquet name two sources; give one")
    own = {} if args.adjustment is None else {"adjustment": args.adjustment}
    if args.csv:
        return CsvFile(args.csv, **own)
    if args.parquet:
        return ParquetFile(args.parquet, **own)
    if own:
        raise VhatError("--adjustment is for a file of one's own: the other sources know theirs")
    return Yahoo() if args.tickers else Embedded()


def backtests(args: Args, prices: Prices, window: int) -> dict[str, Backtest]:
    """The chosen way of weighting first, then what it is compared with."""
    ways: dict[str, Fits] = {
        f"γ = {number(args.risk_aversion, 6)}": MaximumUtility(
            args.risk_aversion, args.covariance, args.upper
        ),
        "least variance": MinimumVariance(args.covariance, args.upper),
        "1/N": EqualWeight(),
    }
    returns = prices.returns()
    return {
        name: walk_forward(
            returns,
            way,
            window=window,
            rebalance=args.rebalance,
            cost=args.cost,
            turnover_limit=args.turnover_limit,
        )
        for name, way in ways.items()
    }


def tearsheet(args: Args, prices: Prices) -> Tearsheet:
    """The frontier of all days, the portfolio on it, and the backtests."""
    returns = prices.returns()
    covariance = MaximumUtility(args.risk_aversion, args.covariance).estimate(returns)
    frontier = efficient_frontier(returns.mean(axis=0), covariance, Constraints(upper=args.upper))
    window = min(TRADING_DAYS, len(returns) // 2) if args.window is None else args.window
    facts = (
        ("prices", prices.describe()),
        ("moments", f"{args.covariance} covariance and sample mean of all {len(returns)} daily returns"),
        ("largest weight", "no limit" if args.upper is None else f"{100 * args.upper:g}%"),
        ("frontier", f"critical line, {len(frontier.turning)} turning points"),
        ("backtest", f"each fit sees {window} days, every {args.rebalance} days"),
        ("costs", f"{1e4 * args.cost:g} basis points of what is traded"),
        (
            "turnover limit",
            "none" if args.turnover_limit is None else f"{args.turnover_limit:g} a rebalancing",
        ),
    )
    results = backtests(args, prices, window)
    return Tearsheet(
        prices,
        frontier,
        frontier.at_risk_aversion(args.risk_aversion),
        results,
        {
            name: performance(result, risk_free=args.risk_free / TRADING_DAYS)
            for name, result in results.items()
        },
        args.risk_free / TRADING_DAYS,
        facts,
    )


def training(args: Args, prices: Prices, plan: Descent) -> None:
    """Train by an update rule; print the gap to the exact optimum, and how v̂ ranks assets; write a
    figure."""
    problem = MeanVariance(
        prices.returns(),
        risk_aversion=args.risk_aversion,
        batch=args.batch or None,
        parametrisation=args.parametrisation,
        device=args.device,
    )
    lr = tuned_rate(plan, problem) if plan.lr is None else plan.lr
    run = descend(plan, problem, lr)
    found = read(plan, problem, run)
    print(f"\nTrained by {plan.optimizer} on second moments about zero, beside their exact optimum:\n")
    print(text_table(weights_table(prices, problem, found)), end="\n\n")
    rate = f"{number(lr, 4)}, {'given' if plan.lr is not None else f'tuned on {TUNING_SEEDS} other seeds'}"
    print(text_table(summary_table(plan, run, found, rate)))
    path = args.out / f"trained-{plan.optimizer}.png"
    figures.save_png(draw(plan, prices, problem, found), path)
    print(f"\nFigure: {path}")


def plan_of(args: Args) -> Descent | None:
    """How to train, checked before anything is computed; None without --optimizer."""
    if args.optimizer is None:
        return None
    if args.batch < 0:
        raise VhatError(f"--batch must be at least 0, got {args.batch}")
    if args.upper is not None:
        raise VhatError(
            "--upper does not go with --optimizer: update rules are trained without a largest weight, so the "
            "comparison with the exact weights would be with another problem; leave one of the two out"
        )
    check_device(args.device)
    return Descent(
        args.optimizer,
        args.parametrisation,
        args.risk_aversion,
        args.lr,
        args.steps,
        args.seeds,
        args.device,
    )


def check(args: Args) -> None:
    """Raise one clear line for numbers that make no sense, before anything is fetched."""
    if not args.risk_aversion >= 0.0:
        raise VhatError(
            f"--risk-aversion, the risk aversion, must be a number of 0 or more, got {args.risk_aversion}"
        )
    if not math.isfinite(args.risk_free):
        raise VhatError(f"--risk-free must be a number, got {args.risk_free}")


def main(args: Args) -> None:
    """Fetch, solve, print, write."""
    plan = plan_of(args)
    check(args)
    with one_thread():  # the arrays are small: threads would cost more than they bring
        written(args, plan)


def written(args: Args, plan: Descent | None) -> None:
    """The tearsheet and, if asked for, a portfolio that is trained."""
    prices = fetch(args)
    sheet = tearsheet(args, prices)
    print(prices.describe(), end="\n\n")
    for table in (exact_weights_table(sheet), portfolios_table(sheet), performance_table(sheet)):
        print(f"{table.caption}\n{text_table(table)}", end="\n\n")
    print(f"Tearsheet: {write_tearsheet(sheet, args.out)}")
    if plan is not None:
        training(args, prices, plan)


if __name__ == "__main__":
    arguments = tyro.cli(Args, description=__doc__)
    sys.exit(guarded(lambda: main(arguments)))
