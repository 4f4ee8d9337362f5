"""Derivatives through a few steps of each rule."""

import pytest
import torch
from torch import Tensor

from core.optim import RULES
from tests.optim.trainings import follow


def differentiable(name: str) -> dict[str, float]:
    """The numeric hyperparameters of a rule that its step depends on smoothly."""
    rule = RULES[name]
    values = {k: v for k, v in rule.hyper.items() if isinstance(v, float)}
    return {"lr": 0.1, **values, **({"weight_decay": 0.1} if values.get("weight_decay") else {})}


@pytest.mark.parametrize("name", sorted(name for name in RULES if name != "signsgd"))
def test_derivatives_through_steps(name: str) -> None:
    rule = RULES[name]
    generator = torch.Generator().manual_seed(6)
    params = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    gradients = torch.randn(3, 2, 3, generator=generator, dtype=torch.float64)
    settings_ = differentiable(name)
    names = [k for k in settings_ if k not in ("momentum", "dampening", "weight_decay") or settings_[k] > 0]
    values = [torch.full((2,), settings_[k], dtype=torch.float64) for k in names]
    eps = names.index("eps") if "eps" in names else None
    if eps is not None:
        values[eps] = torch.full((2,), 1e-2, dtype=torch.float64)

    def run(params: Tensor, gradients: Tensor, *values: Tensor) -> Tensor:
        return follow(rule, params, gradients, **dict(zip(names, values, strict=True)))

    inputs = [t.requires_grad_() for t in (params, gradients, *values)]
    assert torch.autograd.gradcheck(run, inputs)


def test_derivatives_of_sign_descent_are_those_of_a_translation() -> None:
    params = torch.randn(
        2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(7)
    ).requires_grad_()
    lr = torch.tensor([0.1, 0.2], dtype=torch.float64, requires_grad=True)
    gradient = torch.tensor([[1.0, -2.0, 0.0], [5.0, 5.0, 5.0]], dtype=torch.float64)
    after = follow(RULES["signsgd"], params, gradient[None], lr=lr)
    of_params, of_lr = torch.autograd.grad(after.sum(), (params, lr))
    assert torch.equal(of_params, torch.ones_like(params))
    assert torch.equal(of_lr, torch.tensor([0.0, -3.0], dtype=torch.float64))


@pytest.mark.parametrize(
    "name", ["adam", "adam_uncorrected", "amsgrad", "rmsprop", "rmsprop_centered", "normalized_sgd"]
)
def test_hypergradients_are_finite_at_dead_coordinates(name: str) -> None:
    lr = torch.tensor([0.1, 0.1], dtype=torch.float64, requires_grad=True)
    start = torch.zeros(2, 3, requires_grad=True)
    gradient = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    after = follow(RULES[name], start, torch.stack([gradient + 0 * start] * 3), lr=lr)
    for derivative in torch.autograd.grad(after.sum(), (lr, start)):
        assert bool(derivative.isfinite().all())


def test_derivatives_pass_through_functional_transforms() -> None:
    gradients = torch.randn(4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    start = torch.zeros(2, 3, dtype=torch.float64)

    def end(beta2: Tensor) -> Tensor:
        return follow(RULES["adam"], start, gradients, lr=0.1, beta2=beta2).sum()

    beta2 = torch.tensor([0.9, 0.99], dtype=torch.float64)
    reverse = torch.func.grad(end)(beta2)
    forward = torch.func.jacfwd(end)(beta2)
    step = 1e-6
    numeric = torch.stack(
        [(end(beta2 + d) - end(beta2 - d)) / (2 * step) for d in step * torch.eye(2).double()]
    )
    torch.testing.assert_close(reverse, numeric, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(forward, numeric, rtol=1e-6, atol=1e-9)
