"""Modules as objectives, tasks on the replica axis, and what cannot be unrolled."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.optim import RULES
from core.optim.hypergradient import Mode, hypergradients
from core.optim.objective import LossObjective, ModuleObjective
from core.optim.unroll import unroll
from tests.optim.trainings import MODES, START, STEPS, assert_close, bowl, central, normal, squared_error


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
