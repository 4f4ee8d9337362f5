"""Least squares for a linear model of a dynamic system."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from core.lab.errors import VhatError
from core.lab.problem import Field
from core.lab.random import Keys


class OneStepPrediction:
    """Find theta in y_k = theta . (y_{k-1}, y_{k-2}, u_{k-1}, u_{k-2}) + e_k from a record of u and y.

    The loss is half the mean squared error of the one-step prediction (the ARX model of Ljung 1999, section
    4.2). The record is made once, by a system with two real poles and white input; a field sample is the
    gradient on `batch` moments of it. float64.

    Args:
        poles: of the system, each in (-1, 1); near 1 it is slow, and successive outputs are much alike.
        noise: standard deviation of e.
        moments: length of the record.
        batch: moments a sample.
        device: of the run.

    Raises:
        VhatError: for an unstable system, or a batch that is empty.
    """

    dim = 4

    def __init__(
        self,
        poles: tuple[float, float] = (0.5, 0.3),
        noise: float = 0.1,
        moments: int = 400,
        batch: int = 10,
        device: str = "cpu",
    ) -> None:
        if max(map(abs, poles)) >= 1 or batch < 1:
            raise VhatError(f"give poles within (-1, 1) and a batch of at least 1, got {poles} and {batch}")
        self.batch = batch
        self.truth = torch.tensor([sum(poles), -poles[0] * poles[1], 1.0, 0.5], dtype=torch.float64)
        drawn = Keys.of([0], study="identification-record").normal(2, moments + 2, dtype=torch.float64)[0]
        inputs, errors = drawn[0], noise * drawn[1]
        outputs = torch.zeros(moments + 2, dtype=torch.float64)
        rows = []
        for k in range(2, moments + 2):
            rows.append(torch.stack([outputs[k - 1], outputs[k - 2], inputs[k - 1], inputs[k - 2]]))
            outputs[k] = (self.truth * rows[-1]).sum() + errors[k]
        self.regressors = torch.stack(rows).to(device)  # [moments, 4]
        self.targets = outputs[2:].to(device)
        self.solution = torch.linalg.lstsq(self.regressors, self.targets[:, None]).solution[:, 0]

    def init(self, keys: Keys) -> Tensor:
        """`[R, 4]`, normal."""
        return keys.fold("start").normal(self.dim, dtype=torch.float64)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """The gradient on moments drawn with replacement `[R, 4]`."""
        moments = keys.fold("batch").at(step).integers(len(self.targets), self.batch)
        regressors = self.regressors[moments]  # [R, batch, 4]
        misses = (regressors * params[:, None, :]).sum(dim=2) - self.targets[moments]
        return Field((misses[:, :, None] * regressors).mean(dim=1))

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        """`gap`, the loss on the whole record above its least value."""
        off = (params - self.solution)[:, None, :]
        return {"gap": 0.5 * (self.regressors * off).sum(dim=2).square().mean(dim=1)}
