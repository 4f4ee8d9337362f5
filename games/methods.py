"""A method for games from plain names: update rule, play scheme and field adjustment, as a variant."""

from __future__ import annotations

import dataclasses
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

PLAYS: Mapping[Play, Callable[..., PlayScheme]] = MappingProxyType(
    {
        "simultaneous": Simultaneous,
        "alternating": Alternating,
        "extragradient": Extragradient,
        "past": PastExtragradient,
        "optimistic": Optimistic,
        "joint": Joint,
    }
)
OPTIONS: Mapping[str, Mapping[Play, str]] = MappingProxyType(
    {
        "fresh_sample": {"extragradient": "fresh_sample"},
        "shared_state": {"extragradient": "shared_state", "past": "shared_state"},
        "optimism": {"optimistic": "strength"},
        "first": {"optimistic": "first"},
        "counters": {"alternating": "counters"},
    }
)
"""Named options of `Method`: the plays that have them, and what the scheme calls them."""
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
        fresh_sample: extragradient evaluates the field at the point ahead on a fresh sample.
        shared_state: extragradient's look-ahead, also from the past, leaves its mark on the rule's state.
        optimism: strength of optimistic play.
        first: what stands for the step before the first one of optimistic play.
        counters: under alternating play, a step counter for each player or one for all.
        lookahead_strength: how much of the way of those rounds is kept.
        ema_decay: of the exponential average.
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
    fresh_sample: bool = False
    shared_state: bool = False
    optimism: float = 1.0
    first: Literal["plain", "zero"] = "plain"
    counters: Literal["own", "shared"] = "own"
    lookahead_strength: float = 0.5
    ema_decay: float = 0.999

    def _changed(self) -> list[str]:
        """Named options that differ from their defaults.

        Raises:
            VhatError: for one that nothing in the method has.
        """
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        changed = [
            n for n in (*OPTIONS, "lookahead_strength", "ema_decay") if getattr(self, n) != defaults[n]
        ]
        for name in changed:
            if name in OPTIONS and self.play not in OPTIONS[name]:
                owners = " or ".join(OPTIONS[name])
                raise VhatError(f"{self.play} play has no {name.replace('_', ' ')}: that is of {owners} play")
            if name == "lookahead_strength" and not self.lookahead:
                raise VhatError("a lookahead strength needs the rounds of lookahead as well")
            if name == "ema_decay" and self.average != "ema":
                raise VhatError(f"an ema decay needs the average to be ema, not {self.average}")
        return changed

    def scheme(self) -> PlayScheme:
        """The play scheme, with whatever is around it.

        Raises:
            VhatError: for a setting out of its range, or an option that the play does not have.
        """
        if self.play == "joint" and self.rates:
            raise VhatError("joint play has one learning rate: it knows no players to give rates to")
        try:
            options = {OPTIONS[n][self.play]: getattr(self, n) for n in self._changed() if n in OPTIONS}
            scheme = PLAYS[self.play](**options)
            if self.rates:
                scheme = TwoTimeScales(self.rates, scheme)
            if self.lookahead:
                scheme = Lookahead(self.lookahead, self.lookahead_strength, scheme)
            return scheme if self.average == "none" else Averaged(self.average, self.ema_decay, scheme)
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
        for name in self._changed():
            value, words = getattr(self, name), name.replace("_", " ")
            said.append(words if value is True else f"{words} {value}")
        rule = RULES[self.rule]
        try:
            rule.validate(lr=1.0, **self.hyper)
        except ValueError as error:
            raise VhatError(str(error)) from error
        return Variant(", ".join(said), rule, self.hyper, play=self.scheme(), adjust=adjust)
