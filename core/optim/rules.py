"""The registry of update rules."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from core.optim.adam import DenominatorMap, adam, adam_init, adam_metric, check_adam
from core.optim.controls import SharedSecondMoment, ShuffledSecondMoment
from core.optim.descent import check_direction, direction_init, normalized_sgd, signsgd
from core.optim.rmsprop import check_rmsprop, rmsprop, rmsprop_init, rmsprop_metric
from core.optim.rule import Rule
from core.optim.sgd import check_sgd, sgd, sgd_init

_SGD = Rule(
    name="sgd",
    formula=sgd,
    start=sgd_init,
    check=check_sgd,
    hyper={"momentum": 0.0, "dampening": 0.0, "nesterov": False, "weight_decay": 0.0, "maximize": False},
)
_RMSPROP = Rule(
    name="rmsprop",
    formula=rmsprop,
    start=rmsprop_init,
    check=check_rmsprop,
    hyper={
        "alpha": 0.99,
        "eps": 1e-8,
        "centered": False,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "maximize": False,
    },
    metric=rmsprop_metric,
)
_ADAM = Rule(
    name="adam",
    formula=adam,
    start=adam_init,
    check=check_adam,
    hyper={
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
        "weight_decay": 0.0,
        "decoupled_weight_decay": False,
        "amsgrad": False,
        "bias_correction": True,
        "maximize": False,
        "denominator_map": None,
    },
    metric=adam_metric,
)
_SIGNSGD = Rule(
    name="signsgd",
    formula=signsgd,
    start=direction_init,
    check=check_direction,
    hyper={"momentum": 0.0, "maximize": False},
)
_NORMALIZED_SGD = Rule(
    name="normalized_sgd",
    formula=normalized_sgd,
    start=direction_init,
    check=check_direction,
    hyper={"eps": 1e-8, "momentum": 0.0, "maximize": False},
    elementwise=False,
)


def _mixing(name: str, denominator_map: DenominatorMap) -> Rule:
    """Adam with a denominator that looks at all coordinates of a row."""
    return replace(_ADAM.with_hyper(name, denominator_map=denominator_map), elementwise=False)


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        rule.name: rule
        for rule in (
            _SGD,
            _SGD.with_hyper("momentum", momentum=0.9),
            _SGD.with_hyper("nesterov", momentum=0.9, nesterov=True),
            _RMSPROP,
            _RMSPROP.with_hyper("rmsprop_centered", centered=True),
            _ADAM,
            _ADAM.with_hyper("adam_uncorrected", bias_correction=False),
            _ADAM.with_hyper("amsgrad", amsgrad=True),
            _ADAM.with_hyper("adam_l2", weight_decay=1e-2),
            _ADAM.with_hyper("adamw", weight_decay=1e-2, decoupled_weight_decay=True),
            _SIGNSGD,
            _NORMALIZED_SGD,
            _mixing("adam_shared_v", SharedSecondMoment()),
            _mixing("adam_shuffled_v", ShuffledSecondMoment()),
        )
    }
)

__all__ = ["RULES", "Rule"]
