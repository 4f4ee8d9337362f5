"""Play schemes: which player steps when, and at which point and sample of the field."""

from core.optim.play.around import Adjusted, Averaged, Lookahead, TwoTimeScales
from core.optim.play.extrapolation import Extragradient, Optimistic, PastExtragradient
from core.optim.play.orders import Alternating, Simultaneous
from core.optim.play.scheme import ONE_PLAYER, FieldFn, Moves, Players, PlayScheme, PlayState

__all__ = [
    "ONE_PLAYER",
    "Adjusted",
    "Alternating",
    "Averaged",
    "Extragradient",
    "FieldFn",
    "Lookahead",
    "Moves",
    "Optimistic",
    "PastExtragradient",
    "PlayScheme",
    "PlayState",
    "Players",
    "Simultaneous",
    "TwoTimeScales",
]
