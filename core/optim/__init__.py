"""What an update is: rules as functions on `[R, D]`, schedules, play schemes, field adjustments,
unrolled trainings with their derivatives, and optimizers for torch models."""

from core.optim.adam import AdamState, adam, adam_init
from core.optim.adjustments import (
    LOLA,
    Adjustment,
    Anticipating,
    Competitive,
    Consensus,
    SymplecticGradient,
)
from core.optim.controls import SharedSecondMoment, ShuffledSecondMoment
from core.optim.descent import DirectionState, direction_init, normalized_sgd, signsgd
from core.optim.hypergradient import Hypergradients, Mode, hypergradients
from core.optim.objective import LossObjective, ModuleObjective, Objective, gradient_field
from core.optim.play import (
    Adjusted,
    Alternating,
    Averaged,
    Extragradient,
    FieldFn,
    Lookahead,
    Moves,
    Optimistic,
    PastExtragradient,
    Players,
    PlayScheme,
    PlayState,
    Simultaneous,
    TwoTimeScales,
)
from core.optim.rmsprop import RMSpropState, rmsprop, rmsprop_init
from core.optim.rule import Rule
from core.optim.rules import RULES
from core.optim.scalars import Scalar
from core.optim.schedules import Constant, Cosine, InverseSquareRoot, Linear, Schedule, WarmUp
from core.optim.sgd import SGDState, sgd, sgd_init
from core.optim.state import map_state
from core.optim.unroll import Unrolled, root_segment, unroll

__all__ = [
    "LOLA",
    "RULES",
    "AdamState",
    "Adjusted",
    "Adjustment",
    "Alternating",
    "Anticipating",
    "Averaged",
    "Competitive",
    "Consensus",
    "Constant",
    "Cosine",
    "DirectionState",
    "Extragradient",
    "FieldFn",
    "Hypergradients",
    "InverseSquareRoot",
    "Linear",
    "Lookahead",
    "LossObjective",
    "Mode",
    "ModuleObjective",
    "Moves",
    "Objective",
    "Optimistic",
    "PastExtragradient",
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
    "SymplecticGradient",
    "TwoTimeScales",
    "Unrolled",
    "WarmUp",
    "adam",
    "adam_init",
    "direction_init",
    "gradient_field",
    "hypergradients",
    "map_state",
    "normalized_sgd",
    "rmsprop",
    "rmsprop_init",
    "root_segment",
    "sgd",
    "sgd_init",
    "signsgd",
    "unroll",
]
