"""A play scheme for controls: simultaneous play with one state of the rule for all players together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from core.optim.play import ONE_PLAYER, FieldFn, Moves, Players, PlayState, Simultaneous
from core.optim.rule import Rule


@dataclass(frozen=True)
class Joint(Simultaneous):
    """Simultaneous play in which all players count as one block.

    It differs from `Simultaneous` only for rules that couple coordinates: one norm, or one second moment, for
    the whole field. On the game xy a player has one coordinate, so that with a state a player both would act
    coordinate by coordinate and control for nothing.
    """

    def init(
        self,
        params: Tensor,
        rule: Rule,
        hyper: Mapping[str, Any],
        players: Players = ONE_PLAYER,  # noqa: ARG002
    ) -> PlayState:
        """One state, whatever the players."""
        return super().init(params, rule, hyper)

    def turn(
        self, params: Tensor, field: FieldFn, state: PlayState, moves: Moves
    ) -> tuple[Tensor, PlayState]:
        """One evaluation, one step of the whole."""
        return super().turn(params, field, state, replace(moves, players=ONE_PLAYER))
