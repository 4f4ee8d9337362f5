"""Results as pandas data frames, in the same tidy long form as exported files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.lab.measurement import MeasurementResult
from core.lab.meta_sweep import MetaSweepResult
from core.lab.sweep import SweepResult
from core.lab.table_files import NONE, Columns
from core.lab.tidy import Block, blocks_of_cell, blocks_of_run, point_labels, row_labels

if TYPE_CHECKING:
    from core.lab.study import Results


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

    The objective is the quantity `objective`, in its own unit, infinite where a replica failed. Where the
    result holds further sweeps, the column `experiment` tells which a row is of.
    """
    sweeps = result.all_sweeps()
    if len(sweeps) == 1:
        return frame(list(_blocks_of_sweep(result)))
    return frame(list(_blocks_of_sweeps(sweeps)))


def meta_sweep_frame(result: MetaSweepResult) -> pd.DataFrame:
    """The same of a meta-sweep: its objective is the error after the steps that are judged."""
    return frame(list(_blocks_of_meta_sweep(result)))


def results_frame(results: Results) -> pd.DataFrame:
    """All sweeps, meta-sweeps and measurements of a study, in one: the column `experiment` comes first.

    Results of an experiment of someone's own are left out: what their arrays mean only its author knows.
    """
    return frame(list(_blocks_of_results(results)))


def _blocks_of_results(results: Results) -> Iterator[Block]:
    for name, result in results.by_name.items():
        if isinstance(result, SweepResult):
            yield from _blocks_of_sweeps(result.all_sweeps())
        elif isinstance(result, MetaSweepResult):
            yield from (b.of(name) for b in _blocks_of_meta_sweep(result))
        elif isinstance(result, MeasurementResult):
            yield from (b.of(name) for b in _blocks_of_measurement(result))


def _blocks_of_sweeps(sweeps: Iterable[SweepResult]) -> Iterator[Block]:
    for result in sweeps:
        yield from (b.of(result.sweep.name) for b in _blocks_of_sweep(result))


def _blocks_of_sweep(result: SweepResult) -> Iterator[Block]:
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


def _blocks_of_meta_sweep(result: MetaSweepResult) -> Iterator[Block]:
    for regime in result.sweep.regimes:
        for variant in result.sweep.variants:
            tuned, run = result.tuned[regime, variant.name], result.runs[regime, variant.name]
            spec = {"stage": "tune", "regime": regime, **variant.describe()}
            for point, errors in tuned.errors.items():
                yield Block(point_labels(spec, point), "objective", np.arange(len(errors)), None, errors)
            labels = point_labels({**spec, "stage": "report"}, tuned.best)
            objective = result.errors(regime, variant.name)
            seeds = np.arange(len(objective))
            yield Block(labels, "objective", seeds, None, objective)
            for name, values in run.items():
                yield Block(labels, name, seeds, None, values)


def measurement_frame(result: MeasurementResult) -> pd.DataFrame:
    """Every array of every cell; the columns of a cell's entries come first."""
    return frame(list(_blocks_of_measurement(result)))


def _blocks_of_measurement(result: MeasurementResult) -> Iterator[Block]:
    for cell, arrays in result:
        yield from blocks_of_cell(cell, arrays, np.arange(len(next(iter(arrays.values())))))
