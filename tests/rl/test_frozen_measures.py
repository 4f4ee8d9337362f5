"""Frozen policies, oracles and what studies measure there, against closed forms and plain loops."""

import numpy as np
import pytest
import torch

from core.lab.conformance import check_problem
from core.lab.errors import VhatError
from core.lab.random import Keys
from rl.frozen import BETAS2, frozen_policies
from rl.oracle import LEAST_SIGNAL, OracleScaled
from rl.problems import cartpole
from rl.studies.baseline_noise import noise_by_estimator
from rl.studies.variance_is_seen_measure import (
    batches_and_memories,
    effective_updates,
    following,
    frozen_moments,
    remembered,
)
from rl.studies.variance_reduction import oracle_cartpole
from rl.studies.variance_reduction_measure import TRIAL_EPISODES, measured_returns, update_quality


def keys(rows: int = 3) -> Keys:
    return Keys.of(range(rows), study="frozen tests")


def test_level_zero_freezes_the_start_and_has_no_memory():
    problem = cartpole(episodes=4, baseline="loo", horizon=40)
    params, live, _ = frozen_policies(problem, keys(), 0.0)
    assert torch.equal(params, problem.init(keys()))
    assert live.isnan().all()


def test_a_frozen_policy_does_not_depend_on_the_others():
    problem = cartpole(episodes=4, baseline="loo", horizon=60)
    params, live, _ = frozen_policies(problem, keys(4), 30.0)
    own, own_live, _ = frozen_policies(problem, keys(4).rows(torch.tensor([1, 3])), 30.0)
    assert torch.equal(own, params[[1, 3]])
    torch.testing.assert_close(own_live, live[[1, 3]], equal_nan=True)


def test_live_moments_after_one_update_are_the_squared_gradient_for_every_memory():
    problem = cartpole(episodes=4, baseline="loo", horizon=60)
    first = problem.field(problem.init(keys()), keys(), 0)
    level = first.measures["return"].max().item() + 1e-3
    params, live, _ = frozen_policies(problem, keys(), level)
    moved_once = [r for r in range(3) if _updates(problem, level, r) == 1]
    for row in moved_once:
        expected = first.values[row].double() ** 2
        for number in range(len(BETAS2)):
            torch.testing.assert_close(live[row, number], expected, rtol=1e-6, atol=0.0)
    assert not torch.equal(params, problem.init(keys()))


def _updates(problem, level: float, row: int) -> int:
    """How many updates a replica takes to reach the level: replayed by the rule itself."""
    from core.optim.rules import RULES

    rule, own = RULES["adam"], keys()
    params = problem.init(own)
    state = rule.init(params)
    for step in range(50):
        sample = problem.field(params, own, step)
        if sample.measures["return"][row] >= level:
            return step
        params, state = rule.step(params, sample.values, state, lr=0.01)
    return 50


@pytest.mark.parametrize("beta2", [0.0, 0.9, 0.999])
def test_remembered_is_adams_recurrence(beta2):
    squares = torch.rand(2, 9, 3, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    v = torch.zeros(2, 3, 5, dtype=torch.float64)
    for t in range(9):
        v = beta2 * v + (1 - beta2) * squares[:, t]
    torch.testing.assert_close(remembered(squares, beta2), v / (1 - beta2**9))


@pytest.mark.parametrize(("beta2", "updates"), [(0.0, 16), (0.9, 16), (0.999, 16), (0.99, 256), (0.999, 256)])
def test_effective_updates_are_the_inverse_of_the_summed_squares_of_the_weights(beta2, updates):
    one_hot = torch.eye(updates, dtype=torch.float64)[:, None, :]
    weights = remembered(one_hot, beta2)[0]
    assert weights.sum().item() == pytest.approx(1.0)
    assert effective_updates(beta2, updates) == pytest.approx(1 / weights.square().sum().item())


def test_policies_that_do_not_get_there_are_counted(monkeypatch):
    monkeypatch.setattr("rl.frozen.MOST_UPDATES", 3)
    problem = cartpole(episodes=4, baseline="loo", horizon=40)
    found = frozen_policies(problem, keys(), 41.0)
    assert found.reached.tolist() == [0.0, 0.0, 0.0]
    assert frozen_policies(problem, keys(), 1.0).reached.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("moment", ["variance", "mean square"])
def test_the_oracle_divides_the_field_by_the_measured_moment(moment):
    inner = cartpole(episodes=4, horizon=40)
    problem = OracleScaled(inner, moment, 16)
    params = inner.init(keys())
    scaled, plain = problem.field(params, keys(), 3), inner.field(params, keys(), 3)
    each = inner.gradient(
        params,
        cartpole(episodes=16, horizon=40).batch(params, keys().fold("oracle"), 3),
        each_episode=True,
    ).double()
    variance = each.var(dim=1) / 4
    mean_square = each.mean(dim=1) ** 2 - each.var(dim=1) / 16
    root = (variance if moment == "variance" else mean_square.maximum(LEAST_SIGNAL * variance)).sqrt()
    torch.testing.assert_close(scaled.values, (plain.values / root).float(), rtol=1e-4, atol=1e-6)
    clipped = (mean_square < LEAST_SIGNAL * variance).double().mean(dim=1)
    expected = clipped if moment == "mean square" else torch.zeros(3, dtype=torch.float64)
    torch.testing.assert_close(scaled.measures["clipped"], expected)
    assert torch.equal(scaled.measures["return"], plain.measures["return"])


@pytest.mark.parametrize(("moment", "measured_on"), [("mean squared", 8), ("mean square", 1)])
def test_an_oracle_of_another_moment_or_of_one_episode_is_refused(moment, measured_on):
    with pytest.raises(VhatError) as caught:
        oracle_cartpole(moment=moment, measured_on=measured_on)
    assert "\n" not in str(caught.value)


def test_the_oracles_variance_is_unbiased_for_that_of_the_estimate():
    inner = cartpole(episodes=4, horizon=30)
    problem = OracleScaled(inner, "variance", 32)
    params = inner.init(keys(2))
    rows = torch.zeros(400, dtype=torch.long)
    many = Keys(torch.cat([keys(2).at(i).words[:1] for i in range(400)]))
    repeated = params[rows]
    estimates = inner.field(repeated, many, 0).values.double()
    measured = problem.second_moment(repeated, many, 0)[0].mean(dim=0)
    ratio = measured.sum() / estimates.var(dim=0).sum()
    assert ratio.item() == pytest.approx(1.0, abs=0.15)


def test_the_oracle_conforms_to_the_protocol_of_problems():
    check_problem(OracleScaled(cartpole(episodes=2, horizon=20), "variance", 4))


def test_the_measured_return_of_a_move_of_length_zero_is_that_of_the_policy():
    problem = cartpole(episodes=2, horizon=30)
    params = problem.init(keys())
    trials = {"none": torch.zeros(2, *params.shape), "some": torch.full((3, *params.shape), 0.1)}
    before, after = measured_returns(problem, params, trials, keys().fold("tried"))
    assert after["none"].shape == (2, 3)
    assert after["some"].shape == (3, 3)
    assert torch.equal(after["none"], before.expand(2, 3))
    assert np.isclose((before * TRIAL_EPISODES) % 1, 0).all()


@pytest.mark.parametrize(
    ("function", "cell"),
    [
        (frozen_moments, {"level": 25.0, "samples": 12, "truth": 16}),
        (batches_and_memories, {"level": 25.0, "samples": 128}),
        (following, {"from": 0.0, "to": 25.0, "samples": 12}),
        (noise_by_estimator, {"level": 25.0, "samples": 64}),
        (update_quality, {"level": 25.0, "samples": 12, "truth": 16, "warm": 4}),
    ],
)
def test_what_is_measured_at_a_policy_has_the_same_bits_in_another_batch(function, cell):
    whole = function(cell, keys(5), device="cpu")
    part = function(cell, keys(5).rows(torch.tensor([1, 3])), device="cpu")
    for name, values in whole.items():
        found = torch.as_tensor(part[name])
        assert torch.equal(torch.nan_to_num(found), torch.nan_to_num(torch.as_tensor(values)[[1, 3]])), name


def test_more_episodes_leave_less_noise():
    cell = {"stage": "untrained", "level": 0.0, "samples": 256}
    found = noise_by_estimator(cell, keys(4), device="cpu")
    shares = [found[f"{episodes} episodes"].mean().item() for episodes in (2, 8, 32)]
    assert shares[0] > shares[1] > shares[2]
    torch.testing.assert_close(found["8 episodes"], found["no baseline"])
