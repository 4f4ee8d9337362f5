"""The conformance check: passes what keeps the contract, and finds every way to break it, each with its one
line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from core.lab.conformance import check_problem
from core.lab.errors import ConformanceError
from core.lab.modules import problem_from
from core.lab.problem import Field, Problem
from core.lab.random import Keys
from core.problems.quadratic import Canyon
from tests.lab.bowls import Bilinear, Bowl


def regression(rows: int = 40, inputs: int = 3) -> tuple[Tensor, Tensor]:
    keys = Keys.of([0])
    x = keys.normal(rows, inputs)[0]
    return x, x.sum(dim=1, keepdim=True).sin()


@pytest.mark.parametrize("problem", [Canyon(), Canyon(10.0, 30.0, noise=0.5), Bowl(), Bilinear()])
def test_core_problems_conform(problem: Problem) -> None:
    check_problem(problem)
    check_problem(problem, seeds=37, steps=(1, 100))


@pytest.mark.parametrize("batch_size", [None, 1, 7])
@pytest.mark.parametrize("width", [1, 5, 16])
def test_module_problems_conform(batch_size: int | None, width: int) -> None:
    module = nn.Sequential(
        nn.Linear(3, width), nn.Tanh(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
    )
    check_problem(problem_from(module, nn.functional.mse_loss, regression(), batch_size=batch_size), seeds=9)


ACTIVATIONS = (nn.Tanh, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Sigmoid)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_activation_rounds_by_its_place_in_the_batch(
    activation: type[nn.Module], dtype: torch.dtype
) -> None:
    x, y = (t.to(dtype) for t in regression())
    for width, batch_size in ((3, 7), (5, None), (33, 1)):
        layers = nn.Linear(3, width), activation(), nn.Linear(width, width), activation(), nn.Linear(width, 1)
        problem = problem_from(
            nn.Sequential(*layers).to(dtype), nn.functional.mse_loss, (x, y), batch_size=batch_size
        )
        check_problem(problem, seeds=11)


def test_modules_that_take_the_general_way_conform() -> None:
    module = nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 1))
    check_problem(problem_from(module, nn.functional.mse_loss, regression(), batch_size=7), seeds=9)


class SharedGenerator(Bowl):
    """Draws from torch's own generator."""

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        return Field(params + 0.1 * torch.randn(params.shape))


class SeededGenerator(Bowl):
    """A generator that is seeded at each call: the same twice, another in another batch."""

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        return Field(params + 0.1 * torch.randn(params.shape, generator=torch.Generator().manual_seed(step)))


class SeededStart(Bowl):
    def init(self, keys: Keys) -> Tensor:
        return torch.randn(len(keys), self.dim, generator=torch.Generator().manual_seed(0))


class OtherStarts(Bowl):
    def init(self, keys: Keys) -> Tensor:
        return torch.randn(len(keys), self.dim)


class MeanOverRows(Bowl):
    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        return Field(params - params.mean(dim=0, keepdim=True))


class MeanLoss(Bowl):
    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        return {"loss": params.square().mean().expand(len(params)).clone()}


class ByProductOfOthers(Bowl):
    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        return Field(params, {"rank": params[:, 0].argsort().argsort().float()})


class ProductFoldsRows(Bowl):
    """One weight for all rows: a product whose order of summation depends on how many rows there are."""

    weight = Keys.of([1]).normal(64)[0]

    @property
    def dim(self) -> int:
        return 64

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        return Field(params.clone())

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        return {"output": params @ self.weight}


class WritesIntoParams(Bowl):
    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        return Field(params.mul_(2.0))


class Remembers(Bowl):
    """Keeps count of its calls."""

    calls = 0

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        self.calls += 1
        return Field(params + self.calls)


class WrongField(Bowl):
    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        return Field(params[:, :1])


class WrongMeasure(Bowl):
    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        return {"loss": params.square()}


class WrongStart(Bowl):
    def init(self, keys: Keys) -> Tensor:
        return torch.zeros(len(keys))


class IntegerStart(Bowl):
    def init(self, keys: Keys) -> Tensor:
        return torch.ones(len(keys), self.dim, dtype=torch.int64)


class InfiniteStart(Bowl):
    def init(self, keys: Keys) -> Tensor:
        return torch.full((len(keys), self.dim), torch.inf)


class NotANumber(Bowl):
    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        return Field(torch.where(params > 0, params, torch.nan))


class NotAMeasure(Bowl):
    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        return {"loss": params[:, 0] / 0.0}


class RaisesOnInfinity(Bowl):
    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        if not torch.isfinite(params).all():
            raise ArithmeticError("no")
        return super().measure(params, keys)


class SpreadsInfinity(Bowl):
    """Zero times the sum over all rows: nothing, until one row is infinite; then no row is a number."""

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        return Field(torch.zeros_like(params) + 0.0 * params.sum())


class OtherType(Bowl):
    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        return Field(params.double())


class KeepsGraph(Bowl):
    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        params = params.detach().requires_grad_()
        return Field(params * 2, {})


@dataclass
class MissingPlayer(Bilinear):
    players: tuple[slice, ...] = (slice(0, 1),)


@dataclass
class PlayersTwice(Bilinear):
    players: tuple[slice, ...] = (slice(0, 2), slice(1, 2))


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (SharedGenerator, "field differs when it is evaluated twice"),
        (SeededGenerator, "field differs in a batch of"),
        (OtherStarts, "init differs with the same keys"),
        (SeededStart, "init differs in a batch of"),
        (MeanOverRows, "field differs in a batch of"),
        (MeanLoss, "measure 'loss' differs in a batch of"),
        (ByProductOfOthers, "field measure 'rank' differs in a batch of"),
        (ProductFoldsRows, "measure 'output' differs in a batch of"),
        (WritesIntoParams, "writes into the parameters"),
        (Remembers, "field differs when it is evaluated twice"),
        (WrongField, r"field has shape \(5, 1\); give \(5, 3\)"),
        (WrongMeasure, r"measure 'loss' has shape \(5, 3\); give \(5,\)"),
        (WrongStart, r"init gives \(5,\) for 5 keys; give \[R, D\] = \(5, 3\)"),
        (IntegerStart, "give a floating-point tensor"),
        (InfiniteStart, "init is not finite"),
        (NotANumber, "field is not finite"),
        (NotAMeasure, "measure 'loss' is not finite"),
        (RaisesOnInfinity, "raises ArithmeticError when one replica's parameters are infinite"),
        (SpreadsInfinity, "field differs when another replica is infinite"),
        (OtherType, "field is torch.float64 on cpu; give the parameters' torch.float32"),
        (KeepsGraph, "field carries a graph"),
        (MissingPlayer, "players must cover the 2 coordinates"),
        (PlayersTwice, "players must cover the 2 coordinates"),
    ],
)
def test_each_broken_promise_is_found_with_its_line(broken: type[Bowl], line: str) -> None:
    with pytest.raises(ConformanceError, match=line) as caught:
        check_problem(broken())
    assert "\n" not in str(caught.value)
    assert broken.__name__ in str(caught.value)


def test_too_few_seeds_check_nothing() -> None:
    with pytest.raises(ValueError, match="at least 4 seeds"):
        check_problem(Bowl(), seeds=3)


def test_a_projection_is_applied_before_a_point_is_tried() -> None:
    class Positive(Bowl):
        def init(self, keys: Keys) -> Tensor:
            return super().init(keys).abs() * 1e-3 + 1e-6

        def project(self, params: Tensor) -> Tensor:
            return params.clamp_min(1e-9)

        def field(self, params: Tensor, keys: Keys, step: int) -> Field:
            return Field(params.log())

    check_problem(Positive())


class RoundsByPlace(Bowl):
    """As a function of torch's that rounds by its place in memory: the last bit depends on the batch."""

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        sampled = super().field(params, keys, step).values
        return Field(sampled * (1 + len(params) * torch.finfo(sampled.dtype).eps))


def test_rounding_by_place_is_let_pass_where_bits_are_not_asked_for() -> None:
    check_problem(RoundsByPlace(), exact=False)
    with pytest.raises(ConformanceError, match="rounds by place"):
        check_problem(RoundsByPlace())


@pytest.mark.parametrize("broken", [SharedGenerator, MeanOverRows])
def test_more_than_rounding_is_found_all_the_same(broken: type[Bowl]) -> None:
    with pytest.raises(ConformanceError):
        check_problem(broken(), exact=False)


def test_a_person_may_bring_a_loss_that_rounds_by_place() -> None:
    x, y = regression()
    loss = nn.functional.binary_cross_entropy_with_logits
    module = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.SiLU(), nn.Linear(5, 1))
    check_problem(problem_from(module, loss, (x, (y > 0).float()), batch_size=7), seeds=9, exact=False)
