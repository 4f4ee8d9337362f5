"""What an update is: rules as functions on `[R, D]`, schedules, play schemes, optimizers for torch models."""

from core.optim.adam import AdamState, adam, adam_init
from core.optim.controls import SharedSecondMoment, ShuffledSecondMoment
from core.optim.descent import DirectionState, direction_init, normalized_sgd, signsgd
from core.optim.play import (
    Alternating,
    Extragradient,
    FieldFn,
    Optimistic,
    Players,
    PlayScheme,
    PlayState,
    Simultaneous,
)
from core.optim.rmsprop import RMSpropState, rmsprop, rmsprop_init
from core.optim.rule import Rule
from core.optim.rules import RULES
from core.optim.scalars import Scalar
from core.optim.schedules import Constant, Cosine, InverseSquareRoot, Linear, Schedule, WarmUp
from core.optim.sgd import SGDState, sgd, sgd_init
from core.optim.state import map_state

__all__ = [
    "RULES",
    "AdamState",
    "Alternating",
    "Constant",
    "Cosine",
    "DirectionState",
    "Extragradient",
    "FieldFn",
    "InverseSquareRoot",
    "Linear",
    "Optimistic",
    "PlayScheme",
    "PlayState",
    "Players",
    "RMSpropState",
    "Rule",
    "SGDState",
    "Scalar",
    "Schedule",
    "SharedSecondMoment",
    "ShuffledSecondMoment",
    "Simultaneous",
    "WarmUp",
    "adam",
    "adam_init",
    "direction_init",
    "map_state",
    "normalized_sgd",
    "rmsprop",
    "rmsprop_init",
    "sgd",
    "sgd_init",
    "signsgd",
]
