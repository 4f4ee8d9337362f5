"""Small problems whose every step is known, and a study of one of them that any process can import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from core.lab import stats
from core.lab.experiment import Experiment
from core.lab.measurement import Cell, Measurement
from core.lab.problem import Field
from core.lab.random import Keys
from core.lab.registry import Domain, Registered
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.sweep import Objective, Regime, Sweep
from core.lab.variant import Grid, Variant
from core.lab.verdict import Verdict, finding, verdict


@dataclass
class Bowl:
    """f(x) = sum_i c_i x_i^2 / 2 with noisy gradients; elementwise, so that a row's bits are its own in any
    batch."""

    curvature: tuple[float, ...] = (1.0, 4.0, 0.25)
    noise: float = 0.1
    dtype: torch.dtype = torch.float32
    device: str = "cpu"

    @property
    def dim(self) -> int:
        return len(self.curvature)

    def _curvature(self) -> Tensor:
        return torch.tensor(self.curvature, dtype=self.dtype, device=self.device)

    def init(self, keys: Keys) -> Tensor:
        return keys.fold("init").normal(self.dim, dtype=self.dtype)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        noise = self.noise * keys.fold("noise").at(step).normal(self.dim, dtype=self.dtype)
        return Field(
            self._curvature() * params + noise,
            {"noise": noise[:, 0], "step": torch.full_like(params[:, 0], step)},
        )

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        return {"loss": 0.5 * (self._curvature() * params * params).sum(dim=1), "first": params[:, 0].clone()}


@dataclass
class Bilinear:
    """The game min_x max_y x y, in float64: the field (y, -x) turns about the origin."""

    dim: int = 2
    players: tuple[slice, ...] = (slice(0, 1), slice(1, 2))
    device: str = "cpu"

    def init(self, keys: Keys) -> Tensor:
        return keys.fold("init").normal(2, dtype=torch.float64)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        return Field(torch.stack([params[:, 1], -params[:, 0]], dim=1))

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        return {"radius": (params[:, 0] ** 2 + params[:, 1] ** 2).sqrt()}


def draw(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:
    """A measurement: normals times a scale."""
    return {"value": cell["scale"] * keys.normal(3), "seed": keys.uniform(dtype=torch.float64)}


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """A sweep in two regimes whose best rates lie on the edge of the first grid, and a measurement."""
    sweep = Sweep(
        name="sweep",
        study="tiny-bowl",
        regimes=(Regime("quiet", Bowl, {"noise": 0.01}), Regime("loud", Bowl, {"noise": 1.0})),
        variants=(Variant("SGD", "sgd"), Variant("Adam", "adam")),
        grid=Grid(-4, -3),
        objective=Objective("loss"),
        steps=plan.steps,
        tuning_seeds=plan.tuning_seeds,
        reporting_seeds=plan.reporting_seeds,
        seeds_per_shard=2,
        widen=2,
    )
    cells = ({"scale": 1.0}, {"scale": 2.0})
    return sweep, Measurement("draws", "tiny-bowl", draw, cells, plan.reporting_seeds, seeds_per_shard=2)


def judge(results: Results) -> Verdict:
    """Whether the larger scale gives larger draws."""
    # Some studies of tests have more of them.
    small, large, *_ = (np.abs(a["value"]).mean(axis=1) for a in results.measurement("draws").arrays)
    replicas = results.plan.reporting_seeds
    effect = stats.paired_difference(large, small)
    return verdict([finding("all", effect, above=0.0, replicas=replicas, text="larger")], "It is larger.")


def tables(results: Results) -> tuple[Table, ...]:
    """None."""
    return ()


def draw_nothing(results: Results) -> Figure:
    """An empty figure."""
    return Figure()


STUDY = Study(
    id="tiny-bowl",
    title="A tiny bowl",
    claim="Twice is more.",
    setup="Two scales.",
    criterion="Above zero.",
    plans={
        "tiny": Plan("tiny", 20, 4, 6),
        "quick": Plan("quick", 40, 4, 12),
        "full": Plan("full", 60, 6, 20),
    },
    experiments=experiments,
    judge=judge,
    figures=(FigureSpec("nothing", "Nothing.", "Nothing.", draw_nothing),),
    tables=tables,
    sceptic=(("Is it?", "It is."),),
)
DOMAIN = Domain("tests", "Tests", "Known answers.")
REGISTERED = Registered(DOMAIN, STUDY, "tests.lab.bowls")
