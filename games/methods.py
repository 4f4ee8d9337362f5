"""A method for games from plain names: update rule, play scheme and field adjustment, as a variant."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from core.lab.errors import VhatError, nearest
from core.lab.variant import Variant
from core.optim.adjustments import (
    LOLA,
    Adjustment,
    Anticipating,
    Competitive,
    Consensus,
    SymplecticGradient,
)
from core.optim.play import (
    Alternating,
    Averaged,
    Extragradient,
    Lookahead,
    Optimistic,
    PastExtragradient,
    PlayScheme,
    Simultaneous,
    TwoTimeScales,
)
from core.optim.rules import RULES
from games.joint import Joint

Play = Literal["simultaneous", "alternating", "extragradient", "past", "optimistic", "joint"]
Adjust = Literal["none", "consensus", "symplectic", "anticipating", "lola", "competitive"]
Average = Literal["none", "uniform", "ema"]

PLAYS: Mapping[Play, Callable[[], PlayScheme]] = MappingProxyType(
    {
        "simultaneous": Simultaneous,
        "alternating": Alternating,
        "extragradient": Extragradient,
        "past": PastExtragradient,
        "optimistic": Optimistic,
        "joint": Joint,
    }
)
_ADJUSTMENTS: Mapping[str, Callable[[float | None], Adjustment]] = MappingProxyType(
    {
        "consensus": lambda s: Consensus() if s is None else Consensus(s),
        "symplectic": lambda s: SymplecticGradient() if s is None else SymplecticGradient(s),
        "anticipating": Anticipating,
        "lola": LOLA,
    }
)
_NAMES = {"sgd": "GDA", "adam": "Adam", "rmsprop": "RMSProp", "amsgrad": "AMSGrad"}


@dataclass(frozen=True)
class Method:
    """Plain data that make a variant.

    Attributes:
        rule: of `core.optim.rules.RULES`; `sgd` is gradient descent-ascent.
        hyper: what differs from the rule's defaults.
        play: who steps when.
        adjust: what is done to the field first.
        strength: of the adjustment; None for its default.
        iterations: of conjugate gradients for `competitive`; 0 solves with the full matrix, for small games.
        average: of the iterates.
        lookahead: rounds between two steps back; 0 for none.
        rates: factors of the learning rate, one a player; empty for one and all.
    """

    rule: str = "sgd"
    hyper: Mapping[str, float] = field(default_factory=dict)
    play: Play = "simultaneous"
    adjust: Adjust = "none"
    strength: float | None = None
    iterations: int = 0
    average: Average = "none"
    lookahead: int = 0
    rates: tuple[float, ...] = ()

    def scheme(self) -> PlayScheme:
        """The play scheme, with whatever is around it.

        Raises:
            VhatError: for a setting out of its range.
        """
        if self.play == "joint" and self.rates:
            raise VhatError("joint play has one learning rate: it knows no players to give rates to")
        try:
            scheme = PLAYS[self.play]()
            if self.rates:
                scheme = TwoTimeScales(self.rates, scheme)
            if self.lookahead:
                scheme = Lookahead(self.lookahead, play=scheme)
            return scheme if self.average == "none" else Averaged(self.average, play=scheme)
        except ValueError as error:
            raise VhatError(str(error)) from error

    def adjustment(self) -> Adjustment | None:
        """The field adjustment.

        Raises:
            VhatError: for a strength that is not a number.
        """
        if self.adjust == "none":
            return None
        if self.strength is not None and not math.isfinite(self.strength):
            raise VhatError(f"the strength of {self.adjust} is a number, got {self.strength}")
        if self.adjust == "competitive":
            return Competitive(self.strength, self.iterations or None)
        return _ADJUSTMENTS[self.adjust](self.strength)

    def variant(self) -> Variant:
        """The method as a variant, named after its parts.

        Raises:
            VhatError: for an unknown rule, or a setting that it does not have or allow.
        """
        if self.rule not in RULES:
            raise VhatError(f"unknown method: {nearest(self.rule, RULES, kind='update rule')}")
        adjust = self.adjustment()
        said = [_NAMES.get(self.rule, self.rule), *(f"{k} = {v:g}" for k, v in self.hyper.items())]
        said += [] if self.play == "simultaneous" else [self.play]
        said += [] if adjust is None else [self.adjust]
        said += [f"lookahead {self.lookahead}"] if self.lookahead else []
        said += [f"rates {' : '.join(f'{r:g}' for r in self.rates)}"] if self.rates else []
        said += [] if self.average == "none" else [f"{self.average} average"]
        rule = RULES[self.rule]
        try:
            rule.validate(lr=1.0, **self.hyper)
        except ValueError as error:
            raise VhatError(str(error)) from error
        return Variant(", ".join(said), rule, self.hyper, play=self.scheme(), adjust=adjust)
