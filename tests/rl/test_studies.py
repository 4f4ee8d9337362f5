"""The four studies: their tiny plans are judged and drawn, and their verdicts follow the criterion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.lab.engines import InProcess
from core.lab.measurement import MeasurementResult
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.registry import find
from core.lab.run import Run
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from core.lab.study import Results
from core.lab.sweep import Sweep, SweepResult, Tuned
from core.lab.verdict import Label
from rl.studies import baseline, learning_curves, learning_settings
from rl.studies.baseline_settings import (
    BASELINES,
    BATCHES,
    NORMALIZED,
    SPENT,
    WITHOUT,
    batch_name,
    speed,
    spent_name,
)
from rl.studies.learning_episode import measure_episode
from rl.studies.learning_settings import TASKS, first_learned
from rl.studies.learning_verdict import failed, good_rates, unbounded
from rl.studies.variance_reduction_settings import BASE, FULL
from rl.studies.variance_reduction_verdict import gain_shared, noise_shared
from tests.verdicts import reads_in_short

STUDIES = ("baseline", "learning-curves", "variance-is-seen", "variance-reduction")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Results]:
    """The results of every tiny plan."""
    folder: Path = tmp_path_factory.mktemp("tiny")
    found = {}
    for name in STUDIES:
        registered = find(name)
        job = job_of(registered, registered.study.plan("tiny"), Store(folder / f"{name}.sqlite"))
        run_jobs([job], InProcess(), 1, Quiet())
        found[name] = job.results()
    return found


@pytest.mark.parametrize("name", STUDIES)
def test_the_tiny_plan_is_judged_and_drawn_and_says_that_seeds_are_few(name, tiny):
    study, results = find(name).study, tiny[name]
    verdict = study.judge(results)
    assert reads_in_short(verdict)
    assert verdict.label is Label.INCONCLUSIVE
    assert verdict.few_seeds
    assert all(len(row) == len(table.columns) for table in study.tables(results) for row in table.rows)
    for figure in study.figures:
        assert figure.draw(results).axes
    for film in study.films:
        assert film.draw(results).move(0)


def test_adam_has_all_of_its_own_gain_and_descent_nothing(tiny):
    results = tiny["variance-reduction"]
    for stage in ("untrained", "nearly solved"):
        assert noise_shared(results, stage, "none", FULL) == (1.0, 1.0, 1.0)
        assert noise_shared(results, stage, "none", BASE) == (0.0, 0.0, 0.0)
    assert gain_shared(results, "no baseline", FULL)[0] == 1.0
    assert gain_shared(results, "no baseline", BASE)[0] == 0.0


SEEDS = 24
STEPS = np.array([0, 2, 4, 6])


def made(sweep: Sweep, returns: dict[tuple[str, str], float]) -> SweepResult:
    """A sweep in which every seed's return rises from 20 and has the mean given, seeds a little apart."""
    runs, tuned = {}, {}
    apart = np.linspace(-1.0, 1.0, SEEDS)[:, None]
    for (regime, variant), mean in returns.items():
        curve = np.concatenate(
            [np.full((SEEDS, 1), 20.0), (mean + apart) * np.array([[0.5, 1.0, 1.5]])], axis=1
        )
        runs[regime, variant] = Run(
            STEPS, {"field/return": curve, "return": curve.copy()}, np.full(SEEDS, -1, dtype=np.int64)
        )
        setting = {"lr": 0.1}
        tuned[regime, variant] = Tuned(setting, (setting,), np.array([mean]), np.full((1, 2), mean), ())
    return SweepResult(sweep, tuned, runs)


NOISY = (WITHOUT, batch_name(BATCHES[0]), *map(spent_name, SPENT))
CELLS = (*BASELINES, NORMALIZED, *map(batch_name, BATCHES), *map(spent_name, SPENT))


def baseline_results(leads: dict[str, float], descent: dict[str, float] | None = None) -> Results:
    """Adam's lead over momentum, which returns `descent` or 60, as given in each regime; gradient descent is
    far behind.
    """
    plan = baseline.STUDY.plan("quick").with_seeds(SEEDS)
    by_name: dict[str, object] = {}
    for experiment in baseline.STUDY.experiments(plan):
        if isinstance(experiment, Sweep):
            returns = {}
            for regime in (r.name for r in experiment.regimes):
                lead, rival = leads[regime], (descent or {}).get(regime, 60.0)
                returns |= {
                    (regime, "Adam"): rival + lead,
                    (regime, "Momentum"): rival,
                    (regime, "Gradient descent"): 21.0,
                }
            by_name[experiment.name] = made(experiment, returns)
        else:
            noise = {name: np.linspace(0.4, 0.6, 10) for name in CELLS}
            by_name[experiment.name] = MeasurementResult(({"stage": "partly trained"},), (noise,))
    return Results(plan, by_name)


@pytest.mark.parametrize(
    ("baselines", "batch", "label"),
    [(50.0, 10.0, Label.SUPPORTED), (150.0, 180.0, Label.REFUTED), (50.0, 180.0, Label.CONDITIONAL)],
)
def test_a_lead_that_shrinks_with_the_noise_supports_the_claim(baselines, batch, label):
    leads = {name: 100.0 if name in NOISY else baselines if name in BASELINES else batch for name in CELLS}
    results = baseline_results(leads)
    verdict = baseline.STUDY.judge(results)
    assert verdict.label is label
    decisive = [f for f in verdict.findings if f.decisive]
    assert len(decisive) == 9
    returns, shares = ([f for f in decisive if f.unit.startswith(w)] for w in ("mean return", "descent's"))
    assert [f.effect for f in returns] == pytest.approx([baselines - 100.0, batch - 100.0, batch - 100.0])
    # Momentum gains 40 over an untrained policy, Adam that and its lead.
    expected = [40 / (40 + lead) - 40 / 140 for lead in (baselines, batch, batch)]
    assert [f.effect for f in shares] == pytest.approx(expected)


def test_a_small_lead_where_nothing_is_learned_is_not_taken_for_a_small_share():
    """Descent has a third of Adam's gain everywhere; with noise both gain little."""
    gains = {name: 15.0 if name in NOISY else 150.0 for name in CELLS}
    leads = {name: 2 * gain / 3 for name, gain in gains.items()}
    results = baseline_results(leads, {name: 20.0 + gain / 3 for name, gain in gains.items()})
    decisive = [f for f in baseline.STUDY.judge(results).findings if f.decisive]
    assert {str(f.outcome) for f in decisive if f.unit.startswith("mean return")} == {"fails"}
    assert [f.effect for f in decisive if f.unit.startswith("descent's")] == pytest.approx([0.0] * 3)


def test_without_a_gain_of_adam_no_share_is_judged():
    leads = dict.fromkeys(CELLS, 100.0) | dict.fromkeys(NOISY, -41.0)
    decisive = [f for f in baseline.STUDY.judge(baseline_results(leads)).findings if f.decisive]
    assert {str(f.outcome) for f in decisive if f.unit.startswith("descent's")} == {"unclear"}


def test_speed_counts_doublings_and_puts_those_that_never_learn_after_the_end():
    results = baseline_results(dict.fromkeys(CELLS, 140.0))
    # Adam's curve is 100, 200, 300 at updates 2, 4, 6, give or take a half; momentum's 30, 60, 90.
    adam, momentum = (speed(results, ("baselines", WITHOUT), v) for v in ("Adam", "Momentum"))
    assert set(adam) == {-1.0, -2.0}
    assert set(momentum) == {-np.log2(12.0)}


def learning_results(adam: float, descent: float) -> Results:
    plan = learning_curves.STUDY.plan("quick").with_seeds(SEEDS)
    by_name: dict[str, object] = {}
    sweeps = [e for e in learning_curves.STUDY.experiments(plan) if isinstance(e, Sweep)]
    for task, sweep in zip(TASKS, sweeps, strict=True):
        span = task.best - task.untrained
        returns = {
            (task.id, v.name): task.untrained + span * (adam if v.name == "Adam" else descent)
            for v in sweep.variants
        }
        by_name[sweep.name] = made(sweep, returns)
    return Results(plan, by_name)


def test_scores_are_zero_untrained_and_one_at_best():
    for task in TASKS:
        assert task.score(np.array([task.untrained, task.best])).tolist() == [0.0, 1.0]
        assert task.untrained < task.learned < task.best


def test_steps_to_a_threshold_are_the_first_recorded_update_at_or_above_it():
    results = learning_results(0.9, 0.02)
    task = TASKS[0]
    steps = first_learned(results, task, "Adam")
    # 452.2 on average: 226 at update 2 is learned already.
    assert set(steps) == {2.0}
    assert np.isinf(first_learned(results, task, "Momentum")).all()
    budget = results.sweep(task.id).sweep.steps
    # These runs end at update 6, whatever the plan says.
    assert set(learning_settings.speed(results, task, "Momentum")) == {-np.log2(12.0)}
    assert budget > 6
    assert not failed(results, task, "Adam").any()
    assert failed(results, task, "Momentum").all()
    assert (unbounded(results, task, "Adam") > unbounded(results, task, "Momentum")).all()


def test_good_rates_are_counted_in_decades_and_more_may_lie_beyond_an_end_that_is_still_good():
    results = learning_results(0.9, 0.02)
    task = TASKS[0]
    tuned = dict(results.sweep(task.id).tuned)
    best = tuned[task.id, "Adam"].scores[0]
    settings = tuple({"lr": lr} for lr in (0.001, 0.003, 0.01, 0.03))
    for name, scores in (("Adam", [30, best, best, 30]), ("RMSProp", [30, 30, best, best])):
        losses = np.zeros((4, 2))
        tuned[task.id, name] = Tuned(settings[1], settings, np.array(scores, dtype=float), losses, ())
    sweep = results.sweep(task.id)
    results = Results(results.plan, {**results.by_name, task.id: SweepResult(sweep.sweep, tuned, sweep.runs)})
    assert good_rates(results, task, "Adam") == (1.0, False)
    assert good_rates(results, task, "RMSProp") == (1.0, True)


def test_the_verdict_on_learning_follows_who_is_ahead():
    cartpole_ahead = learning_curves.STUDY.judge(learning_results(0.9, 0.02))
    behind = learning_curves.STUDY.judge(learning_results(0.02, 0.9))
    returns = [f.outcome for f in cartpole_ahead.findings if f.decisive and f.regime.endswith("return")]
    assert [str(o) for o in returns] == ["holds"] * 3
    returns = [f.outcome for f in behind.findings if f.decisive and f.regime.endswith("return")]
    assert [str(o) for o in returns] == ["fails"] * 3


def test_an_episode_to_look_at_depends_on_its_seed_alone_and_starts_as_the_others():
    def seen(rows: int, updates: int):
        cell = {"variant": "Adam", "lr": 0.03, "updates": updates}
        return measure_episode(cell, Keys.of(range(rows)), device="cpu")["seen"]

    untrained, trained = seen(2, 0), seen(2, 2)
    assert np.array_equal(trained, seen(3, 2)[:2], equal_nan=True)
    assert np.array_equal(untrained[:, 0], trained[:, 0])
    assert np.abs(untrained[:, 0]).max() < 0.05
    assert not np.array_equal(untrained, trained, equal_nan=True)
    for row in trained:
        length = int(np.isfinite(row[:, 0]).sum())
        assert np.isfinite(row[:length]).all()
        assert np.isnan(row[length:]).all()
