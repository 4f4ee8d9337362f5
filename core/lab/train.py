"""The batched trainer: all replicas of all variants in one program.

A step evaluates the field of all simultaneous rows at once; each variant's rule then moves its own slice of
the rows. A replica whose update is not finite is frozen at its last finite point and marked; the others do
not notice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.lab.errors import VhatError, nearest
from core.lab.experiment import Array
from core.lab.problem import Field, Problem, players_of
from core.lab.random import Keys
from core.lab.run import Recording, Run
from core.lab.variant import Variant
from core.optim.ops import IN_PLACE, Ops, Prepared
from core.optim.play import Moves, PlayState
from core.optim.projection import projection_of

__all__ = ["Block", "Recording", "Run", "train"]


@dataclass(frozen=True)
class Block:
    """Neighbouring rows that belong to one variant.

    Attributes:
        variant: rule, fixed hyperparameters, schedule, play scheme.
        rows: a slice of the batch.
        hyper: tuned hyperparameters, `lr` among them: floats, or float64 tensors `[n]` for a slice of n rows.
    """

    variant: Variant
    rows: slice
    hyper: Mapping[str, float | Tensor]


class _Member:
    """A block in training: its rule's state and its hyperparameters, split into `lr` and the rest."""

    def __init__(self, block: Block, problem: Problem, params: Tensor, keys: Keys) -> None:
        variant = block.variant
        self.rows = block.rows
        self.keys = keys if block.rows == slice(0, len(keys)) else keys.rows(block.rows)
        self.rule, self.play, self.schedule = variant.update_rule, variant.scheme, variant.schedule
        self.players = players_of(problem)
        self.project = projection_of(problem)
        tuned = dict(block.hyper)
        self.lr = tuned.pop("lr")
        self.hyper: dict[str, Any] = {**variant.hyper, **tuned}
        self.shares = self.play.shares_sample
        self.ops: Ops = IN_PLACE
        if params.dtype in (torch.float32, torch.float64) and "state_dtype" not in self.hyper:
            self.ops = Prepared(params)
        self._moves: Moves | None = None
        self._own = params, params if len(keys) == len(self.keys) else params[self.rows]
        self.state: PlayState = self.play.init(params[self.rows], self.rule, self.hyper, self.players)

    def own(self, params: Tensor) -> Tensor:
        """The member's rows of the batch."""
        if params is not self._own[0]:
            self._own = params, params[self.rows]
        return self._own[1]

    def moves(self, step: int) -> Moves:
        """How the players move at this step: always alike, but for a schedule."""
        if self._moves is not None:
            return self._moves
        lr = self.lr if self.schedule is None else self.lr * self.schedule(step)
        moves = Moves(self.rule, lr, self.hyper, self.players, self.project, ops=self.ops)
        if self.schedule is None:
            self._moves = moves
        return moves


class _Recorder:
    """Curves, hits and paths while training goes on."""

    def __init__(self, recording: Recording, steps: int, replicas: int) -> None:
        self.recording = recording
        self.steps = recording.steps(steps)
        self.replicas = replicas
        self.curves: dict[str, Array] = {}
        self.path: list[Array] = []
        self.sums: dict[str, Tensor] = {}
        self.averages = False
        self.since = 0
        self.column = 0

    def due(self, step: int) -> bool:
        return self.column < len(self.steps) and self.steps[self.column] == step

    def add(self, measures: Mapping[str, Tensor]) -> None:
        """By-products of one field evaluation."""
        for name, value in measures.items():
            # A copy: it may be a view of the parameters, which are about to move.
            self.sums[name] = self.sums[name] + value if name in self.sums else value.detach().clone()
        self.since += 1

    def record(self, params: Tensor, measures: Mapping[str, Tensor], alive: Tensor) -> None:
        mask = alive.cpu().numpy()
        means = {f"field/{name}": total / self.since for name, total in self.sums.items()}
        for name, value in {**measures, **means}.items():
            if name not in self.curves:
                self.curves[name] = np.full((self.replicas, len(self.steps)), np.nan)
            self.curves[name][:, self.column] = np.where(mask, value.detach().cpu().double().numpy(), np.nan)
        if self.recording.path:
            self.path.append(params.detach().cpu().numpy().copy())
        self.averages = self.averages or bool(self.sums)
        self.sums, self.since = {}, 0
        self.column += 1


class _Watch:
    """When a measure first reached its threshold, and since when it stays beyond it."""

    def __init__(
        self, thresholds: Mapping[str, float], higher: bool, replicas: int, device: torch.device
    ) -> None:
        self.thresholds, self.higher = thresholds, higher
        self.first = {m: torch.full((replicas,), -1, dtype=torch.int64, device=device) for m in thresholds}
        self.since = {m: t.clone() for m, t in self.first.items()}

    def look(self, step: int, measures: Mapping[str, Tensor], alive: Tensor) -> None:
        for name, threshold in self.thresholds.items():
            if name not in measures:
                raise VhatError(f"cannot watch: {nearest(name, measures, kind='measure')}")
            value = measures[name]
            inside = ((value >= threshold) if self.higher else (value <= threshold)) & alive
            first, since = self.first[name], self.since[name]
            first.masked_fill_(inside & (first < 0), step)
            since.masked_fill_(inside & (since < 0), step).masked_fill_(~inside, -1)


def _sample(problem: Problem, params: Tensor, keys: Keys, step: int) -> Field:
    """The field, in memory of its own: rules step the parameters in place."""
    sampled = problem.field(params, keys, step)
    offset = sampled.values.data_ptr() - params.data_ptr()
    if not 0 <= offset < params.nbytes:
        return sampled
    return Field(sampled.values.clone(), sampled.measures)


def _play(member: _Member, problem: Problem, params: Tensor, step: int, shared: Tensor | None) -> None:
    """Move the rows of one member, in place. `shared` is the whole batch's field on the step's sample, if it
    was evaluated: it serves until the member has moved."""
    rows = member.rows
    own = member.own(params)
    unmoved = own._version

    def sample(at: Tensor, draw: int) -> Tensor:
        if shared is not None and draw == 0 and at is own and own._version == unmoved:
            return shared[rows]
        keys = member.keys if draw == 0 else member.keys.fold(f"draw {draw}")
        return _sample(problem, at, keys, step).values

    with torch.set_grad_enabled(False):
        moved, member.state = member.play.turn(own, sample, member.state, member.moves(step))
    if moved is not own:
        params[rows] = moved


def _state_tensor(member: _Member, name: str, shape: tuple[int, int]) -> Array:
    """A state tensor of a member, its players' blocks side by side; NaN if its rule has none of that name."""
    blocks = [b for s in member.state.players if (b := getattr(s, name, None)) is not None]
    if len(blocks) < len(member.state.players):
        return np.full(shape, np.nan)
    return torch.cat([b.expand(shape[0], -1) for b in blocks], dim=1).detach().cpu().double().numpy()


def train(
    problem: Problem,
    blocks: Sequence[Block],
    keys: Keys,
    *,
    steps: int,
    recording: Recording | None = None,
    watch: Mapping[str, float] | None = None,
    watch_higher: bool = False,
    initial: Tensor | None = None,
) -> Run:
    """Train R replicas for a number of steps.

    Args:
        problem: the sampled descent field.
        blocks: cover the rows 0, ..., R-1 in order.
        keys: of the R rows.
        steps: updates of each replica.
        recording: see `Recording`.
        watch: measures that are evaluated at every step, with the thresholds whose first crossing is noted.
        watch_higher: True where a watched measure reaches its threshold from below.
        initial: `[R, D]` starting parameters; None asks the problem.

    Raises:
        ValueError: if the blocks do not cover the rows of `keys`.
    """
    ends = [0, *(b.rows.stop for b in blocks)]
    if any(b.rows.start != a for a, b in zip(ends, blocks, strict=False)) or ends[-1] != len(keys):
        raise ValueError(f"blocks must cover rows 0 to {len(keys)} in order, they end at {ends[1:]}")
    recording = recording or Recording()
    params = (problem.init(keys) if initial is None else initial).detach().clone()
    members = [_Member(b, problem, params, keys) for b in blocks]
    any_shared = any(m.shares for m in members)
    recorder = _Recorder(recording, steps, len(keys))
    watching = _Watch(watch or {}, watch_higher, len(keys), params.device)
    alive = torch.ones(len(keys), dtype=torch.bool, device=params.device)
    diverged_at = torch.full((len(keys),), -1, dtype=torch.int64, device=params.device)
    any_fallen = False

    def observe(step: int) -> None:
        due = recorder.due(step)
        if due or watch:
            measures = problem.measure(params, keys)
            watching.look(step, measures, alive)
            if due:
                recorder.record(params, measures, alive)

    for step in range(steps):
        shared = None
        if any_shared:
            # Of all rows: also those that will ask for more samples begin with this one.
            sampled = _sample(problem, params, keys, step)
            shared = sampled.values
            recorder.add(sampled.measures)
        observe(step)
        before = params.clone()
        for member in members:
            _play(member, problem, params, step, shared)
        # A sum is not finite if any entry is not; only then is it worth asking which (a large sum may also
        # overflow).
        if any_fallen or not math.isfinite(params.sum()):
            doubtful = (alive & ~params.sum(dim=1).isfinite()).nonzero()[:, 0]
            fallen = doubtful[~params[doubtful].isfinite().all(dim=1)]
            diverged_at[fallen] = step
            alive[fallen] = False
            dead = (~alive).nonzero()[:, 0]
            params[dead] = before[dead]
            any_fallen = len(dead) > 0
    if recorder.averages and not recorder.since:
        # The step before was recorded too: without a sample here the last window would be empty.
        recorder.add(problem.field(params, keys, steps).measures)
    observe(steps)
    return _finish(recorder, watching, members, params, diverged_at)


def _finish(
    recorder: _Recorder, watching: _Watch, members: list[_Member], params: Tensor, diverged_at: Tensor
) -> Run:
    recording, dim = recorder.recording, params.shape[1]
    return Run(
        steps=np.array(recorder.steps, dtype=np.int64),
        curves=recorder.curves,
        diverged_at=diverged_at.cpu().numpy(),
        hits={m: t.cpu().numpy() for m, t in watching.first.items()},
        settled={m: t.cpu().numpy() for m, t in watching.since.items()},
        params=params.cpu().numpy() if recording.params else None,
        path=np.stack(recorder.path, axis=1) if recording.path else None,
        state={
            name: np.concatenate([_state_tensor(m, name, (m.rows.stop - m.rows.start, dim)) for m in members])
            for name in recording.state
        },
    )
