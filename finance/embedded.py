"""Prices that ship inside the skfolio wheel: 20 S&P 500 companies, the offline default; 5 factor funds."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np

from core.lab.errors import VhatError, nearest
from finance.prices import Day, Prices, Source

# RRC stands still for weeks at a time until the end of May 1992 (68 days in a row at first) and falls to a
# third on 1990-04-10: unusable for a variance. From this day on the data set has no defect.
CLEAN_FROM = "1992-06-01"
LAST = "2022-12-28"
ADJUSTMENT = "adjusted for splits and dividends"
COMPANIES = (
    "the 20 S&P 500 companies that ship with vhat (the sample of the package skfolio; closing prices "
    f"{ADJUSTMENT}), from {CLEAN_FROM}, the first day from which on they have no defect, to {LAST}"
)
"""What a study says of the one data set."""
FUNDS = f"the 5 factor funds that ship with vhat (also skfolio's, {ADJUSTMENT}), from 2014-01-02 to {LAST}"
"""And of the other."""
_FILES = {
    "companies": ("sp500_dataset.csv.gz", "S&P 500 sample"),
    "factors": ("factors_dataset.csv.gz", "factor funds"),
}


@dataclass(frozen=True)
class Embedded:
    """Adjusted closing prices up to `LAST`.

    Attributes:
        dataset: `companies` (`skfolio.datasets.load_sp500_dataset`: 20 of the S&P 500, from 1990-01-02; the
            default start is `CLEAN_FROM`, an earlier one must be asked for, and then its defects accepted by
            name), or `factors` (`load_factors_dataset`: exchange-traded funds of 5 factors, from 2014-01-02).
    """

    dataset: Literal["companies", "factors"] = "companies"

    def fetch(
        self, tickers: Sequence[str] | None = None, start: Day | None = None, end: Day | None = None
    ) -> Prices:
        """See `PriceSource.fetch`.

        Raises:
            VhatError: for a ticker that is not in the data set (with the nearest names), or a span outside
                it.
        """
        if self.dataset not in _FILES:
            raise VhatError(nearest(self.dataset, _FILES, kind="data set"))
        first = CLEAN_FROM if self.dataset == "companies" else None
        return _read(self.dataset).select(tickers, first if start is None else start, end)


@cache
def _read(dataset: str) -> Prices:
    # The packaged file itself: importing skfolio for it takes a hundred times as long as reading it.
    spec = importlib.util.find_spec("skfolio")
    if spec is None or not spec.submodule_search_locations:
        raise VhatError(
            "the embedded prices ship with the package skfolio, which is not installed: pip install skfolio"
        )
    file, what = _FILES[dataset]
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / file
    name = f"embedded (skfolio {version('skfolio')}, {what})"
    try:
        header, *lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        tickers = tuple(header.split(",")[1:])
        dates = np.array([line.split(",", 1)[0] for line in lines], dtype="datetime64[D]")
        close = np.loadtxt(lines, delimiter=",", usecols=range(1, len(tickers) + 1), ndmin=2)
    except (OSError, EOFError, ValueError) as error:
        raise VhatError(
            f"the embedded prices at {path} cannot be read ({error}): pip install --force-reinstall skfolio"
        ) from error
    return Prices(dates, tickers, close, Source(name, ADJUSTMENT))
