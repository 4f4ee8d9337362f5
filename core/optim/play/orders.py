"""At once, or one after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from core.optim.play.scheme import FieldFn, Moves, PlayScheme, PlayState


@dataclass(frozen=True)
class Simultaneous(PlayScheme):
    """All players step along the field at the current point. For one player this is the plain rule."""

    @property
    def shares_sample(self) -> bool:
        """Yes."""
        return True

    def turn(
        self, params: Tensor, field: FieldFn, state: PlayState, moves: Moves
    ) -> tuple[Tensor, PlayState]:
        """One evaluation, one step of each player."""
        params, after = moves.all(params, field(params, 0), state.players)
        return params, state._replace(players=after)


@dataclass(frozen=True)
class Alternating(PlayScheme):
    """Players step one after another, each along the field at the point that the ones before have left.

    Attributes:
        counters: `own`, each player's rule counts that player's steps; `shared`, one counter for all, which
            every step advances (one optimizer for all parameters that is stepped once a player): then Adam's
            bias correction fades sooner.

    Raises:
        ValueError: for another word in `counters`.
    """

    counters: Literal["own", "shared"] = "own"

    def __post_init__(self) -> None:
        if self.counters not in ("own", "shared"):
            raise ValueError(f"Alternating: counters must be 'own' or 'shared', got {self.counters!r}")

    @property
    def at_once(self) -> bool:
        """No."""
        return False

    def evaluations(self, players: int) -> int:
        """One before each player's move."""
        return players

    def turn(
        self, params: Tensor, field: FieldFn, state: PlayState, moves: Moves
    ) -> tuple[Tensor, PlayState]:
        """An evaluation on the step's sample and a move, player by player."""
        after: list[Any] = []
        one_counter = self.counters == "shared"
        steps = state.players[-1].step
        for number, own in enumerate(state.players):
            before = own._replace(step=steps) if one_counter else own
            params, own_after = moves.one(number, params, field(params, 0), before)
            after.append(own_after)
            steps = own_after.step
        return params, PlayState(tuple(after), state.previous, state.inner, state.rounds)
