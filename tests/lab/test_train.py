"""The batched trainer: every replica is the run alone, whatever rides along, also where one diverges; against
torch.optim."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from core.lab.problem import Field
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.play import Extragradient
from tests.lab.bowls import Bowl
from tests.lab.short_runs import ALL, run_of, same

RULES = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "amsgrad", "adamw", "signsgd", "adam_shared_v")


@pytest.mark.parametrize("rule", RULES)
def test_a_row_of_a_batch_is_the_run_alone(rule: str) -> None:
    many = run_of([Variant("a", "sgd"), Variant("b", rule), Variant("c", "adam")], seeds=37)
    pair = train(
        Bowl(),
        [Block(Variant("b", rule), slice(0, 2), {"lr": 0.05})],
        Keys.of([11, 30]),
        steps=25,
        recording=ALL,
    )
    assert same(many.rows([37 + 11, 37 + 30]), pair)


def test_the_order_of_variants_changes_no_bit() -> None:
    variants = [Variant(r, r) for r in RULES]
    forth, back = run_of(variants), run_of(variants[::-1])
    for i in range(len(RULES)):
        j = len(RULES) - 1 - i
        assert same(forth.rows(slice(3 * i, 3 * i + 3)), back.rows(slice(3 * j, 3 * j + 3)))


def test_rates_as_numbers_and_as_one_a_row_give_the_same_bits() -> None:
    keys = Keys.of(range(4))
    for rule in RULES:
        variant = Variant(rule, rule)
        one = train(Bowl(), [Block(variant, slice(0, 4), {"lr": 0.03})], keys, steps=20, recording=ALL)
        rates = torch.tensor([0.03, 0.5, 0.03, 1e-4], dtype=torch.float64)
        each = train(Bowl(), [Block(variant, slice(0, 4), {"lr": rates})], keys, steps=20, recording=ALL)
        assert same(one.rows([0, 2]), each.rows([0, 2]))
        assert not same(one.rows([1, 3]), each.rows([1, 3]))


TORCH: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.05),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.05, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.05),
}


@pytest.mark.parametrize("rule", TORCH)
def test_a_replica_equals_a_plain_loop_of_torch_optim_bit_for_bit(rule: str) -> None:
    problem, seeds, steps = Bowl(), 5, 60
    run = run_of([Variant(rule, rule)], seeds=seeds, steps=steps)
    for seed in range(seeds):
        keys = Keys.of([seed])
        params = torch.nn.Parameter(problem.init(keys))
        optimizer = TORCH[rule]([params])
        for step in range(steps):
            params.grad = problem.field(params.detach(), keys, step).values
            optimizer.step()
        assert run.params is not None
        assert np.array_equal(run.params[seed], params.detach().numpy()[0]), seed


class Poisoned(Bowl):
    """A bowl whose field is not finite for one seed from one step on, or at one step only."""

    bad = (1, 7)
    value = float("inf")
    lasting = True

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        sample = super().field(params, keys, step)
        words = Keys.of([self.bad[0]]).words
        mine = keys.spread(keys.words == words) if keys.index is not None else keys.words == words
        now = step >= self.bad[1] if self.lasting else step == self.bad[1]
        return Field(torch.where(mine[:, None] & now, self.value, sample.values), sample.measures)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("lasting", [True, False])
@pytest.mark.parametrize("rule", ["sgd", "adam", "momentum"])
def test_a_diverged_replica_is_frozen_and_marked_and_harms_no_other(
    value: float, lasting: bool, rule: str
) -> None:
    poisoned = Poisoned()
    poisoned.value, poisoned.lasting = value, lasting
    variants = [Variant("a", rule), Variant("b", "rmsprop")]
    hurt, sound = run_of(variants, problem=poisoned), run_of(variants)
    assert same(hurt.rows([0, 2, 3, 5]), sound.rows([0, 2, 3, 5]))
    assert hurt.diverged_at[1] == 7
    assert hurt.diverged_at[[0, 2, 3, 5]].tolist() == [-1] * 4
    assert hurt.diverged.tolist() == (hurt.diverged_at >= 0).tolist()
    at = int(np.flatnonzero(hurt.steps == 7)[0])
    assert hurt.params is not None
    assert hurt.path is not None
    assert sound.path is not None
    # Frozen at the point from which the step was not finite, and there to the end.
    assert np.array_equal(hurt.path[1, : at + 1], sound.path[1, : at + 1])
    assert (hurt.path[1, at:] == sound.path[1, at]).all()
    assert np.array_equal(hurt.params[1], sound.path[1, at])
    for name in hurt.curves:
        assert np.isfinite(hurt.curves[name][1, : at + 1]).all(), name
        assert np.isnan(hurt.curves[name][1, at + 1 :]).all(), name


def test_a_rate_that_explodes_is_marked_at_the_step_that_overflows() -> None:
    problem = Bowl(curvature=(1.0,), noise=0.0)
    rates = torch.tensor([0.5, 1e10, 1e5], dtype=torch.float64)
    block = Block(Variant("sgd", "sgd"), slice(0, 3), {"lr": rates})
    start = torch.ones(3, 1)
    run = train(problem, [block], Keys.of(range(3)), steps=20, recording=ALL, initial=start)
    for row, rate in enumerate(rates):
        x, expected = torch.ones(()), -1
        for step in range(20):
            x = x + (-rate).to(torch.float32) * x
            if not torch.isfinite(x):
                expected = step
                break
        assert run.diverged_at[row] == expected, row


def test_a_diverged_replica_has_not_settled() -> None:
    run = run_of([Variant("s", "sgd")], problem=Poisoned(), watch={"loss": 1e9})
    assert run.hits["loss"].tolist() == [0, 0, 0]
    assert run.settled["loss"].tolist() == [0, -1, 0]


@pytest.mark.parametrize("rows", [(slice(0, 2),), (slice(1, 3),), (slice(0, 2), slice(1, 3)), ()])
def test_blocks_must_cover_the_rows(rows: tuple[slice, ...]) -> None:
    wrong = [Block(Variant("s", "sgd"), r, {"lr": 0.1}) for r in rows]
    with pytest.raises(ValueError, match="cover rows"):
        train(Bowl(), wrong, Keys.of(range(3)), steps=1)


def test_the_starting_point_given_is_not_written_into() -> None:
    start = torch.ones(2, 3)
    before = copy.deepcopy(start)
    block = Block(Variant("s", "sgd"), slice(0, 2), {"lr": 0.1})
    train(Bowl(), [block], Keys.of([0, 1]), steps=3, initial=start)
    assert torch.equal(start, before)


class Views(Bowl):
    """A field that is its parameters, and measures that are views of them."""

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        return Field(params, {"first": params[:, 0]})

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        return {"first": params[:, 0]}


class Copies(Views):
    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        return Field(params.clone(), {"first": params[:, 0].clone()})

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        return {"first": params[:, 0].clone()}


@pytest.mark.parametrize("play", [None, Extragradient()])
def test_a_problem_that_returns_views_of_its_parameters_is_safe(play: Extragradient | None) -> None:
    more = {} if play is None else {"play": play}
    variants = [Variant(r, r, **more) for r in RULES]  # type: ignore[arg-type]
    views, copies = (
        run_of(variants, problem=p) for p in (Views(dtype=torch.float64), Copies(dtype=torch.float64))
    )
    assert same(views, copies)
    few = (run_of(variants, problem=p(dtype=torch.float64), recording=Recording(3)) for p in (Views, Copies))
    assert same(*few)
    if play is None:
        first = views.curves["first"]
        assert first[:3, 1:] == pytest.approx(0.95 * first[:3, :-1], rel=1e-12)
        assert np.array_equal(views.curves["field/first"], first)
