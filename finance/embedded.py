"""The offline default: daily prices of 20 S&P 500 companies that ship inside the skfolio wheel."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from core.lab.errors import VhatError
from finance.prices import Day, Prices, Source

# RRC stands still for weeks at a time until the end of May 1992 (68 days in a row at first) and falls to a
# third on 1990-04-10: unusable for a variance. From this day on the data set has no defect.
CLEAN_FROM = "1992-06-01"


@dataclass(frozen=True)
class Embedded:
    """`skfolio.datasets.load_sp500_dataset`: 20 companies, 1990-01-02 to 2022-12-28, adjusted closing prices.

    The default start is `CLEAN_FROM`; an earlier one must be asked for, and then its defects accepted by
    name.
    """

    def fetch(
        self, tickers: Sequence[str] | None = None, start: Day | None = None, end: Day | None = None
    ) -> Prices:
        """See `PriceSource.fetch`.

        Raises:
            VhatError: for a ticker that is not in the data set (with the nearest names), or a span outside
                it.
        """
        return _read().select(tickers, CLEAN_FROM if start is None else start, end)


@cache
def _read() -> Prices:
    # The packaged file itself: importing skfolio for it takes a hundred times as long as reading it.
    spec = importlib.util.find_spec("skfolio")
    if spec is None or not spec.submodule_search_locations:
        raise VhatError(
            "the embedded prices ship with the package skfolio, which is not installed: pip install skfolio"
        )
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "sp500_dataset.csv.gz"
    name = f"embedded (skfolio {version('skfolio')}, S&P 500 sample)"
    try:
        header, *lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        tickers = tuple(header.split(",")[1:])
        dates = np.array([line.split(",", 1)[0] for line in lines], dtype="datetime64[D]")
        close = np.loadtxt(lines, delimiter=",", usecols=range(1, len(tickers) + 1), ndmin=2)
    except (OSError, EOFError, ValueError) as error:
        raise VhatError(
            f"the embedded prices at {path} cannot be read ({error}): pip install --force-reinstall skfolio"
        ) from error
    return Prices(dates, tickers, close, Source(name, "adjusted for splits and dividends"))
