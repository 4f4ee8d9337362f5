"""Linear and ridge regression on keyed data: each seed has a data set of its own, and its exact solution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from core.lab.errors import VhatError, nearest
from core.lab.problem import Field
from core.lab.random import Keys

PREPARATIONS = ("raw", "scaled", "standardized")


@dataclass(frozen=True)
class RegressionData:
    """The data of S seeds.

    Attributes:
        words: int64 `[S]`, the keys they were drawn from.
        inputs: `[S, n, D]`, prepared, with a column of ones last if there is an intercept.
        targets: `[S, n]`.
        hessian: `[S, D, D]`, of the objective.
        solution: `[S, D]`, the exact minimizer.
        start_gap: `[S]`, the objective at zero less its minimum.
    """

    words: Tensor
    inputs: Tensor
    targets: Tensor
    hessian: Tensor
    solution: Tensor
    start_gap: Tensor


class Regression:
    r"""Least squares with an optional ridge penalty, in float64, from zero parameters.

    .. math:: f(w) = c \Big( \frac{1}{2n} \lVert X w - y \rVert^2 + \frac{\lambda}{2} \lVert w \rVert^2 \Big)

    The features are a stationary chain of normal variables with correlation `correlation ** |i - j|`, moved
    by `offset` and then multiplied by scales spaced evenly in logarithms over `decades` decades around 1. The
    target is a linear function of the chain with coefficients of variance 1 / features, plus noise. So scales
    and offsets are units only: they change neither what can be predicted nor, without a penalty, how well.

    Args:
        features: how many, without the intercept.
        samples: n.
        correlation: of neighbouring features, in (-1, 1).
        decades: the largest scale over the smallest, in powers of ten.
        offset: mean of a feature over its standard deviation.
        preparation: `raw`; `scaled`, divided by the standard deviation over the samples; `standardized`,
            also centred.
        intercept: adds a column of ones.
        ridge: lambda, on all parameters.
        noise: standard deviation of the target's noise.
        batch: samples drawn with replacement for each sample of the field; None takes all of them.
        loss_scale: c.
        device: of the run.

    Raises:
        VhatError: for sizes that are not positive, or a correlation, scale, penalty or preparation that means
            nothing.
    """

    def __init__(
        self,
        features: int = 10,
        samples: int = 100,
        *,
        correlation: float = 0.0,
        decades: float = 0.0,
        offset: float = 0.0,
        preparation: str = "raw",
        intercept: bool = False,
        ridge: float = 0.0,
        noise: float = 0.5,
        batch: int | None = None,
        loss_scale: float = 1.0,
        device: str = "cpu",
    ) -> None:
        if preparation not in PREPARATIONS:
            raise VhatError(f"regression: {nearest(preparation, PREPARATIONS, kind='preparation')}")
        if min(features, samples, 1 if batch is None else batch) < 1:
            raise VhatError(
                f"regression needs features, samples and batch >= 1, got {features}, {samples}, {batch}"
            )
        if not -1 < correlation < 1 or min(decades, ridge, noise) < 0 or loss_scale <= 0:
            raise VhatError(
                "regression needs -1 < correlation < 1, decades, ridge and noise >= 0 and loss_scale > 0, "
                f"got {correlation}, {decades}, {ridge}, {noise} and {loss_scale}"
            )
        if ridge == 0 and samples < features + intercept:
            raise VhatError(
                f"regression with {features + intercept} parameters and {samples} samples has no unique "
                "solution; give it a ridge penalty"
            )
        self.features, self.samples, self.correlation = features, samples, correlation
        self.decades, self.offset, self.preparation = decades, offset, preparation
        self.intercept, self.ridge, self.noise, self.batch = intercept, ridge, noise, batch
        self.loss_scale, self.device = loss_scale, device
        self.dim = features + intercept
        self._data: RegressionData | None = None

    def data(self, keys: Keys) -> RegressionData:
        """The data of the distinct seeds of `keys`; the last are remembered, and drawn again for others."""
        if self._data is None or not torch.equal(self._data.words, keys.words):
            self._data = self._draw(keys.distinct())
        return self._data

    def _chain(self, keys: Keys) -> Tensor:
        """`[S, n, features]`, unit variance, correlation `correlation ** |i - j|`."""
        columns = [*keys.fold("features").normal(self.features, self.samples, dtype=torch.float64).unbind(1)]
        fresh = math.sqrt(1.0 - self.correlation**2)
        for j in range(1, self.features):
            columns[j] = self.correlation * columns[j - 1] + fresh * columns[j]
        return torch.stack(columns, dim=2)

    def _prepared(self, chain: Tensor) -> Tensor:
        """The features as the optimizer sees them, without the intercept's ones."""
        half = self.decades / 2
        scales = [10.0 ** (half * (2 * j / max(self.features - 1, 1) - 1)) for j in range(self.features)]
        raw = (chain + self.offset) * torch.tensor(scales, dtype=torch.float64, device=chain.device)
        if self.preparation == "raw":
            return raw
        mean = raw.mean(dim=1, keepdim=True)
        spread = ((raw - mean) ** 2).mean(dim=1, keepdim=True).sqrt()
        return (raw if self.preparation == "scaled" else raw - mean) / spread

    def _draw(self, keys: Keys) -> RegressionData:
        chain = self._chain(keys)
        true = keys.fold("coefficients").normal(1, self.features, dtype=torch.float64)
        noise = keys.fold("noise").normal(self.samples, dtype=torch.float64)
        targets = (chain * true).sum(dim=2) / math.sqrt(self.features) + self.noise * noise
        inputs = self._prepared(chain)
        if self.intercept:
            inputs = torch.cat([inputs, torch.ones_like(inputs[:, :, :1])], dim=2)
        eye = torch.eye(self.dim, dtype=torch.float64, device=inputs.device)
        # Least squares by QR with the penalty as further rows: forming the normal equations would square the
        # condition number.
        rows = torch.cat(
            [inputs, (math.sqrt(self.samples * self.ridge) * eye).expand(len(keys), -1, -1)], dim=1
        )
        right = torch.nn.functional.pad(targets, (0, self.dim)).unsqueeze(2)
        q, r = torch.linalg.qr(rows)
        solution = torch.linalg.solve_triangular(r, torch.bmm(q.mT, right), upper=True).squeeze(2)
        hessian = self.loss_scale * (torch.bmm(inputs.mT, inputs) / self.samples + self.ridge * eye)
        start_gap = _half_square(hessian, solution)
        return RegressionData(keys.words, inputs, targets, hessian, solution, start_gap)

    def init(self, keys: Keys) -> Tensor:
        """`[R, D]`, zeros."""
        return torch.zeros(len(keys), self.dim, dtype=torch.float64, device=keys.device)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """The gradient `[R, D]`, on all data or on the batch of this step."""
        data = self.data(keys)
        if self.batch is None:
            away = (params - keys.spread(data.solution)).unsqueeze(2)
            return Field(torch.bmm(keys.spread(data.hessian), away).squeeze(2))
        index = keys.distinct().fold("batch").at(step).integers(self.samples, self.batch)
        seeds = torch.arange(len(index), device=index.device)[:, None]
        inputs, targets = keys.spread(data.inputs[seeds, index]), keys.spread(data.targets[seeds, index])
        residual = torch.bmm(inputs, params.unsqueeze(2)) - targets.unsqueeze(2)
        gradient = torch.bmm(inputs.mT, residual).squeeze(2) / self.batch + self.ridge * params
        return Field(self.loss_scale * gradient)

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        """`gap`, the objective above its minimum over that at the start; `error`, the relative distance to
        the exact solution."""
        data = self.data(keys)
        solution = keys.spread(data.solution)
        away = params - solution
        return {
            "gap": _half_square(keys.spread(data.hessian), away) / keys.spread(data.start_gap),
            "error": (away**2).sum(dim=1).sqrt() / (solution**2).sum(dim=1).sqrt(),
        }


def _half_square(matrix: Tensor, vector: Tensor) -> Tensor:
    """`v' M v / 2`, row by row."""
    return 0.5 * (torch.bmm(matrix, vector.unsqueeze(2)).squeeze(2) * vector).sum(dim=1)
