"""By full enumeration: on a bandit and a two-state MDP the estimate's mean is the exact gradient."""

import itertools

import numpy as np
import pytest
import torch

from rl.baselines import BASELINES, leave_one_out, none
from rl.policies import CategoricalMLP
from rl.reinforce import estimate
from rl.rollout import Batch, Block

THETA = np.random.default_rng(5).standard_normal(12)


def two_state_paths(horizon=3):
    """Every path of a small MDP as (chance by the environment, states, actions, rewards).

    From state s under action a: the task ends with probability 0.3 a; otherwise the next state is 1 with
    probability 0.2 + 0.5 s + 0.2 a. The reward depends on state, action and what follows.
    """

    def grow(chance, states, actions, rewards):
        if len(actions) == horizon:
            yield chance, states[:-1], actions, rewards
            return
        s = states[-1]
        for a in (0, 1):
            if a:
                yield chance * 0.3, states, [*actions, a], [*rewards, 5.0 - s]
            up = 0.2 + 0.5 * s + 0.2 * a
            for after, p in ((0, 1 - up), (1, up)):
                reward = 1.0 + 2 * s - 3 * a * after
                yield from grow(
                    chance * (1 - 0.3 * a) * p, [*states, after], [*actions, a], [*rewards, reward]
                )

    for start, p in ((0, 0.6), (1, 0.4)):
        yield from grow(p, [start], [], [])


def bandit_paths(arms=4):
    """One state, one step, rewards that differ by arm."""
    return [(1.0, [0], [a], [3.0 * a + 2.0]) for a in range(arms)]


def log_policy(theta, sizes):
    """`[states, actions]`, log probabilities of the tabular policy with parameters (weights, bias)."""
    states, actions = sizes
    weights = theta[: states * actions].reshape(states, actions)
    return torch.log_softmax(weights + theta[states * actions :], dim=1)


def exact_gradient(paths, sizes, theta, discount):
    """The gradient of J, by differentiating the sum over paths: no score function enters."""
    theta = torch.tensor(theta, requires_grad=True)
    logs = log_policy(theta, sizes)
    total = sum(
        chance
        * sum(discount**t * r for t, r in enumerate(rewards))
        * torch.exp(sum(logs[s, a] for s, a in zip(states, actions, strict=True)))
        for chance, states, actions, rewards in paths
    )
    return torch.autograd.grad(total, theta)[0].numpy()


def all_batches(paths, sizes, theta, episodes, cut):
    """Every batch of `episodes` paths as a replica of its own, and the probability of each; time cut into
    blocks.
    """
    logs = log_policy(torch.tensor(theta), sizes).numpy()
    chances = [
        chance * np.exp(sum(logs[s, a] for s, a in zip(states, actions, strict=True)))
        for chance, states, actions, _ in paths
    ]
    assert abs(sum(chances) - 1) < 1e-12
    combinations = list(itertools.product(range(len(paths)), repeat=episodes))
    horizon = max(len(p[2]) for p in paths)
    shape = (len(combinations), horizon, episodes)
    inputs = np.zeros((*shape, sizes[0] + 1))
    inputs[..., -1] = 1.0
    actions, rewards, mask = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, bool)
    for row, combination in enumerate(combinations):
        for e, index in enumerate(combination):
            _, states, acts, rews = paths[index]
            steps = np.arange(len(acts))
            inputs[row, steps, e, states] = 1.0
            actions[row, steps, e], rewards[row, steps, e], mask[row, steps, e] = acts, rews, True
    blocks = []
    for start in range(0, horizon, cut):
        part = slice(start, start + cut)
        rows = np.flatnonzero(mask[:, start].any(axis=1))
        blocks.append(
            Block(rows, start, inputs[rows, part], actions[rows, part], rewards[rows, part], mask[rows, part])
        )
    lengths = mask.sum(axis=1)
    batch = Batch(blocks, rewards.sum(axis=1), lengths, lengths < horizon, int(lengths.sum()))
    return batch, np.array([np.prod([chances[i] for i in c]) for c in combinations])


def moments(paths, sizes, episodes, subtract, discount, cut=2):
    """Exact mean and variance of the estimate, and the exact gradient."""
    policy = CategoricalMLP(sizes)
    theta = THETA[: policy.dim]
    batch, chances = all_batches(paths, sizes, theta, episodes, cut)
    values = -estimate(policy, np.tile(theta, (len(chances), 1)), batch, subtract, discount=discount)
    mean = chances @ values
    return mean, chances @ (values - mean) ** 2, exact_gradient(paths, sizes, theta, discount)


CASES = {"bandit": (bandit_paths(), (1, 4), 3), "two states": (list(two_state_paths()), (2, 2), 2)}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("subtract", BASELINES)
@pytest.mark.parametrize("discount", [1.0, 0.7])
def test_the_mean_estimate_is_the_exact_gradient(name, subtract, discount):
    mean, _, exact = moments(*CASES[name], BASELINES[subtract], discount)
    assert np.abs(exact).max() > 0.1
    np.testing.assert_allclose(mean, exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_leave_one_out_lowers_the_variance(name):
    _, plain, _ = moments(*CASES[name], none, 1.0)
    _, less, _ = moments(*CASES[name], leave_one_out, 1.0)
    assert less.sum() < 0.7 * plain.sum()


def test_a_mean_that_includes_the_episode_itself_is_biased():
    def biased(returns):
        return returns.mean(axis=2, keepdims=True)

    mean, _, exact = moments(*CASES["bandit"], biased, 1.0)
    np.testing.assert_allclose(mean, exact * (1 - 1 / 3), rtol=0, atol=1e-12)


def test_the_variance_with_leave_one_out_is_that_of_a_sample_covariance():
    """On a bandit the estimate is the sample covariance of reward and score, whose variance is known."""
    paths, sizes, n = CASES["bandit"]
    _, variance, _ = moments(paths, sizes, n, leave_one_out, 1.0)
    p = np.exp(log_policy(torch.tensor(THETA[:8]), sizes).numpy()[0])
    rewards = np.array([path[3][0] for path in paths])
    x = rewards - p @ rewards
    score = np.eye(4) - p  # [arm, logit]; weights and bias share it
    cross, both = p @ (x[:, None] * score), p @ (x[:, None] ** 2 * score**2)
    expected = both / n - (n - 2) / (n * (n - 1)) * cross**2 + (p @ x**2) * (p @ score**2) / (n * (n - 1))
    np.testing.assert_allclose(variance, np.concatenate([expected, expected]), rtol=1e-12)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_how_time_is_cut_into_blocks_changes_nothing(cut):
    whole, *_ = moments(*CASES["two states"], leave_one_out, 0.9, cut=99)
    parts, *_ = moments(*CASES["two states"], leave_one_out, 0.9, cut=cut)
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-14)
