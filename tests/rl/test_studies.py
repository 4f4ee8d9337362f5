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
from rl.studies import baseline, learning_curves
from rl.studies.baseline_settings import BASELINES, BATCHES, WITHOUT, batch_name, speed
from rl.studies.learning_episode import measure_episode
from rl.studies.learning_settings import TASKS, first_learned
from rl.studies.learning_verdict import failed, log_steps, unbounded
from rl.studies.variance_reduction_settings import BASE, FULL
from rl.studies.variance_reduction_verdict import gain_shared, noise_shared

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
        tuned[regime, variant] = Tuned(setting, (setting,), np.array([mean]), np.full((1, 2), mean), False)
    return SweepResult(sweep, tuned, runs)


def baseline_results(leads: dict[str, float]) -> Results:
    """Adam's lead over momentum as given in each regime; gradient descent is far behind."""
    plan = baseline.STUDY.plan("quick").with_seeds(SEEDS)
    by_name: dict[str, object] = {}
    for experiment in baseline.STUDY.experiments(plan):
        if isinstance(experiment, Sweep):
            returns = {}
            for regime in (r.name for r in experiment.regimes):
                lead = leads[regime]
                returns |= {
                    (regime, "Adam"): 60.0 + lead,
                    (regime, "Momentum"): 60.0,
                    (regime, "Gradient descent"): 30.0,
                }
            by_name[experiment.name] = made(experiment, returns)
        else:
            noise = {name: np.linspace(0.4, 0.6, 10) for name in (*BASELINES, *map(batch_name, BATCHES))}
            by_name[experiment.name] = MeasurementResult(({"stage": "partly trained"},), (noise,))
    return Results(plan, by_name)


@pytest.mark.parametrize(
    ("baselines", "batch", "label"),
    [(50.0, 10.0, Label.SUPPORTED), (150.0, 180.0, Label.REFUTED), (50.0, 180.0, Label.CONDITIONAL)],
)
def test_a_lead_that_shrinks_with_the_noise_supports_the_claim(baselines, batch, label):
    leads = {name: 100.0 if name == WITHOUT else baselines for name in BASELINES}
    leads |= {batch_name(e): 100.0 if e == BATCHES[0] else batch for e in BATCHES}
    results = baseline_results(leads)
    verdict = baseline.STUDY.judge(results)
    assert verdict.label is label
    decisive = [f for f in verdict.findings if f.decisive]
    assert len(decisive) == 4
    assert decisive[0].effect == pytest.approx(baselines - 100.0)
    assert decisive[1].effect == pytest.approx(batch - 100.0)


def test_speed_counts_doublings_and_puts_those_that_never_learn_after_the_end():
    leads = dict.fromkeys((*BASELINES, *map(batch_name, BATCHES)), 140.0)
    results = baseline_results(leads)
    # Adam's curve is 100, 200, 300 at updates 2, 4, 6, give or take a half; momentum's 30, 60, 90.
    adam, momentum = (speed(results, "baselines", WITHOUT, v) for v in ("Adam", "Momentum"))
    assert set(adam) == {-1.0, -2.0}
    assert set(momentum) == {-np.log2(7.0)}


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
    assert set(log_steps(results, task, "Momentum")) == {np.log2(2.0 * budget)}
    assert not failed(results, task, "Adam").any()
    assert failed(results, task, "Momentum").all()
    assert (unbounded(results, task, "Adam") > unbounded(results, task, "Momentum")).all()


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
