"""What prices a result stands on: source, span, adjustment."""

from __future__ import annotations

from collections.abc import Iterable

from core.lab.study import Table
from finance.markets import embedded_prices


def prices_table(spans: Iterable[str | None]) -> Table:
    """One row for each of `finance.markets.SPANS` or `FUNDS`; None is the whole span of the companies."""
    rows = []
    for span in spans:
        prices = embedded_prices(span)
        first, last = prices.span
        source = prices.source
        rows.append(
            (source.name, str(len(prices.tickers)), first, last, str(len(prices.dates)), source.adjustment)
        )
    return Table(
        "The prices that these results stand on.",
        ("source", "tickers", "first day", "last day", "days", "adjustment"),
        tuple(rows),
    )
