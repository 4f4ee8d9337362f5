"""Reddi et al.'s theorem on our problem, the edge of stability, and the verdict that follows."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from core.lab.conformance import check_problem
from core.lab.engines import InProcess
from core.lab.errors import VhatError
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.registry import find
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from core.lab.study import Results
from core.lab.verdict import Label
from core.optim.rules import RULES
from core.problems.calm_valley import SPIKES, VALLEY, descend, height, rise
from core.problems.online import (
    PROBLEMS,
    RATES,
    SCHEDULES,
    SHORT,
    USUAL,
    OnlineLinear,
    betas,
    configurations,
    earlier,
    play,
    times,
)
from core.studies import amsgrad
from core.studies.amsgrad_online_verdict import online_table, rate_of
from tests.verdicts import reads_in_short


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_problems_keep_the_contract_of_a_problem(name: str) -> None:
    check_problem(OnlineLinear(**PROBLEMS[name]))


@pytest.mark.parametrize("name", PROBLEMS)
def test_gradients_have_the_mean_that_the_regret_is_measured_by(name: str) -> None:
    problem, keys = OnlineLinear(**PROBLEMS[name]), Keys.of(range(60))
    x = torch.full((60, 1), 0.25, dtype=torch.float64)
    steps = 20 * problem.period
    sampled = [problem.field(x, keys, t) for t in range(steps)]
    gradients = torch.stack([s.values for s in sampled])
    assert set(gradients.unique().tolist()) == {-1.0, problem.large}
    slack = 5 * float(gradients.std()) / (60 * steps) ** 0.5 if problem.random else 1e-12
    assert float(gradients.mean()) == pytest.approx(problem.mean, abs=slack)
    for s in sampled[:5]:
        assert torch.equal(s.measures["regret"], (s.values * (x + 1.0))[:, 0])
    assert problem.mean > 0
    assert problem.measure(x, keys)["gap"].tolist() == pytest.approx([problem.mean * 1.25] * 60)


@pytest.mark.parametrize("wrong", [{"large": 1.0, "period": 3}, {"large": 4.0, "period": 0}])
def test_problems_whose_best_point_is_another_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(VhatError, match="so that -1 is the best point"):
        OnlineLinear(**wrong)  # type: ignore[arg-type]


def played(rule: str, large: float, lr: float, cycles: int) -> torch.Tensor:
    """x at the start of each cycle of theorem 1's problem, from x = 1, as the paper sets Adam up."""
    problem, keys = OnlineLinear(large, 3), Keys.of([0, 1])
    x = torch.ones(2, 1, dtype=torch.float64)
    hyper = {"beta1": 0.0, "beta2": 1 / (1 + large**2), "eps": 0.0, "bias_correction": False}
    state, kept = RULES[rule].init(x), []
    for t in range(3 * cycles):
        if t % 3 == 0:
            kept.append(float(x[0, 0]))
        g = problem.field(x, keys, t).values
        x, state = RULES[rule].step(x, g, state, lr=lr / math.sqrt(t + 1), **hyper)
        x = problem.project(x)
    return torch.tensor(kept, dtype=torch.float64)


@pytest.mark.parametrize("large", [2.5, 4.0, 10.0, 100.0])
@pytest.mark.parametrize("lr", [0.01, 0.3, 0.9])
def test_theorem_1_of_reddi_et_al_holds_for_our_adam(large: float, lr: float) -> None:
    # Lemma of the proof: for lr < sqrt(1 - beta2), x is back at 1 at the start of every cycle.
    assert lr < math.sqrt(1 - 1 / (1 + large**2))
    assert torch.allclose(played("adam", large, lr, 60), torch.ones(60, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("large", [4.0, 10.0])
def test_amsgrad_goes_the_other_way_in_the_same_problem(large: float) -> None:
    x = played("amsgrad", large, 0.9, 400)
    assert float(x[0]) == 1.0
    assert (x[-100:] < -0.8).all()


def test_sitting_still_has_the_share_of_its_point() -> None:
    cell = {"rule": "adam", "problem": "theorem 1, C = 4", "stage": "tune", "steps": 60}
    keys = Keys.of(range(5))
    found = play(cell, keys, device="cpu")
    start = OnlineLinear(**PROBLEMS["theorem 1, C = 4"]).init(keys.fold("tune"))[:, 0].numpy()
    still = configurations("theorem 1, C = 4").index((USUAL, "1/sqrt(t)", RATES[0]))
    assert times(60)[-1] == 60
    # 60 steps of at most 32 lr / sqrt(t) (beta1 = 0 without correction) move x by less than 0.05.
    assert found["share"][:, still, -1] == pytest.approx((start + 1) / 2, abs=0.05)
    assert (np.abs(found["x"]) <= 1).all()


def test_learning_rates_are_chosen_on_other_starts_than_they_are_reported_on() -> None:
    keys = Keys.of(range(6))
    problem = OnlineLinear(**PROBLEMS["theorem 1, C = 4"])
    assert not torch.equal(problem.init(keys.fold("tune")), problem.init(keys.fold("report")))


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9])
def test_momentum_on_a_bowl_is_stable_up_to_the_edge(beta1: float) -> None:
    edge = 2 * (1 + beta1) / (1 - beta1)
    for factor, stable in ((0.999, True), (1.001, False)):
        a = factor * edge
        step = np.array([[1 - a * (1 - beta1), -a * beta1], [1 - beta1, beta1]])
        assert bool(np.abs(np.linalg.eigvals(step)).max() < 1) is stable


def test_adam_erupts_only_after_its_rate_has_passed_the_edge() -> None:
    x = torch.ones(2, 1, dtype=torch.float64)
    state, sizes, rates = RULES["adam"].init(x), [], []
    for _ in range(6000):
        x, state = RULES["adam"].step(x, x, state, lr=0.01, beta2=0.99)
        sizes.append(float(x[0].abs()))
        rates.append(0.01 / (float(state.exp_avg_sq[0].sqrt()) + 1e-8))
    least = np.minimum.accumulate(np.array([max(sizes[i : i + 50]) for i in range(0, 6000, 50)]))
    window = int(
        np.flatnonzero(np.array([max(sizes[i : i + 50]) for i in range(0, 6000, 50)]) > 10 * least)[0]
    )
    assert max(rates[: 50 * (window + 1)]) > 38
    assert max(rates[:20]) < 38


def test_a_rise_is_measured_from_what_was_reached_before() -> None:
    assert rise(np.array([9.0, 1.0, 0.1, 0.01])) == pytest.approx(0.1)
    assert rise(np.array([1.0, 1.0, 0.1, 2.0, 0.5])) == pytest.approx(20.0)
    assert rise(np.array([1.0, 1e-30, 1e-40, 1e-35])) == pytest.approx(1.0)
    assert rise(np.array([[5.0, 1.0, 1.0], [5.0, 1.0, 3.0]])).tolist() == [1.0, 3.0]


def test_a_height_is_the_largest_size_after_a_rise_and_zero_without_one() -> None:
    assert height(np.array([9.0, 1.0, 0.1, 2.0, 0.5])) == pytest.approx(2.0)
    assert height(np.array([9.0, 1.0, 0.1, 0.5, 0.5])) == 0.0
    assert height(np.array([9.0, 1.0, 1e-30, 1e-12])) == 0.0


def test_amsgrads_envelope_never_rises_where_nothing_disturbs_it() -> None:
    found = descend({"rule": "amsgrad", "spike": "no spike", "steps": 3000}, Keys.of([0, 1]), device="cpu")
    assert (rise(found["envelope"]) < 1.5).all()


def test_the_ratchet_holds_in_the_paper_and_slips_by_the_bias_correction_in_torch() -> None:
    steps = 500
    kept, slipped = (
        amsgrad.ratchet({"bias_correction": c, "steps": steps}, Keys.of([0, 1]), device="cpu")["left"]
        for c in (False, True)
    )
    assert kept.tolist() == [1.0, 1.0]
    assert slipped == pytest.approx(math.sqrt(0.001 / (1 - 0.999**steps)), rel=1e-9)
    assert SPIKES["spike"] ** 2 * 0.001 > 1  # so that v itself never passes the spike's


def test_theorems_short_memory_is_in_every_problem() -> None:
    for problem, settings in PROBLEMS.items():
        assert betas(problem)[SHORT] == (0.0, 1 / (1 + settings["large"] ** 2))
        # Shorter than the gap between large gradients.
        assert 1 / (1 - betas(problem)[SHORT][1]) < settings["period"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    store = Store(tmp_path_factory.mktemp("amsgrad") / "s.sqlite")
    job = job_of(find("amsgrad"), amsgrad.STUDY.plan("tiny"), store)
    run_jobs([job], InProcess(), 1, Quiet())
    found = job.results()
    store.close()
    return found


def test_the_tiny_plan_is_judged_as_too_small(results: Results) -> None:
    verdict = amsgrad.judge(results)
    assert reads_in_short(verdict)
    assert verdict.label is Label.INCONCLUSIVE
    assert verdict.few_seeds
    assert len([f for f in verdict.findings if f.decisive]) == 2 * (2 * len(PROBLEMS) + 2 * len(VALLEY))


def test_a_rate_at_an_end_of_the_nine_is_marked(results: Results) -> None:
    table = online_table(results)
    for rule, column in (("Adam", "Adam: best lr"), ("AMSGrad", "AMSGrad: best lr")):
        marked = [row[table.columns.index(column)] for row in table.rows]
        rates = [
            rate_of(results, rule, problem, pair, schedule)
            for problem in PROBLEMS
            for pair, schedule in product(betas(problem), SCHEDULES)
        ]
        assert [m.endswith("(edge)") for m in marked] == [edge for _, edge in rates]
        assert all(edge == (rate in (min(RATES), max(RATES))) for rate, edge in rates)
        assert [float(m.partition(" ")[0]) for m in marked] == [rate for rate, _ in rates]


def test_regret_that_falls_as_the_root_of_time_halves_in_ten_times_the_steps() -> None:
    steps = times(2000)
    assert {earlier(2000), 2000} <= set(steps)
    share = 1 / np.sqrt(np.array(steps))
    then = share[steps.index(earlier(2000))]
    assert share[-1] < 0.5 * then


def test_figures_and_tables_are_drawn(results: Results, tmp_path: Path) -> None:
    for spec in amsgrad.STUDY.figures:
        spec.draw(results).savefig(tmp_path / f"{spec.name}.svg")
        assert (tmp_path / f"{spec.name}.svg").stat().st_size > 5000
    for table in amsgrad.STUDY.tables(results):
        assert all(len(row) == len(table.columns) for row in table.rows)
