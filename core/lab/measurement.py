"""Measurements: an experiment that evaluates a function on a table of cells over blocks of seeds.

For whatever is not a tuned sweep: a probe at frozen parameters, one step at many scales, a correlation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from core.lab.errors import VhatError
from core.lab.experiment import Array, Lookup, Payload, Shard, Spec, seed_blocks
from core.lab.random import Keys

Cell = Mapping[str, Any]


class CellFunction(Protocol):
    """What is measured: a module-level function, so that worker processes find it."""

    def __call__(self, cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
        """Arrays whose first axis is the rows of `keys`, one row a seed; row r depends on key r alone."""


@dataclass(frozen=True)
class Measurement:
    """A function on cells x seeds.

    Attributes:
        name: unique within the study.
        study: the namespace of its randomness.
        function: see `CellFunction`.
        cells: plain JSON data, one mapping a cell.
        seeds: rows a cell, at least two.
        seeds_per_shard: rows a shard; part of the plan, never of the machine.
        cost: relative cost of one row, for the estimate of the time left.

    Raises:
        VhatError: for fewer than two seeds, or without cells.
    """

    name: str
    study: str
    function: CellFunction
    cells: tuple[Cell, ...]
    seeds: int
    seeds_per_shard: int = 32
    cost: float = 1.0

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise VhatError(
                f"{self.study}: measurement {self.name!r} needs at least 2 seeds, got {self.seeds}"
            )
        if not self.cells:
            raise VhatError(f"{self.study}: measurement {self.name!r} has no cells")

    def _specs(self) -> Iterator[tuple[int, Spec]]:
        for number, cell in enumerate(self.cells):
            for first, count in seed_blocks(self.seeds, self.seeds_per_shard):
                yield (
                    number,
                    {"experiment": self.name, "cell": dict(cell), "first_seed": first, "seeds": count},
                )

    def pending(self, stored: Lookup) -> list[Shard]:
        """The cells and seeds that are not stored."""
        return [
            Shard(spec, f"{self.name} {' '.join(map(str, spec['cell'].values()))}", self.cost * spec["seeds"])
            for _, spec in self._specs()
            if stored(spec) is None
        ]

    def run(self, spec: Spec, *, device: str) -> Payload:
        """One cell on one block of seeds."""
        seeds = range(spec["first_seed"], spec["first_seed"] + spec["seeds"])
        arrays = self.function(spec["cell"], Keys.of(seeds, study=self.study, device=device), device=device)
        return {
            name: value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
            for name, value in arrays.items()
        }

    def result(self, stored: Lookup) -> MeasurementResult:
        """All cells with their arrays, seeds joined on the first axis.

        Raises:
            VhatError: if a shard is not stored.
        """
        blocks: dict[int, list[Payload]] = {}
        for number, spec in self._specs():
            payload = stored(spec)
            if payload is None:
                raise VhatError(f"{self.study}: a shard of {self.name!r} is not stored; run the study first")
            blocks.setdefault(number, []).append(payload)
        joined = [
            {name: np.concatenate([p[name] for p in payloads]) for name in payloads[0]}
            for payloads in (blocks[n] for n in range(len(self.cells)))
        ]
        return MeasurementResult(tuple(self.cells), tuple(joined))


@dataclass(frozen=True)
class MeasurementResult:
    """Cells and their arrays, in the order of the cells.

    Attributes:
        cells: as they were measured.
        arrays: of each cell by name, `[S, ...]`: row s is seed s.
    """

    cells: tuple[Cell, ...]
    arrays: tuple[Payload, ...] = field(repr=False)

    def __iter__(self) -> Iterator[tuple[Cell, Payload]]:
        return iter(zip(self.cells, self.arrays, strict=True))

    def where(self, **match: object) -> MeasurementResult:
        """The cells whose entries equal those given."""
        kept = [(c, a) for c, a in self if all(k in c and c[k] == v for k, v in match.items())]
        return MeasurementResult(tuple(c for c, _ in kept), tuple(a for _, a in kept))

    def only(self, **match: object) -> Payload:
        """The arrays of the one cell that matches.

        Raises:
            KeyError: unless exactly one does.
        """
        found = self.where(**match)
        if len(found.cells) != 1:
            raise KeyError(f"{len(found.cells)} cells match {match}, not one")
        return found.arrays[0]

    def to_pandas(self) -> Any:
        """All arrays as a pandas `DataFrame`, one value a row: see `core.lab.frames.measurement_frame`."""
        from core.lab.frames import measurement_frame

        return measurement_frame(self)
