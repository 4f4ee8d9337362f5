"""Whole episodes: replayed on the scalar task, no bias by length, replicas that do not touch each other."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from core.lab.errors import VhatError
from core.lab.random import Keys
from core.optim.rules import RULES
from rl.baselines import BASELINES, Evidence
from rl.policies import CategoricalMLP
from rl.problems import cartpole, reinforce
from rl.rollout import BLOCK


def mixed_policies(problem, keys, scale=1.0):
    """Policies of very different skill, so that episodes end at very different times; the first balances the
    pole.
    """
    noise = keys.fold("mixed").normal(problem.dim, dtype=torch.float64)
    params = problem.init(keys).double() + scale * noise
    params[0] = 0
    first, *_, last = problem.policy.layers(params.numpy())
    first[0, :, 0] = [0, 0.05, 1, 0.3, 0]  # tanh of a linear controller, straight to "push right"
    last[0, 0, 1] = 100
    return params.to(problem.dtype)


@pytest.fixture(scope="module")
def recorded():
    problem = cartpole(episodes=3)
    keys = Keys.of(range(12))
    params = mixed_policies(problem, keys)
    return problem, keys, params, problem.batch(params, keys, 5)


def episode(batch, row, e):
    """Inputs and actions of one episode, its blocks joined and the masked steps cut off."""
    parts = [(b, int(np.flatnonzero(b.rows == row)[0])) for b in batch.blocks if row in b.rows]
    inputs = np.concatenate([b.inputs[i, :, e] for b, i in parts])
    mask = np.concatenate([b.mask[i, :, e] for b, i in parts])
    actions = np.concatenate([b.actions[i, :, e] for b, i in parts])
    rewards = np.concatenate([b.rewards[i, :, e] for b, i in parts])
    return inputs, actions, rewards, mask


def test_every_episode_replays_on_the_scalar_task(recorded):
    _, keys, _, batch = recorded
    starts = (
        keys.fold("episodes").at(5).fold("starts").uniform(3, 4, dtype=torch.float64).numpy() * 0.1 - 0.05
    )
    env = gym.make("CartPole-v1")
    assert batch.lengths.max() == 500 > 2 * BLOCK, "the case must span several blocks, and the time limit"
    for row in range(12):
        for e in range(3):
            inputs, actions, rewards, mask = episode(batch, row, e)
            length = batch.lengths[row, e]
            assert mask[:length].all()
            assert not mask[length:].any()
            assert (rewards == mask).all()
            env.reset(seed=0)
            env.unwrapped.state = starts[row, e]
            seen = starts[row, e].astype(np.float32)
            for t in range(length):
                np.testing.assert_array_equal(inputs[t], [*seen, 1.0])
                seen, _, terminated, truncated, _ = env.step(int(actions[t]))
                assert (terminated or truncated) == (t == length - 1)
            assert terminated == batch.terminated[row, e]
            assert batch.returns[row, e] == length


def test_each_replica_has_exactly_its_episodes_and_useful_steps_are_counted(recorded):
    _, _, _, batch = recorded
    assert batch.lengths.shape == (12, 3)
    assert (batch.lengths >= 8).all(), "no CartPole episode ends sooner"
    taken = sum(len(b.rows) * 3 * BLOCK for b in batch.blocks)
    assert batch.lengths.sum() <= batch.stepped <= taken
    assert batch.useful == batch.lengths.sum() / batch.stepped
    for before, after in zip(batch.blocks, batch.blocks[1:], strict=False):
        assert set(after.rows) <= set(before.rows)


@pytest.mark.parametrize("subtract", [name for name in BASELINES if name != "running"])
def test_a_row_has_the_same_bits_in_any_batch_and_order(subtract):
    problem = cartpole(episodes=4, baseline=subtract)
    keys = Keys.of(range(75), copies=2)
    params = mixed_policies(problem, Keys.of(range(150)))
    whole = problem.field(params, keys, 7)
    order = np.random.default_rng(0).permutation(150)
    for rows in (order, order[:40], order[:2], np.array([149, 3])):
        index = torch.from_numpy(rows)
        part = problem.field(params[index], keys.rows(index), 7)
        assert torch.equal(part.values, whole.values[index])
        for name, value in part.measures.items():
            assert torch.equal(value, whole.measures[name][index])
    assert torch.equal(problem.field(params, keys, 7).values, whole.values)
    assert not torch.equal(problem.field(params, keys, 8).values, whole.values)
    some = torch.tensor([3, 8])
    evaluated = problem.measure(params, keys)
    assert torch.equal(problem.measure(params[some], keys.rows(some))["return"], evaluated["return"][some])


def test_many_replicas_are_rolled_out_in_parts_without_a_trace(monkeypatch):
    problem, keys = cartpole(episodes=2), Keys.of(range(10))
    params = mixed_policies(problem, keys)
    whole = problem.field(params, keys, 0)
    monkeypatch.setattr("rl.reinforce._AT_ONCE", 4)
    parts = problem.field(params, keys, 0)
    assert torch.equal(parts.values, whole.values)
    assert all(torch.equal(parts.measures[k], whole.measures[k]) for k in whole.measures)


def test_no_bias_by_length():
    """A random policy's mean return is that of the scalar task under the same policy."""
    problem = cartpole(episodes=8)
    keys = Keys.of(range(250))
    batch = problem.batch(torch.zeros(250, problem.dim), keys, 0)
    ours = batch.lengths.ravel()
    env, rng, reference = gym.make("CartPole-v1"), np.random.default_rng(0), []
    for number in range(1000):
        env.reset(seed=number)
        length, over = 0, False
        while not over:
            _, _, terminated, truncated, _ = env.step(int(rng.integers(2)))
            length, over = length + 1, terminated or truncated
        reference.append(length)
    error = np.hypot(ours.std() / np.sqrt(len(ours)), np.std(reference) / np.sqrt(len(reference)))
    assert abs(ours.mean() - np.mean(reference)) < 4 * error
    assert batch.terminated.all()


def test_per_episode_gradients_average_to_the_field(recorded):
    for name in ("none", "loo"):
        problem = cartpole(episodes=3, baseline=name)
        _, keys, params, batch = recorded
        each = problem.gradient(params, batch, each_episode=True)
        assert each.shape == (12, 3, problem.dim)
        scale = each.abs().amax(dim=(1, 2), keepdim=True).clamp_min(1e-30)
        torch.testing.assert_close(
            each.mean(dim=1) / scale[:, 0],
            problem.field(params, keys, 5).values / scale[:, 0],
            rtol=0,
            atol=2e-5,
        )


def test_the_field_and_each_episodes_part_are_gradients_of_the_surrogate_by_autograd():
    problem = reinforce(
        "CartPole-v1", episodes=3, baseline="loo", discount=0.97, hidden=(7, 5), dtype=torch.float64
    )
    keys = Keys.of(range(4))
    params = mixed_policies(problem, keys, 0.5).requires_grad_()
    batch = problem.batch(params, keys, 0)
    loss = torch.zeros((), dtype=torch.float64)
    each = problem.gradient(params, batch, each_episode=True)
    for row in range(4):
        parts = [episode(batch, row, e) for e in range(3)]
        steps = len(parts[0][0])
        togo = np.zeros((3, steps + 1))
        for t in reversed(range(steps)):
            togo[:, t] = [p[2][t] + 0.97 * togo[e, t + 1] for e, p in enumerate(parts)]
        for e, (inputs, actions, _, mask) in enumerate(parts):
            others = [togo[i, :-1] for i in range(3) if i != e]
            advantage = (togo[e, :-1] - np.mean(others, axis=0)) * 0.97 ** np.arange(steps) * mask
            values = torch.from_numpy(inputs[:, :-1])
            start = 0
            for number, (a, b) in enumerate(problem.policy.shapes):
                weight = params[row, start : start + a * b].reshape(a, b)
                values = values @ weight[:-1] + weight[-1]
                values = torch.tanh(values) if number < 2 else values
                start += a * b
            chosen = torch.log_softmax(values, 1)[torch.arange(steps), torch.from_numpy(actions)]
            own = -(torch.from_numpy(advantage) * chosen).sum()
            expected = torch.autograd.grad(own, params, retain_graph=True)[0][row]
            torch.testing.assert_close(each[row, e], expected, rtol=1e-10, atol=1e-10)
            loss = loss + own / 3
    expected = torch.autograd.grad(loss, params)[0]
    torch.testing.assert_close(problem.field(params, keys, 0).values, expected, rtol=1e-10, atol=1e-10)


def test_variants_of_a_seed_meet_the_same_starts_and_chances():
    problem = cartpole(episodes=2)
    keys = Keys.of([4, 5], copies=2)
    batch = problem.batch(problem.init(keys), keys, 3)
    np.testing.assert_array_equal(batch.returns[:2], batch.returns[2:])
    np.testing.assert_array_equal(batch.blocks[0].inputs[0], batch.blocks[0].inputs[2])


def test_a_policy_that_has_blown_up_gives_a_field_that_is_not_finite_and_spares_the_others():
    problem = cartpole(episodes=2)
    keys = Keys.of(range(3))
    params = problem.init(keys)
    clean = problem.field(params, keys, 0).values
    params[1] = torch.inf
    dirty = problem.field(params, keys, 0).values
    assert not torch.isfinite(dirty[1]).any()
    assert torch.equal(dirty[[0, 2]], clean[[0, 2]])


def test_leave_one_out_is_the_mean_of_the_others(recorded):
    _, _, _, batch = recorded
    returns = [np.random.default_rng(0).standard_normal(block.rewards.shape) for block in batch.blocks]
    found = BASELINES["loo"].subtract(Evidence(batch, returns, lambda weights: np.zeros(0)))
    for g, b in zip(returns, found, strict=True):
        for e in range(3):
            np.testing.assert_allclose(b[..., e], np.delete(g, e, axis=2).mean(axis=2), atol=1e-14)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"baseline": "lo"}, "did you mean 'loo'"),
        ({"baseline": "loo", "episodes": 1}, "at least 2 episodes"),
        ({"episodes": 0}, "at least 1 episode"),
        ({"baseline": "value", "episodes": 1}, "at least 2 episodes"),
        ({"entropy": -1.0}, "entropy"),
        ({"cut": 0}, "at least 1 step"),
        ({"discount": 1.5}, "discount"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(settings, words):
    with pytest.raises(VhatError, match=words):
        cartpole(**settings)


def test_a_policy_must_fit_its_task():
    problem = cartpole()
    with pytest.raises(VhatError, match="does not fit"):
        type(problem)(problem.task, CategoricalMLP((3, 2)))


@pytest.mark.parametrize("subtract", ["loo", "running", "value"])
def test_a_whole_training_run_has_the_same_bits_alone_and_among_many(subtract):
    rule = RULES["adam"]

    def trained(keys):
        problem = cartpole(episodes=4, baseline=subtract)
        params = problem.init(keys)
        state = rule.init(params)
        for step in range(25):
            sample = problem.field(params, keys, step)
            params, state = rule.step(params, sample.values, state, lr=0.03)
        return params, sample.measures["return"]

    keys = Keys.of(range(30))
    whole, reached = trained(keys)
    assert reached.max() > 300 > 150 > reached.min(), "the case must hold long and short episodes"
    for rows in ([29, 0], [7, 20, 11, 2, 25]):
        alone, _ = trained(keys.rows(torch.tensor(rows)))
        assert torch.equal(alone, whole[rows])


def test_150_runs_over_a_full_budget_have_the_same_bits_in_any_order_and_in_any_batch():
    """Three rules on 50 seeds, at rates that let some runs stay poor while others reach the time limit."""
    names, updates = ("adam", "sgd", "rmsprop"), 40
    rates = torch.tensor([0.03, 0.001, 0.01], dtype=torch.float64).repeat_interleave(50)
    keys = Keys.of(range(50), copies=3)

    def trained(rows):
        """Final parameters and the last batch's returns of some rows, in their order."""
        problem = cartpole(episodes=4, baseline="loo")
        own = keys.rows(rows)
        params = problem.init(own)
        groups = [torch.nonzero(rows // 50 == g)[:, 0] for g in range(3)]
        states = [RULES[n].init(params[g]) for n, g in zip(names, groups, strict=True)]
        for step in range(updates):
            sample = problem.field(params, own, step)
            moved = params.clone()
            for g, (name, group) in enumerate(zip(names, groups, strict=True)):
                if len(group):
                    moved[group], states[g] = RULES[name].step(
                        params[group], sample.values[group], states[g], lr=rates[rows[group]]
                    )
            params = moved
        return params, sample.measures["return"]

    whole, returns = trained(torch.arange(150))
    assert returns.max() == 500 > 50 > returns.min(), "the case must hold long and short episodes"
    order = torch.from_numpy(np.random.default_rng(0).permutation(150))
    for rows in (order, torch.tensor([149, 7]), torch.tensor([30, 80, 130])):
        params, reached = trained(rows)
        assert torch.equal(params, whole[rows])
        assert torch.equal(reached, returns[rows])


def returns_to_go_by_time(batch, row, discount=1.0):
    """`[500]`, the mean over episodes, from the rewards one by one."""
    togo = np.zeros((batch.returns.shape[1], 501))
    for e in range(len(togo)):
        _, _, rewards, mask = episode(batch, row, e)
        for t in reversed(range(int(mask.sum()))):
            togo[e, t] = rewards[t] + discount * togo[e, t + 1]
    return togo[:, :-1].mean(axis=0)


def test_the_running_mean_is_that_of_earlier_updates(monkeypatch):
    monkeypatch.setattr("rl.reinforce._AT_ONCE", 2)
    problem, plain = cartpole(episodes=2, baseline="running"), cartpole(episodes=2)
    keys = Keys.of(range(5))
    params = mixed_policies(problem, keys)
    batches = [plain.batch(params, keys, step) for step in range(3)]
    assert torch.equal(problem.field(params, keys, 0).values, plain.field(params, keys, 0).values)
    for step in (1, 2):
        for _ in range(2):
            got = problem.field(params, keys, step).values
        memory = np.zeros((5, 500))
        for row in range(5):
            for earlier in range(step):
                weight = 0.1 * 0.9 ** (step - 1 - earlier) / (1 - 0.9**step)
                memory[row] += weight * returns_to_go_by_time(batches[earlier], row)
        expected = problem.gradient(params, batches[step], remembered=memory)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
        assert not torch.equal(got, plain.field(params, keys, step).values)


def test_the_running_mean_serves_one_run_step_by_step():
    problem, keys = cartpole(episodes=2, baseline="running"), Keys.of(range(4))
    params = problem.init(keys)
    with pytest.raises(VhatError, match="step by step"):
        problem.field(params, keys, 3)
    first = problem.field(params, keys, 0).values
    problem.field(params, keys, 1)
    with pytest.raises(VhatError, match="step by step"):
        problem.field(params, keys, 3)
    with pytest.raises(VhatError, match="other replicas"):
        problem.field(params, Keys.of(range(1, 5)), 2)
    with pytest.raises(VhatError, match="other replicas"):
        problem.field(params[:2], keys.rows(slice(0, 2)), 2)
    problem.field(params, keys, 2)
    assert torch.equal(problem.field(params, keys, 0).values, first), "a new run forgets"
