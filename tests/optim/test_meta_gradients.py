"""Meta-gradients: closed forms of one step, central differences of several, and rows that do not meet."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from core.optim import RULES, map_state
from core.optim.hypergradient import PARAMS
from core.optim.maml import MetaGradients, by_meta, for_tasks, meta_gradients
from core.optim.objective import LossObjective
from core.optim.unroll import unroll

META, TASKS, DIM = 3, 4, 5
ROWS = META * TASKS


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


START = normal(META, DIM, seed=2)
CURVATURE = normal(ROWS, DIM, DIM, seed=3) / DIM + torch.eye(DIM, dtype=torch.float64)
CURVATURE = CURVATURE @ CURVATURE.mT
SUPPORT, QUERY = normal(ROWS, DIM, seed=4), normal(ROWS, DIM, seed=5)
RATES = torch.tensor([0.03, 0.05, 0.1], dtype=torch.float64)


def turned(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix * vector[:, None, :]).sum(dim=2)


def linear(rows: slice = slice(None)) -> LossObjective:
    """Each task a linear model of its own: the field is A (x - support), the loss |x - query|^2 / 2."""
    matrix, support, query = CURVATURE[rows], SUPPORT[rows], QUERY[rows]

    def training(x: Tensor, step: int) -> Tensor:
        return ((x - support) * turned(matrix, x - support)).sum(dim=1) / 2

    return LossObjective(training, lambda x: ((x - query) ** 2).sum(dim=1) / 2)


def quartic() -> LossObjective:
    def training(x: Tensor, step: int) -> Tensor:
        return (turned(CURVATURE, x) ** 2).sum(dim=1) / 2 + (x**4).sum(dim=1) / 4 + (SUPPORT * x).sum(dim=1)

    return LossObjective(training, lambda x: ((x - QUERY) ** 2).sum(dim=1) + (x**4).sum(dim=1))


def one_step(objective: LossObjective, rule: str, hyper: dict[str, Any], **options: Any) -> MetaGradients:
    return meta_gradients(objective, RULES[rule], START, hyper, tasks=TASKS, steps=1, **options)


ROW_START, ROW_RATES = for_tasks(START, TASKS), for_tasks(RATES, TASKS)[:, None]
FIELD = turned(CURVATURE, ROW_START - SUPPORT)


def closed_form(step: Tensor, slope: Tensor) -> Tensor:
    """The meta-gradient of one step `x - step(g)`, whose derivative by g is diagonal, on the linear model."""
    away = ROW_START - step - QUERY
    return by_meta(away - turned(CURVATURE, slope * away), TASKS).mean(dim=1)


def test_one_step_of_gradient_descent_is_i_minus_lr_a() -> None:
    found = one_step(linear(), "sgd", {"lr": RATES})
    expected = closed_form(ROW_RATES * FIELD, ROW_RATES.expand_as(FIELD))
    torch.testing.assert_close(found.mean(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("eps", [1e-8, 1e-2, 1.0])
def test_one_cold_step_of_adam_is_a_sign_whose_slope_is_eps_over_the_gradient_squared(eps: float) -> None:
    found = one_step(linear(), "adam", {"lr": RATES, "eps": eps})
    size = FIELD.abs() + eps
    expected = closed_form(ROW_RATES * FIELD / size, ROW_RATES * eps / size**2)
    torch.testing.assert_close(found.mean(), expected, rtol=1e-10, atol=1e-10)


def test_through_a_cold_step_the_full_meta_gradient_is_the_first_order_one_up_to_eps() -> None:
    full = one_step(linear(), "adam", {"lr": RATES}).by_task[PARAMS]
    first = one_step(linear(), "adam", {"lr": RATES}, first_order=True).by_task[PARAMS]
    away = by_meta(ROW_START, TASKS) - by_meta(ROW_RATES * FIELD.sign(), TASKS) - by_meta(QUERY, TASKS)
    slope = by_meta(ROW_RATES * 1e-8 / (FIELD.abs() + 1e-8) ** 2, TASKS)
    largest = by_meta(CURVATURE, TASKS).abs().sum(dim=3) @ torch.ones(DIM, dtype=torch.float64)
    bound = largest.amax() * (slope * away.abs()).amax() * DIM
    assert float((full - first).abs().amax()) <= 1.01 * float(bound)
    assert float((full - first).abs().amax()) < 1e-5 * float(full.abs().amax())


def test_one_warm_step_is_a_gradient_step_scaled_by_v() -> None:
    beta2, eps = 0.99, 1e-8
    rule = RULES["adam"]
    v = torch.full_like(START, 4.0)
    state = rule.init(START)._replace(step=10_000, exp_avg_sq=v)
    found = one_step(linear(), "adam", {"lr": RATES, "beta1": 0.0, "beta2": beta2}, state=state)
    root = (beta2 * 4.0 + (1 - beta2) * FIELD**2).sqrt()
    slope = 1 / (root + eps) - (1 - beta2) * FIELD**2 / (root * (root + eps) ** 2)
    expected = closed_form(ROW_RATES * FIELD / (root + eps), ROW_RATES * slope)
    torch.testing.assert_close(found.mean(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam", "amsgrad", "rmsprop"])
def test_first_order_is_the_gradient_at_the_adapted_parameters(rule: str) -> None:
    found = meta_gradients(
        quartic(), RULES[rule], START, {"lr": RATES / 10}, tasks=TASKS, steps=4, first_order=True
    )
    at = found.params.flatten(0, 1).requires_grad_()
    (expected,) = torch.autograd.grad(quartic().loss(at).sum(), at)
    torch.testing.assert_close(found.by_task[PARAMS].flatten(0, 1), expected, rtol=1e-12, atol=1e-12)


def test_a_rule_without_memory_has_nothing_to_cut_and_one_step_has_none_before_it() -> None:
    def gradient(rule: str, steps: int, *, cut: bool) -> Tensor:
        return meta_gradients(
            quartic(), RULES[rule], START, {"lr": RATES / 10}, tasks=TASKS, steps=steps, cut_state=cut
        ).mean()

    assert torch.equal(gradient("sgd", 4, cut=True), gradient("sgd", 4, cut=False))
    assert torch.equal(gradient("adam", 1, cut=True), gradient("adam", 1, cut=False))
    for rule in ("adam", "momentum"):
        assert not torch.allclose(gradient(rule, 2, cut=True), gradient(rule, 2, cut=False), rtol=1e-3)


def central(value: Callable[[float], Tensor]) -> Tensor:
    """Central differences, extrapolated from two widths (Richardson)."""

    def slope(h: float) -> Tensor:
        return (value(h) - value(-h)) / (2 * h)

    return (4 * slope(1e-4) - slope(2e-4)) / 3


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam", "amsgrad"])
def test_agrees_with_central_differences(rule: str, warm: bool, steps: int) -> None:
    """By the start, by the inner rate, and by what the rule remembers; 1e-7 relative in float64."""
    hyper = {"lr": RATES / 10} if rule in ("sgd", "momentum") else {"lr": RATES, "eps": 1e-3}
    state, names = None, []
    if warm:
        before = meta_gradients(quartic(), RULES[rule], START + 0.3, hyper, tasks=TASKS, steps=3)
        state = map_state(lambda values: values.mean(dim=1), before.state)
        names = [n for n, value in state._asdict().items() if isinstance(value, Tensor)]
        if rule == "amsgrad":
            # The maximum has no derivative where it changes hands: keep it apart.
            state = state._replace(max_exp_avg_sq=2 * state.exp_avg_sq + 1.0)
    found = meta_gradients(
        quartic(),
        RULES[rule],
        START,
        hyper,
        tasks=TASKS,
        steps=steps,
        over=(PARAMS, "lr", *names),
        state=state,
    )

    def loss(start: Tensor, lr: Tensor, memory: Any) -> Tensor:
        rows = None if memory is None else map_state(lambda values: for_tasks(values, TASKS), memory)
        end = unroll(
            quartic(),
            RULES[rule],
            for_tasks(start, TASKS),
            {**hyper, "lr": for_tasks(lr, TASKS)},
            steps=steps,
            state=rows,
        )
        return by_meta(end.loss, TASKS).mean(dim=1)

    lr = hyper["lr"]
    toward = normal(META, DIM, seed=9)
    checks = {
        PARAMS: ((found.mean() * toward).sum(dim=1), lambda h: loss(START + h * toward, lr, state)),
        "lr": (found.mean("lr") * lr, lambda h: loss(START, lr * (1 + h), state)),
    }
    for name in names:
        value = getattr(state, name)
        slope = (found.mean(name) * value * toward).sum(dim=1)

        def moved(h: float, name: str = name, value: Tensor = value) -> Tensor:
            return loss(START, lr, state._replace(**{name: value * (1 + h * toward)}))

        checks[name] = (slope, moved)
    for slope, value in checks.values():
        torch.testing.assert_close(slope, central(value), rtol=1e-7, atol=1e-11)


def test_meta_learners_do_not_meet() -> None:
    """The bits of two meta-learners are those that they have in a larger batch."""
    options: dict[str, Any] = {"tasks": TASKS, "steps": 3}
    few = slice(0, 2 * TASKS)
    for rule in ("sgd", "adam"):
        many = meta_gradients(linear(), RULES[rule], START, {"lr": RATES}, **options)
        two = meta_gradients(linear(few), RULES[rule], START[:2], {"lr": RATES[:2]}, **options)
        assert torch.equal(many.mean()[:2], two.mean())
        assert torch.equal(many.loss[:2], two.loss)


def test_a_name_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="cannot differentiate by 'exp_avg': there are params, lr"):
        one_step(linear(), "adam", {"lr": RATES}, over=("exp_avg",))
