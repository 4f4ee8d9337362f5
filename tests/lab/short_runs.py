"""Short runs of variants on small problems, and whether two runs are the same."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from core.lab.random import Keys
from core.lab.run import Recording, Run
from core.lab.train import Block, train
from core.lab.variant import Variant
from tests.lab.bowls import Bowl

ALL = Recording(points=100, params=True, path=True, state=("exp_avg_sq",))


def same(a: Run, b: Run) -> bool:
    x, y = a.to_arrays(), b.to_arrays()
    return x.keys() == y.keys() and all(np.array_equal(x[k], y[k], equal_nan=True) for k in x)


def blocks(variants: list[Variant], seeds: int, lr: float | Tensor = 0.05) -> list[Block]:
    return [Block(v, slice(i * seeds, (i + 1) * seeds), {"lr": lr}) for i, v in enumerate(variants)]


def run_of(variants: list[Variant], seeds: int = 3, steps: int = 25, **more: object) -> Run:
    keys = Keys.of(range(seeds), copies=len(variants))
    options: dict[str, object] = {"recording": ALL, "problem": Bowl(), **more}
    return train(options.pop("problem"), blocks(variants, seeds), keys, steps=steps, **options)  # type: ignore[arg-type]
