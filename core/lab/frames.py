"""Results as pandas data frames, in the same tidy long form as exported files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.lab.table_files import NONE, Columns
from core.lab.tidy import Block, blocks_of_cell, blocks_of_run, row_labels

if TYPE_CHECKING:
    from core.lab.measurement import MeasurementResult
    from core.lab.sweep import SweepResult


def frame(blocks: Sequence[Block]) -> pd.DataFrame:
    """A row a value: labels, seed, step, index_1, ..., quantity, value.

    Text is categorical, in the order of first appearance; numbers are float64; seeds, steps and indexes are
    int64, or Int64 where some are missing.
    """
    columns = Columns({})
    for block in blocks:
        columns.see(block)
    parts = [columns.coded(block) for block in blocks]
    texts = columns.texts_of()
    data: dict[str, object] = {}
    for name in columns.names():
        values = np.concatenate([part[name] for part in parts])
        if name in texts:
            data[name] = pd.Categorical.from_codes(values, categories=texts[name])
        elif name in columns.whole() and (values == NONE).any():
            data[name] = pd.arrays.IntegerArray(values, values == NONE)
        else:
            data[name] = values
    return pd.DataFrame(data)


def sweep_frame(result: SweepResult) -> pd.DataFrame:
    """Of every setting tried the objective on each tuning seed; of each variant's best setting the objective
    on each reporting seed and all that was recorded.

    The objective is the quantity `objective`, in its own unit, infinite where a replica failed.
    """
    return frame(list(_sweep_blocks(result)))


def _sweep_blocks(result: SweepResult) -> Iterator[Block]:
    for regime in result.regimes:
        for variant in result.sweep.variants:
            row = {"variant": variant.name, **variant.describe()}
            tuned, run = result.tuned[regime, variant.name], result.run(regime, variant.name)
            for setting, losses in zip(tuned.settings, tuned.losses, strict=True):
                labels = row_labels({"stage": "tune", "regime": regime}, {**row, "setting": setting})
                yield Block(labels, "objective", np.arange(len(losses)), None, losses)
            labels = row_labels({"stage": "report", "regime": regime}, {**row, "setting": tuned.best})
            seeds = np.arange(len(run.diverged_at))
            yield Block(labels, "objective", seeds, None, result.values(regime, variant.name))
            yield from blocks_of_run(labels, run, seeds)


def measurement_frame(result: MeasurementResult) -> pd.DataFrame:
    """Every array of every cell; the columns of a cell's entries come first."""
    return frame(
        [
            block
            for cell, arrays in result
            for block in blocks_of_cell(cell, arrays, np.arange(len(next(iter(arrays.values())))))
        ]
    )
