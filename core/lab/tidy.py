"""Results in tidy long form: one value a row, beside it what it is a value of.

A stored shard, a sweep's result and a measurement's are each cut into blocks, the values of one quantity for
the seeds of one setting. Files (`core.lab.export`) and data frames (`core.lab.frames`) are made of blocks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.lab.experiment import Array, Payload, Spec
from core.lab.run import Run

Label = str | float | None
"""What a row is labelled with: text, a number, or nothing where a label does not apply."""

STAGES = {"tune": "tuning", "report": "reporting"}
_TAKEN = frozenset(("study", "plan", "experiment", "seed", "step", "quantity", "value"))
"""Columns that every table has; a cell may use these words for its own."""


@dataclass(frozen=True)
class Block:
    """The values of one quantity.

    Attributes:
        labels: what all of them share: stage, regime, variant, hyperparameters; or a measurement's cell.
        quantity: the name of a measure, or of an array that was kept.
        seeds: `[S]`, the first axis of `values`.
        steps: `[T]`, the second axis of `values`; None where it is not that of training steps.
        values: `[S, ...]` or `[S, T, ...]`, numbers; axes beyond these are counted in index columns.
    """

    labels: Mapping[str, Label]
    quantity: str
    seeds: Array
    steps: Array | None
    values: Array

    @property
    def indexes(self) -> int:
        """How many axes the values have beyond those of seeds and steps."""
        return self.values.ndim - (1 if self.steps is None else 2)

    def columns(self) -> dict[str, Array]:
        """The columns that vary, each `[values.size]`: seed, step (if there are steps), index_1, index_2, ...
        counted from 0, and value (float64: exact for what vhat stores)."""
        seed, *rest = (x.ravel() for x in np.indices(self.values.shape))
        found = {"seed": self.seeds[seed]}
        if self.steps is not None:
            found["step"] = self.steps[rest.pop(0)]
        found |= {f"index_{i}": x for i, x in enumerate(rest, start=1)}
        return found | {"value": self.values.astype(np.float64).ravel()}

    def of(self, experiment: str) -> Block:
        """The same, labelled with the part of a study that it belongs to; this comes first."""
        return replace(self, labels={"experiment": experiment, **self.labels})


def blocks_of_run(labels: Mapping[str, Label], run: Run, seeds: Array) -> Iterator[Block]:
    """Everything that a batch of replicas kept: curves first, then what has one value (or one vector) a
    replica.

    Args:
        labels: of all of it.
        run: R replicas.
        seeds: `[R]`.
    """
    for name, curve in run.curves.items():
        yield Block(labels, name, seeds, run.steps, curve)
    yield Block(labels, "diverged_at", seeds, None, run.diverged_at)
    for what, hits in (("first hit", run.hits), ("settled", run.settled)):
        for name, values in hits.items():
            yield Block(labels, f"{what}: {name}", seeds, None, values)
    if run.path is not None:
        yield Block(labels, "path", seeds, run.steps, run.path)
    if run.params is not None:
        yield Block(labels, "parameters", seeds, None, run.params)
    for name, values in run.state.items():
        yield Block(labels, f"state: {name}", seeds, None, values)


def blocks_of_cell(cell: Mapping[str, object], arrays: Payload, seeds: Array) -> Iterator[Block]:
    """The arrays of a measurement's cell, whose first axis is that of the seeds.

    Args:
        cell: plain data; what is not a number or text becomes JSON text.
        arrays: `{name: [S, ...]}`.
        seeds: `[S]`.
    """
    labels = {f"cell_{k}" if k in _TAKEN else k: _label(v) for k, v in cell.items()}
    for name, values in arrays.items():
        yield Block(labels, name, seeds, None, values)


def blocks_of_shard(spec: Spec, payload: Payload) -> Iterator[Block]:
    """What one stored shard holds, whatever kind of experiment wrote it.

    Args:
        spec: of the shard.
        payload: its arrays.
    """
    count = int(spec.get("seeds", 0))
    seeds = np.arange(count) + int(spec.get("first_seed", 0))
    if "cell" in spec:
        yield from blocks_of_cell(spec["cell"], payload, seeds)
    elif "rows" in spec:
        run = Run.from_arrays(payload)
        for i, row in enumerate(spec["rows"]):
            yield from blocks_of_run(
                row_labels(spec, row), run.rows(slice(i * count, (i + 1) * count)), seeds
            )
    elif "points" in spec:
        yield from _blocks_of_points(spec, payload, seeds)
    else:
        cell = {k: v for k, v in spec.items() if k not in ("experiment", "first_seed", "seeds")}
        for name, values in payload.items():
            # Of an experiment of someone's own only its author knows what the first axis is.
            by_seed = values.ndim > 0 and len(values) == count
            if by_seed:
                yield from blocks_of_cell(cell, {name: values}, seeds)
            else:
                yield from blocks_of_cell(cell, {name: values[None]}, np.array([-1]))


def _blocks_of_points(spec: Spec, payload: Payload, seeds: Array) -> Iterator[Block]:
    """A meta-sweep's: points are (inner, outer) learning rates; the tuning stage has an axis of them."""
    for i, point in enumerate(spec["points"]):
        labels = point_labels(spec, point)
        for name, values in payload.items():
            yield Block(labels, name, seeds, None, values[i] if spec["stage"] == "tune" else values)


def row_labels(spec: Spec, row: Mapping[str, object]) -> dict[str, Label]:
    """Stage, regime, variant, rule, and all hyperparameters, tuned or fixed, of a row of a sweep's shard."""
    hyper, setting = row["hyper"], row["setting"]
    assert isinstance(hyper, Mapping)
    assert isinstance(setting, Mapping)
    return {
        "stage": STAGES[spec["stage"]],
        "regime": spec["regime"],
        "variant": str(row["variant"]),
        "rule": str(row["rule"]),
        **{name: _label(value) for name, value in setting.items()},
        **{name: _number_or_text(str(value)) for name, value in hyper.items() if name not in setting},
        **{name: _number_or_text(str(row[name])) for name in ("schedule", "play") if name in row},
    }


def point_labels(spec: Spec, point: Sequence[float]) -> dict[str, Label]:
    """The same of a meta-sweep, whose points are (inner, outer) learning rates; and how it was trained."""
    inner, outer = point
    labels = row_labels(spec, {**spec, "setting": {"lr": inner, "outer_lr": outer}})
    return labels | {"training": str(spec["training"]), "derivative": str(spec["derivative"])}


def _label(value: object) -> Label:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return json.dumps(value, sort_keys=True)


def _number_or_text(text: str) -> Label:
    """Fixed hyperparameters are stored as text."""
    if text in ("None", "True", "False"):
        return None if text == "None" else text.lower()
    try:
        value = float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) else text
