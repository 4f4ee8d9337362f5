"""A problem of any module: its field is autograd's gradient, its replicas are apart, its refusals are one
line."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.lab.errors import VhatError
from core.lab.modules import problem_from
from core.lab.random import Keys

mse = nn.functional.mse_loss


def data(rows: int = 30, inputs: int = 4, outputs: int = 2) -> tuple[Tensor, Tensor]:
    keys = Keys.of([0])
    return keys.normal(rows, inputs)[0], keys.fold("y").normal(rows, outputs)[0]


class Tied(nn.Module):
    """One weight used twice, through no layer that the fast way knows."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(4))
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out((x @ self.weight).tanh() @ self.weight)


MODULES: dict[str, nn.Module] = {
    "linear": nn.Linear(4, 2),
    "network": nn.Sequential(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 2, bias=False)),
    "layer norm": nn.Sequential(nn.Linear(4, 7), nn.LayerNorm(7), nn.Linear(7, 2)),
    "own forward": Tied(),
    "float64": nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)).double(),
}


def load(module: nn.Module, flat: Tensor) -> nn.Module:
    module = copy.deepcopy(module)
    torch.nn.utils.vector_to_parameters(flat, module.parameters())
    return module


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("batch_size", [None, 6])
def test_the_field_is_autograds_gradient(name: str, batch_size: int | None) -> None:
    module = MODULES[name]
    dtype = next(module.parameters()).dtype
    x, y = (t.to(dtype) for t in data())
    problem = problem_from(module, mse, (x, y), test_data=(x[:5], y[:5]), batch_size=batch_size)
    keys = Keys.of(range(3))
    params = problem.init(keys)
    assert params.shape == (3, problem.dim)
    assert params.dtype == dtype
    field, measures = problem.field(params, keys, 4), problem.measure(params, keys)
    index = None if batch_size is None else keys.fold("batch").at(4).integers(len(x), batch_size)
    for row in range(3):
        one = load(module, params[row])
        some = (x, y) if index is None else (x[index[row]], y[index[row]])
        loss = mse(one(some[0]), some[1])
        gradient = torch.autograd.grad(loss, list(one.parameters()))
        flat = torch.cat([g.flatten() for g in gradient])
        assert torch.allclose(field.values[row], flat, rtol=1e-4, atol=1e-6)
        assert float(field.measures["loss"][row]) == pytest.approx(loss.item(), rel=1e-5)
        with torch.no_grad():
            assert float(measures["loss"][row]) == pytest.approx(mse(one(x), y).item(), rel=1e-5)
            assert float(measures["test_loss"][row]) == pytest.approx(float(mse(one(x[:5]), y[:5])), rel=1e-5)


def test_each_seed_starts_from_the_modules_own_initialiser_and_leaves_torchs_generator_alone() -> None:
    module = nn.Linear(4, 2)
    problem = problem_from(module, mse, data())
    before, kept = torch.random.get_rng_state(), [p.detach().clone() for p in module.parameters()]
    starts = problem.init(Keys.of(range(200), copies=2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(kept, module.parameters(), strict=True))
    assert torch.equal(starts[:200], starts[200:])
    assert len(torch.unique(starts[:200, 0])) == 200
    # Linear's own range is 1 / sqrt(inputs).
    assert 0.45 < starts.abs().max() <= 0.5


def test_batches_differ_by_seed_and_step_and_cover_the_data() -> None:
    index = torch.arange(30.0)[:, None]
    problem = problem_from(
        nn.Linear(1, 1), lambda out, x: (out * 0).sum() + x.sum(), (index, index), batch_size=1
    )
    keys = Keys.of(range(200))
    params = problem.init(keys)
    drawn = torch.stack([problem.field(params, keys, t).measures["loss"] for t in range(20)])
    assert set(drawn.flatten().tolist()) == set(range(30))
    assert not torch.equal(drawn[0], drawn[1])
    assert len(drawn[:, 0].unique()) > 1


@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 3, 5, 4)])
def test_inputs_with_axes_of_their_own_are_not_taken_for_replicas(shape: tuple[int, ...]) -> None:
    """As many samples as replicas: a sequence of vectors must not be dealt out among the replicas."""
    x = Keys.of([0]).normal(*shape)[0]
    y = x[..., :2].clone()
    for batch_size in (None, 6):
        problem = problem_from(nn.Linear(4, 2), mse, (x, y), batch_size=batch_size)
        keys = Keys.of(range(6))
        params = problem.init(keys)
        losses = problem.measure(params, keys)["loss"]
        for row in range(6):
            one = load(nn.Linear(4, 2), params[row])
            assert float(losses[row]) == pytest.approx(mse(one(x), y).item(), rel=1e-5)
        assert problem.field(params, keys, 0).values.shape == (6, problem.dim)


class Frozen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kept = nn.Linear(4, 3).requires_grad_(False)
        self.trained = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.trained(self.kept(x))


def test_frozen_parameters_are_not_trained() -> None:
    module = Frozen()
    problem = problem_from(module, mse, data())
    assert problem.dim == 8
    x, y = data()
    keys = Keys.of(range(3))
    params = problem.init(keys)
    losses = problem.measure(params, keys)["loss"]
    for row in range(3):
        one = copy.deepcopy(module)
        torch.nn.utils.vector_to_parameters(params[row], one.trained.parameters())
        assert float(losses[row]) == pytest.approx(mse(one(x), y).item(), rel=1e-5)
    chain = nn.Sequential(nn.Linear(4, 3).requires_grad_(False), nn.Tanh(), nn.Linear(3, 2))
    assert problem_from(chain, mse, data()).dim == 8


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"module": nn.Tanh()}, "no parameters to train"),
        ({"module": nn.Linear(4, 2).requires_grad_(False)}, "no parameters to train"),
        ({"module": nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2))}, "keeps buffers .*LayerNorm"),
        ({"module": nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5))}, "Dropout, whose draws have no key"),
        ({"module": nn.Linear(5, 2)}, "fails on the data"),
        ({"loss": lambda out, y: out - y}, "fails on the data"),
        ({"data": (data()[0], data()[1][:9])}, r"same, non-zero length, got lengths \[30, 9\]"),
        ({"data": ()}, "same, non-zero length"),
        ({"data": (torch.zeros(0, 4), torch.zeros(0, 2))}, "same, non-zero length"),
        ({"test_data": (data()[0], data()[1][:9])}, "test_data must be"),
        ({"batch_size": 0}, "between 1 and 30"),
        ({"batch_size": 31}, "between 1 and 30"),
    ],
)
def test_each_refusal_is_one_line(wrong: dict[str, Any], line: str) -> None:
    given: dict[str, Any] = {"module": nn.Linear(4, 2), "loss": mse, "data": data(), **wrong}
    with pytest.raises(VhatError, match=line) as caught:
        problem_from(given.pop("module"), given.pop("loss"), given.pop("data"), **given)
    assert "\n" not in str(caught.value)
