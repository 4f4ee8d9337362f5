"""What training gives: recorded curves, divergence, hits, and whatever else was asked to be kept, as plain
arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from core.lab.experiment import Array, Payload


@dataclass(frozen=True)
class Recording:
    """When measures are recorded, and what is kept.

    Attributes:
        points: how many recorded steps besides step 0 (fewer if there are fewer steps).
        spacing: `linear` or `log` in the step.
        params: keep the final parameters `[R, D]`.
        path: keep the parameters at all recorded steps `[R, T, D]`.
        state: names of state tensors of the rule to keep at the end (`exp_avg_sq`, ...), `[R, D]`, NaN for a
            variant whose rule has none of that name.
        tuning_points: `points` of the tuning stage; None for the same.

    Raises:
        ValueError: for fewer than one point, or a spacing of another name.
    """

    points: int = 50
    spacing: Literal["linear", "log"] = "linear"
    params: bool = False
    path: bool = False
    state: tuple[str, ...] = ()
    tuning_points: int | None = None

    def __post_init__(self) -> None:
        if min(self.points, self.points if self.tuning_points is None else self.tuning_points) < 1:
            raise ValueError("a recording needs at least 1 point besides step 0")
        if self.spacing not in ("linear", "log"):
            raise ValueError(f"a recording is spaced 'linear' or 'log', got {self.spacing!r}")

    def steps(self, total: int) -> list[int]:
        """The recorded steps, from 0 to `total`, ascending, both ends included."""
        points = min(self.points, total)
        grid = (
            np.linspace(0, total, points + 1)
            if self.spacing == "linear"
            else np.concatenate([[0], np.geomspace(total, 1, points)])
        )
        return sorted({round(float(x)) for x in grid})

    def for_tuning(self) -> Recording:
        """What tuning needs: curves, and nothing else kept."""
        return Recording(self.points if self.tuning_points is None else self.tuning_points, self.spacing)

    def describe(self) -> list[object]:
        """All that determines what is stored, as plain data."""
        return [self.points, self.spacing, self.params, self.path, list(self.state)]


@dataclass(frozen=True)
class Run:
    """A batch of R trained replicas.

    Attributes:
        steps: int64 `[T]`, the recorded steps.
        curves: `{name: [R, T]}`. A problem's measure at the recorded step, before the step's update;
            `field/<name>` for a by-product of the field, averaged over the steps since the last recorded one.
            NaN from the moment a replica diverged: never filled in.
        diverged_at: int64 `[R]`, the step whose update was not finite, or -1.
        hits: `{measure: int64 [R]}`, the first step at which a watched measure reached its threshold, or -1.
        settled: `{measure: int64 [R]}`, the same for the beginning of the last unbroken stretch beyond the
            threshold that reaches the end.
        params: `[R, D]`, final parameters (the last finite ones of a diverged replica), if kept.
        path: `[R, T, D]`, if kept.
        state: `{name: [R, D]}`, final state of the rule, if kept.
    """

    steps: Array
    curves: Mapping[str, Array]
    diverged_at: Array
    hits: Mapping[str, Array] = field(default_factory=dict)
    settled: Mapping[str, Array] = field(default_factory=dict)
    params: Array | None = None
    path: Array | None = None
    state: Mapping[str, Array] = field(default_factory=dict)

    @property
    def diverged(self) -> Array:
        """bool `[R]`."""
        diverged: Array = self.diverged_at >= 0
        return diverged

    def rows(self, rows: slice | Sequence[int]) -> Run:
        """Some of the replicas, in their order."""
        return Run(
            self.steps,
            {k: v[rows] for k, v in self.curves.items()},
            self.diverged_at[rows],
            {k: v[rows] for k, v in self.hits.items()},
            {k: v[rows] for k, v in self.settled.items()},
            None if self.params is None else self.params[rows],
            None if self.path is None else self.path[rows],
            {k: v[rows] for k, v in self.state.items()},
        )

    @classmethod
    def join(cls, runs: Sequence[Run]) -> Run:
        """Batches with the same recording, one after the other.

        Raises:
            ValueError: without a batch, or where recorded steps differ.
        """
        if not runs or any(not np.array_equal(r.steps, runs[0].steps) for r in runs):
            raise ValueError("only runs with the same recorded steps can be joined")
        arrays = [r.to_arrays() for r in runs]
        joined = {k: np.concatenate([a[k] for a in arrays]) for k in arrays[0] if k != "steps"}
        return cls.from_arrays({"steps": runs[0].steps, **joined})

    def to_arrays(self) -> dict[str, Array]:
        """As named arrays, for the store."""
        arrays = {"steps": self.steps, "diverged_at": self.diverged_at}
        for group in ("curves", "hits", "settled", "state"):
            arrays |= {f"{group}:{name}": value for name, value in getattr(self, group).items()}
        arrays |= {n: v for n, v in (("params", self.params), ("path", self.path)) if v is not None}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Payload) -> Run:
        """The inverse of `to_arrays`."""
        groups: dict[str, dict[str, Array]] = {"curves": {}, "hits": {}, "settled": {}, "state": {}}
        for name, value in arrays.items():
            group, colon, rest = name.partition(":")
            if colon:
                groups[group][rest] = value
        return cls(
            arrays["steps"],
            diverged_at=arrays["diverged_at"],
            params=arrays.get("params"),
            path=arrays.get("path"),
            **groups,
        )
