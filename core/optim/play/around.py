"""Schemes around another scheme: what is done with its rounds, whatever they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from core.optim.adjustments import Adjustment
from core.optim.play.orders import Simultaneous
from core.optim.play.scheme import ONE_PLAYER, FieldFn, Moves, Players, PlayScheme, PlayState
from core.optim.rule import Rule


@dataclass(frozen=True)
class TwoTimeScales(PlayScheme):
    """Every player has a learning rate of its own (Heusel et al. 2017): `lr` times its factor.

    Attributes:
        rates: the factors, one a player.
        play: the scheme in which they play.

    Raises:
        ValueError: for a factor that is negative or not a number.
    """

    rates: tuple[float, ...]
    play: PlayScheme = field(default_factory=Simultaneous)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", tuple(float(r) for r in self.rates))
        if not self.rates or not all(0.0 <= rate < math.inf for rate in self.rates):
            raise ValueError(f"TwoTimeScales: rates must be numbers >= 0, one a player, got {self.rates}")

    @property
    def shares_sample(self) -> bool:
        """As the scheme."""
        return self.play.shares_sample

    @property
    def period(self) -> int:
        """As the scheme."""
        return self.play.period

    def evaluations(self, players: int) -> int:
        """Those of the scheme."""
        return self.play.evaluations(players)

    def init(
        self, params: Tensor, rule: Rule, hyper: Mapping[str, Any], players: Players = ONE_PLAYER
    ) -> PlayState:
        """The scheme's.

        Raises:
            ValueError: unless there is one factor a player.
        """
        if len(self.rates) != len(players):
            raise ValueError(f"TwoTimeScales: {len(self.rates)} rates for {len(players)} players")
        # A state for each player, also where the rule alone would need one for all.
        return self.play.init(params, replace(rule, elementwise=False), hyper, players)

    def turn(
        self, params: Tensor, field: FieldFn, state: PlayState, moves: Moves
    ) -> tuple[Tensor, PlayState]:
        """A round at these rates."""
        return self.play.turn(params, field, state, replace(moves, rates=self.rates))


@dataclass(frozen=True)
class Adjusted(PlayScheme):
    """A scheme whose players see an adjusted field.

    An adjustment that goes by the learning rate sees `lr` itself: one rate for all, also around
    `TwoTimeScales`, whose factors scale the players' steps and not what they expect of each other.

    Attributes:
        adjustment: what is done to the field, see `core.optim.adjustments`.
        play: the scheme.
    """

    adjustment: Adjustment
    play: PlayScheme = field(default_factory=Simultaneous)

    @property
    def period(self) -> int:
        """As the scheme."""
        return self.play.period

    def evaluations(self, players: int) -> int:
        """Those of the scheme, with each product with the Jacobian counted as one more."""
        return self.play.evaluations(players) * (1 + self.adjustment.products(players))

    def init(
        self, params: Tensor, rule: Rule, hyper: Mapping[str, Any], players: Players = ONE_PLAYER
    ) -> PlayState:
        """The scheme's."""
        return self.play.init(params, rule, hyper, players)

    def turn(
        self, params: Tensor, field: FieldFn, state: PlayState, moves: Moves
    ) -> tuple[Tensor, PlayState]:
        """A round on the adjusted field."""

        def adjusted(at: Tensor, draw: int) -> Tensor:
            return self.adjustment(lambda point: field(point, draw), at, moves.players, moves.lr)

        return self.play.turn(params, adjusted, state, moves)


@dataclass(frozen=True)
class Lookahead(PlayScheme):
    r"""Lookahead-minmax: every k rounds all players go back, part of the way, to where they were k rounds ago
    (Chavdarova et al. 2021, after Zhang et al. 2019).

    .. math:: \theta \leftarrow \omega + \alpha (\theta - \omega), \qquad \omega \leftarrow \theta

    The rule's state goes on undisturbed.

    Attributes:
        rounds: k.
        strength: alpha; 1 leaves the scheme as it is.
        play: the scheme.

    Raises:
        ValueError: for no rounds, or a strength outside [0, 1].
    """

    rounds: int = 5
    strength: float = 0.5
    play: PlayScheme = field(default_factory=Simultaneous)

    def __post_init__(self) -> None:
        if self.rounds < 1 or not 0.0 <= self.strength <= 1.0:
            raise ValueError(
                "Lookahead: rounds must be >= 1 and strength in [0, 1], "
                f"got {self.rounds} and {self.strength}"
            )

    @property
    def shares_sample(self) -> bool:
        """As the scheme."""
        return self.play.shares_sample

    @property
    def period(self) -> int:
        """The k rounds, or what these and the scheme have in common."""
        return math.lcm(self.rounds, self.play.period)

    def evaluations(self, players: int) -> int:
        """Those of the scheme."""
        return self.play.evaluations(players)

    def init(
        self, params: Tensor, rule: Rule, hyper: Mapping[str, Any], players: Players = ONE_PLAYER
    ) -> PlayState:
        """The scheme's, and the starting point."""
        inner = self.play.init(params, rule, hyper, players)
        return PlayState(inner.players, params.clone(), inner)

    def turn(
        self, params: Tensor, field: FieldFn, state: PlayState, moves: Moves
    ) -> tuple[Tensor, PlayState]:
        """A round of the scheme, and after the k-th the step back."""
        slow, inner = _parts(state)
        params, inner = self.play.turn(params, field, inner, moves)
        rounds = state.rounds + 1
        if rounds % self.rounds == 0:
            params = slow + self.strength * (params - slow)
            slow = params.clone()
        return params, PlayState(inner.players, slow, inner, rounds)


@dataclass(frozen=True)
class Averaged(PlayScheme):
    """The average of the iterates of a scheme, which itself goes on from its last iterate.

    The parameters after a round are the average; the iterate is kept in the state.

    Attributes:
        kind: `uniform`, the mean over all iterates after the start (Polyak and Juditsky 1992); `ema`, an
            exponential average that starts at the start (Yazici et al. 2019).
        decay: of the exponential average, in [0, 1).
        play: the scheme.

    Raises:
        ValueError: for another kind, or a decay outside [0, 1).
    """

    kind: Literal["uniform", "ema"] = "uniform"
    decay: float = 0.999
    play: PlayScheme = field(default_factory=Simultaneous)

    def __post_init__(self) -> None:
        if self.kind not in ("uniform", "ema") or not 0.0 <= self.decay < 1.0:
            raise ValueError(
                "Averaged: kind must be 'uniform' or 'ema' and decay in [0, 1), "
                f"got {self.kind!r} and {self.decay}"
            )

    @property
    def period(self) -> int:
        """As the scheme; a uniform average never weighs the same again."""
        return self.play.period if self.kind == "ema" else 0

    def evaluations(self, players: int) -> int:
        """Those of the scheme."""
        return self.play.evaluations(players)

    def init(
        self, params: Tensor, rule: Rule, hyper: Mapping[str, Any], players: Players = ONE_PLAYER
    ) -> PlayState:
        """The scheme's, and the first iterate."""
        inner = self.play.init(params, rule, hyper, players)
        return PlayState(inner.players, params.clone(), inner)

    def turn(
        self, params: Tensor, field: FieldFn, state: PlayState, moves: Moves
    ) -> tuple[Tensor, PlayState]:
        """A round of the scheme from its own iterate; the average takes the new one in."""
        iterate, inner = _parts(state)
        iterate, inner = self.play.turn(iterate, field, inner, moves)
        rounds = state.rounds + 1
        weight = 1.0 / rounds if self.kind == "uniform" else 1.0 - self.decay
        return torch.lerp(params, iterate, weight), PlayState(inner.players, iterate, inner, rounds)


def _parts(state: PlayState) -> tuple[Tensor, PlayState]:
    """What a scheme around another remembers, and the other's state."""
    assert state.previous is not None
    assert state.inner is not None
    return state.previous, state.inner
