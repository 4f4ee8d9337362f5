"""Prices of one's own in a Parquet file: a column of days and one column a ticker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.lab.errors import VhatError
from finance.daytext import read_days
from finance.prices import Day, Days, Floats, Prices, Source


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file, as pandas or polars write a table: the column "date" (any case), else the table's
    index, else its first column, holds the days; all others hold prices.

    Days are dates, times (of a zone: the days are those of that zone) or ISO texts, in any order; a null is a
    missing price, which the quality check names. Needs the package pyarrow (extra `parquet`).

    Attributes:
        path: the file.
        adjustment: what its prices are adjusted for, as its owner knows it.
    """

    path: Path
    adjustment: str = "adjustment as in the file"

    def fetch(
        self, tickers: Sequence[str] | None = None, start: Day | None = None, end: Day | None = None
    ) -> Prices:
        """See `PriceSource.fetch`.

        Raises:
            VhatError: without pyarrow, or when the file or a column cannot be read.
        """
        table = self._table()
        names, index = self._names(table)
        if len(names) < 2:
            raise VhatError(f"{self.path}: needs a column of days and at least one column of prices")
        if not table.num_rows:
            raise VhatError(f"{self.path}: holds no line of prices")
        dated = [i for i, name in enumerate(names) if name.lower() == "date"]
        indexed = [i for i, name in enumerate(names) if name in index]
        place = (dated or indexed or [0])[0]
        days = self._days(table.column(place), names[place])
        columns = [i for i in range(len(names)) if i != place]
        close = np.column_stack([self._prices(table.column(i), names[i]) for i in columns])
        order = np.argsort(days, kind="stable")
        source = Source(str(self.path), self.adjustment)
        found = Prices(days[order], tuple(names[i].strip().upper() for i in columns), close[order], source)
        return found.select(tickers, start, end)

    def _table(self) -> Any:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise VhatError(
                "prices in a Parquet file need the package pyarrow, the extra `parquet`: "
                "pip install -e '.[parquet]', or write the table as CSV"
            ) from error
        try:
            with self.path.open("rb") as file:
                return parquet.read_table(file, page_checksum_verification=True)
        except pyarrow.ArrowException as error:
            raise VhatError(f"{self.path}: not a Parquet file ({str(error).splitlines()[0]})") from error
        except OSError as error:
            raise VhatError(f"{self.path}: cannot be read ({error.strerror or error})") from error

    def _names(self, table: Any) -> tuple[list[str], list[str]]:
        """All columns, and those that were pandas' index by its own note, free text in the file (a range of
        numbers, which is no column, stands there as a dictionary)."""
        try:
            noted = table.schema.pandas_metadata or {}
            index = [name for name in noted.get("index_columns", []) if isinstance(name, str)]
            return [str(name) for name in table.column_names], index
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise VhatError(
                f"{self.path}: the names of its columns, or pandas' note on them, cannot be read "
                f"({type(error).__name__}); write the table anew"
            ) from error

    def _days(self, column: Any, name: str) -> Days:
        from pyarrow import ArrowException, compute, types

        kind = column.type
        if column.null_count:
            raise VhatError(f"{self.path}, column {name!r}: {column.null_count} line(s) without a day")
        if types.is_string(kind) or types.is_large_string(kind):
            return read_days(
                column.to_pylist(), lambda i: f"{self.path}, line {i + 1} of the table, column {name!r}"
            )
        try:
            if types.is_timestamp(kind) and kind.tz is not None:
                column = compute.local_timestamp(column)
            elif not (types.is_timestamp(kind) or types.is_date(kind)):
                raise VhatError(f"{self.path}, column {name!r}: holds {kind}, not days")
            return np.asarray(column.to_numpy(), dtype="datetime64[D]")
        except ArrowException as error:
            raise VhatError(f"{self.path}, column {name!r}: cannot be read as days ({error})") from error

    def _prices(self, column: Any, name: str) -> Floats:
        from pyarrow import ArrowException, float64, types

        kind = column.type
        number = types.is_floating(kind) or types.is_integer(kind) or types.is_decimal(kind)
        if not (number or types.is_null(kind)):
            raise VhatError(f"{self.path}, column {name!r}: holds {kind}, not prices")
        try:
            return np.asarray(column.cast(float64()).to_numpy(), dtype=np.float64)
        except ArrowException as error:
            raise VhatError(f"{self.path}, column {name!r}: cannot be read as prices ({error})") from error
