"""The whole training as a function: its derivatives against central differences, the three modes against one
another, and what the segments keep."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.optim import RULES, Constant, Cosine, InverseSquareRoot, Linear, Schedule, WarmUp
from core.optim.hypergradient import PARAMS, Mode, hypergradients
from core.optim.objective import LossObjective, ModuleObjective
from core.optim.trajectory import schedule_parameters, with_parameters
from core.optim.unroll import root_segment, unroll

ROWS, DIM, STEPS = 3, 4, 9
MODES: tuple[Mode, ...] = ("reverse", "segments", "forward")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def bowl() -> LossObjective:
    """A coupled quartic whose pull moves with the step; the last coordinate is dead: no gradient, ever."""
    coupling, pull = normal(ROWS, DIM - 1, DIM - 1), normal(50, ROWS, DIM - 1, seed=1)

    def training(params: Tensor, step: int) -> Tensor:
        live = params[:, : DIM - 1]
        turned = (coupling * live[:, None, :]).sum(dim=2)
        return (turned**2).sum(dim=1) / 2 + (live**4).sum(dim=1) / 4 + (pull[step] * live).sum(dim=1)

    def final(params: Tensor) -> Tensor:
        return ((params[:, : DIM - 1] - 0.3) ** 2).sum(dim=1) + 0.1 * params[:, DIM - 1] ** 2

    return LossObjective(training, final)


START = normal(ROWS, DIM, seed=2)
RATES = torch.tensor([0.02, 0.05, 0.08], dtype=torch.float64)
EPS = torch.tensor([1e-3, 1e-2, 1e-1], dtype=torch.float64)
ADAM = {"lr": RATES, "beta1": torch.tensor([0.5, 0.8, 0.9], dtype=torch.float64), "beta2": 0.97, "eps": EPS}
CASES: dict[str, dict[str, Any]] = {
    "adam": {**ADAM, "weight_decay": 0.05},
    "amsgrad": {**ADAM, "beta2": 0.93},  # away from where the maximum changes hands and has no derivative
    "adamw": {**ADAM, "weight_decay": 0.1},
    "adam_uncorrected": ADAM,
    "rmsprop": {"lr": RATES, "alpha": 0.9, "eps": EPS, "weight_decay": 0.05},
    "rmsprop_centered": {"lr": RATES / 10, "alpha": 0.9, "eps": EPS, "momentum": 0.5},
    "momentum": {"lr": RATES, "momentum": 0.7, "weight_decay": 0.05},
    "nesterov": {"lr": RATES, "momentum": 0.7},
    "normalized_sgd": {"lr": RATES, "momentum": 0.5},
}


def central(value: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Central differences of `[R]` by each row's own number, extrapolated from two widths (Richardson)."""
    width = 2e-4 * at.abs()

    def slope(h: Tensor) -> Tensor:
        return (value(at + h) - value(at - h)) / (2 * h)

    return (4 * slope(width / 2) - slope(width)) / 3


def differences(objective: Any, name: str, hyper: Mapping[str, Any], over: str, **options: Any) -> Tensor:
    """The derivative of the loss by `over`, from runs alone."""
    schedule = options.pop("schedule", None)
    known = {**RULES[name].hyper, **hyper, **schedule_parameters(schedule)}

    def loss(value: Tensor) -> Tensor:
        own = {**hyper, over: value} if not over.startswith("schedule.") else hyper
        moved = None if schedule is None else with_parameters(schedule, {over: value})
        return unroll(objective, RULES[name], START, own, steps=STEPS, schedule=moved, **options).loss

    return central(loss, torch.as_tensor(known[over], dtype=torch.float64).expand(ROWS).clone())


def assert_close(actual: Tensor, expected: Tensor, relative: float) -> None:
    torch.testing.assert_close(actual, expected, rtol=relative, atol=relative * 1e-3)


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_hyperparameters_agree_with_central_differences(name: str, summed: bool) -> None:
    hyper, objective = CASES[name], bowl()
    expected = {over: differences(objective, name, hyper, over, summed=summed) for over in hyper}
    for mode in MODES:
        found = hypergradients(
            objective, RULES[name], START, hyper, steps=STEPS, over=tuple(hyper), mode=mode, summed=summed
        )
        for over in hyper:
            assert_close(found.gradients[over], expected[over], 1e-7)


@pytest.mark.parametrize("name", CASES)
def test_the_start_agrees_with_central_differences_at_the_dead_coordinate_too(name: str) -> None:
    hyper, objective = CASES[name], bowl()
    found = hypergradients(objective, RULES[name], START, hyper, steps=STEPS, over=(PARAMS,)).gradients[
        PARAMS
    ]
    for column in range(DIM):

        def loss(value: Tensor, column: int = column) -> Tensor:
            start = START.clone()
            start[:, column] = value
            return unroll(objective, RULES[name], start, hyper, steps=STEPS).loss

        assert_close(found[:, column], central(loss, START[:, column]), 1e-7)
    if not hyper.get("weight_decay"):
        # Nothing moves it, so the loss knows it as it was.
        torch.testing.assert_close(found[:, -1], 0.2 * START[:, -1])


@pytest.mark.parametrize(
    ("schedule", "over"),
    [
        (Constant(0.7), ("schedule.factor",)),
        (Linear(9.5, start=1.0, end=0.2), ("schedule.steps", "schedule.start", "schedule.end")),
        (Cosine(30.5, end=0.1), ("schedule.steps", "schedule.end")),
        (InverseSquareRoot(3.0), ("schedule.scale",)),
        (WarmUp(3, Cosine(30.5, end=0.1)), ("schedule.after.end", "schedule.after.steps")),
    ],
)
def test_schedules_agree_with_central_differences(schedule: Schedule, over: tuple[str, ...]) -> None:
    objective, hyper = bowl(), CASES["adam"]
    expected = {name: differences(objective, "adam", hyper, name, schedule=schedule) for name in over}
    for mode in MODES:
        found = hypergradients(
            objective, RULES["adam"], START, hyper, steps=STEPS, over=over, mode=mode, schedule=schedule
        )
        for name in over:
            assert_close(found.gradients[name], expected[name], 1e-7)


@pytest.mark.parametrize("options", [{}, {"first_order": True}, {"cut_state": True}, {"summed": True}])
@pytest.mark.parametrize("name", CASES)
def test_the_three_modes_agree(name: str, options: dict[str, bool]) -> None:
    over = (*CASES[name], PARAMS)
    reverse, segments, forward = (
        hypergradients(
            bowl(), RULES[name], START, CASES[name], steps=STEPS, over=over, mode=mode, segment=5, **options
        )
        for mode in MODES
    )
    assert torch.equal(reverse.loss, segments.loss)
    assert torch.equal(reverse.loss, forward.loss)
    assert torch.equal(reverse.params, segments.params)
    assert torch.equal(reverse.params, forward.params)
    for name_ in over:
        size = reverse.gradients[name_].abs().max()
        for other in (segments, forward):
            assert (other.gradients[name_] - reverse.gradients[name_]).abs().max() <= 1e-12 * size


@pytest.mark.parametrize("mode", MODES)
def test_a_row_does_not_depend_on_the_others(mode: Mode) -> None:
    """The derivative of row r is of its own loss by its own number: other rows' numbers change nothing."""
    objective, over = bowl(), tuple(CASES["adam"])
    one = hypergradients(objective, RULES["adam"], START, CASES["adam"], steps=STEPS, over=over, mode=mode)
    hyper = {**CASES["adam"], "lr": RATES * torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64)}
    other = hypergradients(objective, RULES["adam"], START, hyper, steps=STEPS, over=over, mode=mode)
    for name in over:
        assert torch.equal(one.gradients[name][0], other.gradients[name][0])
        assert not torch.equal(one.gradients[name][1:], other.gradients[name][1:])


def test_gradient_descent_on_a_quadratic_has_its_closed_form() -> None:
    r"""x_T = (1 - lr c)^T x_0, so with f = c x^2 / 2: df/dlr = -T c^2 x_0^2 (1 - lr c)^(2T - 1)."""
    curvature, rate, steps = 2.0, torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64), 7
    objective = LossObjective(
        lambda params, step: curvature * params[:, 0] ** 2 / 2,
        lambda params: curvature * params[:, 0] ** 2 / 2,
    )
    start = normal(3, 1)
    shrunk = (1 - rate * curvature) ** (2 * steps - 1)
    expected = -steps * curvature**2 * start[:, 0] ** 2 * shrunk
    for mode in MODES:
        found = hypergradients(objective, RULES["sgd"], start, {"lr": rate}, steps=steps, mode=mode)
        torch.testing.assert_close(found.gradients["lr"], expected, rtol=1e-12, atol=0.0)


def test_first_order_takes_the_field_as_constant() -> None:
    """Under gradient descent the start then reaches the end as it is: its derivative is the last gradient."""
    objective = bowl()
    for mode in MODES:
        found = hypergradients(
            objective,
            RULES["sgd"],
            START,
            {"lr": 0.05},
            steps=STEPS,
            over=(PARAMS, "lr"),
            mode=mode,
            first_order=True,
        )
        at = found.params.clone().requires_grad_()
        (final,) = torch.autograd.grad(objective.loss(at).sum(), at)
        torch.testing.assert_close(found.gradients[PARAMS], final)
        torch.testing.assert_close(found.gradients["lr"], (final * (found.params - START)).sum(dim=1) / 0.05)


def test_cut_state_takes_away_what_flows_through_the_moments() -> None:
    """With lr zero but in the last step the parameters carry nothing: only the moments remember beta2."""

    @dataclass(frozen=True)
    class Last:
        def __call__(self, step: int | Tensor) -> float:
            return float(step == STEPS - 1)

    def by_beta2(*, cut: bool) -> Tensor:
        beta2 = torch.full((ROWS,), 0.9, dtype=torch.float64, requires_grad=True)
        end = unroll(
            bowl(),
            RULES["adam_uncorrected"],
            START,
            {"lr": 0.1, "beta2": beta2},
            steps=STEPS,
            schedule=Last(),
            cut_state=cut,
        )
        return torch.autograd.grad(end.loss.sum(), beta2)[0]

    objective = bowl()
    start, gradients = START[:, : DIM - 1], [objective.field(START, t)[:, : DIM - 1] for t in range(STEPS)]
    first, second = torch.zeros_like(start), torch.zeros_like(start)
    inherited = torch.zeros_like(start)  # of the second moment by beta2, through all its past
    for gradient in gradients:
        first, before = 0.9 * first + 0.1 * gradient, second
        inherited = 0.9 * inherited + before - gradient**2
        second = 0.9 * second + 0.1 * gradient**2
    denominator = second.sqrt() + 1e-8
    end = start - 0.1 * first / denominator
    by_second = 2 * (end - 0.3) * 0.1 * first / denominator**2 / (2 * second.sqrt())
    torch.testing.assert_close(by_beta2(cut=False), (by_second * inherited).sum(dim=1))
    last = before - gradients[-1] ** 2
    torch.testing.assert_close(by_beta2(cut=True), (by_second * last).sum(dim=1))


def test_a_warm_state_is_part_of_the_graph() -> None:
    """Two halves, the second warm from the first, are the whole, values and derivatives."""
    objective, rate = bowl(), torch.full((ROWS,), 0.05, dtype=torch.float64, requires_grad=True)
    rule, hyper = RULES["adam"], {"lr": rate, "beta1": 0.8}
    whole = unroll(objective, rule, START, hyper, steps=6)
    for segment in (None, 2):
        second = LossObjective(lambda params, step: objective.training(params, step + 3), objective.final)
        half = unroll(objective, rule, START, hyper, steps=3, segment=segment)
        both = unroll(second, rule, half.params, hyper, steps=3, state=half.state, segment=segment)
        assert both.state.step == 6
        assert torch.equal(both.loss, whole.loss)
        (expected,) = torch.autograd.grad(whole.loss.sum(), rate, retain_graph=True)
        torch.testing.assert_close(
            torch.autograd.grad(both.loss.sum(), rate)[0], expected, rtol=1e-12, atol=0
        )


@pytest.mark.parametrize("segment", [1, 2, 5, STEPS, 100])
def test_segments_of_any_length_give_the_same_derivatives(segment: int) -> None:
    plain = hypergradients(bowl(), RULES["adam"], START, CASES["adam"], steps=STEPS)
    found = hypergradients(
        bowl(), RULES["adam"], START, CASES["adam"], steps=STEPS, mode="segments", segment=segment
    )
    torch.testing.assert_close(found.gradients["lr"], plain.gradients["lr"], rtol=1e-12, atol=0.0)


class Ledger:
    """Counts the numbers that graphs keep alive, and their peak."""

    def __init__(self) -> None:
        self.now = self.peak = 0

    def pack(self, tensor: Tensor) -> "Entry":
        return Entry(self, tensor)


class Entry:
    def __init__(self, ledger: Ledger, tensor: Tensor) -> None:
        # Detached, since a graph that holds its own result through a hook would be a cycle.
        self.ledger, self.tensor = ledger, tensor.detach()
        ledger.now += tensor.numel()
        ledger.peak = max(ledger.peak, ledger.now)

    def __del__(self) -> None:
        self.ledger.now -= self.tensor.numel()


def peak(mode: Mode, steps: int) -> int:
    """The most numbers that graphs kept at once during a hypergradient by lr, beta1 and beta2."""
    ledger = Ledger()

    def training(params: Tensor, step: int) -> Tensor:
        return (params**4).sum(dim=1) / 4

    objective = LossObjective(training, lambda params: training(params, 0))
    with torch.autograd.graph.saved_tensors_hooks(ledger.pack, lambda entry: entry.tensor):
        hypergradients(
            objective,
            RULES["adam"],
            normal(2, 100),
            {"lr": 0.01},
            steps=steps,
            over=("lr", "beta1", "beta2"),
            mode=mode,
        )
    return ledger.peak


def test_memory_over_the_number_of_steps() -> None:
    """Sixteen times the steps: the graph grows by 16, the segments by 4, forward mode not at all (but for the
    powers of beta, numbers a row)."""
    few, many = ({mode: peak(mode, steps) for mode in MODES} for steps in (16, 256))
    assert many["reverse"] == pytest.approx(16 * few["reverse"], rel=0.1)
    assert many["segments"] == pytest.approx(4 * few["segments"], rel=0.1)
    assert many["forward"] == pytest.approx(few["forward"], rel=0.05)
    assert few["forward"] < few["segments"] < few["reverse"]


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 100])
def test_root_segment_is_the_ceiling_of_the_root(steps: int) -> None:
    assert root_segment(steps) == math.ceil(math.sqrt(steps))


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    return ((output - target) ** 2).mean()


def module_objective() -> tuple[ModuleObjective, nn.Module]:
    module = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    for seed, weight in enumerate(module.parameters()):
        weight.data = 0.5 * normal(*weight.shape, seed=seed)
    inputs = normal(20, 2)
    targets = inputs.prod(dim=1, keepdim=True)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        return inputs[step : step + 5], targets[step : step + 5]

    return ModuleObjective(module, squared_error, batch, (inputs, targets)), module


def test_modules_train_as_under_torch_and_agree_with_differences() -> None:
    objective, module = module_objective()
    start = objective.start(2)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.03)
    for step in range(STEPS):
        optimizer.zero_grad()
        x, y = objective.batch(step)
        squared_error(module(x), y).backward()
        optimizer.step()
    rates = torch.tensor([0.03, 0.01], dtype=torch.float64)

    def loss(value: Tensor) -> Tensor:
        return unroll(objective, RULES["adam"], start, {"lr": value}, steps=STEPS).loss

    expected = central(loss, rates)
    for mode in MODES:
        found = hypergradients(objective, RULES["adam"], start, {"lr": rates}, steps=STEPS, mode=mode)
        torch.testing.assert_close(found.params[0], objective.start(1)[0])
        assert_close(found.gradients["lr"], expected, 1e-7)


def test_rows_of_a_module_may_have_their_own_data() -> None:
    """Tasks on the replica axis: each row's loss is that of its own data."""
    module = nn.Linear(2, 1).double()
    x, y = normal(4, 6, 2), normal(4, 6, 1, seed=1)
    objective = ModuleObjective(module, squared_error, lambda step: (x, y), (x, y), per_row=True)
    losses = objective.loss(objective.start(4))
    expected = torch.stack([squared_error(module(a), b) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(losses, expected.detach())


@pytest.mark.parametrize("segment", [None, 2])
@pytest.mark.parametrize("warm", [False, True])
def test_the_meta_gradient_through_an_inner_adam_agrees_with_central_differences(
    warm: bool, segment: int | None
) -> None:
    """MAML (Finn, Abbeel and Levine 2017): tasks are rows, which share one start; adapt on a support set, be
    judged on a query set."""
    tasks, shots = 5, 6
    module = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    support, query = normal(tasks, shots, 1), normal(tasks, shots, 1, seed=1)
    phase = normal(tasks, 1, 1, seed=2)
    data = [(x, torch.sin(x + phase)) for x in (support, query)]
    objective = ModuleObjective(module, squared_error, lambda step: data[0], data[1], per_row=True)
    rule, shared = RULES["adam"], normal(objective.start(1).shape[1], seed=3)

    def meta_loss(start: Tensor) -> Tensor:
        params = start.expand(tasks, -1)
        state = None
        if warm:
            first = unroll(objective, rule, params, {"lr": 0.01}, steps=2, segment=segment)
            params, state = first.params, first.state
        end = unroll(objective, rule, params, {"lr": 0.05}, steps=4, state=state, segment=segment)
        return end.loss.mean()

    leaf = shared.clone().requires_grad_()
    (found,) = torch.autograd.grad(meta_loss(leaf), leaf)
    for column in range(len(shared)):
        unit = torch.zeros_like(shared)
        unit[column] = 1.0

        def slope(h: float, unit: Tensor = unit) -> float:
            with torch.no_grad():
                return float(meta_loss(shared + h * unit) - meta_loss(shared - h * unit)) / (2 * h)

        assert float(found[column]) == pytest.approx((4 * slope(5e-5) - slope(1e-4)) / 3, rel=1e-7, abs=1e-10)


class Detached:
    """A field that hides how it depends on the parameters."""

    def field(self, params: Tensor, step: int) -> Tensor:
        return params.detach() * 2

    def loss(self, params: Tensor) -> Tensor:
        return (params**2).sum(dim=1)


@pytest.mark.parametrize("mode", MODES)
def test_a_detached_field_is_refused_unless_first_order(mode: Mode) -> None:
    arguments: dict[str, Any] = {"steps": 3, "mode": mode}
    with pytest.raises(ValueError, match=r"field at step \d .* first_order=True"):
        hypergradients(Detached(), RULES["sgd"], START, {"lr": 0.1}, **arguments)
    hypergradients(Detached(), RULES["sgd"], START, {"lr": 0.1}, first_order=True, **arguments)


@pytest.mark.parametrize("mode", MODES)
def test_a_loss_without_derivative_is_refused(mode: Mode) -> None:
    objective = LossObjective(bowl().training, lambda params: params.detach().sum(dim=1))
    with pytest.raises(ValueError, match="loss does not depend differentiably"):
        hypergradients(objective, RULES["sgd"], START, {"lr": 0.1}, steps=3, mode=mode)


def test_a_projection_is_part_of_the_training() -> None:
    class Ball(Detached):
        def field(self, params: Tensor, step: int) -> Tensor:
            return params - 2.0

        def project(self, params: Tensor) -> Tensor:
            return params / params.norm(dim=1, keepdim=True)

    by_mode = [
        hypergradients(Ball(), RULES["momentum"], START, {"lr": 0.1}, steps=4, mode=mode, over=(PARAMS, "lr"))
        for mode in MODES
    ]
    for found in by_mode:
        torch.testing.assert_close(found.loss, torch.ones_like(found.loss))
        torch.testing.assert_close(found.gradients["lr"], torch.zeros(ROWS, dtype=torch.float64))
        torch.testing.assert_close(found.gradients[PARAMS], torch.zeros_like(START))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"over": ("beta3",)}, r"adam: cannot differentiate by 'beta3'; it has params, lr, .*beta2"),
        ({"over": ("amsgrad",)}, "cannot differentiate by 'amsgrad'"),
        ({"over": ()}, "at least one"),
        ({"mode": "sideways"}, "mode must be"),
        ({"steps": 0}, "at least 1"),
        ({"mode": "segments", "segment": 0}, "at least 1"),
        ({"hyper": {"beta1": 0.9}}, "must hold lr"),
        ({"hyper": {"lr": 0.1, "beta1": 1.5}}, "beta1 must be a number"),
        ({"params": START[0]}, "must be"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    arguments = {"params": START, "hyper": {"lr": 0.1}, "steps": 3, **change}
    with pytest.raises(ValueError, match=message):
        hypergradients(bowl(), RULES["adam"], **arguments)


def test_a_module_with_buffers_or_without_parameters_is_refused() -> None:
    for module, message in ((nn.BatchNorm1d(2), "buffers"), (nn.Tanh(), "no parameters")):
        with pytest.raises(ValueError, match=message):
            ModuleObjective(module, squared_error, lambda step: (), ())
