"""Do portfolios found by Adam do better on days they have not seen?"""

from __future__ import annotations

from core.lab.experiment import Experiment
from core.lab.measurement import Measurement
from core.lab.study import FigureSpec, Plan, Study
from finance.embedded import COMPANIES, FUNDS
from finance.studies.out_of_sample_figures import draw_performance, draw_wealth
from finance.studies.out_of_sample_settings import (
    ADAM,
    ALLOCATIONS,
    BATCH,
    DESCENDED,
    RISK_AVERSION,
    WINDOW,
    allocate,
    descend,
    portfolio_cells,
)
from finance.studies.out_of_sample_verdict import judge, tables

STUDY_ID = "out-of-sample"
# The sizes of the quick plan were settled on other seeds, which do not judge.
SEEDS = f"{STUDY_ID}/2"


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """Weights on each trading day: by update rules, and by standard allocations."""
    sizes = {**plan.sizes, "steps": plan.steps}
    return (
        Measurement(
            "descended",
            SEEDS,
            descend,
            portfolio_cells(tuple(DESCENDED), sizes),
            plan.reporting_seeds,
            cost=float(plan.steps),
        ),
        Measurement("standard", SEEDS, allocate, portfolio_cells(ALLOCATIONS, sizes), 2, cost=300.0),
    )


STUDY = Study(
    id=STUDY_ID,
    title="Days not seen",
    question="Do portfolios found by Adam do better on new days than equal shares?",
    claim=(
        "An optimizer that manages risk by itself finds better portfolios: Adam's mean-variance portfolios "
        "do better on days they have not seen than splitting money evenly."
    ),
    setup=(
        f"Walk-forward without look-ahead: every 63 days (plan full: 21) weights are fitted on the {WINDOW} "
        "days before and held, drifting, to the next time; 10 basis points are paid on each unit traded. "
        f"Data: {COMPANIES}; and {FUNDS}. Adam and gradient descent on mean-variance utility with risk "
        f"aversion {RISK_AVERSION:g}, {BATCH} drawn days a step, cosine decay: {'; '.join(DESCENDED)}. The "
        "rate is chosen by the gap to the exact optimum of the first window alone; several seeds. Beside "
        "them 1/N, inverse volatility, minimum variance, mean-variance with Ledoit and Wolf's covariance, "
        "equal risk contribution, maximum diversification, and the exact optimum of the same utility, with "
        "the same second moments about zero."
    ),
    criterion=(
        f"On each data set and for each of Adam's portfolios ({'; '.join(ADAM)}): the yearly Sharpe ratio "
        "after costs, mean over seeds, exceeds that of 1/N with the whole 95% interval of the difference, "
        "days resampled in blocks of 21 on average for both alike (stationary bootstrap). It fails where "
        "the whole interval lies below zero. Supported if it holds in all cases, refuted if it fails in "
        "all, conditional if some hold and some fail, otherwise inconclusive. Shown beside the verdict: "
        "Adam against the exact optimum and against gradient descent, the standard allocations against "
        "1/N, and volatility over 1/N's; of so many comparisons some come out by chance, so the sentence "
        "also counts those that remain with false discoveries controlled. (The exact optimum was that of "
        "the centred covariance before; it is shown, and does not judge.)"
    ),
    mathematics=(
        (
            r"\text{Sharpe ratio} = \sqrt{252}\;\frac{\bar r}{s}",
            "Mean over standard deviation of the portfolio's daily returns after costs, for a year of "
            "252 days. What is judged is the difference to that of 1/N (DeMiguel, Garlappi and Uppal "
            "2009).",
        ),
    ),
    would_change=(
        "Another market or another half of a century: one history of prices is one draw, and an "
        "interval from resampled blocks cannot say what other histories would have held. A difference "
        "that excludes zero on both data sets would."
    ),
    plans={
        "tiny": Plan("tiny", 20, 2, 2, {"rebalance": 63, "periods": 14}),
        "quick": Plan("quick", 300, 8, 10, {"rebalance": 63, "periods": 0}),
        "full": Plan("full", 3000, 8, 30, {"rebalance": 21, "periods": 0}),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "performance",
            "Out of sample, after costs: Sharpe ratio less that of 1/N, volatility, and turnover, with 95% "
            "intervals by the stationary bootstrap. Black: standard allocations.",
            "Six panels, two data sets: nearly all intervals of the Sharpe difference hold zero; "
            "volatilities and turnover differ clearly.",
            draw_performance,
        ),
        FigureSpec(
            "wealth",
            "Wealth after costs of some portfolios; those by update rules are medians over seeds. More "
            "wealth came with more risk: the ratio of both is what the first figure compares.",
            "Two panels of growing curves on a log axis, one a data set.",
            draw_wealth,
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Was a rate chosen that happened to work?",
            "It is chosen by the gap to the exact optimum inside the first window, which ends before the "
            "first trade, on draws of its own.",
        ),
        (
            "Thirty years should be enough to tell.",
            "Not Sharpe ratios: their standard error is about 1 / sqrt(years), and two portfolios of the "
            "same shares differ by less. DeMiguel, Garlappi and Uppal (2009) need thousands of months for "
            "that. Volatility is estimated much better, and differs.",
        ),
        (
            "The companies are survivors.",
            "Yes, all portfolios gain from that, 1/N as well; differences between portfolios are less "
            "touched than levels. The funds were not chosen by what became of them.",
        ),
        (
            "Do the optimizer's errors help as a regularisation?",
            "That is the comparison with the exact optimum of the same utility, beside the verdict.",
        ),
    ),
    source=(
        "DeMiguel, Garlappi and Uppal 2009; Ledoit and Wolf 2004; Maillard, Roncalli and Teiletche 2010; "
        "Choueifaty and Coignard 2008; Politis and Romano 1994."
    ),
    packages=("skfolio", "scipy", "scikit-learn"),
)
