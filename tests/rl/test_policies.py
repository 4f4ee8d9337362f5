"""The closed-form gradient against autograd; sampling against softmax; initial weights."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.lab.random import Keys
from rl.gaussian import LOG_STD_BOUNDS, GaussianMLP
from rl.perceptron import forward, orthogonal
from rl.policies import CategoricalMLP, logistic, sample


def reference_logits(sizes, flat, inputs):
    """A plain torch perceptron that reads the flat parameters as (inputs x outputs, bias) a layer."""
    values, start = inputs, 0
    for number, (a, b) in enumerate(itertools.pairwise(sizes)):
        weight = flat[start : start + a * b].reshape(a, b)
        bias = flat[start + a * b : start + a * b + b]
        start += (a + 1) * b
        values = values @ weight + bias
        if number < len(sizes) - 2:
            values = torch.tanh(values)
    return values


def case(sizes, replicas=3, rows=7, seed=0):
    rng = np.random.default_rng(seed)
    policy = CategoricalMLP(sizes)
    params = rng.standard_normal((replicas, policy.dim))
    inputs = np.concatenate(
        [rng.standard_normal((replicas, rows, sizes[0])), np.ones((replicas, rows, 1))], axis=2
    )
    actions = rng.integers(0, sizes[-1], (replicas, rows))
    weights = rng.standard_normal((replicas, rows))
    return policy, params, inputs, actions, weights


@pytest.mark.parametrize("sizes", [(4, 2), (3, 5), (4, 8, 2), (3, 6, 5, 4), (2, 3, 4, 5, 2)])
@pytest.mark.parametrize("bonus", [False, True])
def test_logits_scores_and_entropy_equal_those_of_torch(sizes, bonus):
    policy, params, inputs, actions, weights = case(sizes)
    entropy = np.random.default_rng(1).uniform(0, 1, weights.shape) if bonus else None
    logits = np.stack(forward(policy.layers(params), inputs, policy.buffers(3, 7, params.dtype)), axis=-1)
    gradient = policy.score_gradient(params, inputs, actions, weights, entropy)
    for r in range(3):
        theta = torch.tensor(params[r], requires_grad=True)
        expected = reference_logits(sizes, theta, torch.tensor(inputs[r, :, :-1]))
        np.testing.assert_allclose(logits[r], expected.detach(), rtol=0, atol=1e-13)
        chances = torch.distributions.Categorical(logits=expected)
        loss = -(torch.tensor(weights[r]) * chances.log_prob(torch.tensor(actions[r]))).sum()
        if entropy is not None:
            loss = loss - (torch.tensor(entropy[r]) * chances.entropy()).sum()
        np.testing.assert_allclose(gradient[r], torch.autograd.grad(loss, theta)[0], rtol=0, atol=1e-12)


def gaussian_case(sizes, replicas=3, rows=7, seed=0):
    rng = np.random.default_rng(seed)
    policy = GaussianMLP(sizes)
    params = rng.standard_normal((replicas, policy.dim))
    inputs = np.concatenate(
        [rng.standard_normal((replicas, rows, sizes[0])), np.ones((replicas, rows, 1))], axis=2
    )
    actions = rng.standard_normal((replicas, rows, sizes[-1]))
    return policy, params, inputs, actions, rng.standard_normal((replicas, rows))


def normal(policy, theta, inputs):
    """torch's own diagonal Gaussian with the policy's parameters."""
    mean = reference_logits(policy.sizes, theta, torch.tensor(inputs[:, :-1]))
    low, high = LOG_STD_BOUNDS
    centre, half = (low + high) / 2, (high - low) / 2
    log_std = centre + half * torch.tanh(theta[-policy.outputs :] / half)
    return torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp().expand_as(mean)), 1)


@pytest.mark.parametrize("sizes", [(4, 1), (3, 2), (4, 8, 1), (3, 6, 5, 3)])
@pytest.mark.parametrize("bonus", [False, True])
def test_gaussian_scores_and_entropies_equal_those_of_torch(sizes, bonus):
    policy, params, inputs, actions, weights = gaussian_case(sizes)
    entropy = np.random.default_rng(1).uniform(0, 1, weights.shape) if bonus else None
    gradient = policy.score_gradient(params, inputs, actions, weights, entropy)
    assert gradient.shape == (3, policy.dim)
    for r in range(3):
        theta = torch.tensor(params[r], requires_grad=True)
        chances = normal(policy, theta, inputs[r])
        loss = -(torch.tensor(weights[r]) * chances.log_prob(torch.tensor(actions[r]))).sum()
        if entropy is not None:
            loss = loss - (torch.tensor(entropy[r]) * chances.entropy()).sum()
        np.testing.assert_allclose(gradient[r], torch.autograd.grad(loss, theta)[0], rtol=1e-12, atol=1e-10)


def test_gaussian_actions_are_mean_plus_noise():
    policy, params, inputs, _, _ = gaussian_case((3, 6, 2))
    noise = np.random.default_rng(2).standard_normal((3, 7, 2))
    actions = policy.empty_actions((3, 7), params.dtype)
    policy.acting(params, 7)(inputs, noise, actions)
    for r in range(3):
        chances = normal(policy, torch.tensor(params[r]), inputs[r]).base_dist
        expected = chances.mean + chances.stddev * torch.tensor(noise[r])
        np.testing.assert_allclose(actions[r], expected, rtol=0, atol=1e-12)


@given(st.floats(-1e6, 1e6))
def test_log_standard_deviations_stay_within_bounds(rho):
    policy = GaussianMLP((1, 1))
    log_std, slope = policy.log_std(np.full((2, policy.dim), rho))
    low, high = LOG_STD_BOUNDS
    assert ((low <= log_std) & (log_std <= high)).all()
    assert ((slope >= 0) & (slope <= 1)).all()


def test_a_gaussian_policy_starts_near_zero_with_room_to_explore():
    policy = GaussianMLP((3, 16, 2))
    params = policy.init(Keys.of(range(4), copies=2))
    assert params.shape == (8, policy.dim)
    assert torch.equal(params[:4], params[4:])
    log_std, slope = policy.log_std(params.double().numpy())
    np.testing.assert_allclose(log_std, -0.5, atol=1e-6)
    assert (slope > 0.5).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-40, 40), min_size=2, max_size=6))
def test_sampling_inverts_the_softmax(logits):
    count = 4001
    uniforms = ((np.arange(count) + 0.5) / count)[None]
    actions = np.zeros((1, count), dtype=np.int64)
    sample([np.full((1, count), x) for x in logits], uniforms, actions)
    shares = np.bincount(actions[0], minlength=len(logits)) / count
    expected = torch.softmax(torch.tensor(logits, dtype=torch.float64), 0).numpy()
    assert np.abs(shares - expected).max() <= 1.5 / count
    assert (np.diff(actions[0]) >= 0).all()


@given(st.floats(-40, 40))
def test_sampling_of_two_actions_needs_their_difference_alone(apart):
    uniforms = ((np.arange(4000) + 0.5) / 4000)[None]
    whole, brief = np.zeros((1, 4000), np.int64), np.zeros((1, 4000), np.int64)
    sample([np.zeros((1, 4000)), np.full((1, 4000), apart)], uniforms, whole)
    sample([np.full((1, 4000), apart)], logistic(uniforms), brief)
    np.testing.assert_array_equal(brief, whole)


def test_two_actions_are_drawn_from_the_softmax_of_the_whole_network():
    policy, params, inputs, _, _ = case((3, 5, 2), rows=6)
    uniforms = np.random.default_rng(3).uniform(size=(3, 6))
    logits = forward(policy.layers(params), inputs, policy.buffers(3, 6, params.dtype))
    chance = torch.softmax(torch.tensor(np.stack(logits, axis=-1)), dim=-1)[..., 0].numpy()
    actions = policy.empty_actions((3, 6), params.dtype)
    policy.acting(params, 6)(inputs, logistic(uniforms), actions)
    np.testing.assert_array_equal(actions, uniforms > chance)


@pytest.mark.parametrize("size", [(4, 32), (32, 4), (5, 5)])
def test_orthogonal_matrices_are_orthonormal_and_keyed(size):
    weights = orthogonal(Keys.of(range(6)), *size)
    small = min(size)
    tall = weights if size[0] >= size[1] else weights.mT
    eye = torch.eye(small, dtype=torch.float64).expand(6, -1, -1)
    torch.testing.assert_close(tall.mT @ tall, eye, rtol=0, atol=1e-13)
    assert torch.equal(orthogonal(Keys.of([1, 4]), *size), weights[[1, 4]])


def test_init_is_almost_uniform_over_actions_and_the_same_for_variants_of_a_seed():
    policy = CategoricalMLP((4, 32, 2))
    assert policy.dim == 5 * 32 + 33 * 2
    params = policy.init(Keys.of(range(5), copies=3))
    assert params.shape == (15, policy.dim)
    assert torch.equal(params[:5], params[5:10])
    inputs = np.concatenate(
        [np.random.default_rng(0).uniform(-0.05, 0.05, (15, 9, 4)), np.ones((15, 9, 1))], axis=2
    )
    logits = forward(policy.layers(params.double().numpy()), inputs, policy.buffers(15, 9, np.float64))
    assert max(np.abs(x).max() for x in logits) < 0.01


@pytest.mark.parametrize("sizes", [(4,), (4, 1), (0, 2)])
def test_sizes_that_make_no_policy_are_refused(sizes):
    with pytest.raises(ValueError, match="sizes"):
        CategoricalMLP(sizes)
