"""Files of tidy rows, CSV and Parquet, written block by block: they may be larger than the memory."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, Protocol

import numpy as np

from core.lab.errors import VhatError
from core.lab.experiment import Array
from core.lab.tidy import Block, Label

Format = Literal["csv", "parquet"]
FORMATS: tuple[Format, ...] = ("csv", "parquet")

NONE = np.iinfo(np.int64).min
"""In place of a whole number that is missing."""

_BATCH = 200_000
"""Rows that a Parquet file takes at once."""


def label_text(value: Label) -> str:
    """A label as text; numbers as Python writes them, so that read back they are the same."""
    return "" if value is None else value if isinstance(value, str) else repr(value)


@dataclass
class Columns:
    """What the columns of a file must hold, known before its first row is written.

    Attributes:
        constants: columns of one text each, which come first.
        texts: by label all that it says, in the order of first appearance.
        textual: labels that are text at least once, and so throughout.
        quantities: the names of all quantities.
        steps: whether some quantity is recorded along training steps.
        indexes: how many index columns are needed.
        rows: how many rows there will be.
    """

    constants: Mapping[str, str]
    texts: dict[str, dict[str, None]] = field(default_factory=dict)
    textual: set[str] = field(default_factory=set)
    quantities: dict[str, None] = field(default_factory=dict)
    steps: bool = False
    indexes: int = 0
    rows: int = 0

    def see(self, block: Block) -> None:
        """Make room for a block."""
        for name, value in block.labels.items():
            texts = self.texts.setdefault(name, {})
            if value is not None:
                texts.setdefault(label_text(value))
            if isinstance(value, str):
                self.textual.add(name)
        self.quantities.setdefault(block.quantity)
        self.steps = self.steps or block.steps is not None
        self.indexes = max(self.indexes, block.indexes)
        self.rows += block.values.size

    def labels(self) -> list[str]:
        """The labels that say anything; one that is always missing does not, nor a switch never on."""
        return [name for name, texts in self.texts.items() if texts.keys() - {"false"}]

    def whole(self) -> list[str]:
        """The columns of whole numbers."""
        steps = ["step"] if self.steps else []
        return ["seed", *steps, *(f"index_{i}" for i in range(1, self.indexes + 1))]

    def names(self) -> list[str]:
        """All columns, in their order."""
        return [*self.constants, *self.labels(), *self.whole(), "quantity", "value"]

    def texts_of(self) -> dict[str, list[str]]:
        """The columns of text, each with all that it says."""
        constants = {name: [text] for name, text in self.constants.items()}
        labels = {name: list(self.texts[name]) for name in self.labels() if name in self.textual}
        return {**constants, **labels, "quantity": list(self.quantities)}

    def coded(self, block: Block) -> dict[str, Array]:
        """A block's rows, column by column, each `[rows]`.

        A text is its place in `texts_of`. What is missing is a number that cannot be: -1 for a text, `NONE`
        for a whole number, NaN for a label that is a number.
        """
        found, size = block.columns(), block.values.size
        said = {**self.constants, **block.labels, "quantity": block.quantity}
        texts, whole = self.texts_of(), self.whole()
        columns: dict[str, Array] = {}
        for name in self.names():
            value = said.get(name)
            if name in texts:
                code = -1 if value is None else texts[name].index(label_text(value))
                columns[name] = np.full(size, code, dtype=np.int32)
            elif name in found:
                columns[name] = found[name]
            elif name in whole:
                columns[name] = np.full(size, NONE)
            else:
                columns[name] = np.full(size, np.nan if value is None else value, dtype=np.float64)
        return columns


class TableFile(Protocol):
    """A file in the making."""

    def write(self, block: Block) -> None:
        """Add the rows of a block, of those that its columns have seen."""

    def end(self) -> None:
        """Complete what was written; the file stays open."""


class CSVFile:
    """Commas, a line of heads, numbers as Python writes them; what is missing is an empty field."""

    def __init__(self, columns: Columns, file: BinaryIO) -> None:
        self._columns = columns
        self._file = io.TextIOWrapper(file, "utf-8", newline="")
        self._file.write(f"{_fields(columns.names())}\n")

    def write(self, block: Block) -> None:
        """Add the rows of a block."""
        labels = [label_text(block.labels.get(name)) for name in self._columns.labels()]
        lead, quantity = _fields([*self._columns.constants.values(), *labels]), _fields([block.quantity])
        found = block.columns()
        values = found["value"].tolist()
        whole = [map(str, found[n]) if n in found else [""] * len(values) for n in self._columns.whole()]
        rows = zip(map(",".join, zip(*whole, strict=True)), values, strict=True)
        self._file.writelines(f"{lead},{numbers},{quantity},{value!r}\n" for numbers, value in rows)

    def end(self) -> None:
        """Write what is still in memory."""
        self._file.flush()
        self._file.detach()


def _fields(values: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


class ParquetFile:
    """Text as dictionaries, numbers as float64 and int64; what is missing is null.

    Raises:
        VhatError: if pyarrow is not installed.
    """

    def __init__(self, columns: Columns, file: BinaryIO) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise VhatError(
                "Parquet files need pyarrow: pip install pyarrow (it is vhat's extra `parquet`), or take "
                "--format csv"
            ) from error
        self._arrow, self._columns = pyarrow, columns
        self._texts = {n: pyarrow.array(words, pyarrow.string()) for n, words in columns.texts_of().items()}
        self._schema = pyarrow.schema([(n, self._kind(n)) for n in columns.names()])
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._waiting: list[dict[str, Array]] = []

    def _kind(self, name: str) -> Any:
        if name in self._texts:
            return self._arrow.dictionary(self._arrow.int32(), self._arrow.string())
        return self._arrow.int64() if name in self._columns.whole() else self._arrow.float64()

    def write(self, block: Block) -> None:
        """Add the rows of a block."""
        self._waiting.append(self._columns.coded(block))
        if sum(len(r["value"]) for r in self._waiting) >= _BATCH:
            self._pour()

    def _pour(self) -> None:
        if not self._waiting:
            return
        arrays = []
        for name in self._columns.names():
            values = np.concatenate([row[name] for row in self._waiting])
            if name in self._texts:
                codes = self._arrow.array(values, mask=values < 0)
                arrays.append(self._arrow.DictionaryArray.from_arrays(codes, self._texts[name]))
            elif name in self._columns.whole():
                arrays.append(self._arrow.array(values, mask=values == NONE))
            else:
                # A value may be NaN, a label is null where it does not apply.
                missing = None if name == "value" else np.isnan(values)
                arrays.append(self._arrow.array(values, mask=missing))
        self._waiting = []
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))

    def end(self) -> None:
        """Write what is still in memory, and the file's footer."""
        self._pour()
        self._writer.close()


WRITERS: Mapping[str, type[CSVFile] | type[ParquetFile]] = {"csv": CSVFile, "parquet": ParquetFile}
