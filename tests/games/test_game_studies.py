"""What the studies of games measure, against closed forms and planted cases."""

import json
import math

import numpy as np
import pytest
import torch

from core.lab.random import Keys
from core.lab.run import Run
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.rules import RULES
from games.bilinear import BilinearGame
from games.joint import Joint
from games.orbit import descent_growth_per_turn
from games.studies import gan_ring, orbits

torch.set_num_threads(1)
KEYS = Keys.of(range(3), study="studies")


@pytest.mark.parametrize("play", ["simultaneous", "alternating"])
@pytest.mark.parametrize("lr", orbits.EXACT_RATES)
def test_closed_forms_hold_to_rounding(play: str, lr: float) -> None:
    found = orbits.measure_closed_form({"play": play, "lr": lr, "steps": 200}, KEYS, device="cpu")
    assert np.asarray(found["deviation"]).shape == (3,)
    assert float(np.max(np.asarray(found["deviation"]))) < 1e-13


def test_turning_is_measured_at_every_rate() -> None:
    cell = {"regime": "exact field", "variant": "GDA", "steps": 700}
    found = {k: np.asarray(v) for k, v in orbits.measure_turning(cell, KEYS, device="cpu").items()}
    rates = np.array(orbits.RATES)
    np.testing.assert_array_equal(found["lr"], np.tile(rates, (3, 1)))
    np.testing.assert_allclose(found["turns"], np.tile(np.arctan(rates) / (2 * math.pi), (3, 1)), rtol=1e-9)
    turned = 700 * np.arctan(rates) / (2 * math.pi) >= 0.05
    known = [descent_growth_per_turn(lr) for lr in rates[turned]]
    np.testing.assert_allclose(found["growth"][:, turned], np.tile(known, (3, 1)), rtol=1e-6)
    assert np.isnan(found["growth"][:, ~turned]).all()
    assert found["distance"].shape == (3, len(rates), found["step"].shape[1])


def test_cycles_start_where_they_say() -> None:
    for side, start in orbits.CYCLE_STARTS.items():
        cell = {**orbits.CYCLES[0], "side": side, "start": start, "lr": orbits.CYCLE_RATE, "steps": 5}
        found = orbits.measure_cycle(cell, KEYS, device="cpu")
        np.testing.assert_allclose(np.asarray(found["start"]), start, rtol=1e-12)


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


def test_churn_counts_gains_and_losses_of_the_second_half() -> None:
    modes = np.array([[0, 8, 0, 4, 5, 4, 6], [0, 0, 0, 8, 8, 8, 8]], dtype=np.float64)
    run = Run(np.arange(7), {"modes": modes}, np.array([-1, -1]))
    np.testing.assert_allclose(gan_ring.churn(run), [4 / 3, 0.0])


def test_frames_show_generated_points() -> None:
    cell = {"variant": "Adam", "lr": 1e-3, "steps": 10}
    found = gan_ring.measure_frames(cell, Keys.of(range(2)), device="cpu")
    assert tuple(found["samples"].shape) == (2, gan_ring.FRAME_TIMES, 512, 2)
    assert np.asarray(found["step"])[0].tolist() == [2, 4, 6, 8, 10]
    assert np.isfinite(np.asarray(found["samples"])).all()


@pytest.mark.parametrize("study", [orbits.STUDY, gan_ring.STUDY], ids=lambda s: s.id)
def test_plans_are_complete_and_their_work_is_plain_data(study: object) -> None:
    assert set(study.plans) == {"tiny", "quick", "full"}  # type: ignore[attr-defined]
    for plan in study.plans.values():  # type: ignore[attr-defined]
        for experiment in study.experiments(plan):  # type: ignore[attr-defined]
            for shard in experiment.pending(lambda spec: None):
                assert json.loads(json.dumps(shard.spec)) == shard.spec
                assert shard.cost > 0
    reporting = study.plans["quick"].reporting_seeds  # type: ignore[attr-defined]
    assert reporting >= 16
    assert study.plans["quick"].tuning_seeds >= 8  # type: ignore[attr-defined]
