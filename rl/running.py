"""What the running-mean baseline remembers between updates.

A field is a function of its arguments, and the mean of earlier updates' returns is not among them. So this
baseline belongs to one run at a time, and the run must go step by step: asking for a step out of order, or
for other replicas, is an error and never a wrong number. Asking for the same step twice gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from core.lab.errors import VhatError
from core.lab.random import Keys
from rl.arrays import Floats
from rl.estimator import batch_returns
from rl.rollout import Batch

KEPT = 0.9
"""What is kept of the mean at each update; the rest is the new batch's."""


class RunningMean:
    """An exponential mean of returns-to-go by time, corrected for its start at zero, replica by replica."""

    def __init__(self) -> None:
        self._keys: Keys | None = None
        self._next = 0
        self._mean: Floats | None = None  # after the updates before `_next`
        self._newer: Floats | None = None  # and after update `_next`

    def before(self, keys: Keys, step: int) -> Floats | None:
        """The mean of the updates before `step`, `[R, T]`; None at step 0.

        Raises:
            VhatError: if the run has not come to this step, or its replicas are others.
        """
        if step == 0:
            self._keys, self._next, self._mean, self._newer = keys, 0, None, None
            return None
        moves_on = step == self._next + 1 and self._newer is not None
        if not (moves_on or step == self._next) or not _same(keys, self._keys):
            raise VhatError(
                "the baseline 'running' remembers earlier updates: it serves one run, step by step from 0; "
                f"step {step} was asked for after step {self._next}, or for other replicas"
            )
        if moves_on:
            self._next, self._mean, self._newer = step, self._newer, None
        assert self._mean is not None
        return self._mean / (1.0 - KEPT**step)

    def after(self, keys: Keys, step: int, batches: Sequence[Batch], discount: float) -> None:
        """Take in the batch of `step`, whose replicas lie in `batches` one part after another."""
        assert step == self._next
        assert len(keys) == sum(len(b.returns) for b in batches)
        length = max(block.start + block.rewards.shape[1] for b in batches for block in b.blocks)
        if self._mean is not None:
            length = max(length, self._mean.shape[1])
        new = np.zeros((len(keys), length))
        if self._mean is not None:
            new[:, : self._mean.shape[1]] = KEPT * self._mean
        first = 0
        for batch in batches:
            for block, returns in zip(batch.blocks, batch_returns(batch, discount), strict=True):
                times = slice(block.start, block.start + returns.shape[1])
                new[first + block.rows, times] += (1.0 - KEPT) * returns.mean(axis=2, dtype=np.float64)
            first += len(batch.returns)
        self._newer = new


def _same(a: Keys, b: Keys | None) -> bool:
    if b is None or len(a) != len(b):
        return False
    return torch.equal(a.spread(a.words), b.spread(b.words))
