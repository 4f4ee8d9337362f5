"""The batched trainer: every replica is the run alone, whatever rides along; against torch.optim and by
hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.lab.errors import VhatError
from core.lab.experiment import Array
from core.lab.problem import Field
from core.lab.random import Keys
from core.lab.run import Recording, Run
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.adjustments import Consensus
from core.optim.play import Alternating, Extragradient, Optimistic, PlayScheme, Simultaneous
from core.optim.schedules import Cosine
from tests.lab.bowls import Bilinear, Bowl

RULES = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "amsgrad", "adamw", "signsgd", "adam_shared_v")
ALL = Recording(points=100, params=True, path=True, state=("exp_avg_sq",))


def same(a: Run, b: Run) -> bool:
    x, y = a.to_arrays(), b.to_arrays()
    return x.keys() == y.keys() and all(np.array_equal(x[k], y[k], equal_nan=True) for k in x)


def blocks(variants: list[Variant], seeds: int, lr: float | Tensor = 0.05) -> list[Block]:
    return [Block(v, slice(i * seeds, (i + 1) * seeds), {"lr": lr}) for i, v in enumerate(variants)]


def run_of(variants: list[Variant], seeds: int = 3, steps: int = 25, **more: object) -> Run:
    keys = Keys.of(range(seeds), copies=len(variants))
    options: dict[str, object] = {"recording": ALL, "problem": Bowl(), **more}
    return train(options.pop("problem"), blocks(variants, seeds), keys, steps=steps, **options)  # type: ignore[arg-type]


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


@given(st.floats(1e-3, 0.5), st.integers(0, 1000))
@settings(max_examples=20)
def test_gradient_descent_ascent_grows_by_its_closed_form_each_step(lr: float, seed: int) -> None:
    recording = Recording(points=30)
    block = Block(Variant("gda", "sgd"), slice(0, 2), {"lr": lr})
    run = train(Bilinear(), [block], Keys.of([seed, seed + 1]), steps=30, recording=recording)
    radius = run.curves["radius"]
    assert radius[:, 1:] / radius[:, :-1] == pytest.approx(np.sqrt(1 + lr**2), rel=1e-12)


def by_hand(scheme: str, x: float, y: float, lr: float, steps: int) -> tuple[float, float]:
    previous: tuple[float, float] | None = None
    for _ in range(steps):
        if scheme == "alternating":
            x = x - lr * y
            y = y + lr * x
        elif scheme == "extragradient":
            ahead_x, ahead_y = x - lr * y, y + lr * x
            x, y = x - lr * ahead_y, y + lr * ahead_x
        else:
            own = (-lr * y, lr * x)
            before = previous or own
            x, y = x + 2 * own[0] - before[0], y + 2 * own[1] - before[1]
            previous = own
    return x, y


@pytest.mark.parametrize(
    ("scheme", "play"),
    [("alternating", Alternating()), ("extragradient", Extragradient()), ("optimistic", Optimistic())],
)
def test_play_schemes_follow_their_recursions(scheme: str, play: object) -> None:
    variants = [Variant("plain", "sgd"), Variant("played", "sgd", play=play)]  # type: ignore[arg-type]
    keys = Keys.of([4, 5], copies=2)
    start = Bilinear().init(keys)
    run = train(Bilinear(), blocks(variants, 2, lr=0.1), keys, steps=40, recording=ALL)
    assert run.params is not None
    for row in (2, 3):
        expected = by_hand(scheme, *start[row].tolist(), 0.1, 40)
        assert run.params[row] == pytest.approx(expected, rel=1e-12)
    alone = train(Bilinear(), blocks(variants[1:], 2, lr=0.1), Keys.of([4, 5]), steps=40, recording=ALL)
    assert same(run.rows([2, 3]), alone)


def test_an_adjusted_variant_descends_along_the_adjusted_field() -> None:
    """Consensus on the game xy: the field (y, -x) plus strength times (x, y)."""
    run = run_of(
        [Variant("plain", "sgd"), Variant("consensus", "sgd", adjust=Consensus(0.4))], problem=Bilinear()
    )
    assert run.path is not None
    before, after = run.path[3:, :-1], run.path[3:, 1:]
    field = np.stack([before[..., 1], -before[..., 0]], axis=-1) + 0.4 * before
    np.testing.assert_allclose(after, before - 0.05 * field, rtol=1e-12, atol=1e-14)
    assert same(run.rows(slice(0, 3)), run_of([Variant("plain", "sgd")], problem=Bilinear()))


def test_players_have_their_own_state() -> None:
    """A rule that normalises globally does so player by player: each moves by lr whatever the other's field
    is."""

    class Lopsided(Bilinear):
        def field(self, params: Tensor, keys: Keys, step: int) -> Field:
            return Field(torch.tensor([1e-3, 1e3], dtype=torch.float64).expand(len(params), 2))

    block = Block(Variant("n", "normalized_sgd", {"eps": 0.0}), slice(0, 2), {"lr": 0.5})
    start = torch.zeros(2, 2, dtype=torch.float64)
    run = train(Lopsided(), [block], Keys.of([0, 1]), steps=1, recording=ALL, initial=start)
    assert run.params == pytest.approx(np.full((2, 2), -0.5))
    whole = Lopsided()
    whole.players = (slice(0, 2),)
    run = train(whole, [block], Keys.of([0, 1]), steps=1, recording=ALL, initial=start)
    assert run.params[:, 1] == pytest.approx(-0.5)  # type: ignore[index]
    assert abs(run.params[:, 0]).max() < 1e-6  # type: ignore[index]


def test_a_fresh_sample_of_extragradient_is_another_draw() -> None:
    own, fresh = (
        run_of([Variant("x", "sgd", play=Extragradient(fresh_sample=f))], problem=Bowl(noise=1.0))
        for f in (False, True)
    )
    assert own.params is not None
    assert fresh.params is not None
    assert not np.array_equal(own.params, fresh.params)
    problem, keys = Bowl(noise=1.0), Keys.of(range(3))
    x = problem.init(keys)
    for step in range(25):
        ahead = x + torch.tensor(-0.05) * problem.field(x, keys, step).values
        x = x + torch.tensor(-0.05) * problem.field(ahead, keys.fold("draw 1"), step).values
    assert fresh.params == pytest.approx(x.numpy(), rel=1e-5)


class Counting(Bilinear):
    """Counts the rows of all evaluations."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        self.rows += len(params)
        return super().field(params, keys, step)


def test_the_shared_sample_is_the_first_of_those_that_ask_for_more() -> None:
    """Two samples a round, for each of two seeds: the first is the batch's, the second one's own; no bit
    differs."""
    beside = Variant("plain", "adam")
    for play in (Alternating(), Extragradient(), Extragradient(fresh_sample=True)):
        other = Variant("other", "adam", play=play)
        problem = Counting()
        together = run_of([beside, other], seeds=2, steps=10, problem=problem)
        assert problem.rows == 10 * (4 + 2)
        alone = run_of([other], seeds=2, steps=10, problem=Bilinear())
        assert together.params is not None
        assert alone.params is not None
        assert np.array_equal(together.params[2:], alone.params)


def test_a_schedule_multiplies_the_rate() -> None:
    schedule = Cosine(25)
    run = run_of([Variant("s", "sgd", schedule=schedule)], problem=Bowl(dtype=torch.float64))
    problem, keys = Bowl(dtype=torch.float64), Keys.of(range(3))
    x = problem.init(keys)
    for step in range(25):
        x = x - 0.05 * schedule(step) * problem.field(x, keys, step).values
    assert run.params == pytest.approx(x.numpy(), rel=1e-12)


def test_a_projection_is_applied_after_each_step() -> None:
    class Boxed(Bowl):
        def project(self, params: Tensor) -> Tensor:
            return params.clamp(0.5, 1.0)

    run = run_of([Variant("s", "sgd")], problem=Boxed())
    assert run.path is not None
    assert run.path[:, 1:].min() == 0.5
    assert run.path[:, 1:].max() <= 1.0


@pytest.mark.parametrize("players", [(slice(0, 3),), (slice(0, 1), slice(1, 3))])
@pytest.mark.parametrize("play", [Simultaneous(), Alternating()])
def test_a_projection_may_be_taken_in_the_rules_metric(players: tuple[slice, ...], play: PlayScheme) -> None:
    seen: list[Tensor | None] = []

    class InMetric(Bowl):
        projects_in_metric = True

        def project(self, params: Tensor, metric: Tensor | None) -> Tensor:
            seen.append(metric)
            return params

    problem = InMetric()
    problem.players = players  # type: ignore[attr-defined]
    run_of([Variant("s", "sgd", play=play)], problem=problem)
    assert seen
    assert all(metric is None for metric in seen)
    seen.clear()
    run = run_of([Variant("a", "adam", {"beta1": 0.0, "eps": 0.0}, play=play)], problem=problem)
    assert run.path is not None
    assert all(metric is not None and metric.shape == run.path[:, 0].shape for metric in seen)


@given(st.integers(1, 300), st.integers(1, 80), st.sampled_from(["linear", "log"]))
def test_recorded_steps_run_from_start_to_end(total: int, points: int, spacing: str) -> None:
    steps = Recording(points, spacing=spacing).steps(total)  # type: ignore[arg-type]
    assert steps[0] == 0
    assert steps[-1] == total
    assert steps == sorted(set(steps))
    assert len(steps) <= points + 1
    if spacing == "linear" and points >= total:
        assert steps == list(range(total + 1))


@pytest.mark.parametrize("wrong", [{"points": 0}, {"tuning_points": 0}, {"spacing": "cubic"}])
def test_a_recording_that_records_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="recording"):
        Recording(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("points", [1, 3, 24, 25])
def test_by_products_are_averaged_since_the_last_recorded_step(points: int) -> None:
    run = run_of([Variant("s", "sgd")], recording=Recording(points))
    keys = Keys.of(range(3))
    steps = run.steps.tolist()
    drawn = [0.1 * keys.fold("noise").at(t).normal(3)[:, 0].double() for t in range(26)]
    for column, step in enumerate(steps):
        # The sample of the recorded step itself belongs to its window; the last one has none, unless it is
        # alone.
        first = steps[column - 1] + 1 if column else 0
        window = range(first, min(step, 24) + 1) or [25]
        expected = torch.stack([drawn[t] for t in window]).mean(dim=0).numpy()
        assert run.curves["field/noise"][:, column] == pytest.approx(expected, rel=1e-5)
        assert run.curves["field/step"][:, column] == pytest.approx(np.mean(list(window)))


def slow_hits(curve: Array, threshold: float, higher: bool) -> tuple[int, int]:
    inside = [bool(v >= threshold if higher else v <= threshold) for v in curve]
    first = inside.index(True) if any(inside) else -1
    since = -1
    for step in range(len(inside) - 1, -1, -1):
        if not inside[step]:
            break
        since = step
    return first, since


@pytest.mark.parametrize("higher", [False, True])
@pytest.mark.parametrize("threshold", [0.02, 0.1, 0.4, 1e-9, 100.0])
def test_hits_and_settling_equal_a_look_at_every_step(higher: bool, threshold: float) -> None:
    options = {"watch": {"loss": threshold}, "watch_higher": higher, "problem": Bowl(noise=1.0)}
    sparse = run_of([Variant("s", "sgd")], seeds=20, recording=Recording(2), steps=40, **options)
    dense = run_of(
        [Variant("s", "sgd")], seeds=20, recording=Recording(40), steps=40, problem=Bowl(noise=1.0)
    )
    expected = [slow_hits(row, np.float32(threshold), higher) for row in dense.curves["loss"]]
    assert sparse.hits["loss"].tolist() == [a for a, _ in expected]
    assert sparse.settled["loss"].tolist() == [b for _, b in expected]
    assert sparse.steps.tolist() == [0, 20, 40]
    assert np.array_equal(sparse.curves["loss"], dense.curves["loss"][:, [0, 20, 40]])


def test_a_diverged_replica_has_not_settled() -> None:
    run = run_of([Variant("s", "sgd")], problem=Poisoned(), watch={"loss": 1e9})
    assert run.hits["loss"].tolist() == [0, 0, 0]
    assert run.settled["loss"].tolist() == [0, -1, 0]


def test_states_are_kept_and_missing_ones_are_no_numbers() -> None:
    run = run_of([Variant("s", "sgd"), Variant("a", "adam")])
    assert np.isnan(run.state["exp_avg_sq"][:3]).all()
    problem, keys = Bowl(), Keys.of(range(3))
    alone = train(
        problem,
        [Block(Variant("a", "adam"), slice(0, 3), {"lr": 0.05})],
        keys,
        steps=25,
        recording=Recording(points=25, path=True),
    )
    assert alone.path is not None
    v = np.zeros((3, 3))
    for step in range(25):
        g = problem.field(torch.tensor(alone.path[:, step]), keys, step).values.double().numpy()
        v = 0.999 * v + 0.001 * g**2
    assert run.state["exp_avg_sq"][3:] == pytest.approx(v, rel=1e-5)


def test_runs_survive_the_way_to_the_store_and_back() -> None:
    run = run_of([Variant("s", "sgd"), Variant("a", "adam")], watch={"loss": 0.1})
    assert same(run, Run.from_arrays(run.to_arrays()))
    assert same(run, Run.join([run.rows(slice(0, 2)), run.rows(slice(2, 6))]))
    with pytest.raises(ValueError, match="same recorded steps"):
        Run.join([run, run_of([Variant("s", "sgd")], recording=Recording(3))])
    with pytest.raises(ValueError, match="same recorded steps"):
        Run.join([])


@pytest.mark.parametrize("rows", [(slice(0, 2),), (slice(1, 3),), (slice(0, 2), slice(1, 3)), ()])
def test_blocks_must_cover_the_rows(rows: tuple[slice, ...]) -> None:
    wrong = [Block(Variant("s", "sgd"), r, {"lr": 0.1}) for r in rows]
    with pytest.raises(ValueError, match="cover rows"):
        train(Bowl(), wrong, Keys.of(range(3)), steps=1)


def test_a_measure_that_does_not_exist_is_named() -> None:
    with pytest.raises(VhatError, match=r"unknown measure 'los'; did you mean 'loss'"):
        run_of([Variant("s", "sgd")], watch={"los": 1.0})


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
