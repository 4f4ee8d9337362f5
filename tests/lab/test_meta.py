"""Meta-training and its tuned comparison, on tasks whose best rates and starts are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from core.lab.engines import InProcess
from core.lab.errors import VhatError
from core.lab.experiment import Payload
from core.lab.meta import Adaptation, MetaLearned, errors_along, meta_train
from core.lab.meta_sweep import MetaSweep, MetaSweepResult, MetaVariant
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.runner import local_job, run_jobs
from core.lab.stats import centre
from core.lab.store import Store
from core.lab.study import Plan
from core.lab.variant import Grid
from core.optim import RULES
from core.optim.objective import LossObjective
from core.problems.sinusoids import Sinusoids

DIM = 3
MIDDLE = 2.0
SGD, ADAM = RULES["sgd"], RULES["adam"]


@dataclass(frozen=True)
class Bowls:
    """Task b has its minimum near `MIDDLE`: one step of gradient descent at rate 1 solves any task."""

    device: str = "cpu"

    def init(self, keys: Keys) -> Tensor:
        return keys.fold("init").normal(DIM, dtype=torch.float64)

    def tasks(self, keys: Keys, count: int, *, evaluation: bool = False) -> LossObjective:
        minimum = (MIDDLE + 0.1 * keys.fold("minimum").normal(count, DIM, dtype=torch.float64)).flatten(0, 1)

        def loss(params: Tensor) -> Tensor:
            return ((params - minimum) ** 2).sum(dim=1) / 2

        return LossObjective(lambda params, step: loss(params), loss)


def learn(
    adaptation: Adaptation, *, seeds: int = 3, outer_lr: float = 0.1, iterations: int = 5
) -> MetaLearned:
    keys = Keys.of(range(seeds), study="test")
    rate = torch.full((seeds,), 0.1, dtype=torch.float64)
    outer = torch.full((seeds,), outer_lr, dtype=torch.float64)
    return meta_train(Bowls(), adaptation, keys, lr=rate, outer_lr=outer, iterations=iterations, tasks=4)


def test_joint_training_is_descent_on_the_loss_before_adaptation() -> None:
    keys = Keys.of(range(3), study="test")
    zero = torch.zeros(3, dtype=torch.float64)
    joint = Adaptation(SGD, steps=1, derivative="first order")
    found = meta_train(Bowls(), joint, keys, lr=zero, outer_lr=zero + 0.1, iterations=5, tasks=4)
    params = Bowls().init(keys)
    state = ADAM.init(params)
    for iteration in range(5):
        tasks = Bowls().tasks(keys.fold("training tasks").at(iteration), 4)
        gradient = tasks.field(params.repeat_interleave(4, dim=0), 0).view(3, 4, DIM).mean(dim=1)
        params, state = ADAM.step(params, gradient, state, lr=0.1)
    torch.testing.assert_close(found.params, params, rtol=1e-13, atol=1e-13)


def test_a_start_is_learned_from_which_tasks_are_near() -> None:
    found = learn(Adaptation(SGD, steps=2), iterations=200)
    assert float((found.params - MIDDLE).abs().max()) < 0.2
    assert bool((found.losses[:, -1] < 0.1 * found.losses[:, 0]).all())


def test_a_warm_state_counts_all_steps_and_a_cold_one_is_not_kept() -> None:
    warm = learn(Adaptation(ADAM, steps=2, warm=True))
    assert warm.state.step == 10
    assert warm.state.exp_avg_sq.shape == (3, DIM)
    assert learn(Adaptation(ADAM, steps=2)).state is None


def test_a_warm_state_is_the_mean_over_tasks_of_those_that_were_left() -> None:
    keys = Keys.of(range(3), study="test")
    warm = learn(Adaptation(ADAM, steps=1, warm=True), iterations=1)
    tasks = Bowls().tasks(keys.fold("training tasks").at(0), 4)
    rows = Bowls().init(keys).repeat_interleave(4, dim=0)
    field = tasks.field(rows, 0)
    _, state = ADAM.step(rows, field, ADAM.init(rows), lr=0.1)
    torch.testing.assert_close(warm.state.exp_avg, state.exp_avg.view(3, 4, DIM).mean(dim=1))
    torch.testing.assert_close(warm.state.exp_avg_sq, state.exp_avg_sq.view(3, 4, DIM).mean(dim=1))


def test_one_that_diverges_stays_where_it_was_and_the_others_do_not_notice() -> None:
    keys = Keys.of(range(3), study="test")
    lr = torch.full((3,), 0.1, dtype=torch.float64)
    outer = torch.tensor([0.1, 1e308, 0.1], dtype=torch.float64)
    adaptation = Adaptation(ADAM, steps=2, warm=True)
    found = meta_train(Bowls(), adaptation, keys, lr=lr, outer_lr=outer, iterations=6, tasks=4)
    alone = meta_train(
        Bowls(),
        adaptation,
        keys.rows(torch.tensor([0, 2])),
        lr=lr[:2],
        outer_lr=outer[[0, 2]],
        iterations=6,
        tasks=4,
    )
    assert found.diverged_at.tolist()[0] == found.diverged_at.tolist()[2] == -1
    assert found.diverged_at[1] >= 0
    assert bool(torch.isfinite(found.params).all())
    assert bool(torch.isnan(found.losses[1, -1]))
    assert torch.equal(found.params[[0, 2]], alone.params)
    assert torch.equal(found.losses[[0, 2]], alone.losses)


@pytest.mark.parametrize("shots", [5, 10])
@pytest.mark.parametrize(("rule", "warm"), [("sgd", False), ("adam", False), ("adam", True)])
def test_bits_do_not_depend_on_the_batch(rule: str, warm: bool, shots: int) -> None:
    """Float32 sinusoids, meta-trained and adapted: seeds 0 and 1 in batches of 2, 3, 7 and 16, either way
    round."""

    def run(seeds: list[int]) -> tuple[Tensor, Tensor]:
        keys, family = Keys.of(seeds, study="bits"), Sinusoids(shots)
        lr = torch.full((len(seeds),), 0.01, dtype=torch.float64)
        adaptation = Adaptation(RULES[rule], steps=2, warm=warm)
        learned = meta_train(family, adaptation, keys, lr=lr, outer_lr=lr, iterations=3, tasks=3)
        tasks = family.tasks(keys.fold("judged"), 5, evaluation=True)
        hyper = {"lr": lr}
        return learned.params, errors_along(
            tasks, RULES[rule], learned.params, hyper, tasks=5, steps=3, state=learned.state
        )

    params, errors = run([0, 1])
    for count in (3, 7, 16):
        for turned in (False, True):
            seeds = list(range(count))
            more = run(seeds[::-1] if turned else seeds)
            first, second = ((x.flip(0) if turned else x)[:2] for x in more)
            assert torch.equal(first, params)
            assert torch.equal(second, errors)


def test_errors_along_start_before_the_first_step_and_follow_the_closed_form() -> None:
    keys = Keys.of(range(2), study="test")
    tasks, params = Bowls().tasks(keys, 3), Bowls().init(keys)
    lr = torch.tensor([0.5, 1.0], dtype=torch.float64)
    errors = errors_along(tasks, SGD, params, {"lr": lr}, tasks=3, steps=4)
    start = tasks.loss(params.repeat_interleave(3, dim=0)).view(2, 3)
    shrink = (1 - lr[:, None]) ** (2 * torch.arange(5.0, dtype=torch.float64))
    torch.testing.assert_close(errors, start[:, :, None] * shrink[:, None, :])


def sweep(lr: Grid, widen: int = 3, training: str = "meta") -> MetaSweep:
    return MetaSweep(
        "tuned",
        "test",
        Bowls,
        {"bowls": {}},
        (MetaVariant("SGD", Adaptation(SGD, steps=1), training=training),),  # type: ignore[arg-type]
        inner=lr,
        outer=Grid(-3, -1),
        iterations=3,
        tasks=2,
        judged_after=1,
        followed=3,
        rates=(0.1, 1.0),
        judged_on=4,
        tuning_seeds=2,
        reporting_seeds=5,
        seeds_per_shard=2,
        widen=widen,
    )


def computed(experiment: MetaSweep, folder: Path) -> MetaSweepResult:
    plan = Plan("tiny", steps=1, tuning_seeds=2, reporting_seeds=5)
    job = local_job("test", plan, (experiment,), Store(folder / "results.sqlite"))
    run_jobs([job], InProcess(), 1, Quiet())
    found = job.results().by_name["tuned"]
    assert isinstance(found, MetaSweepResult)
    return found


def test_the_grid_grows_until_the_best_inner_rate_lies_inside(tmp_path: Path) -> None:
    found = computed(sweep(Grid(-4, -2)), tmp_path)
    tuned = found.tuned["bowls", "SGD"]
    assert tuned.best[0] == 1.0
    assert "inner" not in tuned.edges
    assert found.errors("bowls", "SGD").shape == (5,)
    assert float(found.errors("bowls", "SGD").max()) < 1e-25
    # Solved after one step at rate 1, from whatever start.
    assert float(found.runs["bowls", "SGD"]["by_rate"][:, 1].max()) < 1e-25


def test_a_rate_on_the_edge_of_the_widest_grid_is_flagged(tmp_path: Path) -> None:
    assert "inner" in computed(sweep(Grid(-6, -4), widen=0), tmp_path).tuned["bowls", "SGD"].edges


def test_the_frame_holds_every_point_tried_and_every_report(tmp_path: Path) -> None:
    found = computed(sweep(Grid(-6, -4)), tmp_path)
    frame, tuned = found.to_pandas(), found.tuned["bowls", "SGD"]
    assert set(tuned.errors) == set(tuned.scores)
    tried = frame[frame["stage"] == "tuning"]
    assert len(tried) == sum(map(len, tuned.errors.values()))
    for (inner, outer), errors in tuned.errors.items():
        mine = tried[(tried["lr"] == inner) & (tried["outer_lr"] == outer)].sort_values("seed")
        assert np.array_equal(mine["value"].to_numpy(), errors)
        assert tuned.scores[inner, outer] == centre(errors)
    reported = frame[frame["stage"] == "reporting"]
    assert {(lr, outer) for lr, outer in zip(reported["lr"], reported["outer_lr"], strict=True)} == {
        tuned.best
    }
    objective = reported[reported["quantity"] == "objective"].sort_values("seed")["value"]
    assert np.array_equal(objective.to_numpy(), found.errors("bowls", "SGD"))
    for name, values in found.runs["bowls", "SGD"].items():
        mine = reported[reported["quantity"] == name].sort_values(["seed", "index_1"])["value"]
        assert np.array_equal(mine.to_numpy(), values.ravel(), equal_nan=True)


def test_a_random_start_has_no_outer_rate_to_tune_and_no_curve(tmp_path: Path) -> None:
    found = computed(sweep(Grid(-1, 1), training="none"), tmp_path)
    assert {outer for _, outer in found.tuned["bowls", "SGD"].scores} == {0.1}
    assert bool(np.isnan(found.runs["bowls", "SGD"]["norms"]).all())


def test_shards_give_the_bits_of_the_whole() -> None:
    experiment = sweep(Grid(-1, 1))
    variant = experiment.variants[0]

    spec, *_ = experiment._specs("report", "bowls", variant, [(0.1, 0.1)])

    def run(first: int, seeds: int) -> Payload:
        return experiment.run({**spec, "first_seed": first, "seeds": seeds}, device="cpu")

    whole, parts = run(0, 5), [run(0, 2), run(2, 3)]
    for name, values in whole.items():
        assert np.array_equal(values, np.concatenate([p[name] for p in parts]), equal_nan=True)


def test_a_sweep_needs_two_seeds_of_each_kind() -> None:
    with pytest.raises(VhatError, match="at least 2 seeds"):
        MetaSweep(
            "tuned", "test", Bowls, {"bowls": {}}, (), Grid(-3, -1), Grid(-3, -1), 1, 1, 1, 1, (0.1,), 1, 1, 5
        )
