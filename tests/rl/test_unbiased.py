"""By full enumeration, on a bandit and a two-state MDP: an estimator that claims to be unbiased has the exact
gradient as its mean, one that is marked as biased has not, and variances follow their closed forms.
"""

import functools
import itertools

import numpy as np
import pytest
import torch

from core.lab.random import Keys
from rl.baselines import BASELINES, Baseline, Evidence, optimal_constant
from rl.estimator import Estimator, batch_returns, estimate
from rl.policies import CategoricalMLP
from rl.problems import cartpole
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


def remembered(count, horizon):
    """Some table of an earlier update, the same for every batch."""
    return np.tile(np.random.default_rng(9).uniform(-3, 9, horizon), (count, 1))


@functools.cache
def drawn(name, episodes, cut):
    """All batches of a case."""
    paths, sizes, _ = CASES[name]
    return all_batches(paths, sizes, THETA[: (sizes[0] + 1) * sizes[1]], episodes, cut)


def moments(name, estimator, episodes=None, cut=2):
    """Exact mean and variance of the estimate."""
    _, sizes, usual = CASES[name]
    policy = CategoricalMLP(sizes)
    theta = THETA[: policy.dim]
    batch, chances = drawn(name, episodes or usual, cut)
    memory = remembered(len(chances), 3)
    tiled = np.tile(theta, (len(chances), 1))
    values = -estimate(policy, tiled, batch, estimator, remembered=memory)
    mean = chances @ values
    return mean, chances @ (values - mean) ** 2


def gradient(name, discount=1.0):
    paths, sizes, _ = CASES[name]
    return exact_gradient(paths, sizes, THETA[: (sizes[0] + 1) * sizes[1]], discount)


CASES = {
    "bandit": (bandit_paths(), (1, 4), 3),
    "two states": (list(two_state_paths()), (2, 2), 2),
    "two steps": (list(two_state_paths(horizon=2)), (2, 2), 3),
}
CLAIMS_UNBIASED = [name for name, one in BASELINES.items() if not one.biased]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("subtract", CLAIMS_UNBIASED)
@pytest.mark.parametrize("discount", [1.0, 0.7])
def test_the_mean_estimate_is_the_exact_gradient(name, subtract, discount):
    estimator = Estimator(subtract, discount)
    assert estimator.biased == ()
    mean, _ = moments(name, estimator)
    exact = gradient(name, discount)
    assert np.abs(exact).max() > 0.1
    np.testing.assert_allclose(mean, exact, rtol=0, atol=1e-12)


def test_these_baselines_claim_it():
    assert CLAIMS_UNBIASED == ["none", "running", "loo", "value", "optimal"]


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (Estimator("mean"), "own return"),
        (Estimator("loo", 0.7, discounted_states=False), "gamma"),
        (Estimator("none", normalized=True), "standard deviation"),
        (Estimator("loo", normalized=True), "standard deviation"),
        (Estimator("loo", entropy=0.3), "entropy"),
    ],
)
def test_what_is_marked_as_biased_is(estimator, reason):
    (marked,) = estimator.biased
    assert reason in marked
    mean, _ = moments("two states", estimator)
    exact = gradient("two states", estimator.discount)
    assert np.abs(mean - exact).max() > 0.02 * np.abs(exact).max()


def test_without_discount_there_is_no_factor_to_drop():
    assert Estimator(discount=1.0, discounted_states=False).biased == ()


@pytest.mark.parametrize("subtract", ["none", "loo"])
def test_episodes_that_are_cut_give_the_gradient_of_a_shorter_task(subtract):
    assert Estimator(subtract, cut=2).biased == ("episodes are cut before their end",)
    mean, _ = moments("two steps", Estimator(subtract))
    np.testing.assert_allclose(mean, gradient("two steps"), rtol=0, atol=1e-12)
    whole = gradient("two states")
    assert np.abs(mean - whole).max() > 0.2 * np.abs(whole).max()


def test_a_problem_cuts_its_training_episodes_and_not_its_evaluation():
    problem = cartpole(episodes=2, cut=7)
    keys = Keys.of([0, 1, 2])
    params = problem.init(keys)
    assert problem.biased == ("episodes are cut before their end",)
    batch = problem.batch(params, keys, 0)
    assert (batch.lengths == 7).all()
    assert not batch.terminated.any()
    assert (problem.measure(params, keys)["return"] > 7).all()


def test_the_entropy_bonus_adds_the_gradient_of_the_entropy_of_the_states_visited():
    """Sum over paths of chance * sum_t gamma^t grad H(s_t), by autograd through H alone."""
    paths, sizes, _ = CASES["two states"]
    mean, _ = moments("two states", Estimator("loo", 0.7, entropy=0.3))
    without, _ = moments("two states", Estimator("loo", 0.7))
    theta = torch.tensor(THETA[:6], requires_grad=True)
    logs = log_policy(theta, sizes)
    entropy = -(logs.exp() * logs).sum(dim=1)
    fixed = logs.detach()
    total = sum(
        chance
        * torch.exp(sum(fixed[s, a] for s, a in zip(states, actions, strict=True)))
        * sum(0.7**t * entropy[s] for t, s in enumerate(states))
        for chance, states, actions, _ in paths
    )
    expected = 0.3 * torch.autograd.grad(total, theta)[0].numpy()
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(mean - without, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_leave_one_out_lowers_the_variance(name):
    _, plain = moments(name, Estimator("none"))
    _, less = moments(name, Estimator("loo"))
    assert less.sum() < 0.7 * plain.sum()


def test_a_mean_that_includes_the_episode_itself_shrinks_the_gradient():
    mean, _ = moments("bandit", Estimator("mean"))
    np.testing.assert_allclose(mean, gradient("bandit") * (1 - 1 / 3), rtol=0, atol=1e-12)


def test_the_variance_with_leave_one_out_is_that_of_a_sample_covariance():
    """On a bandit the estimate is the sample covariance of reward and score, whose variance is known."""
    paths, sizes, n = CASES["bandit"]
    _, variance = moments("bandit", Estimator("loo"))
    p = np.exp(log_policy(torch.tensor(THETA[:8]), sizes).numpy()[0])
    rewards = np.array([path[3][0] for path in paths])
    x = rewards - p @ rewards
    score = np.eye(4) - p  # [arm, logit]; weights and bias share it
    cross, both = p @ (x[:, None] * score), p @ (x[:, None] ** 2 * score**2)
    expected = both / n - (n - 2) / (n * (n - 1)) * cross**2 + (p @ x**2) * (p @ score**2) / (n * (n - 1))
    np.testing.assert_allclose(variance, np.concatenate([expected, expected]), rtol=1e-12)


@pytest.fixture
def constant(monkeypatch):
    """Estimators that subtract one number everywhere."""

    def estimator(value):
        def subtract(evidence):
            return [np.full((1, 1, 1), value)] * len(evidence.returns)

        monkeypatch.setitem(BASELINES, "constant", Baseline("constant", "", subtract))
        return Estimator("constant")

    return estimator


def episode_sums(sizes, batch, constant):
    """Each episode's sums of return-to-go * score and of score, `[R, E, D]`."""
    policy = CategoricalMLP(sizes)
    tiled = np.tile(THETA[: policy.dim], (len(batch.returns), 1))
    g = estimate(policy, tiled, batch, constant(0.0), each_episode=True)
    return g, estimate(policy, tiled, batch, constant(-1.0), each_episode=True) - g


@pytest.mark.parametrize("name", CASES)
def test_the_constant_of_greensmith_bartlett_and_baxter_has_the_least_variance(name, constant):
    """The variance is a parabola in the constant; its vertex is E<g, s> / E|s|^2."""
    zero, one, two = (moments(name, constant(c), episodes=1)[1].sum() for c in (0.0, 1.0, 2.0))
    vertex = 1.0 - (two - zero) / (2 * (two - 2 * one + zero))
    batch, chances = drawn(name, 1, 2)
    g, s = episode_sums(CASES[name][1], batch, constant)
    products, squares = (g * s).sum(axis=2)[:, 0], (s * s).sum(axis=2)[:, 0]
    assert abs(vertex - (chances @ products) / (chances @ squares)) < 1e-9


def test_the_estimated_constant_minimises_the_other_episodes_second_moment(constant):
    """For each episode, least squares of the others' gradients on their scores."""
    batch, _ = drawn("two steps", 3, 2)
    g, s = episode_sums((2, 2), batch, constant)
    sums = [g, s]
    evidence = Evidence(batch, batch_returns(batch, 1.0), lambda weights: sums.pop(0))
    found = optimal_constant(evidence)
    for row in range(0, len(g), 97):
        for e in range(3):
            others = [i for i in range(3) if i != e]
            a, b = s[row, others].ravel(), g[row, others].ravel()
            least = np.linalg.lstsq(a[:, None], b, rcond=None)[0][0]
            assert abs(found[0][row, 0, e] - least) < 1e-9


@pytest.mark.parametrize("cut", [1, 2, 3])
@pytest.mark.parametrize(
    "estimator",
    [Estimator("loo", 0.9), Estimator("value"), Estimator("loo", normalized=True)],
    ids=["discounted", "value", "normalized"],
)
def test_how_time_is_cut_into_blocks_changes_nothing(cut, estimator):
    whole, *_ = moments("two states", estimator, cut=99)
    parts, *_ = moments("two states", estimator, cut=cut)
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-13)
