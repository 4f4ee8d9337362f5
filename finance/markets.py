"""Mean-variance problems on the embedded prices, told apart by plain settings: the regimes of studies."""

from __future__ import annotations

from functools import cache

import torch

from finance.embedded import Embedded
from finance.objective import MeanVariance
from finance.parametrisation import Parametrisation
from finance.prices import Floats, Prices
from finance.quality import require_quality

# The data set's two crises (2000-02, 2008) and its calm decade with 2020 lie in different spans.
SPANS = {
    "1992-2001": (None, "2001-12-31"),
    "2002-2011": ("2002-01-01", "2011-12-31"),
    "2012-2022": ("2012-01-01", None),
}
FUNDS = "factor funds, 2014-2022"
"""In the place of a span: the other embedded data set."""


def standardise(returns: Floats) -> Floats:
    """Returns `[T, N]` scaled so that every ticker has the same volatility, the mean of those given."""
    deviation = returns.std(axis=0, ddof=1)
    out: Floats = returns * (deviation.mean() / deviation)
    return out


@cache
def embedded_returns(span: str | None = None) -> Floats:
    """Daily returns `[T, 20]` of the embedded companies, checked for quality, over one of `SPANS`, or all; or
    those `[T, 5]` of the funds (`FUNDS`).

    The whole span begins at `finance.embedded.CLEAN_FROM`.
    """
    returns = embedded_prices(span).returns()
    returns.flags.writeable = False
    return returns


@cache
def embedded_prices(span: str | None = None) -> Prices:
    """What `embedded_returns` are the returns of, checked for quality."""
    if span == FUNDS:
        return require_quality(Embedded("factors").fetch())
    return require_quality(Embedded().fetch(None, *(SPANS[span] if span is not None else (None, None))))


def market(
    *,
    risk_aversion: float,
    batch: int | None,
    parametrisation: Parametrisation,
    span: str | None = None,
    standardised: bool = False,
    device: torch.device | str = "cpu",
) -> MeanVariance:
    """The problem of those settings, in float64 (see `MeanVariance`, `embedded_returns`, `standardise`)."""
    returns = embedded_returns(span)
    return MeanVariance(
        standardise(returns) if standardised else returns,
        risk_aversion=risk_aversion,
        batch=batch,
        parametrisation=parametrisation,
        device=device,
    )
