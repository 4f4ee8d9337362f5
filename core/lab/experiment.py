"""An experiment: work cut into shards whose results are plain arrays. A study is one or several of them.

Stages that depend on earlier results (a grid is widened, a tuned learning rate is reported on fresh seeds)
are expressed by asking again: `pending` names the shards that are needed next, given what is stored, until
none is. Everything follows from stored arrays, so a run that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

Array = NDArray[Any]
Payload = Mapping[str, Array]
Spec = Mapping[str, Any]
"""What a shard's result depends on besides the code: plain JSON data."""

Lookup = Callable[[Spec], Payload | None]


@dataclass(frozen=True)
class Shard:
    """A fixed block of replicas: the unit of work, of storage and of resuming.

    Attributes:
        spec: what it computes; its digest is the address of the result.
        label: for people, in progress lines.
        cost: replica-steps, or any measure that is proportional to the time it takes.
    """

    spec: Spec
    label: str
    cost: float


class Experiment(Protocol):
    """Work in shards."""

    @property
    def name(self) -> str:
        """Unique within the study."""

    def pending(self, stored: Lookup) -> list[Shard]:
        """The shards that are needed next and are not stored; empty when the experiment is complete."""

    def run(self, spec: Spec, *, device: str) -> Payload:
        """Compute one shard."""

    def result(self, stored: Lookup) -> object:
        """All shards together, once none is pending."""


@dataclass(frozen=True)
class Outlook:
    """What comes after the shards that are pending, for an estimate; nothing of it is to be stored.

    Attributes:
        sure: shards that follow in any case, with some setting in place of one that is still to be chosen.
        possible: shards that follow at most besides, where a best point lies on the edge of its grid.
    """

    sure: tuple[Shard, ...] = ()
    possible: tuple[Shard, ...] = ()


@runtime_checkable
class Staged(Protocol):
    """An experiment in several stages that can tell what is ahead."""

    def outlook(self, stored: Lookup) -> Outlook:
        """What comes after `pending(stored)`."""


def seed_blocks(seeds: int, per_shard: int) -> list[tuple[int, int]]:
    """`seeds` cut into blocks (first, count) of about `per_shard`, none smaller than two (unless there is one
    seed).

    A batch of one row takes other kernels than a batch of many, so a lone last seed joins the block before
    it.

    Raises:
        ValueError: without seeds, or for shards of fewer than two.
    """
    if seeds < 1 or per_shard < 2:
        raise ValueError(f"need seeds >= 1 and per_shard >= 2, got {seeds} and {per_shard}")
    starts = list(range(0, seeds, per_shard))
    if len(starts) > 1 and seeds - starts[-1] == 1:
        starts.pop()
    ends = [*starts[1:], seeds]
    return [(a, b - a) for a, b in zip(starts, ends, strict=True)]
