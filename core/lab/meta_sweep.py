"""A tuned comparison of ways to meta-learn: each tuned on its own seeds and tasks, reported on fresh ones.

The inner learning rate is tuned first, at the middle of the outer grid, then the outer one at the best inner
rate; a best point on a grid's edge widens that grid. A shard trains all settings and seeds of one variant in
one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from core.lab.errors import VhatError
from core.lab.experiment import Array, Lookup, Outlook, Payload, Shard, Spec, seed_blocks
from core.lab.meta import Adaptation, MetaLearned, TaskFamily, errors_along, meta_train
from core.lab.random import Keys
from core.lab.stats import centre
from core.lab.variant import Grid
from core.optim.rules import RULES
from core.optim.schedules import Cosine

Point = tuple[float, float]
"""Inner and outer learning rate."""

CURVE_POINTS = 25
QUANTILES = (0.1, 0.5, 0.9, 0.99, 1.0)

_JOINT = Adaptation(RULES["sgd"], steps=1, derivative="first order")
"""With an inner learning rate of zero its meta-gradient is that of the loss before adaptation."""


@dataclass(frozen=True)
class MetaVariant:
    """A way to come to a start, and to adapt it.

    Attributes:
        name: as shown.
        adaptation: the inner training and how it is differentiated.
        training: `meta`; or, as controls, `joint`: on the pooled tasks, before any adaptation, and
            `none`: the random start.
    """

    name: str
    adaptation: Adaptation
    training: Literal["meta", "joint", "none"] = "meta"

    def describe(self) -> dict[str, object]:
        """All that determines its results, as plain data."""
        a = self.adaptation
        return {
            "variant": self.name,
            "training": self.training,
            "rule": a.rule.name,
            "hyper": {k: str(v) for k, v in sorted({**a.rule.hyper, **a.hyper}.items())},
            "steps": a.steps,
            "derivative": a.derivative,
            "warm": a.warm,
        }


@dataclass(frozen=True)
class MetaTuned:
    """How a variant was tuned.

    Attributes:
        best: the chosen (inner, outer) rates.
        scores: the interquartile mean of the errors of all rates that were tried.
        errors: `[tuning seeds]` of each of these, on fresh tasks; infinite where training diverged.
        edges: which of the chosen rates, `inner` or `outer`, still lie on the edge of their widest grid.
    """

    best: Point
    scores: Mapping[Point, float]
    errors: Mapping[Point, Array] = field(repr=False)
    edges: tuple[str, ...]


@dataclass
class _Line:
    """A line search over one of the two rates, along a grid that may grow."""

    name: str
    grid: Grid
    at: Callable[[float], Point]

    def points(self) -> list[Point]:
        return [self.at(rate) for rate in self.grid.values()]

    def best(self, scores: Mapping[Point, float]) -> Point:
        """The point with the lowest score; among equals the one with the smallest rates."""
        return min((p for p in self.points() if p in scores), key=lambda p: (scores[p], p))

    def at_edge(self, scores: Mapping[Point, float]) -> bool:
        points = self.points()
        return len(points) > 1 and self.best(scores) in (points[0], points[-1])

    def widen(self, scores: Mapping[Point, float]) -> None:
        """Add a point on the side of the best one."""
        low = self.best(scores) == self.points()[0]
        self.grid = self.grid.widened(down=int(low), up=int(not low))


@dataclass(frozen=True)
class MetaSweep:
    """Meta-learning variants over regimes.

    Attributes:
        name: unique within the study.
        study: the namespace of its randomness.
        family: called with a regime's settings and `device=`; a module-level function or class.
        regimes: settings by name; plain JSON data.
        variants: what is compared.
        inner: grid of the inner learning rate.
        outer: grid of the outer learning rate (Adam's); the rate falls to zero along half a cosine.
        iterations, tasks: meta-steps, and tasks in each.
        judged_after: steps of adaptation after which variants are tuned and compared.
        followed: steps of adaptation in the report, at least `judged_after`.
        rates: inner learning rates at which reported starts are also adapted.
        judged_on: fresh tasks of each seed.
        tuning_seeds, reporting_seeds: at least two; disjoint by their namespace.
        seeds_per_shard: part of the plan, never of the machine.
        widen: how many times a grid of more than one point may grow by one point on the side of a best point
            on its edge; a grid of one point stays.

    Raises:
        VhatError: for fewer than two seeds of a kind, or judged after more steps than are followed.
    """

    name: str
    study: str
    family: Callable[..., TaskFamily]
    regimes: Mapping[str, Mapping[str, Any]]
    variants: tuple[MetaVariant, ...]
    inner: Grid
    outer: Grid
    iterations: int
    tasks: int
    judged_after: int
    followed: int
    rates: tuple[float, ...]
    judged_on: int
    tuning_seeds: int
    reporting_seeds: int
    seeds_per_shard: int = 16
    widen: int = 2

    def __post_init__(self) -> None:
        if min(self.tuning_seeds, self.reporting_seeds) < 2:
            raise VhatError(f"{self.study}: a sweep needs at least 2 seeds of each kind")
        if not 1 <= self.judged_after <= self.followed:
            raise VhatError(f"{self.study}: adaptation is judged after 1 to {self.followed} steps")

    # -- stages

    def _specs(self, stage: str, regime: str, variant: MetaVariant, points: Iterable[Point]) -> list[Spec]:
        seeds = self.tuning_seeds if stage == "tune" else self.reporting_seeds
        return [
            {
                "experiment": self.name,
                "stage": stage,
                "regime": regime,
                "settings": dict(self.regimes[regime]),
                **variant.describe(),
                "points": [list(p) for p in points],
                "meta": [self.iterations, self.tasks],
                "judged": [self.judged_after, self.followed, self.judged_on, list(self.rates)],
                "first_seed": first,
                "seeds": count,
            }
            for first, count in seed_blocks(seeds, self.seeds_per_shard)
        ]

    def _tune(self, regime: str, variant: MetaVariant, stored: Lookup) -> tuple[list[Spec], MetaTuned | None]:
        """Specs still needed to tune a variant; and, when none is, how it was tuned."""
        middle = self.outer.values()[len(self.outer.values()) // 2]
        errors: dict[Point, Array] = {}
        scores: dict[Point, float] = {}
        first = _Line("inner", self.inner, lambda rate: (rate, middle))
        lines = [first]
        if variant.training != "none":
            lines.append(_Line("outer", self.outer, lambda rate: (first.best(scores)[0], rate)))
        for line in lines:
            for round_number in range(self.widen + 1):
                fresh = [p for p in line.points() if p not in scores]
                missing, found = self._judged(regime, variant, fresh, stored)
                if missing:
                    return missing, None
                errors |= found
                scores |= {point: centre(e) for point, e in found.items()}
                if round_number == self.widen or not line.at_edge(scores):
                    break
                line.widen(scores)
        edges = tuple(line.name for line in lines if line.at_edge(scores))
        return [], MetaTuned(lines[-1].best(scores), scores, errors, edges)

    def _judged(
        self, regime: str, variant: MetaVariant, points: list[Point], stored: Lookup
    ) -> tuple[list[Spec], dict[Point, Array]]:
        """Specs that are missing, and if none is the error of each point on each tuning seed."""
        if not points:
            return [], {}
        specs = self._specs("tune", regime, variant, points)
        found = [(spec, stored(spec)) for spec in specs]
        missing = [spec for spec, payload in found if payload is None]
        if missing:
            return missing, {}
        errors = np.concatenate([p["errors"] for _, p in found if p is not None], axis=1)
        judged = np.where(np.isnan(errors), np.inf, errors)[:, :, self.judged_after]
        return [], dict(zip(points, judged, strict=True))

    def pending(self, stored: Lookup) -> list[Shard]:
        """The shards of the next stage that are not stored, over all regimes and variants."""
        needed: list[Spec] = []
        for regime in self.regimes:
            for variant in self.variants:
                specs, tuned = self._tune(regime, variant, stored)
                if tuned is not None:
                    specs = self._specs("report", regime, variant, [tuned.best])
                needed += [spec for spec in specs if stored(spec) is None]
        return self._shards(needed)

    def _shards(self, specs: Iterable[Spec]) -> list[Shard]:
        return [Shard(s, f"{s['stage']} {s['variant']}, {s['regime']}", self._cost(s)) for s in specs]

    def outlook(self, stored: Lookup) -> Outlook:
        """For variants that are still being tuned: the outer rates while it is the inner one's turn, and the
        reports; and a point more on each grid in every round."""
        inner, outer = self.inner.values(), self.outer.values()
        middle = outer[len(outer) // 2]
        sure: list[Spec] = []
        possible: list[Spec] = []
        for regime in self.regimes:
            for variant in self.variants:
                missing, tuned = self._tune(regime, variant, stored)
                if tuned is not None:
                    continue
                trained = variant.training != "none"
                others = [(inner[0], rate) for rate in outer if rate != middle]
                if trained and others and any(p[1] == middle for s in missing for p in s["points"]):
                    sure += self._specs("tune", regime, variant, others)
                sure += self._specs("report", regime, variant, [(inner[0], middle)])
                grids = [self.inner, self.outer] if trained else [self.inner]
                for _ in range(self.widen * sum(len(g.values()) > 1 for g in grids)):
                    possible += self._specs("tune", regime, variant, [(inner[0], middle)])
        return Outlook(tuple(self._shards(sure)), tuple(self._shards(possible)))

    def _cost(self, spec: Spec) -> float:
        """About proportional to the time: task-steps, weighed by how they are differentiated."""
        weight = 2.5 if spec["derivative"] == "first order" else 6.0
        weight *= 0.5 if spec["rule"] == "sgd" else 1.0
        trained: float = {"meta": weight * spec["steps"], "joint": 1.0, "none": 0.0}[spec["training"]]
        rows = len(spec["points"]) * int(spec["seeds"])
        return rows * (trained * self.iterations * self.tasks + self.judged_on * self.judged_after)

    def run(self, spec: Spec, *, device: str) -> Payload:
        """Train and judge the rows of one shard, all at once."""
        variant = next(v for v in self.variants if v.name == spec["variant"])
        family = self.family(**spec["settings"], device=device)
        seeds = range(spec["first_seed"], spec["first_seed"] + spec["seeds"])
        points = torch.tensor(spec["points"], dtype=torch.float64, device=device)
        keys = Keys.of(seeds, study=f"{self.study}: {spec['stage']}", device=device, copies=len(points))
        lr, outer_lr = (c.repeat_interleave(spec["seeds"]) for c in points.unbind(1))
        learned = self._learn(variant, family, keys, lr, outer_lr)
        report = spec["stage"] == "report"
        errors = self._errors(
            variant, family, keys, learned, lr, steps=self.followed if report else self.judged_after
        )
        if not report:
            return {"errors": _numbers(errors).reshape(len(points), spec["seeds"], -1)}
        by_rate = [
            self._errors(variant, family, keys, learned, torch.full_like(lr, rate), steps=self.judged_after)
            for rate in self.rates
        ]
        return {
            "errors": _numbers(errors),
            "by_rate": np.stack([_numbers(e)[:, -1] for e in by_rate], axis=1),
            "losses": _binned(_numbers(learned.losses)),
            "norms": _quantiles(_numbers(learned.norms)),
        }

    def _learn(
        self, variant: MetaVariant, family: TaskFamily, keys: Keys, lr: Tensor, outer_lr: Tensor
    ) -> MetaLearned:
        joint = variant.training == "joint"
        return meta_train(
            family,
            _JOINT if joint else variant.adaptation,
            keys,
            lr=torch.zeros_like(lr) if joint else lr,
            outer_lr=outer_lr,
            iterations=0 if variant.training == "none" else self.iterations,
            tasks=self.tasks,
            schedule=Cosine(self.iterations),
        )

    def _errors(
        self,
        variant: MetaVariant,
        family: TaskFamily,
        keys: Keys,
        learned: MetaLearned,
        lr: Tensor,
        *,
        steps: int,
    ) -> Tensor:
        """`[M, steps + 1]`, the mean over fresh tasks; NaN where meta-training diverged.

        Tasks are judged in blocks, which bounds the memory and keeps what is computed in the cache.
        """
        found = []
        for first, count in seed_blocks(self.judged_on, 10):
            found.append(
                errors_along(
                    family.tasks(keys.fold("judged").at(first), count, evaluation=True),
                    variant.adaptation.rule,
                    learned.params,
                    {**variant.adaptation.hyper, "lr": lr},
                    tasks=count,
                    steps=steps,
                    state=learned.state,
                )
            )
        errors = torch.cat(found, dim=1).mean(dim=1)
        return torch.where((learned.diverged_at >= 0)[:, None], torch.nan, errors)

    def result(self, stored: Lookup) -> MetaSweepResult:
        """Tuning and reports of all regimes and variants.

        Raises:
            VhatError: if a shard is missing.
        """
        tuned: dict[tuple[str, str], MetaTuned] = {}
        runs: dict[tuple[str, str], Payload] = {}
        for regime in self.regimes:
            for variant in self.variants:
                _, found = self._tune(regime, variant, stored)
                specs = self._specs("report", regime, variant, [found.best]) if found else []
                payloads = [p for p in map(stored, specs) if p is not None]
                if found is None or len(payloads) < len(specs):
                    raise VhatError(
                        f"{self.study}: a shard of {variant.name!r} is not stored; run the study first"
                    )
                tuned[regime, variant.name] = found
                runs[regime, variant.name] = {
                    name: np.concatenate([p[name] for p in payloads]) for name in payloads[0]
                }
        return MetaSweepResult(self, tuned, runs)


@dataclass(frozen=True)
class MetaSweepResult:
    """What a meta-sweep gave.

    Attributes:
        sweep: its definition.
        tuned: by regime and variant.
        runs: by regime and variant; row s is reporting seed s for every variant: `errors` `[S, followed + 1]`
            after each step of adaptation, `by_rate` `[S, rates]` after `judged_after` steps at other inner
            learning rates, `losses` `[S, CURVE_POINTS]` while meta-training, `norms` `[S, QUANTILES]` of the
            meta-gradient; NaN where a run diverged.
    """

    sweep: MetaSweep
    tuned: Mapping[tuple[str, str], MetaTuned]
    runs: Mapping[tuple[str, str], Payload] = field(repr=False)

    def errors(self, regime: str, variant: str, steps: int | None = None) -> Array:
        """`[S]`, the error after so many steps of adaptation (default: those that are judged); infinite where
        meta-training diverged or the error is not a number."""
        at = self.sweep.judged_after if steps is None else steps
        found = self.runs[regime, variant]["errors"][:, at]
        result: Array = np.where(np.isnan(found), np.inf, found)
        return result

    def to_pandas(self) -> Any:
        """All of it as a pandas `DataFrame`, one value a row: see `core.lab.frames.meta_sweep_frame`."""
        from core.lab.frames import meta_sweep_frame

        return meta_sweep_frame(self)


def _numbers(values: Tensor) -> Array:
    result: Array = values.detach().cpu().double().numpy()
    return result


def _binned(curves: Array) -> Array:
    """`[S, T]` as the means of up to `CURVE_POINTS` equal parts of T."""
    parts = np.array_split(curves, min(CURVE_POINTS, max(curves.shape[1], 1)), axis=1)
    return np.stack([p.mean(axis=1) if p.shape[1] else np.full(len(curves), np.nan) for p in parts], axis=1)


def _quantiles(norms: Array) -> Array:
    """`[S, QUANTILES]`, NaN for a run that diverged or was not trained."""
    if norms.shape[1] == 0:
        return np.full((len(norms), len(QUANTILES)), np.nan)
    return np.quantile(norms, QUANTILES, axis=1).T
