"""Play schemes: which player steps when, and at which point and sample of the field.

A player is a block of coordinates that moves as one and has its own state and step counter. The field holds
every player's descent direction at once. All schemes work with any rule and step the parameters in place.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from core.optim.rule import Rule
from core.optim.scalars import Scalar
from core.optim.state import map_state

FieldFn = Callable[[Tensor, int], Tensor]
"""`(params [R, D], draw) -> field [R, D]`; draw 0 is the step's sample, draw 1 a fresh one."""

Players = Sequence[slice]
"""Blocks of the D coordinates."""

ONE_PLAYER: Players = (slice(None),)


class PlayState(NamedTuple):
    """The rule's state for each player; for optimistic play, `previous` `[R, D]`: the last displacement."""

    players: tuple[Any, ...]
    previous: Tensor | None = None


class PlayScheme(Protocol):
    """One round of a game, or one step of a minimisation: then there is one player."""

    def evaluations(self, players: int) -> int:
        """Evaluations of the field in a step of a game of so many players."""

    def init(
        self, params: Tensor, rule: Rule, hyper: Mapping[str, Any], players: Players = ONE_PLAYER
    ) -> PlayState:
        """The state before the first step of `params` `[R, D]`."""

    def step(
        self,
        params: Tensor,
        field: FieldFn,
        state: PlayState,
        rule: Rule,
        *,
        lr: Scalar,
        hyper: Mapping[str, Any],
        players: Players = ONE_PLAYER,
    ) -> tuple[Tensor, PlayState]:
        """One step of all players: the parameters (maybe the same tensor, stepped in place) and the state."""


class _Scheme:
    """One evaluation, and a rule's state for each player."""

    def evaluations(self, players: int) -> int:  # noqa: ARG002
        return 1

    def init(
        self, params: Tensor, rule: Rule, hyper: Mapping[str, Any], players: Players = ONE_PLAYER
    ) -> PlayState:
        return PlayState(tuple(rule.init(params[:, player], **hyper) for player in players))


@dataclass(frozen=True)
class Simultaneous(_Scheme):
    """All players step along the field at the current point. For one player this is the plain rule."""

    @torch.no_grad()
    def step(
        self,
        params: Tensor,
        field: FieldFn,
        state: PlayState,
        rule: Rule,
        *,
        lr: Scalar,
        hyper: Mapping[str, Any],
        players: Players = ONE_PLAYER,
    ) -> tuple[Tensor, PlayState]:
        """One evaluation, one step of each player."""
        after = _move(params, field(params, 0), state.players, rule, lr, hyper, players)
        return params, state._replace(players=after)


@dataclass(frozen=True)
class Alternating(_Scheme):
    """Players step one after another, each along the field at the point that the ones before have left."""

    def evaluations(self, players: int) -> int:
        """One before each player's move."""
        return players

    @torch.no_grad()
    def step(
        self,
        params: Tensor,
        field: FieldFn,
        state: PlayState,
        rule: Rule,
        *,
        lr: Scalar,
        hyper: Mapping[str, Any],
        players: Players = ONE_PLAYER,
    ) -> tuple[Tensor, PlayState]:
        """An evaluation on the step's sample and a move, player by player."""
        after: list[Any] = []
        for player, own in zip(players, state.players, strict=True):
            after += _move(params, field(params, 0), (own,), rule, lr, hyper, (player,))
        return params, state._replace(players=tuple(after))


@dataclass(frozen=True)
class Extragradient(_Scheme):
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

    @torch.no_grad()
    def step(
        self,
        params: Tensor,
        field: FieldFn,
        state: PlayState,
        rule: Rule,
        *,
        lr: Scalar,
        hyper: Mapping[str, Any],
        players: Players = ONE_PLAYER,
    ) -> tuple[Tensor, PlayState]:
        """Look ahead, evaluate there, step from the original point."""
        ahead = params.clone()
        own = state.players if self.shared_state else tuple(map_state(torch.clone, s) for s in state.players)
        looked = _move(ahead, field(params, 0), own, rule, lr, hyper, players)
        values = field(ahead, int(self.fresh_sample))
        after = _move(
            params, values, looked if self.shared_state else state.players, rule, lr, hyper, players
        )
        return params, state._replace(players=after)


@dataclass(frozen=True)
class Optimistic(_Scheme):
    r"""Players move by their rule's step and its change since the last one (Daskalakis et al. 2018).

    .. math:: \theta_{t+1} = \theta_t + (1 + s) d_t - s\, d_{t-1}

    where d_t is the displacement of the rule's own step. For gradient descent and s = 1 it is optimistic
    descent, :math:`-2 \mathrm{lr}\, g_t + \mathrm{lr}\, g_{t-1}`; for Adam it is Optimistic Adam.

    Attributes:
        strength: s.
        first: what stands for the step before the first: `plain` takes it equal to the first, so that the
            first step is the rule's own; `zero` takes it as none, so that the first step is (1 + s) times as
            long.
    """

    strength: float = 1.0
    first: Literal["plain", "zero"] = "plain"

    def __post_init__(self) -> None:
        if self.first not in ("plain", "zero"):
            raise ValueError(f"Optimistic: first must be 'plain' or 'zero', got {self.first!r}")

    @torch.no_grad()
    def step(
        self,
        params: Tensor,
        field: FieldFn,
        state: PlayState,
        rule: Rule,
        *,
        lr: Scalar,
        hyper: Mapping[str, Any],
        players: Players = ONE_PLAYER,
    ) -> tuple[Tensor, PlayState]:
        """The rule's step, then the change of it."""
        before = params.clone()
        after = _move(params, field(params, 0), state.players, rule, lr, hyper, players)
        displacement = params - before
        if state.previous is not None:
            params.add_(displacement - state.previous, alpha=self.strength)
        elif self.first == "zero":
            params.add_(displacement, alpha=self.strength)
        return params, PlayState(after, displacement)


def _move(
    params: Tensor,
    values: Tensor,
    states: tuple[Any, ...],
    rule: Rule,
    lr: Scalar,
    hyper: Mapping[str, Any],
    players: Players,
) -> tuple[Any, ...]:
    """Each player's step along its block of the field, in place; returns their states."""
    return tuple(
        rule.step_(params[:, player], values[:, player], own, lr=lr, **hyper)
        for player, own in zip(players, states, strict=True)
    )
