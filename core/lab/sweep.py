"""Sweeps: every variant tuned on its own grid and its own seeds, then reported on fresh ones.

The stages are `tune` (all settings of all variants on the tuning seeds), as often as a best point lies on the
edge of its grid of learning rates `tune` again on the widened part, and `report` (each variant's best setting
on the reporting seeds). Within a shard all replicas train at once, and all variants of one seed see the same
randomness.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from core.lab.errors import VhatError
from core.lab.experiment import Array, Lookup, Outlook, Payload, Shard, Spec, seed_blocks
from core.lab.objective import Objective, Regime
from core.lab.packing import blocks_of, split
from core.lab.random import Keys
from core.lab.train import Recording, Run, train
from core.lab.variant import Grid, Setting, Variant

__all__ = ["Objective", "Regime", "Sweep", "SweepResult", "Tuned"]


@dataclass(frozen=True)
class Tuned:
    """How a variant was tuned in a regime.

    Attributes:
        best: the chosen setting.
        settings: all that were tried, in the order of the grid.
        scores: `[settings]`, the centre of the objective of each on the tuning seeds, in its own unit.
        losses: `[settings, tuning seeds]`, the objective of each replica, in its own unit.
        edge: the names of its settings that lie on the edge of all values tried, `lr` after all widening; not
            those beyond which the rule allows nothing.
    """

    best: Setting
    settings: tuple[Setting, ...]
    scores: Array
    losses: Array
    edge: tuple[str, ...]


@dataclass(frozen=True)
class Sweep:
    """A tuned comparison of variants over regimes.

    Attributes:
        name: unique within the study.
        study: the namespace of its randomness.
        regimes, variants: what is compared, where.
        grid: the learning rates of every variant that has no grid of its own.
        objective: what is tuned for and compared.
        steps: training steps of a replica.
        tuning_seeds, reporting_seeds: how many of each, at least two; disjoint by their namespace.
        recording: when measures are recorded, and what is kept, in the report stage.
        seeds_per_shard: part of the plan, never of the machine.
        widen: how many times a grid may grow by two points on the side of a best point on its edge.
        cost: of one replica-step, relative to other experiments, for the estimate of the time left.

    Raises:
        VhatError: for no regimes or variants, names that are not their own, no steps, or fewer than two
            seeds.
    """

    name: str
    study: str
    regimes: tuple[Regime, ...]
    variants: tuple[Variant, ...]
    grid: Grid
    objective: Objective
    steps: int
    tuning_seeds: int
    reporting_seeds: int
    recording: Recording = field(default_factory=Recording)
    seeds_per_shard: int = 32
    widen: int = 3
    cost: float = 1.0

    def __post_init__(self) -> None:
        for kind, names in (
            ("regime", [r.name for r in self.regimes]),
            ("variant", [v.name for v in self.variants]),
        ):
            if not names or len(set(names)) != len(names):
                raise VhatError(f"{self.study}: a sweep needs {kind}s with names of their own, got {names}")
        if min(self.tuning_seeds, self.reporting_seeds) < 2 or self.steps < 1:
            raise VhatError(f"{self.study}: a sweep needs at least 1 step and 2 seeds of each kind")

    # -- specs
    # ------------------------------------------------------------------------------------------------

    def _rows(self, variant: Variant, settings: Iterable[Setting]) -> list[dict[str, Any]]:
        return [{"variant": variant.name, **variant.describe(), "setting": dict(s)} for s in settings]

    def _specs(self, stage: str, regime: Regime, rows: list[dict[str, Any]]) -> list[Spec]:
        seeds = self.tuning_seeds if stage == "tune" else self.reporting_seeds
        return [
            {
                "experiment": self.name,
                "stage": stage,
                "regime": regime.name,
                **regime.describe(),
                "objective": [self.objective.measure, self.objective.at, self.objective.threshold],
                "steps": self.steps,
                "recording": self._recording(stage).describe(),
                "rows": rows,
                "first_seed": first,
                "seeds": count,
            }
            for first, count in seed_blocks(seeds, self.seeds_per_shard)
        ]

    def _recording(self, stage: str) -> Recording:
        return self.recording if stage == "report" else self.recording.for_tuning()

    def _grid(self, variant: Variant) -> Grid:
        return variant.lr or self.grid

    # -- stages
    # -----------------------------------------------------------------------------------------------

    def _tune_rounds(self, regime: Regime, stored: Lookup) -> tuple[list[Spec], dict[str, Tuned]]:
        """Specs still needed to tune this regime; and, when none is, how each variant was tuned.

        All variants share a shard in a round; a round after the first holds only the widened part of grids.
        """
        grids = {v.name: self._grid(v) for v in self.variants}
        fresh = {v.name: v.settings(grids[v.name]) for v in self.variants}
        seen: dict[str, list[_Seen]] = {v.name: [] for v in self.variants}
        for round_number in range(self.widen + 1):
            rows = [row for v in self.variants for row in self._rows(v, fresh[v.name])]
            specs = self._specs("tune", regime, rows)
            payloads = [stored(spec) for spec in specs]
            if any(p is None for p in payloads):
                return [s for s, p in zip(specs, payloads, strict=True) if p is None], {}
            for name, setting, run in split(specs[0], [p for p in payloads if p is not None]):
                seen[name].append(_Seen(setting, self.objective.values(run), self.objective.rank(run)))
            fresh = {v.name: () for v in self.variants}
            for v in self.variants:
                grid, best = grids[v.name], _best(seen[v.name])["lr"]
                values = grid.values()
                if round_number < self.widen and best in (values[0], values[-1]):
                    down, up = (2, 0) if best == values[0] else (0, 2)
                    grids[v.name] = wider = grid.widened(down=down, up=up)
                    fresh[v.name] = tuple(s for s in v.settings(wider) if s["lr"] not in values)
            if not any(fresh.values()):
                break
        return [], {v.name: self._tuned(v, seen[v.name]) for v in self.variants}

    def _tuned(self, variant: Variant, seen: list[_Seen]) -> Tuned:
        seen = sorted(seen, key=lambda own: tuple(own.setting.values()))
        values = np.stack([own.values for own in seen])
        sign = -1.0 if self.objective.higher and self.objective.at != "hit" else 1.0
        scores = np.array([sign * own.rank[0] for own in seen])
        best, settings = _best(seen), tuple(own.setting for own in seen)
        return Tuned(best, settings, scores, values, variant.on_edge(best, settings))

    def pending(self, stored: Lookup) -> list[Shard]:
        """The shards of the next stage that are not stored, over all regimes."""
        needed: list[Spec] = []
        for regime in self.regimes:
            specs, tuned = self._tune_rounds(regime, stored)
            needed += specs or [s for s in self._report_specs(regime, tuned) if stored(s) is None]
        return self._shards(needed)

    def _shards(self, specs: Iterable[Spec]) -> list[Shard]:
        return [
            Shard(s, f"{s['stage']} {s['regime']}", self.cost * len(s["rows"]) * s["seeds"] * self.steps)
            for s in specs
        ]

    def outlook(self, stored: Lookup) -> Outlook:
        """The reports of regimes that are still being tuned, whose settings do not change what they take; and
        grids that grow by two points in every round."""
        sure: list[Spec] = []
        possible: list[Spec] = []
        for regime in self.regimes:
            if not self._tune_rounds(regime, stored)[0]:
                continue
            rows = [row for v in self.variants for row in self._rows(v, v.settings(self._grid(v))[:1])]
            sure += self._specs("report", regime, rows)
            for number in range(self.widen):
                rows = [row for v in self.variants for row in self._rows(v, self._wider(v, number))]
                possible += self._specs("tune", regime, rows)
        return Outlook(tuple(self._shards(sure)), tuple(self._shards(possible)))

    def _wider(self, variant: Variant, number: int) -> list[Setting]:
        """What round `number` of widening would add, if all are on one side."""
        grid = self._grid(variant)
        old, new = grid.widened(up=2 * number), grid.widened(up=2 * number + 2)
        return [s for s in variant.settings(new) if s["lr"] not in old.values()]

    def _report_specs(self, regime: Regime, tuned: Mapping[str, Tuned]) -> list[Spec]:
        rows = [row for v in self.variants for row in self._rows(v, [tuned[v.name].best])]
        return self._specs("report", regime, rows)

    def run(self, spec: Spec, *, device: str) -> Payload:
        """Train the rows of one shard, all at once."""
        regime = next(r for r in self.regimes if r.name == spec["regime"])
        problem = regime.build(device)
        variants = {v.name: v for v in self.variants}
        seeds = range(spec["first_seed"], spec["first_seed"] + spec["seeds"])
        keys = Keys.of(seeds, study=f"{self.study}/{spec['stage']}", device=device, copies=len(spec["rows"]))
        watch = (
            {self.objective.measure: self.objective.threshold} if self.objective.threshold is not None else {}
        )
        run = train(
            problem,
            blocks_of(spec["rows"], variants, spec["seeds"], device),
            keys,
            steps=self.steps,
            recording=self._recording(spec["stage"]),
            watch=watch,
            watch_higher=self.objective.higher,
        )
        return run.to_arrays()

    def result(self, stored: Lookup) -> SweepResult:
        """Tuning and reporting of all regimes and variants.

        Raises:
            VhatError: if a shard is missing.
        """
        tuned: dict[tuple[str, str], Tuned] = {}
        runs: dict[tuple[str, str], Run] = {}
        for regime in self.regimes:
            missing, by_name = self._tune_rounds(regime, stored)
            specs = [] if missing else self._report_specs(regime, by_name)
            payloads = [p for p in map(stored, specs) if p is not None]
            if missing or len(payloads) < len(specs):
                raise VhatError(
                    f"{self.study}: a shard of {regime.name!r} is not stored; run the study first"
                )
            for name, _, run in split(specs[0], payloads):
                tuned[regime.name, name], runs[regime.name, name] = by_name[name], run
        return SweepResult(self, tuned, runs)


@dataclass(frozen=True)
class _Seen:
    """A setting that was tried in tuning.

    Attributes:
        values: the objective of each tuning seed `[S]`.
        rank: see `Objective.rank`; settings are sorted by it, the smallest first.
    """

    setting: Setting
    values: Array
    rank: tuple[float, ...]


def _best(seen: Iterable[_Seen]) -> Setting:
    """The best setting; among equals the smallest learning rate."""
    return min(seen, key=lambda own: (*own.rank, own.setting["lr"])).setting


@dataclass(frozen=True)
class SweepResult:
    """What a sweep gave.

    Attributes:
        sweep: its definition.
        tuned: by regime and variant, how it was tuned.
        runs: by regime and variant, the reported run at the tuned setting; row s is reporting seed s.
    """

    sweep: Sweep
    tuned: Mapping[tuple[str, str], Tuned]
    runs: Mapping[tuple[str, str], Run] = field(repr=False)

    @cached_property
    def regimes(self) -> tuple[str, ...]:
        """Names, in the sweep's order."""
        return tuple(r.name for r in self.sweep.regimes)

    @cached_property
    def variants(self) -> tuple[str, ...]:
        """Names, in the sweep's order."""
        return tuple(v.name for v in self.sweep.variants)

    def run(self, regime: str, variant: str) -> Run:
        """The reported run of a variant at its tuned setting; row s is reporting seed s for every variant."""
        return self.runs[regime, variant]

    def values(self, regime: str, variant: str) -> Array:
        """The objective of each reporting seed `[S]`, in its own unit; +-inf where a replica diverged or
        never hit."""
        return self.sweep.objective.values(self.run(regime, variant))

    def all_sweeps(self) -> tuple[SweepResult, ...]:
        """This result, and those of further sweeps that belong to it: what is shown and exported of it. A
        result that holds others overrides this."""
        return (self,)

    def to_pandas(self) -> Any:
        """All of it as a pandas `DataFrame`, one value a row: see `core.lab.frames.sweep_frame`."""
        from core.lab.frames import sweep_frame

        return sweep_frame(self)
