"""What a play scheme is: the order of a round's moves, apart from the rule that makes a move.

A player is a block of coordinates that moves as one and has its own state and step counter. The field holds
every player's descent direction at once. All schemes work with any rule.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from core.optim.ops import IN_PLACE, Ops
from core.optim.projection import Project
from core.optim.rule import Rule
from core.optim.scalars import Scalar
from core.optim.state import map_state

FieldFn = Callable[[Tensor, int], Tensor]
"""`(params [R, D], draw) -> field [R, D]`; draw 0 is the step's sample, draw 1 a fresh one."""

Players = Sequence[slice]
"""Blocks of the D coordinates."""

ONE_PLAYER: Players = (slice(None),)


class PlayState(NamedTuple):
    """Where a game stands between two rounds, besides the parameters.

    Attributes:
        players: the rule's state for each player; a single one for all where that makes no difference, see
            `PlayScheme.at_once`.
        previous: `[R, D]`, what the scheme remembers of the last round (a displacement, a field, a point).
        inner: of a scheme around another one: that one's state.
        rounds: how many were played, where the scheme counts them.
    """

    players: tuple[Any, ...]
    previous: Tensor | None = None
    inner: PlayState | None = None
    rounds: int = 0


@dataclass
class Moves:
    """How a player moves: everything about a round that is not the scheme's business.

    Not frozen, since that triples the cost of making one, which a schedule asks for at each round.

    Attributes:
        rule, lr, hyper: the update rule and its settings.
        players: the blocks.
        project: called after each move.
        rates: factors of `lr`, one a player; None for one and all.
        in_place: step parameters and states where they are, with gradients switched off; otherwise in new
            memory, differentiably.
        ops: the arithmetic in place.
    """

    rule: Rule
    lr: Scalar
    hyper: Mapping[str, Any]
    players: Players = ONE_PLAYER
    project: Project | None = None
    rates: tuple[float, ...] | None = None
    in_place: bool = True
    ops: Ops = IN_PLACE
    _settings: dict[str, Any] = field(init=False, repr=False, compare=False)
    _blocks: tuple[Tensor | None, list[Tensor]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._settings = {**self.rule.hyper, **self.hyper, "lr": self.lr}
        self._blocks = None, []

    def all(self, params: Tensor, values: Tensor, states: tuple[Any, ...]) -> tuple[Tensor, tuple[Any, ...]]:
        """Each player's step along its block of the field `[R, D]`: parameters `[R, D]` and states
        afterwards.

        Raises:
            ValueError: for several rates where the players move as one.
        """
        if len(states) == 1:
            if self.rates is not None and len(self.rates) > 1:
                raise ValueError(f"{len(self.rates)} rates for players that move as one")
            params, own = self._step(None, self._rate(0), params, values, states[0])
            return self.feasible(params, (own,)), (own,)
        after: list[Any] = []
        for number, state in enumerate(states):
            params, own = self._step(number, self._rate(number), params, values, state)
            after.append(own)
        return self.feasible(params, tuple(after)), tuple(after)

    def one(self, number: int, params: Tensor, values: Tensor, own: Any) -> tuple[Tensor, Any]:
        """The step of one player: all parameters `[R, D]`, and its state, afterwards."""
        params, own = self._step(number, self._rate(number), params, values, own)
        if self.project is None:
            return params, own
        block = self.players[number]

        def metric() -> Tensor | None:
            diagonal = self.rule.metric_at(own, **self.hyper)
            if diagonal is None:
                return None
            # The others have not moved: in whichever metric, a feasible point stays where it is.
            whole = torch.ones_like(params)
            whole[:, block] = diagonal
            return whole

        return self.project(params, metric), own

    def feasible(self, params: Tensor, states: tuple[Any, ...]) -> Tensor:
        """The parameters `[R, D]` after a step of all that left these states, projected where the problem
        asks."""
        if self.project is None:
            return params

        def metric() -> Tensor | None:
            parts = [self.rule.metric_at(own, **self.hyper) for own in states]
            found = [part for part in parts if part is not None]
            if len(found) < len(parts):
                return None
            if len(found) == 1:
                return found[0].expand_as(params)
            blocks = zip(found, self.players, strict=True)
            return torch.cat([part.expand_as(params[:, block]) for part, block in blocks], dim=1)

        return self.project(params, metric)

    def without_projection(self) -> Moves:
        """The same moves, which may leave the feasible set."""
        return self if self.project is None else replace(self, project=None)

    def _rate(self, number: int) -> Scalar:
        return self.lr if self.rates is None else self.lr * self.rates[number]

    def _step(
        self, number: int | None, lr: Scalar, params: Tensor, values: Tensor, own: Any
    ) -> tuple[Tensor, Any]:
        """One player's step; of all coordinates at once where `number` is None."""
        block = ONE_PLAYER[0] if number is None else self.players[number]
        if self.in_place:
            settings = self._settings if lr is self.lr else {**self._settings, "lr": lr}
            if number is None:
                return params, self.rule.advance(params, values, own, settings, self.ops)
            return params, self.rule.advance(
                self._block(number, params), values[:, block], own, settings, self.ops
            )
        moved, own = self.rule.step(params[:, block], values[:, block], own, lr=lr, **self.hyper)
        start, stop, _ = block.indices(params.shape[1])
        return torch.cat([params[:, :start], moved, params[:, stop:]], dim=1), own

    def _block(self, number: int, params: Tensor) -> Tensor:
        """A player's view of the parameters, which are the same tensor round after round."""
        if params is not self._blocks[0]:
            self._blocks = params, [params[:, block] for block in self.players]
        return self._blocks[1][number]


class PlayScheme(ABC):
    """One round of a game, or one step of a minimisation: then there is one player.

    A scheme of one's own says in `turn` who moves when, and in `evaluations` what that costs. It is a frozen
    dataclass, whose `repr` is stored with a study's results.
    """

    @property
    def shares_sample(self) -> bool:
        """Whether a round asks for the field once, on the step's sample at the current point: then one
        evaluation may serve all replicas of a batch."""
        return False

    @property
    def at_once(self) -> bool:
        """Whether all players always move at once. Then a rule that is elementwise takes all coordinates in
        one step with one state: to it the division into players makes no difference, and it is faster."""
        return True

    @property
    def period(self) -> int:
        """Rounds after which the scheme does the same again; 0 for one that never does."""
        return 1

    @abstractmethod
    def turn(
        self, params: Tensor, field: FieldFn, state: PlayState, moves: Moves
    ) -> tuple[Tensor, PlayState]:
        """One round. `params` `[R, D]` are overwritten if `moves.in_place`; who needs them keeps a clone."""

    def evaluations(self, players: int) -> int:  # noqa: ARG002
        """Evaluations of the field in a round of so many players."""
        return 1

    def init(
        self, params: Tensor, rule: Rule, hyper: Mapping[str, Any], players: Players = ONE_PLAYER
    ) -> PlayState:
        """The state before the first round from `params` `[R, D]`."""
        blocks = ONE_PLAYER if rule.elementwise and self.at_once else players
        return PlayState(tuple(rule.init(params[:, block], **hyper) for block in blocks))

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
        project: Project | None = None,
    ) -> tuple[Tensor, PlayState]:
        """One round without derivatives: the parameters `[R, D]` (maybe the same tensor, stepped in place)
        and the state."""
        with torch.set_grad_enabled(False):
            return self.turn(params, field, state, Moves(rule, lr, hyper, players, project))


def copied(states: tuple[Any, ...]) -> tuple[Any, ...]:
    """The players' states in memory of their own."""
    return tuple(map_state(torch.clone, own) for own in states)
