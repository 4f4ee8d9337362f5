"""An allocation as one of skfolio's optimizations, for its `cross_val_predict`, `Population` and measures."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from skfolio.optimization import BaseOptimization
from sklearn.base import clone
from sklearn.utils.validation import validate_data

from finance.backtest import Fits
from finance.prices import Floats


class SkfolioAllocation(BaseOptimization):  # type: ignore[misc]  # skfolio is not told to mypy
    """`fit` by the allocation, `predict` gives a skfolio `Portfolio`.

    Args:
        allocation: an unfitted estimator of `finance.allocation`, or another that gives `weights_`.
        portfolio_params: handed on to the `Portfolio`, such as its name.

    Attributes:
        weights_: `[N]`, after `fit`.
    """

    def __init__(self, allocation: Fits, portfolio_params: dict[str, Any] | None = None) -> None:
        super().__init__(portfolio_params=portfolio_params)
        self.allocation = allocation

    def fit(self, X: Floats, y: object = None) -> Self:
        """Weights from returns `[T, N]`.

        Raises:
            ValueError, VhatError: what the allocation's `fit` raises.
        """
        validate_data(self, X, skip_check_array=True)
        fitted = clone(self.allocation)
        fitted.fit(X, y)
        self.weights_ = np.asarray(fitted.weights_)
        return self
