"""The closed-form gradient against autograd; sampling against softmax; initial weights."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.lab.random import Keys
from rl.policies import CategoricalMLP, forward, orthogonal, sample, score_gradient


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
def test_logits_and_gradient_equal_autograd(sizes):
    policy, params, inputs, actions, weights = case(sizes)
    buffers = policy.buffers(3, 7, params.dtype)
    logits = np.stack(forward(policy.layers(params), inputs, buffers), axis=-1)
    gradient = score_gradient(policy.layers(params), inputs, actions, weights, buffers)
    flat = np.concatenate([g.reshape(3, -1) for g in gradient], axis=1)
    for r in range(3):
        theta = torch.tensor(params[r], requires_grad=True)
        expected = reference_logits(sizes, theta, torch.tensor(inputs[r, :, :-1]))
        np.testing.assert_allclose(logits[r], expected.detach(), rtol=0, atol=1e-13)
        chosen = torch.log_softmax(expected, dim=1)[torch.arange(7), torch.tensor(actions[r])]
        loss = -(torch.tensor(weights[r]) * chosen).sum()
        np.testing.assert_allclose(flat[r], torch.autograd.grad(loss, theta)[0], rtol=0, atol=1e-12)


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
