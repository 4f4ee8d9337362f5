"""The efficient frontier of the study's whole sample: what its film shows."""

from __future__ import annotations

import numpy as np

from core.lab.experiment import Array
from core.lab.measurement import Cell
from core.lab.random import Keys
from finance.embedded import Embedded
from finance.frontier import efficient_frontier
from finance.markets import embedded_returns
from finance.moments import second_moment

POINTS = 41


def measure_frontier(cell: Cell, keys: Keys, /, *, device: str) -> dict[str, Array]:  # noqa: ARG001
    """Long-only portfolios from least risk to greatest return, at equal steps of return; the same for every
    seed.

    `return` and `risk` (root of the second moment, as the study's utility has it), a day, and a `weight` for
    each company, `[S, P]`; a company's own `return` and `risk`, `[S]`.
    """
    returns = embedded_returns()
    mean, moment = returns.mean(axis=0), second_moment(returns)
    found = efficient_frontier(mean, moment).spaced(cell["points"])
    arrays: dict[str, Array] = {"return": found.expected_return, "risk": found.volatility}
    own_risk = np.sqrt(np.diagonal(moment))
    for column, ticker in enumerate(Embedded().fetch().tickers):
        arrays[f"weight {ticker}"] = found.weights[:, column]
        arrays[f"return {ticker}"] = mean[column]
        arrays[f"risk {ticker}"] = own_risk[column]
    return {name: np.stack([values] * len(keys)) for name, values in arrays.items()}
