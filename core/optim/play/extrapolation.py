"""Schemes that step along the field at, or as if at, a point ahead: what makes rotation converge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from core.optim.play.scheme import FieldFn, Moves, PlayScheme, PlayState, copied


@dataclass(frozen=True)
class Extragradient(PlayScheme):
    """Players look ahead by a step, and step from where they were along the field there (Korpelevich 1976).

    Attributes:
        fresh_sample: evaluate the field at the point ahead on a fresh sample; by default on the step's own.
        shared_state: the look-ahead step leaves its mark on the rule's state (two updates of the moments a
            step, as in ExtraAdam, Gidel et al. 2019); by default its state is a copy that is discarded.
    """

    fresh_sample: bool = False
    shared_state: bool = False

    def evaluations(self, players: int) -> int:  # noqa: ARG002
        """At the current point, and at the point ahead."""
        return 2

    def turn(
        self, params: Tensor, field: FieldFn, state: PlayState, moves: Moves
    ) -> tuple[Tensor, PlayState]:
        """Look ahead, evaluate there, step from the original point."""
        ahead, own = _look_ahead(params, field(params, 0), state, moves, shared=self.shared_state)
        values = field(ahead, int(self.fresh_sample))
        params, after = moves.all(params, values, own)
        return params, state._replace(players=after)


@dataclass(frozen=True)
class PastExtragradient(PlayScheme):
    """Extrapolation from the past: extragradient that looks ahead along the last round's field (Popov 1980;
    Gidel et al. 2019), so that a round costs one evaluation.

    The first round has no past and is the plain rule's. For gradient descent without constraints the points
    ahead are those of optimistic descent (`Optimistic`, strength 1); with a rule that has a state, or with a
    projection, the two differ.

    Attributes:
        shared_state: as in `Extragradient`.
    """

    shared_state: bool = False

    def turn(
        self, params: Tensor, field: FieldFn, state: PlayState, moves: Moves
    ) -> tuple[Tensor, PlayState]:
        """Look ahead along the remembered field, evaluate there, step from the original point."""
        ahead, own = params, state.players
        if state.previous is not None:
            ahead, own = _look_ahead(params, state.previous, state, moves, shared=self.shared_state)
        values = field(ahead, 0)
        params, after = moves.all(params, values, own)
        return params, state._replace(players=after, previous=values)


@dataclass(frozen=True)
class Optimistic(PlayScheme):
    r"""Players move by their rule's step and its change since the last one (Daskalakis et al. 2018).

    .. math:: \theta_{t+1} = \theta_t + (1 + s) d_t - s\, d_{t-1}

    where d_t is the displacement of the rule's own step. For gradient descent and s = 1 it is optimistic
    descent, :math:`-2 \mathrm{lr}\, g_t + \mathrm{lr}\, g_{t-1}`; for Adam it is Optimistic Adam. A
    projection acts on the whole step.

    Attributes:
        strength: s.
        first: what stands for the step before the first: `plain` takes it equal to the first, so that the
            first step is the rule's own; `zero` takes it as none, so that the first step is (1 + s) times as
            long.

    Raises:
        ValueError: for another word in `first`.
    """

    strength: float = 1.0
    first: Literal["plain", "zero"] = "plain"

    def __post_init__(self) -> None:
        if self.first not in ("plain", "zero"):
            raise ValueError(f"Optimistic: first must be 'plain' or 'zero', got {self.first!r}")

    @property
    def shares_sample(self) -> bool:
        """Yes."""
        return True

    def turn(
        self, params: Tensor, field: FieldFn, state: PlayState, moves: Moves
    ) -> tuple[Tensor, PlayState]:
        """The rule's step, then the change of it."""
        before, free = params.clone(), moves.without_projection()
        params, after = free.all(params, field(params, 0), state.players)
        displacement = params - before
        if state.previous is not None:
            params = params.add(displacement - state.previous, alpha=self.strength)
        elif self.first == "zero":
            params = params.add(displacement, alpha=self.strength)
        return moves.feasible(params, after), state._replace(players=after, previous=displacement)


def _look_ahead(
    params: Tensor, values: Tensor, state: PlayState, moves: Moves, *, shared: bool
) -> tuple[Tensor, tuple[Any, ...]]:
    """The point ahead, in memory of its own, and the players' states to step on with."""
    ahead, looked = moves.all(params.clone(), values, state.players if shared else copied(state.players))
    return ahead, looked if shared else state.players
