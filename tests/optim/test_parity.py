"""Rules against torch.optim: the same gradients give the same bits, in every row and form."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing._internal import common_optimizers as torch_inputs

from core.optim import RULES, Rule
from core.optim.state import tensors_of

STEPS = 60
ROWS = 3

FAMILIES = {
    "sgd": (torch.optim.SGD, RULES["sgd"], torch_inputs.optim_inputs_func_sgd),
    "rmsprop": (torch.optim.RMSprop, RULES["rmsprop"], torch_inputs.optim_inputs_func_rmsprop),
    "adam": (torch.optim.Adam, RULES["adam"], torch_inputs.optim_inputs_func_adam),
    "adamw": (torch.optim.AdamW, RULES["adamw"], torch_inputs.optim_inputs_func_adamw),
}

OWN = [
    ("sgd", {"lr": 0.1, "momentum": 0.3, "dampening": 0.7, "weight_decay": 1e-3, "maximize": True}),
    ("sgd", {"lr": 0.1, "momentum": 0.99, "nesterov": True}),
    ("sgd", {"lr": 0.1, "momentum": 0.0, "dampening": 0.5}),
    ("rmsprop", {"lr": 0.1, "alpha": 0.0, "eps": 1e-3}),
    ("rmsprop", {"lr": 0.3, "momentum": 0.0, "centered": True}),
    ("rmsprop", {"lr": 1e-4, "alpha": 0.3, "momentum": 0.95}),
    ("adam", {"lr": 0.1, "betas": (0.0, 0.5), "eps": 0.0}),
    ("adam", {"lr": 1e-5, "betas": (0.3, 0.99999), "eps": 1e-3}),
    ("adam", {"lr": 1e-2, "betas": (0.5, 0.9), "amsgrad": True, "maximize": True}),
    ("adamw", {"lr": 1e-2, "betas": (0.99, 0.9), "amsgrad": True, "weight_decay": 0.3}),
]


def cases() -> list[Any]:
    shipped = [(name, dict(i.kwargs)) for name, (_, _, inputs) in FAMILIES.items() for i in inputs("cpu")]
    return [pytest.param(name, kwargs, id=f"{name}-{kwargs}") for name, kwargs in shipped + OWN]


def hyper_of(kwargs: dict[str, Any], optimizer: torch.optim.Optimizer) -> tuple[float, dict[str, Any]]:
    """Torch's arguments as the rules' hyperparameters."""
    hyper = {k: v for k, v in kwargs.items() if k not in ("lr", "betas")}
    if "betas" in kwargs:
        hyper["beta1"], hyper["beta2"] = kwargs["betas"]
    return float(optimizer.defaults["lr"]), hyper


def as_rows(value: Any) -> Any:
    """The number in each of the rows, as a tensor; flags stay flags."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return torch.full((ROWS,), float(value), dtype=torch.float64) if number else value


def gradients(dtype: torch.dtype, columns: int) -> list[Tensor]:
    """Scales from 1e-12 to 1e6, and a first coordinate that is always dead."""
    generator = torch.Generator().manual_seed(columns)
    scale = 10 ** torch.linspace(-12, 6, columns, dtype=torch.float64)
    raw = torch.randn(STEPS, ROWS, columns, generator=generator, dtype=torch.float64) * scale
    raw[:, :, 0] = 0
    return list(raw.to(dtype))


def start(dtype: torch.dtype, columns: int) -> Tensor:
    generator = torch.Generator().manual_seed(1000 + columns)
    return torch.randn(ROWS, columns, generator=generator, dtype=torch.float64).to(dtype)


def same_bits(ours: Tensor, theirs: Tensor) -> bool:
    return torch.equal(ours.nan_to_num(nan=12345.0), theirs.nan_to_num(nan=12345.0))


@pytest.mark.parametrize("form", ["float", "rows", "in place"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "kwargs"), cases())
def test_rules_are_torch_bit_for_bit(
    name: str, kwargs: dict[str, Any], dtype: torch.dtype, form: str
) -> None:
    optimizer, rule, _ = FAMILIES[name]
    for columns in (1, 7, 37):
        theirs = [row.clone().requires_grad_() for row in start(dtype, columns)]
        torch_optimizer = optimizer(theirs, foreach=False, **kwargs)
        lr, hyper = hyper_of(kwargs, torch_optimizer)
        params = start(dtype, columns)
        if form == "rows":
            hyper = {k: as_rows(v) for k, v in hyper.items()}
        state = rule.init(params, **hyper)
        for gradient in gradients(dtype, columns):
            for row, g in zip(theirs, gradient, strict=True):
                row.grad = g.clone()
            torch_optimizer.step()
            if form == "in place":
                state = rule.step_(params, gradient, state, lr=lr, **hyper)
            else:
                params, state = rule.step(
                    params, gradient, state, lr=as_rows(lr) if form == "rows" else lr, **hyper
                )
        assert same_bits(params, torch.stack([row.detach() for row in theirs]))
        for field in set(state._fields) - {"step"}:
            ours = getattr(state, field)
            if ours is not None and field in torch_optimizer.state[theirs[0]]:
                assert same_bits(ours, torch.stack([torch_optimizer.state[row][field] for row in theirs]))


LOW = [
    ("sgd", {"lr": 0.01}),
    ("sgd", {"lr": 0.01, "momentum": 0.9, "dampening": 0.1, "weight_decay": 1e-2}),
    ("sgd", {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    ("rmsprop", {"lr": 0.01, "eps": 1e-3}),
    ("rmsprop", {"lr": 0.01, "eps": 1e-3, "momentum": 0.9, "weight_decay": 1e-2}),
    ("adam", {"lr": 0.01, "eps": 1e-4}),
    ("adam", {"lr": 0.01, "eps": 1e-4, "amsgrad": True, "weight_decay": 1e-2}),
    ("adamw", {"lr": 0.01, "eps": 1e-4, "weight_decay": 0.1}),
]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("name", "kwargs"), LOW)
def test_low_precision_state_is_torch_when_asked_for(
    name: str, kwargs: dict[str, Any], dtype: torch.dtype
) -> None:
    optimizer, rule, _ = FAMILIES[name]
    theirs = start(dtype, 37).requires_grad_()
    torch_optimizer = optimizer([theirs], foreach=False, **kwargs)
    lr, hyper = hyper_of(kwargs, torch_optimizer)
    params = start(dtype, 37)
    state = rule.init(params, state_dtype=dtype, **hyper)
    for gradient in gradients(dtype, 37)[:20]:
        gradient = gradient.clamp(-1, 1)
        theirs.grad = gradient.clone()
        torch_optimizer.step()
        state = rule.step_(params, gradient, state, lr=lr, **hyper)
    assert same_bits(params.float(), theirs.detach().float())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", [name for name in RULES if tensors_of(RULES[name].init(torch.ones(2, 2)))])
def test_low_precision_parameters_step_as_float32_ones_that_are_rounded_once(
    name: str, dtype: torch.dtype
) -> None:
    """Each step is that of the same parameters in float32, with the state that has come along in float32.
    (A rule without a state steps in the parameters' own type, as torch's does.)"""
    rule, params = RULES[name], start(dtype, 37)
    state, wide = rule.init(params), rule.init(params.float())
    in_place, own = params.clone(), rule.init(params)
    for gradient in gradients(dtype, 37)[:20]:
        gradient = gradient.clamp(-1, 1)
        exact, wide = rule.step(params.float(), gradient.float(), wide, lr=0.01)
        params, state = rule.step(params, gradient, state, lr=0.01)
        own = rule.step_(in_place, gradient, own, lr=0.01)
        assert params.dtype == dtype
        assert same_bits(params.float(), exact.to(dtype).float())
        assert torch.equal(in_place, params)
        for value, other in zip(tensors_of(state).values(), tensors_of(wide).values(), strict=True):
            assert value.dtype == torch.float32
            assert torch.equal(value, other)


def test_low_precision_parameters_have_a_float32_state_that_still_decays() -> None:
    params = torch.ones(2, 3, dtype=torch.bfloat16)
    rule = RULES["adam"]
    state = rule.init(params)
    state = rule.step_(params, torch.ones_like(params), state, lr=0.1)
    before = state.exp_avg_sq.clone()
    state = rule.step_(params, torch.zeros_like(params), state, lr=0.1)
    assert params.dtype == torch.bfloat16
    assert state.exp_avg_sq.dtype == torch.float32
    assert torch.equal(state.exp_avg_sq, before * 0.999)


def test_each_row_may_have_its_own_hyperparameters() -> None:
    settings = [(0.1, 0.9, 0.999, 1e-8), (0.01, 0.0, 0.5, 0.0), (1e-4, 0.99, 0.9, 1e-3)]
    theirs = [row.clone().requires_grad_() for row in start(torch.float32, 37)]
    optimizers = [
        torch.optim.Adam([row], lr=lr, betas=(beta1, beta2), eps=eps, foreach=False)
        for row, (lr, beta1, beta2, eps) in zip(theirs, settings, strict=True)
    ]
    lr, beta1, beta2, eps = torch.tensor(settings, dtype=torch.float64).T
    rule: Rule = RULES["adam"]
    params = start(torch.float32, 37)
    state = rule.init(params)
    for gradient in gradients(torch.float32, 37):
        for row, g, optimizer in zip(theirs, gradient, optimizers, strict=True):
            row.grad = g.clone()
            optimizer.step()
        params, state = rule.step(params, gradient, state, lr=lr, beta1=beta1, beta2=beta2, eps=eps)
    assert same_bits(params, torch.stack([row.detach() for row in theirs]))
