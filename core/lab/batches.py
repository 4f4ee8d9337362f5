"""Mini-batches for R rows at once, keyed by (seed, step)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from core.lab.random import Keys

_AHEAD = 1 << 12
"""Numbers that are drawn at once: a draw of fewer costs as much."""


class Batches:
    """Batches drawn with replacement from data: the same for all rows of one seed.

    While training goes on step by step on the same keys, the draws of some steps to come are made at once and
    kept; they are those that each step would make.

    Args:
        data: tensors with the same first axis.
        size: B, rows of the data in a batch.
    """

    def __init__(self, data: Sequence[Tensor], size: int) -> None:
        self.data, self.size = data, size
        self._keys: Keys | None = None
        self._next = 0  # the step that would go on
        self._first = 0  # the step of the first of the draws that are kept
        self._kept: Tensor | None = None  # [steps, S, B]

    def at(self, keys: Keys, step: int) -> list[Tensor]:
        """The batch of a step, each of its tensors `[R, B, ...]`."""
        index = self._indices(keys, step).reshape(-1)
        return [t.index_select(0, index).view(len(keys), self.size, *t.shape[1:]) for t in self.data]

    def _indices(self, keys: Keys, step: int) -> Tensor:
        kept = self._kept
        if keys is not self._keys or kept is None or not self._first <= step < self._first + len(kept):
            seeds = len(keys.words)
            goes_on = keys is self._keys and step == self._next
            count = max(1, _AHEAD // (seeds * self.size)) if goes_on else 1
            drawn = keys.fold("batch").between(step, step + count).integers(len(self.data[0]), self.size)
            self._keys, self._first = keys, step
            kept = self._kept = drawn.view(count, seeds, self.size)
        self._next = step + 1
        return keys.spread(kept[step - self._first])
