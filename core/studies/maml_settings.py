"""Study `maml`: ways to adapt, ways to differentiate through it, grids and sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.lab.experiment import Experiment
from core.lab.measurement import Measurement
from core.lab.meta import Adaptation, Derivative
from core.lab.meta_sweep import MetaSweep, MetaVariant
from core.lab.study import Plan
from core.lab.variant import Grid
from core.optim.rules import RULES
from core.problems.sinusoids import Sinusoids
from core.studies.maml_derivatives import derivatives, exactness

STUDY_ID = "maml"
STEPS = 3
"""Of the adaptation while meta-learning, and those after which it is judged."""
FOLLOWED = 10
SHOTS = (5, 10)

ADAPTATIONS: dict[str, Adaptation] = {
    "SGD": Adaptation(RULES["sgd"], STEPS),
    "Adam cold": Adaptation(RULES["adam"], STEPS),
    "Adam warm": Adaptation(RULES["adam"], STEPS, warm=True),
    "Adam warm, v alone": Adaptation(RULES["adam"], STEPS, warm=True, hyper={"beta1": 0.0}),
    "Adam cold, v alone": Adaptation(RULES["adam"], STEPS, hyper={"beta1": 0.0}),
}
STATEFUL = ("Adam cold", "Adam warm", "Adam warm, v alone")
RATES = Grid(-6, -2).values()


def regime(shots: int) -> str:
    """The name of a regime."""
    return f"{shots}-shot"


def variant(adaptation: str, derivative: Derivative = "full") -> str:
    """The name of a meta-learned variant."""
    return f"{adaptation}: {derivative}"


def control(adaptation: str, start: str) -> str:
    """The name of a control: a `joint` or `random` start, adapted."""
    return f"{adaptation}: {start} start"


def _meta(name: str, derivative: Derivative) -> MetaVariant:
    own = ADAPTATIONS[name]
    adaptation = Adaptation(own.rule, own.steps, derivative, own.warm, own.hyper)
    return MetaVariant(variant(name, derivative), adaptation)


def _controls(name: str) -> list[MetaVariant]:
    return [
        MetaVariant(control(name, "joint"), ADAPTATIONS[name], training="joint"),
        MetaVariant(control(name, "random"), ADAPTATIONS[name], training="none"),
    ]


VARIANTS: tuple[MetaVariant, ...] = (
    _meta("SGD", "full"),
    _meta("SGD", "first order"),
    *(_meta(name, d) for name in STATEFUL for d in ("full", "state cut", "first order")),
    _meta("Adam cold, v alone", "full"),
    *_controls("SGD"),
    *_controls("Adam cold"),
)

MEASURED: tuple[Mapping[str, Any], ...] = (
    {"adaptation": "SGD", "rule": "sgd", "hyper": {}, "warm": False},
    {"adaptation": "SGD with momentum", "rule": "momentum", "hyper": {}, "warm": False},
    {"adaptation": "Adam cold", "rule": "adam", "hyper": {}, "warm": False},
    {"adaptation": "Adam warm", "rule": "adam", "hyper": {}, "warm": True},
    {"adaptation": "Adam warm, v alone", "rule": "adam", "hyper": {"beta1": 0.0}, "warm": True},
)
"""Adaptations whose derivatives are measured, as plain data."""
STEPS_MEASURED = (1, 2, 3, 6, 10)


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """The tuned comparison, the parts of the meta-gradient, and its exactness."""
    sizes, seeds = plan.sizes, plan.reporting_seeds
    steps = [t for t in STEPS_MEASURED if t <= sizes["longest"]]
    measured = tuple({**cell, "rounds": sizes["rounds"], "steps": steps} for cell in MEASURED)
    return (
        MetaSweep(
            "tuned",
            STUDY_ID,
            Sinusoids,
            {regime(shots): {"shots": shots} for shots in SHOTS},
            VARIANTS,
            # Half decades around 0.01 and 0.03, widened where the best lies on the edge.
            inner=Grid(-4 - sizes["inner reach"], -4 + sizes["inner reach"]),
            outer=Grid(-3 - sizes["outer reach"], -3 + sizes["outer reach"]),
            iterations=plan.steps,
            tasks=sizes["tasks"],
            judged_after=STEPS,
            followed=FOLLOWED,
            rates=RATES,
            judged_on=sizes["judged"],
            tuning_seeds=plan.tuning_seeds,
            reporting_seeds=seeds,
        ),
        Measurement(
            "derivatives", STUDY_ID, derivatives, measured, sizes["probes"], seeds_per_shard=10, cost=1000.0
        ),
        Measurement("exactness", STUDY_ID, exactness, measured, seeds, cost=300.0),
    )
