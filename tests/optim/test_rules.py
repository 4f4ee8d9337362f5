"""Properties of update rules: twins, rows, symmetries, errors."""

import copy
import itertools
import math
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.optim import RULES, Rule, SharedSecondMoment, ShuffledSecondMoment, map_state
from core.optim.blocks import SMALLEST
from core.optim.controls import shuffle
from tests.optim.trainings import follow

NAMES = sorted(RULES)
COORDINATEWISE = [
    name for name in NAMES if RULES[name].elementwise and "shuffled" not in name and "shared" not in name
]
ADAMS = ["adam", "adam_uncorrected", "amsgrad"]
VARIED = {
    "lr": st.floats(1e-5, 1.0),
    "momentum": st.floats(0.0, 0.999),
    "dampening": st.floats(0.0, 1.0),
    "weight_decay": st.floats(0.0, 0.5),
    "alpha": st.floats(0.0, 1.0),
    "beta1": st.floats(0.0, 0.999),
    "beta2": st.floats(0.0, 0.999),
    "eps": st.floats(1e-12, 1.0),
    "maximize": st.booleans(),
}


@st.composite
def runs(draw: st.DrawFn, names: list[str] = NAMES) -> tuple[Rule, dict[str, Any], Tensor, Tensor]:
    """A rule, `lr` and hyperparameters, starting points `[R, D]` and gradients `[T, R, D]`."""
    rule = RULES[draw(st.sampled_from(names))]
    names_varied = ["lr", *(k for k in rule.hyper if k in VARIED)]
    if rule.hyper.get("nesterov"):
        names_varied = [k for k in names_varied if k not in ("momentum", "dampening")]
    hyper = {name: draw(VARIED[name]) for name in names_varied}
    rows, columns, steps = draw(st.integers(2, 5)), draw(st.integers(1, 35)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = 10.0 ** draw(st.integers(-6, 6))
    params = torch.randn(rows, columns, generator=generator)
    gradients = torch.randn(steps, rows, columns, generator=generator) * scale
    gradients[torch.rand(gradients.shape, generator=generator) < 0.1] = 0.0
    return rule, hyper, params, gradients


def same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.nan_to_num(nan=12345.0), b.nan_to_num(nan=12345.0))


@given(runs())
@settings(max_examples=150, deadline=None)
def test_the_in_place_twin_is_the_pure_rule(run: tuple[Rule, dict[str, Any], Tensor, Tensor]) -> None:
    rule, hyper, start, gradients = run
    lr = hyper.pop("lr")
    pure, in_place = start, start.clone()
    state, state_ = rule.init(pure, lr=lr, **hyper), rule.init(in_place, **hyper)
    held = [value for value in state_ if isinstance(value, Tensor)]
    kept = gradients.clone()
    for gradient in gradients:
        pure, state = rule.step(pure, gradient, state, lr=lr, **hyper)
        state_ = rule.step_(in_place, gradient, state_, lr=lr, **hyper)
    assert same_bits(pure, in_place)
    assert torch.equal(gradients, kept)
    assert state.step == state_.step == len(gradients)
    after = [value for value in state_ if isinstance(value, Tensor)]
    assert all(a is b for a, b in zip(held, after, strict=True))
    assert all(
        same_bits(a, b) for a, b in zip(after, (v for v in state if isinstance(v, Tensor)), strict=True)
    )


@given(runs())
@settings(max_examples=100, deadline=None)
def test_a_row_of_a_batch_is_the_run_alone(run: tuple[Rule, dict[str, Any], Tensor, Tensor]) -> None:
    rule, hyper, start, gradients = run
    together = follow(rule, start, gradients, **hyper)
    for row in range(len(start)):
        pair = [row, row]  # alone, in a batch of the smallest size
        alone = follow(rule, start[pair], gradients[:, pair], **hyper)
        assert same_bits(alone[0], together[row])


@pytest.mark.parametrize("columns", [2, 33, 513, 20_000])
@pytest.mark.parametrize("name", ["adam_shared_v", "normalized_sgd"])
def test_reductions_over_a_row_do_not_see_the_other_rows(name: str, columns: int) -> None:
    generator = torch.Generator().manual_seed(9)
    start, gradients = (
        torch.randn(9, columns, generator=generator),
        torch.randn(3, 9, columns, generator=generator),
    )
    together = follow(RULES[name], start, gradients, lr=0.1)
    for rows in ([0, 1], [7, 8, 6]):
        assert torch.equal(follow(RULES[name], start[rows], gradients[:, rows], lr=0.1), together[rows])


@given(runs())
@settings(max_examples=100, deadline=None)
def test_numbers_and_tensors_are_the_same_hyperparameters(
    run: tuple[Rule, dict[str, Any], Tensor, Tensor],
) -> None:
    rule, hyper, start, gradients = run
    numbers = {k: v for k, v in hyper.items() if not isinstance(v, bool)}
    rows = {k: torch.full((len(start),), v, dtype=torch.float64) for k, v in numbers.items()}
    single = {k: torch.tensor(v, dtype=torch.float64) for k, v in numbers.items()}
    expected = follow(rule, start, gradients, **hyper)
    assert same_bits(follow(rule, start, gradients, **{**hyper, **rows}), expected)
    assert same_bits(follow(rule, start, gradients, **{**hyper, **single}), expected)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4)])
@pytest.mark.parametrize("name", NAMES)
def test_any_shape_is_stepped(name: str, shape: tuple[int, ...]) -> None:
    rule = RULES[name]
    generator = torch.Generator().manual_seed(0)
    params, gradients = torch.randn(shape, generator=generator), torch.randn(4, *shape, generator=generator)
    rows = shape[0] if len(shape) > 1 else 1
    flat = follow(rule, params.reshape(rows, -1), gradients.reshape(4, rows, -1), lr=0.1)
    assert torch.equal(follow(rule, params, gradients, lr=0.1), flat.view(shape))


@pytest.mark.parametrize("per_row", [False, True])
@pytest.mark.parametrize("shape", [(3, 400_003), (400_001, 3), (1_100_007,)])
@pytest.mark.parametrize("name", ["adamw", "nesterov", "rmsprop_centered", "adam_shared_v", "normalized_sgd"])
def test_blocks_do_not_change_a_bit(name: str, shape: tuple[int, ...], per_row: bool) -> None:
    rule = RULES[name]
    generator = torch.Generator().manual_seed(1)
    params, gradients = torch.randn(shape, generator=generator), torch.randn(2, *shape, generator=generator)
    assert params.numel() > SMALLEST
    lr = torch.rand(shape[0], generator=generator, dtype=torch.float64) if per_row else 0.01
    in_place, state = params.clone(), rule.init(params)
    for gradient in gradients:
        state = rule.step_(in_place, gradient, state, lr=lr)
    assert state.step == 2
    assert torch.equal(in_place, follow(rule, params, gradients, lr=lr))


@pytest.mark.parametrize("name", COORDINATEWISE)
def test_coordinatewise_rules_commute_with_permutations_and_signs(name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    params, gradients = torch.randn(3, 19, generator=generator), torch.randn(8, 3, 19, generator=generator)
    order = torch.randperm(19, generator=generator)
    signs = torch.randint(0, 2, (19,), generator=generator) * 2.0 - 1.0
    after = follow(RULES[name], params, gradients, lr=0.1)
    moved = follow(RULES[name], (params * signs)[:, order], (gradients * signs)[:, :, order], lr=0.1)
    assert torch.equal(moved, (after * signs)[:, order])


def test_normalized_descent_commutes_with_rotations() -> None:
    generator = torch.Generator().manual_seed(3)
    params = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    gradients = torch.randn(8, 3, 6, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    rule = RULES["normalized_sgd"].with_hyper(momentum=0.9)
    after = follow(rule, params, gradients, lr=0.1)
    torch.testing.assert_close(
        follow(rule, params @ rotation, gradients @ rotation, lr=0.1), after @ rotation
    )


@pytest.mark.parametrize(
    "name", [*ADAMS, "rmsprop", "rmsprop_centered", "adam_shared_v", "adam_shuffled_v", "signsgd"]
)
@pytest.mark.parametrize("power", [-20, 3, 20])
def test_without_epsilon_a_power_of_two_in_the_loss_leaves_the_path_unchanged(name: str, power: int) -> None:
    generator = torch.Generator().manual_seed(4)
    params, gradients = torch.randn(3, 19, generator=generator), torch.randn(30, 3, 19, generator=generator)
    hyper = {"eps": 0.0} if "eps" in RULES[name].hyper else {}
    path = follow(RULES[name], params, gradients, lr=0.1, **hyper)
    assert torch.equal(follow(RULES[name], params, gradients * 2.0**power, lr=0.1, **hyper), path)


def test_the_effect_of_the_loss_scale_vanishes_with_epsilon() -> None:
    generator = torch.Generator().manual_seed(5)
    params = torch.randn(3, 19, generator=generator, dtype=torch.float64)
    gradients = torch.randn(30, 3, 19, generator=generator, dtype=torch.float64)
    differences = []
    for eps in (1e-2, 1e-4, 1e-6, 1e-8):
        paths = [follow(RULES["adam"], params, gradients * scale, lr=0.1, eps=eps) for scale in (1.0, 7.0)]
        differences.append(float((paths[0] - paths[1]).abs().max()))
    ratios = [b / a for a, b in itertools.pairwise(differences)]
    assert all(
        abs(ratio / 1e-2 - 1) < 0.3 for ratio in ratios
    )  # to first order the effect is linear in epsilon


def test_the_first_step_of_adam_is_lr_in_every_coordinate() -> None:
    gradients = torch.tensor([[1e-30, -1e-3, 1.0, -1e15, 1e18]], dtype=torch.float32)
    after = follow(RULES["adam"], torch.zeros(1, 5), gradients[None], lr=0.25, eps=0.0)
    v_underflows = torch.tensor([[True, False, False, False, False]])
    torch.testing.assert_close(after[~v_underflows], -0.25 * gradients.sign()[~v_underflows])
    wide = follow(RULES["adam"], torch.zeros(1, 5).double(), gradients[None].double(), lr=0.25, eps=0.0)
    torch.testing.assert_close(wide, -0.25 * gradients.sign().double())


def test_normalized_step_has_length_lr_at_any_scale() -> None:
    for scale in (1e-30, 1.0, 1e30):
        gradients = torch.tensor([[3.0, 4.0], [0.0, 0.0]]) * scale
        after = follow(RULES["normalized_sgd"], torch.zeros(2, 2), gradients[None], lr=0.5, eps=0.0 + 1e-38)
        torch.testing.assert_close(after, torch.tensor([[-0.3, -0.4], [0.0, 0.0]]))


def test_uncorrected_adam_starts_with_longer_steps() -> None:
    gradients = torch.ones(1, 1, 4, dtype=torch.float64)
    start = torch.zeros(1, 4, dtype=torch.float64)
    corrected = follow(RULES["adam"], start, gradients, lr=0.1, eps=0.0)
    uncorrected = follow(RULES["adam_uncorrected"], start, gradients, lr=0.1, eps=0.0)
    torch.testing.assert_close(uncorrected / corrected, torch.full_like(start, 0.1 / math.sqrt(0.001)))


def test_shared_v_is_adam_under_the_mean_and_keeps_the_true_v() -> None:
    gradients = torch.tensor([[[1.0, 7.0]]], dtype=torch.float64)
    start = torch.zeros(1, 2, dtype=torch.float64)
    after = follow(RULES["adam_shared_v"], start, gradients, lr=1.0, eps=0.0)
    torch.testing.assert_close(after, -gradients[0] / 5.0)  # the root of (1 + 49) / 2
    _, state = RULES["adam_shared_v"].step(start, gradients[0], RULES["adam_shared_v"].init(start), lr=1.0)
    torch.testing.assert_close(state.exp_avg_sq, gradients[0] ** 2 * 1e-3)


@pytest.mark.parametrize("size", [1, 2, 3, 10, 1000])
def test_the_shuffle_is_one_cycle(size: int) -> None:
    permutation = shuffle(size).tolist()
    visited, place = [], 0
    for _ in range(size):
        visited.append(place)
        place = permutation[place]
    assert place == 0
    assert sorted(visited) == list(range(size))


def test_a_shuffle_a_key_is_one_cycle_that_depends_on_its_key_alone() -> None:
    keys = torch.tensor([5, -3, 2**62, 5])
    permutations = shuffle(50, keys=keys)
    assert torch.equal(permutations[0], permutations[3])
    assert torch.equal(shuffle(50, keys=keys[1:2])[0], permutations[1])
    assert len({tuple(p) for p in permutations.tolist()}) == 3
    for row in permutations.tolist():
        place, visited = 0, set()
        while place not in visited:
            visited.add(place)
            place = row[place]
        assert len(visited) == 50


def test_shuffled_v_gives_each_coordinate_anothers_v() -> None:
    second_moment = torch.arange(12.0).view(2, 6)
    shuffled = ShuffledSecondMoment()(second_moment)
    assert torch.equal(shuffled.sort(dim=1).values, second_moment)
    assert bool((shuffled != second_moment).all())
    assert torch.equal(shuffled[1] - 6, shuffled[0])


def test_zero_over_zero_is_not_hidden() -> None:
    after = follow(RULES["adam"], torch.zeros(2, 1), torch.zeros(1, 2, 1), lr=0.1, eps=0.0)
    assert bool(after.isnan().all())


@pytest.mark.parametrize("name", NAMES)
def test_nan_gradients_stay_visible_and_in_their_row(name: str) -> None:
    gradients = torch.ones(2, 3, 4)
    gradients[0, 1] = math.nan
    after = follow(RULES[name], torch.zeros(3, 4), gradients, lr=0.1)
    assert bool(after[1].isnan().all())
    assert bool(after[[0, 2]].isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_valid_and_rules_travel(name: str) -> None:
    rule = RULES[name]
    rule.validate(lr=0.1)
    rule.validate(lr=torch.tensor([0.1, 0.0]))
    for other in (pickle.loads(pickle.dumps(rule)), copy.deepcopy(rule)):
        assert other == rule
        assert hash(other) == hash(rule)
        assert other.name == name


def test_the_registry_and_defaults_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        RULES["mine"] = RULES["sgd"]  # type: ignore[index]
    with pytest.raises(TypeError):
        RULES["sgd"].hyper["momentum"] = 1.0  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "hyper", "line"),
    [
        ("adam", {"lr": -0.1}, r"adam: lr must be a number in \[0, inf\), got -0.1"),
        ("adam", {"lr": math.nan}, r"adam: lr must be a number in \[0, inf\), got nan"),
        ("adam", {"lr": 0.1, "beta1": 1.0}, r"adam: beta1 must be a number in \(-1, 1\), got 1.0"),
        ("adam", {"lr": torch.tensor([0.1, -1.0])}, r"adam: lr must be .* got -1.0 in row 1"),
        ("adam", {"lr": "fast"}, r"adam: lr must be a number in \[0, inf\), got 'fast'"),
        ("adamw", {"lr": 0.1, "weight_decay": math.inf}, r"adamw: weight_decay must be"),
        ("rmsprop", {"lr": 0.1, "alpha": 1.1}, r"rmsprop: alpha must be a number in \[0, 1\]"),
        ("nesterov", {"lr": 0.1, "momentum": 0.0}, r"nesterov: nesterov needs a momentum that is above zero"),
        ("nesterov", {"lr": 0.1, "dampening": 0.1}, r"nesterov: nesterov needs a dampening that is zero"),
        (
            "signsgd",
            {"lr": 0.1, "beta1": 0.9},
            r"signsgd: no hyperparameter 'beta1'; it has lr, momentum, maximize",
        ),
    ],
)
def test_bad_hyperparameters_are_named(name: str, hyper: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        RULES[name].validate(**hyper)


def test_misuse_is_named() -> None:
    params = torch.zeros(2, 3)
    adam, sgd = RULES["adam"], RULES["sgd"]
    with pytest.raises(ValueError, match="differ in shape"):
        adam.step(params, torch.zeros(2, 4), adam.init(params), lr=0.1)
    with pytest.raises(ValueError, match=r"a hyperparameter has shape \[3\]"):
        adam.step(params, params, adam.init(params), lr=torch.ones(3))
    with pytest.raises(ValueError, match="no max_exp_avg_sq"):
        adam.step(params, params, adam.init(params), lr=0.1, amsgrad=True)
    with pytest.raises(ValueError, match="no momentum_buffer"):
        sgd.step(params, params, sgd.init(params), lr=0.1, momentum=0.9)
    with pytest.raises(ValueError, match="no hyperparameter 'beta3'"):
        adam.with_hyper(beta3=0.1)


def test_a_control_of_ones_own_is_a_rule_under_another_name() -> None:
    oracle = torch.tensor([[4.0, 25.0]])
    rule = RULES["adam"].with_hyper("adam_oracle_v", denominator_map=lambda v: oracle, beta1=0.0, eps=0.0)
    assert rule.name == "adam_oracle_v"
    after, _ = rule.step(torch.zeros(1, 2), torch.ones(1, 2), rule.init(torch.zeros(1, 2)), lr=1.0, beta2=0.0)
    torch.testing.assert_close(after, torch.tensor([[-0.5, -0.2]]))
    assert repr(SharedSecondMoment()) == "SharedSecondMoment()"


def test_states_can_be_mapped() -> None:
    state = RULES["adam"].init(torch.zeros(4, 2))
    rows = map_state(lambda t: t[1:3], state)
    assert rows.exp_avg.shape == (2, 2)
    assert rows.max_exp_avg_sq is None
    assert rows.step == 0
