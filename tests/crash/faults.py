"""Faults in one replica: its field is not a number, infinite or huge, wherever a study computes with it.

Problems are not listed: they are met while a study's own shards are computed, so that a new study is covered
as soon as the registry finds it.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from core.lab.experiment import Array, Experiment, Payload, Shard
from core.lab.meta_sweep import MetaSweep
from core.lab.problem import Field, Problem
from core.lab.random import Keys
from core.lab.registry import Registered, domains
from core.lab.sweep import Sweep
from core.lab.train import Block, Recording, Run, train
from core.lab.variant import Variant
from core.optim.rule import Rule

FAULTS: dict[str, Callable[[torch.dtype], float]] = {
    "NaN": lambda dtype: float("nan"),
    "infinite": lambda dtype: float("-inf"),
    "huge": lambda dtype: torch.finfo(dtype).max / 8,
}
EDGES = (0, -1)
"""Rows whose seed is known however a study stacks its settings over its seeds: the first and the last."""
OTHER_ROWS = {
    ("orbits", "theory"): "a rule's linear map is taken at basis vectors, a row each",
    ("out-of-sample", "descended"): "a rate is chosen within the cell, on rows of its own",
}
"""Experiments in which a rule also steps rows that are no replicas of the result, and why."""


def _stained(values: Tensor, row: int, fault: str) -> Tensor:
    """A copy of `[R, ...]` with one row replaced; derivatives of the others stay."""
    mask = torch.zeros(len(values), dtype=torch.bool, device=values.device)
    mask[row] = True
    return torch.where(mask.view(-1, *(1,) * (values.dim() - 1)), FAULTS[fault](values.dtype), values)


@contextmanager
def broken_steps(row: int, fault: str) -> Iterator[list[int]]:
    """Every rule is given a broken gradient in that row, at each step; gives a list with their number."""
    calls = [0]
    step, advance = Rule.step, Rule.advance

    def broken_step(self: Rule, params: Tensor, grads: Tensor, *args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        return step(self, params, _stained(grads, row, fault), *args, **kwargs)

    def broken_advance(self: Rule, params: Tensor, grads: Tensor, *args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        return advance(self, params, _stained(grads, row, fault), *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "step", broken_step)
        patch.setattr(Rule, "advance", broken_advance)
        yield calls


def problem_classes() -> set[type]:
    """Every class of ours with a field."""
    ours = {"core", *(package for _, package in domains())}
    return {
        cls
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in ours
        for cls in vars(module).values()
        if inspect.isclass(cls)
        and cls is not Problem
        and inspect.isfunction(vars(cls).get("field"))
        and all(hasattr(cls, n) for n in ("init", "measure"))
    }


@contextmanager
def met(problems: dict[object, Problem]) -> Iterator[None]:
    """Collects each problem whose field is asked for, one of a class, size and settings."""

    def watched(field: Callable[..., Field]) -> Callable[..., Field]:
        def call(self: Any, *args: Any, **kwargs: Any) -> Field:
            plain = {k: v for k, v in vars(self).items() if isinstance(v, int | float | str | tuple)}
            problems.setdefault((type(self), self.dim, repr(sorted(plain.items()))), self)
            return field(self, *args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for cls in problem_classes():
            patch.setattr(cls, "field", watched(vars(cls)["field"]))
        yield


def first_shards(registered: Registered, most: int) -> list[tuple[Experiment, Shard]]:
    """The shards of the tiny plan that need no other: up to `most` of different settings an experiment."""
    chosen = []
    for experiment in registered.study.experiments(registered.study.plan("tiny")):
        by_setting: dict[str, Shard] = {}
        for shard in sorted(experiment.pending(lambda _: None), key=lambda s: s.cost):
            setting = {k: v for k, v in shard.spec.items() if k not in ("first_seed", "seeds")}
            by_setting.setdefault(repr(setting), shard)
        shards = list(by_setting.values())
        # Spread over the table of settings, the cheapest first.
        chosen += [(experiment, s) for s in shards[:: max(1, -(-len(shards) // most))]]
    return chosen


def by_seed(experiment: Experiment, shard: Shard, payload: Payload) -> dict[str, Array]:
    """The arrays as `[settings, seeds, ...]`, without those that have no seeds."""
    seeds = int(shard.spec["seeds"])
    settings = (
        len(shard.spec["rows" if isinstance(experiment, Sweep) else "points"])
        if isinstance(experiment, Sweep | MetaSweep)
        else 1
    )
    found = {}
    for name, array in payload.items():
        if name == "steps":
            continue
        if array.shape[:2] == (settings, seeds):
            found[name] = array
        else:
            assert array.shape[0] == settings * seeds, (experiment.name, name, array.shape)
            found[name] = array.reshape(settings, seeds, *array.shape[1:])
    return found


def changed_seeds(a: Mapping[str, Array], b: Mapping[str, Array]) -> set[int]:
    """The seeds in which two results differ in any bit."""
    assert a.keys() == b.keys()
    found: set[int] = set()
    for name in a:
        assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape)
        for seed in range(a[name].shape[1]):
            if not np.array_equal(_bits(a[name][:, seed]), _bits(b[name][:, seed])):
                found.add(seed)
    return found


def _bits(array: Array) -> Array:
    return np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)


@dataclasses.dataclass
class Stained:
    """A problem whose field is broken in one row, from the second step on."""

    whole: Any
    row: int
    fault: str

    @property
    def dim(self) -> int:
        return int(self.whole.dim)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)

    def init(self, keys: Keys) -> Tensor:
        started: Tensor = self.whole.init(keys)
        return started

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        found: Field = self.whole.field(params, keys, step)
        return Field(_stained(found.values, self.row, self.fault), found.measures) if step else found

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        found: Mapping[str, Tensor] = self.whole.measure(params, keys)
        return found


SEEDS, STEPS = 3, 4
TRAINED = ("sgd", "adam")
ROWS = SEEDS * len(TRAINED)


def keys_of(rows: int) -> Keys:
    """Of a batch of trained replicas."""
    return Keys.of(range(SEEDS), study="faults", copies=rows // SEEDS)


def takes_any_rows(problem: Problem) -> bool:
    """Whether it is a problem for any replicas; the recording of certain ones is none."""
    keys = keys_of(ROWS)
    return len(problem.field(problem.init(keys), keys, 0).values) == ROWS


def trained(problem: Problem) -> Run:
    """A few steps of two rules, all that can be recorded."""
    blocks = [
        Block(Variant(name, name), slice(i * SEEDS, (i + 1) * SEEDS), {"lr": 0.01})
        for i, name in enumerate(TRAINED)
    ]
    recording = Recording(points=STEPS, params=True, path=True, state=("exp_avg", "exp_avg_sq"))
    return train(problem, blocks, keys_of(ROWS), steps=STEPS, recording=recording)


def changed_rows(a: Run, b: Run) -> set[int]:
    """The replicas in which two runs differ in any bit."""
    first, second = ({k: v[None] for k, v in run.to_arrays().items() if k != "steps"} for run in (a, b))
    return changed_seeds(first, second)
