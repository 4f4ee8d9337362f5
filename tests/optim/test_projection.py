"""The metric of a rule, and who is projected in it. The projection itself is tested beside its uses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from core.optim import RULES
from core.optim.projection import project_to_simplex, projection_of

ROWS, SIZE = 3, 5


def draws(steps: int) -> Tensor:
    return torch.randn(steps, ROWS, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", ["adam", "amsgrad", "adam_uncorrected", "adam_shared_v", "adam_shuffled_v"])
def test_adams_step_is_its_momentum_in_the_metric(name: str) -> None:
    """displacement x metric = -lr m-hat, whatever stands under the root."""
    rule, params = RULES[name], torch.zeros(ROWS, SIZE, dtype=torch.float64)
    state, lr = rule.init(params), torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    for grads in draws(6):
        before = params
        params, state = rule.step(params, grads, state, lr=lr, eps=1e-3)
        metric = rule.metric_at(state, eps=1e-3)
        assert metric is not None
        corrected = 1.0 if name == "adam_uncorrected" else 1 - 0.9**state.step
        expected = -lr[:, None] * state.exp_avg / corrected
        torch.testing.assert_close((params - before) * metric, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["rmsprop", "rmsprop_centered"])
def test_rmsprops_step_is_the_gradient_in_the_metric(name: str) -> None:
    rule, params = RULES[name], torch.zeros(ROWS, SIZE, dtype=torch.float64)
    state = rule.init(params)
    for grads in draws(6):
        before = params
        params, state = rule.step(params, grads, state, lr=0.1)
        metric = rule.metric_at(state)
        assert metric is not None
        torch.testing.assert_close((params - before) * metric, -0.1 * grads, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "signsgd", "normalized_sgd"])
def test_rules_that_do_not_scale_have_no_metric(name: str) -> None:
    rule = RULES[name]
    assert rule.metric_at(rule.init(torch.zeros(ROWS, SIZE))) is None


def test_before_the_first_step_the_metric_says_nothing() -> None:
    """All zero but eps: the projection is the Euclidean one."""
    rule, points = RULES["adam"], draws(1)[0]
    metric = rule.metric_at(rule.init(points))
    torch.testing.assert_close(project_to_simplex(points, metric), project_to_simplex(points))


def test_only_who_asks_gets_the_metric() -> None:
    class Plain:
        def project(self, params: Tensor) -> Tensor:
            return params + 1

    class Asking:
        projects_in_metric = True

        def project(self, params: Tensor, metric: Tensor | None) -> Tensor:
            return params + (2 if metric is None else metric)

    def never() -> Tensor:
        raise AssertionError("nobody asked")

    zero = torch.zeros(1)
    plain, asking = projection_of(Plain()), projection_of(Asking())
    assert plain is not None
    assert asking is not None
    assert plain(zero, never) == 1
    assert asking(zero, lambda: None) == 2
    assert asking(zero, lambda: torch.full((1,), 5.0)) == 5
    assert projection_of(object()) is None
