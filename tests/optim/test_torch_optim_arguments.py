"""Arguments of the optimizers for torch models: what torch refuses is refused as torch does, in its words."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing._internal import common_optimizers as torch_inputs

from core.optim import torch_optim as ours

ERRORS = {
    "SGD": torch_inputs.optim_error_inputs_func_sgd,
    "RMSprop": torch_inputs.optim_error_inputs_func_rmsprop,
    "Adam": torch_inputs.optim_error_inputs_func_adam,
    "AdamW": torch_inputs.optim_error_inputs_func_adamw,
}
NAMES = list(ERRORS)


def outcome(make: Callable[[], Any]) -> tuple[type[BaseException] | None, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            make()
        except (Exception, UserWarning) as error:
            return type(error), str(error)
    return None, ""


@pytest.mark.parametrize("name", NAMES)
def test_bad_arguments_of_torchs_table_raise_as_torch_does(name: str) -> None:
    errors = ERRORS[name]("cpu", torch.float32)
    assert errors
    for error in errors:
        arguments = error.optimizer_error_input
        found = [
            outcome(lambda lib=lib, a=arguments: getattr(lib, name)(a.params, **a.kwargs))
            for lib in (ours, torch.optim)
        ]
        assert found[0] == found[1]
        assert found[0][0] is error.error_type


BAD = [
    {"lr": -1.0},
    {"lr": float("nan")},
    {"eps": -1e-8},
    {"weight_decay": -0.1},
    {"momentum": -0.1},
    {"alpha": -0.1},
    {"betas": (0.9, 1.0)},
    {"betas": (-0.1, 0.9)},
    {"betas": (0, 0.9)},
    {"betas": (torch.tensor(0.9), torch.tensor([0.9, 0.9]))},
    {"nesterov": True},
    {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
    {"fused": True, "foreach": True},
    {"no_such_argument": 1},
]


@pytest.mark.parametrize("kwargs", BAD, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_more_bad_arguments_raise_as_torch_does(name: str, kwargs: dict[str, Any]) -> None:
    parameter = nn.Parameter(torch.zeros(1))
    mine, theirs = (
        outcome(lambda lib=lib: getattr(lib, name)([parameter], **kwargs)) for lib in (ours, torch.optim)
    )
    if theirs[0] is not None:
        assert mine[0] is theirs[0]
        if theirs[0] is not TypeError:
            assert mine[1] == theirs[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("flag", ["differentiable", "capturable"])
def test_what_is_not_supported_is_refused(name: str, flag: str) -> None:
    parameter = nn.Parameter(torch.zeros(1))
    error = TypeError if (name, flag) == ("SGD", "capturable") else ValueError
    with pytest.raises(error, match=flag):
        getattr(ours, name)([parameter], **{flag: True})


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_torchs(name: str) -> None:
    parameter = nn.Parameter(torch.zeros(1))
    assert getattr(ours, name)([parameter]).defaults == getattr(torch.optim, name)([parameter]).defaults
