"""Mean-variance utility on sampled days, as a problem of the lab.

The utility is that of second moments about zero,

    U(w) = E[r·w] - (gamma/2) E[(r·w)^2],

over the T days of the sample; at gamma = inf, where only risk counts, -E[(r·w)^2] / 2. The gradient of -U on
one day, -r + gamma r (r·w), is linear in the day's terms, so its mean over any sample of days with
replacement is an unbiased estimate of the whole sample's gradient. The centred utility E[r·w] - (gamma/2)
Var(r·w) is larger by (gamma/2) (E[r·w])^2, for daily returns some thousandths of the variance term; its
gradient on B days would be biased by 1/B, and with one day there would be none at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from core.lab.errors import VhatError, nearest
from core.lab.problem import Field
from core.lab.random import Keys
from finance.moments import second_moment
from finance.optimum import Optimum, long_only_optimum, unconstrained_optimum
from finance.parametrisation import CHARTS, Parametrisation
from finance.prices import Floats

_ROUNDING = 1e-12


@dataclass(frozen=True)
class FieldMoments:
    """The field of one draw at frozen parameters, exactly.

    Attributes:
        mean: `[R, D]`, over draws.
        variance: `[R, D]`, over draws.
    """

    mean: Tensor
    variance: Tensor


class MeanVariance:
    """Minimise -U(w) over portfolios of N tickers, from the gradient on days drawn at each step.

    Parametrisations (see `finance.parametrisation`): `softmax`, parameters are logits and w = softmax;
    `exponentiated`, the same with the gradient of the weights; `simplex`, parameters are w, and `project`
    takes them back to w >= 0, sum w = 1 by the nearest point; `metric`, by the nearest in the metric of the
    rule's denominator; `free`, parameters are w without any constraint. Every run starts at equal weights.

    Attributes:
        returns: float `[T, N]`, simple daily returns.
        risk_aversion: gamma, from 0 to inf.
        batch: days a step, drawn with replacement; None takes all days, without noise.
        parametrisation: how parameters give weights.
        optimum: the exact optimum over the whole sample, long-only with budget, or unconstrained for `free`.

    Raises:
        VhatError: for an unknown parametrisation, a batch below one, returns that are not finite, or a
            problem without an optimum.
    """

    def __init__(
        self,
        returns: Floats,
        *,
        risk_aversion: float,
        batch: int | None = 1,
        parametrisation: Parametrisation = "softmax",
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        if parametrisation not in get_args(Parametrisation):
            raise VhatError(nearest(parametrisation, get_args(Parametrisation), kind="parametrisation"))
        if batch is not None and batch < 1:
            raise VhatError(f"a batch has at least one day, got {batch}")
        sample = np.array(returns, dtype=np.float64)  # a copy: read-only arrays make torch warn
        if sample.ndim != 2 or not sample.size or not np.isfinite(sample).all():
            raise VhatError(f"returns must be finite numbers [days, tickers], got shape {sample.shape}")
        self.risk_aversion = risk_aversion
        self.batch = batch
        self.parametrisation: Parametrisation = parametrisation
        self.chart = CHARTS[parametrisation]
        # U = gain E[r·w] - (aversion/2) E[(r·w)^2]
        self._gain, self._aversion = (0.0, 1.0) if risk_aversion == math.inf else (1.0, risk_aversion)
        solve = long_only_optimum if self.chart.long_only else unconstrained_optimum
        moment = second_moment(sample)
        self.optimum: Optimum = solve(self._gain * sample.mean(axis=0), moment, self._aversion)
        self.returns = torch.as_tensor(sample, dtype=dtype, device=device)
        self._mean = torch.as_tensor(
            self._gain * sample.mean(axis=0), device=device
        )  # float64, as all that measures
        self._moment = torch.as_tensor(moment, device=device)
        self._best = torch.as_tensor(self.optimum.weights, device=device)
        self._slack = torch.as_tensor(self.optimum.slack, device=device)

    @property
    def dim(self) -> int:
        """N, the number of tickers."""
        return int(self.returns.shape[1])

    def init(self, keys: Keys) -> Tensor:
        """Equal weights for every replica, `[R, N]`."""
        fill = self.chart.start(self.dim)
        return torch.full((len(keys), self.dim), fill, dtype=self.returns.dtype, device=self.returns.device)

    def weights(self, params: Tensor) -> Tensor:
        """Portfolio weights `[R, N]` of parameters `[R, N]`."""
        return self.chart.weights(params)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """The gradient of -U on the drawn days with respect to the parameters; measures their `utility`."""
        weights = self.weights(params)
        if self.batch is None:
            gradient, utility = self._whole_sample(weights)
        else:
            days = keys.fold("days").at(step).integers(len(self.returns), self.batch)
            drawn = self.returns[days]  # [R, B, N]
            earned = torch.bmm(drawn, weights.unsqueeze(-1))  # [R, B, 1]
            factor = (self._aversion * earned - self._gain) / self.batch
            gradient = torch.bmm(factor.mT, drawn).squeeze(1)
            utility = (self._gain * earned - 0.5 * self._aversion * earned.square()).mean(dim=(1, 2))
        return Field(self.chart.pull_back(weights, gradient), {"utility": utility})

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:  # noqa: ARG002 (the protocol's)
        """Over the whole sample, float64 `[R]`: `utility_gap`, U at the optimum minus U, and `relative_gap`,
        its share of the gap of equal weights (1 at the start, 0 at the optimum; NaN if equal weights are
        optimal). A share below 1e-12 is float64's rounding and counts as 0, so that it ranks nothing.

        The gap is taken as Σ slack·w + (gamma/2) d·Sd with d = w - w*, which for a portfolio is a sum of
        terms that are not negative, so that a small gap is not lost in the difference of two utilities. It
        needs a portfolio with the budget kept: true of softmax and after `project`.
        """
        gap = self._gap(self.weights(params).to(torch.float64))
        start = self._gap(torch.full((2, self.dim), 1.0 / self.dim, dtype=torch.float64, device=gap.device))[
            0
        ]
        share = torch.where(gap.abs() < _ROUNDING * start, 0.0, gap / start)
        return {"utility_gap": gap, "relative_gap": torch.where(start > 0, share, torch.nan)}

    @property
    def projects_in_metric(self) -> bool:
        """Whether `project` wants the rule's metric."""
        return self.parametrisation == "metric"

    def project(self, params: Tensor, metric: Tensor | None = None) -> Tensor:
        """The nearest feasible parameters `[R, N]`, Euclidean for `simplex`, in the rule's metric `[R, N]`
        for `metric`; else as they are."""
        return self.chart.project(params, metric)

    def field_moments(self, params: Tensor) -> FieldMoments:
        """Mean and variance of the field at `params`, exactly, by going through all days.

        The variance of a batch of B days drawn with replacement is the one-day variance over B; with all days
        it is zero. So the expectation of its square, what v̂ averages, is mean² + variance.
        """
        # Replica by replica: all days of all of them would not stay near the processor.
        moments = [self._moments_at(weights) for weights in torch.split(self.weights(params), 1)]
        return FieldMoments(torch.cat([m.mean for m in moments]), torch.cat([m.variance for m in moments]))

    def _moments_at(self, weights: Tensor) -> FieldMoments:
        """`field_moments` at the weights `[1, N]` of one replica."""
        days = self.returns.unsqueeze(0)
        factor = self._aversion * torch.bmm(days, weights.unsqueeze(-1)) - self._gain
        each = self.chart.pull_back(weights.unsqueeze(1), factor * days)  # [1, T, N]
        mean = each.mean(dim=1)
        if self.batch is None:
            return FieldMoments(mean, torch.zeros_like(mean))
        return FieldMoments(mean, (each - mean.unsqueeze(1)).square().mean(dim=1) / self.batch)

    def _whole_sample(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        moment = self._moment.to(weights.dtype).expand(len(weights), -1, -1)
        risk = torch.bmm(moment, weights.unsqueeze(-1)).squeeze(-1)
        mean = self._mean.to(weights.dtype)
        utility = (weights * (mean - 0.5 * self._aversion * risk)).sum(dim=-1)
        return self._aversion * risk - mean, utility

    def _gap(self, weights: Tensor) -> Tensor:
        away = weights - self._best
        moment = self._moment.expand(len(weights), -1, -1)
        risk = torch.bmm(moment, away.unsqueeze(-1)).squeeze(-1)
        return (self._slack * weights + 0.5 * self._aversion * away * risk).sum(dim=-1)
