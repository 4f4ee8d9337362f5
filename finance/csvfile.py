"""Prices of one's own: a CSV file with a column of days and one column a ticker."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.lab.errors import VhatError
from finance.daytext import read_days
from finance.prices import Day, Prices, Source


@dataclass(frozen=True)
class CsvFile:
    """A CSV file whose first line names the columns; the column "date" (any case), else the first, holds the
    days.

    Days are ISO (2020-03-16, see `finance.daytext`), in any order; an empty cell is a missing price, which
    the quality check names.

    Attributes:
        path: the file.
        adjustment: what its prices are adjusted for, as its owner knows it.
        delimiter: what stands between two cells.
    """

    path: Path
    adjustment: str = "adjustment as in the file"
    delimiter: str = ","

    def fetch(
        self, tickers: Sequence[str] | None = None, start: Day | None = None, end: Day | None = None
    ) -> Prices:
        """See `PriceSource.fetch`.

        Raises:
            VhatError: when the file or a cell cannot be read, naming the line and the column.
        """
        try:
            with self.path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.reader(file, delimiter=self.delimiter)
                # The reader's own line number is right also where a quoted cell spans lines.
                rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
        except OSError as error:
            raise VhatError(f"{self.path}: cannot be read ({error.strerror})") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise VhatError(f"{self.path}: not a CSV file in UTF-8 ({error})") from error
        return self._parse(rows).select(tickers, start, end)

    def _parse(self, rows: list[tuple[int, list[str]]]) -> Prices:
        if len(rows) < 2:
            raise VhatError(f"{self.path}: needs a line of column names and at least one line of prices")
        header = [cell.strip() for cell in rows[0][1]]
        if len(header) < 2:
            raise VhatError(f"{self.path}: one column only; needs a date column and one column a ticker")
        if "" in header[1:]:
            raise VhatError(f"{self.path}: column {header.index('', 1) + 1} has no name in the first line")
        day_column = next((i for i, name in enumerate(header) if name.lower() == "date"), 0)
        columns = [i for i in range(len(header)) if i != day_column]
        close = []
        for line, row in rows[1:]:
            if len(row) != len(header):
                raise VhatError(
                    f"{self.path}, line {line}: {len(row)} cells, but {len(header)} columns are named"
                )
            close.append([self._price(row[i], line, header[i]) for i in columns])
        dates = read_days(
            [row[day_column] for _, row in rows[1:]],
            lambda i: f"{self.path}, line {rows[1 + i][0]}, column {header[day_column]!r}",
        )
        order = np.argsort(dates, kind="stable")
        source = Source(str(self.path), self.adjustment)
        return Prices(dates[order], tuple(header[i].upper() for i in columns), np.array(close)[order], source)

    def _price(self, cell: str, line: int, column: str) -> float:
        if not cell.strip():
            return float("nan")
        try:
            # Python also reads 12_5 as 125; in a file it is a mistake.
            return float(cell.replace("_", "?"))
        except ValueError:
            raise VhatError(f"{self.path}, line {line}, column {column!r}: {cell!r} is not a price") from None
