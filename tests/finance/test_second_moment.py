"""The second moment as risk: measurements against closed forms, the criterion, the verdict."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.lab.engines import InProcess
from core.lab.progress import Bar
from core.lab.random import Keys
from core.lab.registry import find
from core.lab.runner import local_job, run_jobs
from core.lab.stats import spearman
from core.lab.store import Store
from core.lab.study import Results
from core.lab.tables import findings_table, text_table
from core.lab.verdict import Label
from finance.correlates import correlates, permutation_band, rank_agreement
from finance.markets import SPANS, embedded_returns, market, standardise
from finance.moments import ewma_variance, volatility
from finance.objective import MeanVariance
from finance.studies.second_moment_is_risk import STUDY
from finance.studies.second_moment_settings import PARAMETRISATIONS, REGIMES, THRESHOLD, cells
from finance.traces import BETA2, log_steps, trace_second_moment
from tests.verdicts import reads_in_short

DEVIATIONS = np.array([0.01, 0.02, 0.03, 0.05])
KEYS = Keys.of(range(4), study="test")


def coin_market() -> np.ndarray:
    """Returns of plus or minus each asset's deviation in all combinations: r² is the same on every day."""
    return DEVIATIONS * np.array(list(itertools.product([-1.0, 1.0], repeat=4)))


def of(returns: np.ndarray, risk_aversion: float = 0.0, batch: int | None = 1) -> MeanVariance:
    return MeanVariance(returns, risk_aversion=risk_aversion, batch=batch, parametrisation="simplex")


@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_where_every_square_is_the_variance_v_is_the_variance(rate: float) -> None:
    # gamma = 0: the gradient is -r, and r² = sigma² on each day, whatever is drawn and wherever weights go.
    second_moment, params = trace_second_moment(of(coin_market()), KEYS, rates=[rate], record=[1, 7, 30])
    assert second_moment.shape == (4, 1, 3, 4)
    np.testing.assert_allclose(
        second_moment.numpy(), np.broadcast_to(DEVIATIONS**2, (4, 1, 3, 4)), rtol=1e-12
    )
    assert bool((params == 0.25).all()) == (rate == 0.0)


def test_direct_estimate_is_the_ewma_of_the_drawn_days() -> None:
    returns = 0.02 * np.random.default_rng(3).standard_normal((50, 5)) + 0.01
    problem = of(returns)
    second_moment, _ = trace_second_moment(problem, KEYS, rates=[0.1], record=[5, 20])
    params = problem.init(KEYS)
    drawn = torch.stack([problem.field(params, KEYS, step).values for step in range(20)], dim=1).numpy()
    for row in range(4):
        expected = ewma_variance(drawn[row], BETA2)
        np.testing.assert_allclose(second_moment[row, 0].numpy(), expected[[4, 19]], rtol=1e-10)


def test_without_noise_v_is_the_squared_mean_gradient() -> None:
    problem = of(coin_market() + DEVIATIONS, risk_aversion=3.0, batch=None)
    second_moment, params = trace_second_moment(problem, KEYS, rates=[0.0], record=[40])
    mean = problem.field_moments(params[:, 0]).mean
    np.testing.assert_allclose(second_moment[:, 0, 0].numpy(), mean.numpy() ** 2, rtol=1e-10)


def test_rates_of_a_trace_share_their_draws_and_do_not_touch_each_other() -> None:
    problem = of(embedded_returns()[:200, :6], risk_aversion=2.0)
    both, ends = trace_second_moment(problem, KEYS, rates=[0.0, 0.01], record=[3, 12])
    for column, rate in enumerate([0.0, 0.01]):
        alone, end = trace_second_moment(problem, KEYS, rates=[rate], record=[3, 12])
        assert torch.equal(both[:, column], alone[:, 0])
        assert torch.equal(ends[:, column], end[:, 0])
    rows = KEYS.rows(slice(1, 3))
    assert torch.equal(both[1:3], trace_second_moment(problem, rows, rates=[0.0, 0.01], record=[3, 12])[0])


@pytest.mark.parametrize(("last", "points"), [(1, 5), (10, 3), (3000, 16)])
def test_log_steps_cover_the_run(last: int, points: int) -> None:
    steps = log_steps(last, points)
    assert steps == sorted(set(steps))
    assert steps[0] == 1
    assert steps[-1] == last
    assert len(steps) <= points


def test_standardised_returns_have_one_volatility() -> None:
    returns = standardise(embedded_returns())
    deviation = returns.std(axis=0, ddof=1)
    np.testing.assert_allclose(deviation, embedded_returns().std(axis=0, ddof=1).mean(), rtol=1e-12)
    np.testing.assert_allclose(np.corrcoef(returns.T), np.corrcoef(embedded_returns().T), atol=1e-12)


def test_spans_are_the_whole_in_order() -> None:
    parts = [embedded_returns(span) for span in SPANS]
    # One return a boundary is lost: that from a span's last day to the next one's first.
    assert sum(map(len, parts)) == len(embedded_returns()) - len(SPANS) + 1
    np.testing.assert_array_equal(parts[0], embedded_returns()[: len(parts[0])])
    np.testing.assert_array_equal(parts[-1], embedded_returns()[-len(parts[-1]) :])


def test_correlates_of_the_coin_market() -> None:
    problem = of(coin_market(), batch=4)
    seen = correlates(problem, problem.init(KEYS).numpy())
    np.testing.assert_allclose(seen.volatility, DEVIATIONS * np.sqrt(252 * 16 / 15), rtol=1e-12)
    # Independent assets: the covariance with the mean of all is a fourth of the own variance.
    np.testing.assert_allclose(seen.beta, DEVIATIONS**2 / np.mean(DEVIATIONS**2), rtol=1e-10)
    np.testing.assert_allclose(seen.noise, np.broadcast_to(DEVIATIONS / 2, (4, 4)), rtol=1e-12)
    np.testing.assert_allclose(seen.mean, 0.0, atol=1e-16)
    np.testing.assert_array_equal(seen.weight, 0.25)


def test_rank_agreement_of_a_row_that_is_not_a_number_is_none() -> None:
    rows = np.array([[1.0, 2.0, 3.0], [np.nan, 1.0, 2.0], [3.0, 2.0, 1.0]])
    np.testing.assert_allclose(rank_agreement(rows, np.array([10.0, 20.0, 30.0])), [1.0, 0.0, -1.0])


def test_permutation_band_of_four_values_follows_from_all_their_orders() -> None:
    every = np.array(list(itertools.permutations(range(4))), dtype=float)
    exact = np.quantile(np.abs(spearman(every, np.arange(4.0))), 0.8)
    assert permutation_band(4, level=0.8) == pytest.approx(exact)


def test_the_bar_is_higher_than_what_is_not_volatility() -> None:
    """The criterion's reason: beta and volatility in another decade stay below the threshold."""
    whole = volatility(embedded_returns())
    problem = market(risk_aversion=2.0, batch=1, parametrisation="simplex")
    beta = correlates(problem, problem.init(KEYS).numpy()).beta
    decades = [spearman(volatility(embedded_returns(span)), whole) for span in SPANS]
    assert 0.9 < spearman(beta, whole) < THRESHOLD
    assert max(decades) < THRESHOLD


@pytest.fixture(scope="module")
def tiny() -> Results:
    """The tiny plan, run from nothing."""
    plan, store = STUDY.plan("tiny"), Store(Path(":memory:"))
    job = local_job(STUDY.id, plan, STUDY.experiments(plan), store)
    with Bar(STUDY.id) as bar:
        run_jobs([job], InProcess(), 1, bar)
    return job.results()


def test_the_tiny_plan_is_judged_drawn_and_tabled(tiny: Results) -> None:
    verdict = STUDY.judge(tiny)
    assert reads_in_short(verdict)
    assert [f.regime for f in verdict.findings if f.decisive] == [r.name for r in REGIMES]
    assert verdict.few_seeds
    assert verdict.label is Label.INCONCLUSIVE
    assert all(-2.0 <= f.low <= f.effect <= f.high <= 2.0 for f in verdict.findings)
    assert text_table(findings_table(verdict.findings))
    for table in STUDY.tables(tiny):
        assert all(len(row) == len(table.columns) for row in table.rows)
    for figure in STUDY.figures:
        assert figure.draw(tiny).axes


def test_verdict_follows_the_criterion(tiny: Results) -> None:
    """v made a function of volatility: supported; of its inverse: refuted; of either: conditional."""
    deviation = embedded_returns().std(axis=0)

    def made(power: dict[str, int]) -> Results:
        sweep = tiny.sweep("tuned")
        runs = {}
        for (regime, name), run in sweep.runs.items():
            v = deviation ** (2 * power[regime.split(",")[0]])
            runs[regime, name] = replace(run, state={"exp_avg_sq": np.tile(v, (len(run.diverged_at), 1))})
        plan = replace(tiny.plan, reporting_seeds=20)
        return Results(plan, {**tiny.by_name, "tuned": replace(sweep, runs=runs)})

    def label(*powers: int) -> Label:
        return STUDY.judge(made(dict(zip(PARAMETRISATIONS, powers, strict=True)))).label

    assert label(1, 1, 1) is Label.SUPPORTED
    assert label(-1, -1, -1) is Label.REFUTED
    mixed = STUDY.judge(made(dict(zip(PARAMETRISATIONS, (1, 1, -1), strict=True))))
    assert mixed.label is Label.CONDITIONAL
    assert set(mixed.fails_in) == {r.name for r in REGIMES if r.name.startswith("softmax")}
    assert "softmax 0 of 4" in mixed.sentence
    assert "12 of 18" in mixed.sentence


def test_registry_finds_the_study() -> None:
    found = find(STUDY.id)
    assert found.domain.name == "finance"
    assert found.study is STUDY


def test_no_control_is_measured_twice() -> None:
    keys = [tuple(cell.items()) for cell in cells()]
    assert len(set(keys)) == len(keys)
