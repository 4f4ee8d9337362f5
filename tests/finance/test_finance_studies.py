"""The studies mean-variance, implicit-risk-management and out-of-sample: criteria, verdicts, measurements."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from core.lab.engines import InProcess, compute
from core.lab.measurement import MeasurementResult
from core.lab.progress import Bar
from core.lab.random import Keys
from core.lab.registry import find
from core.lab.runner import local_job, run_jobs
from core.lab.store import Store, payload_digest
from core.lab.study import Results, Study
from core.lab.tables import findings_table, text_table
from core.lab.verdict import Label, Outcome
from finance.markets import FUNDS, market
from finance.studies import implicit_risk_settings as caution_settings
from finance.studies import implicit_risk_verdict as caution_verdict
from finance.studies import mean_variance_settings as gap_settings
from finance.studies import out_of_sample_settings as walk_settings
from finance.studies.implicit_risk_management import STUDY as CAUTION
from finance.studies.mean_variance import STUDY as GAP
from finance.studies.out_of_sample import STUDY as WALK
from tests.verdicts import reads_in_short

STUDIES = {study.id: study for study in (GAP, CAUTION, WALK)}


@pytest.fixture(scope="module")
def tiny() -> Mapping[str, Results]:
    """The tiny plans, run from nothing."""
    found = {}
    for study in STUDIES.values():
        plan, store = study.plan("tiny"), Store(Path(":memory:"))
        job = local_job(study.id, plan, study.experiments(plan), store)
        with Bar(study.id) as bar:
            run_jobs([job], InProcess(), 1, bar)
        found[study.id] = job.results()
    return found


@pytest.mark.parametrize("study", STUDIES.values(), ids=lambda s: s.id)
def test_the_tiny_plan_is_judged_drawn_and_tabled(study: Study, tiny: Mapping[str, Results]) -> None:
    results = tiny[study.id]
    verdict = study.judge(results)
    assert reads_in_short(verdict)
    assert verdict.findings
    for f in verdict.findings:  # what is not known says so
        assert f.low <= f.effect <= f.high or (np.isnan(f.effect) and f.outcome is Outcome.UNCLEAR)
    assert any(table.columns[0] == "source" for table in study.tables(results))
    assert text_table(findings_table(verdict.findings))
    for table in study.tables(results):
        assert all(len(row) == len(table.columns) for row in table.rows)
    for figure in study.figures:
        assert figure.draw(results).axes
    assert find(study.id).domain.name == "finance"


def test_exact_solution_of_all_days_is_the_optimum_and_of_drawn_days_uses_the_sweeps_days() -> None:
    keys = Keys.of(range(3), study="mean-variance/report")
    cell = {"batch": None, "risk_aversion": 5.0, "span": None, "long_only": True, "steps": 10}
    assert not gap_settings.exact_on_drawn_days(cell, keys, device="cpu")["relative_gap"].any()
    drawn = gap_settings.exact_on_drawn_days({**cell, "batch": 32}, keys, device="cpu")
    problem = market(risk_aversion=5.0, batch=32, parametrisation="simplex")
    # It is optimal on the days on which the field was taken: no portfolio has a higher mean utility there.
    for row in range(3):
        weights = torch.cat([drawn["weights"][row][None], torch.eye(20), torch.full((1, 20), 0.05)]).double()
        same = keys.rows(torch.full((len(weights),), row))
        utility = torch.stack(
            [problem.field(weights, same, step).measures["utility"] for step in range(10)]
        ).mean(dim=0)
        assert int(utility.argmax()) == 0


def _with_gaps(results: Results, adam: Mapping[str, float]) -> Results:
    """Adam's final gap replaced, parametrisation by parametrisation; the exact solution's is 0."""
    sweep = results.sweep("tuned")
    runs = {}
    for (regime, name), run in sweep.runs.items():
        value = adam[regime.split(",")[0]] if name.startswith("Adam") else 0.0
        curves = {**run.curves, "relative_gap": np.full_like(run.curves["relative_gap"], value)}
        runs[regime, name] = replace(run, curves=curves, diverged_at=np.full_like(run.diverged_at, -1))
    exact = results.measurement("exact")
    zero = tuple({**a, "relative_gap": np.zeros_like(a["relative_gap"])} for a in exact.arrays)
    return Results(
        replace(results.plan, reporting_seeds=20),
        {
            **results.by_name,
            "tuned": replace(sweep, runs=runs),
            "exact": MeasurementResult(exact.cells, zero),
        },
    )


def test_mean_variance_follows_its_criterion(tiny: Mapping[str, Results]) -> None:
    ways = (*gap_settings.LONG_ONLY, "free")

    def label(**gaps: float) -> Label:
        return GAP.judge(_with_gaps(tiny[GAP.id], {**dict.fromkeys(ways, 0.05), **gaps})).label

    assert label() is Label.SUPPORTED
    assert label(simplex=0.5) is Label.CONDITIONAL
    assert label(**dict.fromkeys(ways, 0.5)) is Label.REFUTED


def test_what_can_be_attained_is_never_worse_than_equal_weights(tiny: Mapping[str, Results]) -> None:
    for regime in gap_settings.REGIMES:
        assert (gap_settings.attainable(tiny[GAP.id], regime.name) <= 1.0).all()


def test_caution_follows_its_criterion(tiny: Mapping[str, Results]) -> None:
    """Adam all in the calmest asset, the others in the wildest: more cautious; and the other way round."""
    deviation = np.diagonal(caution_settings.daily_covariance())
    calm, wild = int(deviation.argmin()), int(deviation.argmax())

    def made(adam: int, other: int) -> Results:
        sweep = tiny[CAUTION.id].sweep("tuned")
        runs = {}
        for (regime, name), run in sweep.runs.items():
            soft = regime.split(",")[0] in ("softmax", "exponentiated")
            params = np.full((3, 20), -50.0 if soft else 0.0)
            params[:, adam if name == caution_settings.ADAM else other] = 50.0 if soft else 1.0
            runs[regime, name] = replace(run, params=params)
        results = tiny[CAUTION.id]
        plan = replace(results.plan, reporting_seeds=20)
        return Results(plan, {**results.by_name, "tuned": replace(sweep, runs=runs)})

    assert CAUTION.judge(made(calm, wild)).label is Label.SUPPORTED
    assert CAUTION.judge(made(wild, calm)).label is Label.REFUTED


def test_derived_points_are_shifted_only_where_they_should_be() -> None:
    settings = caution_settings
    for gamma, sign in ((settings.LOW, -1), (settings.HIGH, 1)):
        best = settings.optimum(gamma)
        for way in settings.LONG_ONLY:
            assert settings.distance(settings.predicted_rest(way, settings.SHARED, gamma), best) < 1e-8
            shift = settings.distance(settings.predicted_rest(way, settings.ADAM, gamma), best)
            assert (shift > 0.2) == (way in settings.EUCLIDEAN)
        # Bolder where the budget forces, more cautious where it forbids; v turned over does the opposite.
        base = settings.caution(best)["volatility"]
        for variant, direction in ((settings.ADAM, 1), (settings.ORACLE, 1), (settings.INVERSE, -1)):
            other = settings.caution(settings.predicted_rest("simplex", variant, gamma))["volatility"]
            assert np.sign(other - base) == sign * direction


@pytest.mark.parametrize("way", caution_settings.LONG_ONLY)
def test_rows_of_a_long_run_do_not_touch_each_other(way: str) -> None:
    cell = {"parametrisation": way, "risk_aversion": 5.0, "steps": 12, "lr": 0.02}
    keys = Keys.of(range(5), study="test")
    every = caution_settings.come_to_rest(cell, keys, device="cpu")
    some = caution_settings.come_to_rest(cell, keys.rows(slice(1, 3)), device="cpu")
    assert set(every) == set(caution_settings.VARIANTS)
    for name, path in every.items():
        assert torch.equal(path[1:3], some[name])


def test_gap_of_the_optimum_and_of_equal_weights() -> None:
    rows = np.stack([caution_settings.optimum(5.0), np.full(20, 0.05)])
    np.testing.assert_allclose(caution_settings.gap_of(rows[None], 5.0), [[0.0, 1.0]], atol=1e-9)


def test_walk_forward_sees_only_the_past(tiny: Mapping[str, Results]) -> None:
    days = walk_settings.trading_days("factors", 63, 3)
    returns = walk_settings.returns_of("factors")
    assert days[0] >= walk_settings.WINDOW
    assert days[-1] < len(returns)
    found = walk_settings.backtests(tiny[WALK.id], "factors", "1/N")
    assert len(found) == 1
    cell = {"data": "factors", "portfolio": "Adam, softmax", "rebalance": 63, "most": 3, "steps": 5}
    keys = Keys.of(range(4), study="test")
    both = walk_settings.descend(cell, keys, device="cpu")["weights"]
    assert both.shape == (4, 3, 5)
    np.testing.assert_array_equal(
        both[1:3], walk_settings.descend(cell, keys.rows(slice(1, 3)), device="cpu")["weights"]
    )
    np.testing.assert_allclose(both.sum(axis=-1), 1.0, atol=1e-12)


@pytest.mark.parametrize("portfolio", ["Adam, softmax", "Gradient descent, Euclidean projection"])
def test_rewriting_the_future_changes_no_descent_before_it(
    monkeypatch: pytest.MonkeyPatch, portfolio: str
) -> None:
    returns = walk_settings.returns_of("factors")
    days = walk_settings.trading_days("factors", 63, 3)
    cell = {"data": "factors", "portfolio": portfolio, "rebalance": 63, "most": 3, "steps": 5}
    keys = Keys.of(range(2), study="test")
    one = walk_settings.descend(cell, keys, device="cpu")
    other = np.array(returns)
    other[days[1] :] = 0.02 * np.random.default_rng(1).standard_normal(other[days[1] :].shape)
    monkeypatch.setattr(walk_settings, "returns_of", lambda _: other)
    two = walk_settings.descend(cell, keys, device="cpu")
    np.testing.assert_array_equal(one["rate"], two["rate"])
    np.testing.assert_array_equal(one["weights"][:, :2], two["weights"][:, :2])
    assert (one["weights"][:, 2] != two["weights"][:, 2]).all()


def test_gaps_of_windows_are_measured_on_the_utility_that_is_climbed() -> None:
    returns = walk_settings.returns_of("factors")
    windows = np.stack([returns[:504], returns[300:804]])
    best = walk_settings.exact_weights(windows)
    rows = np.stack([best, np.full(best.shape, 0.2), np.eye(5)[[0, 0]]])
    gaps = walk_settings.gaps_of(rows, windows)
    np.testing.assert_allclose(gaps[:2], [[0.0, 0.0], [1.0, 1.0]], atol=1e-9)
    problem = market(risk_aversion=5.0, batch=None, parametrisation="simplex", span=FUNDS)
    whole = problem.returns.numpy()[None]
    measured = problem.measure(torch.eye(5, dtype=torch.float64), keys=Keys.of([0], study=""))
    np.testing.assert_allclose(
        walk_settings.gaps_of(np.eye(5)[:, None], whole)[:, 0], measured["relative_gap"], rtol=1e-9
    )


def test_false_discoveries_are_controlled_in_each_family(tiny: Mapping[str, Results]) -> None:
    families = walk_settings.comparisons(tiny[WALK.id])
    assert {name: len(family) for name, family in families.items()} == {
        "Adam": 6,
        "rivals": 12,
        "standard": 12,
        "volatility": 22,
    }
    for family in families.values():
        for one in family:
            low, high = one.interval[1:]
            assert low <= one.interval[0] <= high
            assert 0.0 <= one.p_value <= 1.0
    sentence = WALK.judge(tiny[WALK.id]).sentence
    assert sentence.count("with false discoveries controlled") == 5
    clear = walk_settings.Comparison("", "", "", "Sharpe ratio", 5.0, 5.0 + np.linspace(-1, 1, 100))
    none = walk_settings.Comparison("", "", "", "volatility", 0.0, np.linspace(-1, 1, 100))
    assert clear.p_value < 1e-10
    assert none.p_value == 1.0
    assert none.interval[0] == 1.0


def test_without_a_common_level_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, tiny: Mapping[str, Results]
) -> None:
    """Neither that the claim holds at equal gaps, nor that it fails."""
    adam, shared = caution_settings.ADAM, caution_settings.SHARED
    level = {adam: 0.5, shared: 1.5}  # one v never comes as near as the first level of 0.95

    def path(results: Results, way: str, variant: str, gamma: float) -> np.ndarray:
        return np.full((3, 4, 20), level[variant])

    monkeypatch.setattr(caution_settings, "rest_path", path)
    monkeypatch.setattr(caution_settings, "gap_of", lambda weights, _: weights[..., 0])
    results = dataclasses.replace(tiny[CAUTION.id])  # which remembers nothing
    logs = caution_settings.log_ratio_at_equal_gap(results, "simplex", 1.0, adam, shared)
    assert np.isnan(logs).all()
    monkeypatch.setattr(caution_verdict, "log_ratio_at_equal_gap", lambda *_: np.array([0.1, np.nan, -0.1]))
    found = caution_verdict._at_equal_gap(tiny[CAUTION.id], "simplex", 1.0, adam)
    assert found.outcome is Outcome.UNCLEAR


def test_resampled_moments_of_equal_returns_do_not_vary(tiny: Mapping[str, Results]) -> None:
    runs = walk_settings.backtests(tiny[WALK.id], "companies", "minimum variance")
    one, twice = walk_settings.moments_of({"one": runs, "twice": [*runs, *runs]}).values()
    assert one.sharpe == pytest.approx(twice.sharpe)
    np.testing.assert_allclose(one.sharpes, twice.sharpes)
    daily = runs[0].returns
    assert one.volatility == pytest.approx(daily.std(ddof=1) * np.sqrt(252))
    assert one.sharpe == pytest.approx(daily.mean() / daily.std(ddof=1) * np.sqrt(252))
    # The same resamples on both sides: a portfolio differs from itself by nothing.
    verdict = WALK.judge(tiny[WALK.id])
    assert {f.outcome for f in verdict.findings} <= set(Outcome)


def test_shards_have_the_same_bits_however_many_threads_linear_algebra_may_use() -> None:
    """On one thread and on two a product of matrices over thousands of days differs in its last bits: a shard
    must not see how many processors there are."""
    plan = GAP.plan("tiny")
    exact = next(e for e in GAP.experiments(plan) if e.name == "exact")
    for shard in exact.pending(lambda _: None)[:4]:
        digests = set()
        for threads in (1, 2, 4):
            with threadpool_limits(threads, user_api="blas"):
                done = compute(exact, shard.spec, "cpu")
            assert done.payload is not None, done.error
            digests.add(payload_digest(done.payload))
        assert len(digests) == 1, shard.spec
