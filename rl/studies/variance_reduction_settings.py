"""What is compared in the study of variance reduction: rules at frozen policies, and variants in learning."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from core.lab.variant import Grid, Variant
from core.optim.rule import Rule
from core.optim.rules import RULES
from rl.grafting import graft
from rl.shuffling import SHUFFLED
from rl.studies.settings import ADAM, DESCENT, RATES
from rl.updates import FixedSecondMoment

BASE = DESCENT
FULL = ADAM
SCALING = "Adam, beta1 = 0"
"""Adam without averaging: what is left is the scaling by v."""

MOMENTUM_DIRECTION = "Momentum, adaptive length"
DESCENT_DIRECTION = "Descent, adaptive length"
ADAM_DIRECTION = "Adam at momentum's length"
ADAM_DIRECTION_DESCENT = "Adam at descent's length"
"""Grafts: one rule's direction with another's length; the adaptive length is Adam's."""
AVERAGED = "Averaged"
"""The variant of the oracles that learn: their field is scaled already, and a mean is taken of it."""
TRUE = "True gradient"
TRUE_SCALED = "True gradient over root v"
"""Ways without noise, for the measured gain."""
MOMENTS = {"Oracle v = variance": "variance", "Oracle v = mean²": "mean square"}
"""The oracles that learn too, and what stands under their root."""
ORACLES = (*MOMENTS, "Oracle v = second moment")

BLIND = (
    "Momentum",
    "Normalised descent",
    "Normalised momentum",
    "Adam, shared v",
    "Adam, shuffled v",
    MOMENTUM_DIRECTION,
    DESCENT_DIRECTION,
)
"""Controls whose scaling, if any, does not know which coordinate is noisy."""
SIGNS = ("Sign descent", "Sign momentum")
"""No control for noise: the mean of a noisy sign is erf(SNR / sqrt 2), and Adam's step without averaging is
SNR / sqrt(1 + SNR^2), for Gaussian noise: nowhere 0.07 apart."""

_RULES: Mapping[str, Rule] = {
    BASE: RULES["sgd"],
    "Momentum": RULES["momentum"],
    "RMSProp": RULES["rmsprop"],
    FULL: RULES["adam"],
    "AMSGrad": RULES["amsgrad"],
    SCALING: RULES["adam"].with_hyper("adam_unaveraged", beta1=0.0),
    "Sign descent": RULES["signsgd"],
    "Sign momentum": RULES["signsgd"].with_hyper("signum", momentum=0.9),
    "Normalised descent": RULES["normalized_sgd"],
    "Normalised momentum": RULES["normalized_sgd"].with_hyper("normalized_momentum", momentum=0.9),
    "Adam, shared v": RULES["adam_shared_v"],
    "Adam, shuffled v": SHUFFLED,
    MOMENTUM_DIRECTION: graft("momentum_adam_length", direction=RULES["momentum"], length=RULES["adam"]),
    DESCENT_DIRECTION: graft("descent_adam_length", direction=RULES["sgd"], length=RULES["adam"]),
    ADAM_DIRECTION: graft("adam_momentum_length", direction=RULES["adam"], length=RULES["momentum"]),
    ADAM_DIRECTION_DESCENT: graft("adam_descent_length", direction=RULES["adam"], length=RULES["sgd"]),
}
_RATES: Mapping[str, tuple[float, float]] = {
    **{name: RATES[name] for name in (BASE, "Momentum", "RMSProp", FULL, "AMSGrad")},
    SCALING: (3.16e-3, 1e-1),
    "Sign descent": (3.16e-3, 1e-1),
    "Sign momentum": (3.16e-3, 1e-1),
    "Normalised descent": (3.16e-2, 1.0),
    "Normalised momentum": (3.16e-2, 1.0),
    "Adam, shared v": (3.16e-3, 1e-1),
    "Adam, shuffled v": (3.16e-5, 1e-3),
    MOMENTUM_DIRECTION: (3.16e-3, 1e-1),
    DESCENT_DIRECTION: (3.16e-3, 1e-1),
    ADAM_DIRECTION: (1e-4, 3.17e-3),
    ADAM_DIRECTION_DESCENT: (1e-4, 3.17e-3),
}
"""Where each variant's grid begins and ends; it is widened where the best rate lies on an edge."""

_REMOVES = {
    SCALING: "removes averaging, keeps the scaling by v",
    "Momentum": "removes the scaling, keeps averaging",
    "Sign descent": "removes averaging and v; its mean step is Adam's nearly, by another way",
    "Sign momentum": "removes v, keeps averaging",
    "Normalised descent": "removes averaging and the scaling, normalises the step's length",
    "Normalised momentum": "removes the scaling, keeps averaging and normalises the step's length",
    "Adam, shared v": "removes coordinate-wise scaling: one v for all",
    "Adam, shuffled v": "removes which coordinate is noisy, keeps the spread of scales; another order a seed",
    MOMENTUM_DIRECTION: "removes Adam's direction, keeps its length",
    DESCENT_DIRECTION: "removes Adam's direction and averaging, keeps its length",
    ADAM_DIRECTION: "removes Adam's length, keeps its direction",
    ADAM_DIRECTION_DESCENT: "removes Adam's length, keeps its direction",
}


def variants(per_decade: int) -> tuple[Variant, ...]:
    """All that learn, each with a grid of its own."""
    return tuple(
        Variant(
            name,
            _RULES[name],
            lr=Grid.between(*ends, per_decade=per_decade),
            control=name in _REMOVES,
            note=_REMOVES.get(name, ""),
        )
        for name, ends in _RATES.items()
    )


def _oracle(values: Tensor) -> Rule:
    return RULES["adam_shared_v"].with_hyper(
        "adam_oracle_v", beta1=0.0, beta2=0.0, denominator_map=FixedSecondMoment(values)
    )


def frozen_rules(mean: Tensor, variance: Tensor, samples: int) -> dict[str, Rule]:
    """All rules whose updates are looked at, for a field of measured `mean` and `variance` `[R, D]`.

    The oracles have no averaging, as `SCALING` has none. The estimate of mean^2 is freed of its bias and kept
    off zero by a thousandth of the variance, since a coordinate without signal would else move without bound.
    """
    square = (mean**2 - variance / samples).clamp_min(0.0)
    oracles = (variance, square + 1e-3 * variance, square + variance)
    memoryless = {
        "Shared v, beta1 = 0": RULES["adam_shared_v"].with_hyper("shared", beta1=0.0),
        "Shuffled v, beta1 = 0": SHUFFLED.with_hyper("shuffled", beta1=0.0),
    }
    return {
        **_RULES,
        **memoryless,
        **{name: _oracle(values) for name, values in zip(ORACLES, oracles, strict=True)},
    }
