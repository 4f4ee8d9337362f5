"""What the studies of games measure, against closed forms and planted cases."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.lab.measurement import MeasurementResult
from core.lab.random import Keys
from core.lab.run import Run
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.rules import RULES
from games.assignments import LATENTS, packed, unpacked
from games.bilinear import BilinearGame
from games.iterates import average_iterates
from games.joint import Joint
from games.orbit import descent_growth_per_turn
from games.studies import (
    damping,
    equilibrium,
    equilibrium_settings,
    gan_compared,
    gan_ring,
    gan_settings,
    limit_cycle,
    limit_cycle_settings,
    limit_cycle_verdict,
    orbit_settings,
    orbits,
)

torch.set_num_threads(1)
KEYS = Keys.of(range(3), study="studies")
STUDIES = [m.STUDY for m in (orbits, limit_cycle, damping, equilibrium, gan_ring)]


@pytest.mark.parametrize("play", ["simultaneous", "alternating"])
@pytest.mark.parametrize("lr", orbits.EXACT_RATES)
def test_closed_forms_hold_to_rounding(play: str, lr: float) -> None:
    found = orbits.measure_closed_form({"play": play, "lr": lr, "steps": 200}, KEYS, device="cpu")
    assert np.asarray(found["deviation"]).shape == (3,)
    assert float(np.max(np.asarray(found["deviation"]))) < 1e-13


def test_turning_is_measured_at_every_rate() -> None:
    cell = {"variant": "GDA", "steps": 700}
    found = {k: np.asarray(v) for k, v in orbits.measure_turning(cell, KEYS, device="cpu").items()}
    rates = np.array(orbits.RATES)
    np.testing.assert_array_equal(found["lr"], np.tile(rates, (3, 1)))
    np.testing.assert_allclose(found["turns"], np.tile(np.arctan(rates) / (2 * math.pi), (3, 1)), rtol=1e-9)
    turned = 700 * np.arctan(rates) / (2 * math.pi) >= 0.05
    known = [descent_growth_per_turn(lr) for lr in rates[turned]]
    np.testing.assert_allclose(found["growth"][:, turned], np.tile(known, (3, 1)), rtol=1e-6)
    assert np.isnan(found["growth"][:, ~turned]).all()
    assert found["distance"].shape == (3, len(rates), found["step"].shape[1])


@pytest.mark.parametrize("name", list(orbit_settings.LINEAR))
def test_linear_theory_is_seen_on_paths(name: str) -> None:
    cell = {"variant": name, "rates": [0.1, 0.3], "steps": 40}
    found = orbits.measure_theory(cell, KEYS, device="cpu")
    np.testing.assert_allclose(found["observed"], found["predicted"], rtol=1e-6)


def test_settled_radii_start_where_they_say() -> None:
    """After no time at all the radius is the start's: half and twice what is predicted."""
    cell = {
        "scheme": "optimistic",
        "beta1": [0.1, 0.6],
        "beta2": 0.99,
        "lr": 1e-3,
        "eps": 0.0,
        "noise": 0.0,
        "steps": 1,
    }
    found = np.asarray(limit_cycle.measure_settled(cell, KEYS, device="cpu")["radius"])
    start = np.array(limit_cycle_settings.predicted(cell)["start"])
    assert start[0] == limit_cycle_settings.NO_CYCLE_START
    sides = np.array(list(limit_cycle_settings.SIDES.values()))
    np.testing.assert_allclose(found, np.tile(start[:, None] * sides, (3, 1, 1)), atol=1.0)


def test_deviations_from_the_law_are_relative_and_keep_what_is_asked() -> None:
    cell = {"scheme": "simultaneous", "beta1": [0.0, 0.9], "beta2": 0.99, "eps": 0.0, "noise": 0.0}
    radius = np.array(limit_cycle_settings.predicted(cell)["radius"])
    measured = np.stack([radius * 1.1, radius * 0.8], axis=1)[None].repeat(2, axis=0)
    found = MeasurementResult((cell,), ({"radius": measured},))
    for side, expected in enumerate((0.1, 0.2)):
        both = limit_cycle_verdict.deviations(found, side, lambda _: True)
        np.testing.assert_allclose(both, np.full((2, 2), expected))
        assert limit_cycle_verdict.deviations(found, side, lambda kc: kc < 0.05).shape == (2, 1)


@given(st.integers(0, 1000))
def test_average_iterates_are_means_without_the_start(seed: int) -> None:
    points = np.random.default_rng(seed).uniform(size=(2, 7, 3))
    found = average_iterates(points.copy())
    np.testing.assert_allclose(found[:, 0], points[:, 0])
    for t in range(1, 7):
        np.testing.assert_allclose(found[:, t], points[:, 1 : t + 1].mean(axis=1))


def test_exploitability_of_averages_is_that_of_strategies() -> None:
    """Uniform play is the equilibrium of rock-paper-scissors; GDA's average tends to it in either form."""
    for regime in ("rock-paper-scissors, projection", "rock-paper-scissors, softmax"):
        cell = {"regime": regime, "method": "GDA", "steps": 300}
        found = equilibrium.measure_exploitability(cell, KEYS, device="cpu")
        column = int(np.argmin(np.abs(np.array(equilibrium_settings.RATES) - 0.316228)))
        average = np.asarray(found["average exploitability"])[:, column]
        assert average.shape == (3, np.asarray(found["step"]).shape[1])
        assert (average[:, -1] < 0.5 * average[:, 0]).all()


def test_joint_play_couples_the_players() -> None:
    """One norm for the field of xy leaves its direction; a norm a player leaves its signs only."""
    lr, start = 0.1, BilinearGame().init(KEYS)
    field = BilinearGame().mean_field(start)
    expected = {
        "joint": lr * field / field.norm(dim=1, keepdim=True),
        "apart": lr * field.sign(),
    }
    variants = {
        "joint": Variant("joint", "normalized_sgd", {"eps": 0.0}, play=Joint()),
        "apart": Variant("apart", "normalized_sgd", {"eps": 0.0}),
    }
    for name, variant in variants.items():
        run = train(BilinearGame(), [Block(variant, slice(0, 3), {"lr": lr})], KEYS, steps=1)
        moved = torch.from_numpy(run.curves["distance"][:, -1])
        torch.testing.assert_close(moved, (start - expected[name]).norm(dim=1), rtol=1e-12, atol=0.0)


def test_a_shared_second_moment_follows_the_closed_form() -> None:
    """On the first step v is the squared field; the whole is divided by its mean over both players."""
    start = BilinearGame().init(KEYS)
    variant = Variant("shared", RULES["adam_shared_v"], {"eps": 0.0}, play=Joint())
    run = train(BilinearGame(), [Block(variant, slice(0, 3), {"lr": 0.1})], KEYS, steps=1)
    field = BilinearGame().mean_field(start)
    step = 0.1 * field / (field.square().mean(dim=1, keepdim=True)).sqrt()
    expected = (start - step).norm(dim=1)
    torch.testing.assert_close(
        torch.from_numpy(run.curves["distance"][:, -1]), expected, rtol=1e-12, atol=0.0
    )


def _masses(near: list[list[float]]) -> Run:
    """A run of one replica with two modes, whose masses are given."""
    table = np.array(near)
    curves = {f"mass {k}": table[None, :, k] for k in range(table.shape[1])}
    return Run(np.arange(len(table)), curves, np.array([-1]))


def test_churn_counts_gains_and_losses_of_the_second_half() -> None:
    modes = np.array([[0, 8, 0, 4, 5, 4, 6], [0, 0, 0, 8, 8, 8, 8]], dtype=np.float64)
    run = Run(np.arange(7), {"modes": modes}, np.array([-1, -1]))
    np.testing.assert_allclose(gan_compared.churn(run), [4 / 3, 0.0])


def test_a_mode_is_regained_when_it_was_covered_before() -> None:
    run = _masses([[0.0, 0.5], [0.5, 0.0], [0.0, 0.4], [0.0, 0.0], [0.3, 0.3], [0.3, 0.3]])
    assert gan_compared.regained(run).tolist() == [3.0]  # the second mode twice, the first once


def test_a_replica_that_diverged_has_regained_nothing_that_counts() -> None:
    run = _masses([[0.5, 0.5], [0.0, 0.5], [np.nan, np.nan]])
    assert np.isnan(gan_compared.regained(run)).all()


def test_packed_assignments_come_back_whole() -> None:
    for modes in (8, 10, 25):
        assigned = torch.from_numpy(np.random.default_rng(modes).integers(0, modes + 1, (3, LATENTS)))
        curves = {k: v.numpy()[:, None] for k, v in packed(assigned, modes).items()}
        np.testing.assert_array_equal(unpacked(curves, modes)[:, 0], assigned.numpy())


def test_latents_that_change_modes_are_counted_where_the_masses_stay() -> None:
    """Two modes change places: no mass moves, and every latent does."""
    halves = torch.arange(LATENTS)[None] % 2
    packs = [packed(x, 2) for x in (halves, halves, 1 - halves, 1 - halves)]
    curves = {k: np.array([[float(p[k][0]) for p in packs]]) for k in packs[0]}
    curves |= {f"mass {k}": np.full((1, 4), 0.5) for k in range(2)}
    run = Run(np.arange(4), curves, np.array([-1]))
    np.testing.assert_allclose(gan_compared.switched(run), [0.0])  # the second half alone
    run = Run(np.arange(4), {k: v[:, [0, 0, 1, 2]] for k, v in curves.items()}, np.array([-1]))
    np.testing.assert_allclose(gan_compared.switched(run), [1.0])


def test_a_replica_that_diverged_covers_no_mode_in_tuning_too() -> None:
    run = Run(np.arange(2), {"modes": np.array([[1.0, 4.0], [1.0, np.nan]])}, np.array([-1, 1]))
    objective = gan_settings.ModesAtEnd()
    np.testing.assert_array_equal(objective.values(run), [4.0, 0.0])
    assert objective.rank(run)[0] == -2.0


def test_frames_show_generated_points() -> None:
    times = gan_settings.FRAME_TIMES
    cell = {"variant": "Adam", "lr": 1e-3, "steps": 2 * times}
    found = gan_ring.measure_frames(cell, Keys.of(range(2)), device="cpu")
    assert tuple(found["samples"].shape) == (2, times + 1, gan_settings.FRAME_SAMPLES, 2)
    assert np.asarray(found["step"])[0].tolist() == list(range(0, 2 * times + 1, 2))
    assert np.isfinite(np.asarray(found["samples"])).all()


@pytest.mark.parametrize("study", STUDIES, ids=lambda s: s.id)
def test_plans_are_complete_and_their_work_is_plain_data(study: object) -> None:
    assert set(study.plans) == {"tiny", "quick", "full"}  # type: ignore[attr-defined]
    for plan in study.plans.values():  # type: ignore[attr-defined]
        for experiment in study.experiments(plan):  # type: ignore[attr-defined]
            for shard in experiment.pending(lambda spec: None):
                assert json.loads(json.dumps(shard.spec)) == shard.spec
                assert shard.cost > 0
    reporting = study.plans["quick"].reporting_seeds  # type: ignore[attr-defined]
    assert reporting >= 16
    tuning = study.plans["quick"].tuning_seeds  # type: ignore[attr-defined]
    assert tuning >= 8 or study in (orbits.STUDY, limit_cycle.STUDY)  # these tune nothing
