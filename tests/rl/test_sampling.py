"""Samples at frozen policies: several estimators from the same episodes; what the studies make of them."""

import numpy as np
import pytest
import torch

from core.lab.conformance import check_problem
from core.lab.probe import probe
from core.lab.random import Keys
from rl.frozen import frozen_policies
from rl.problems import cartpole
from rl.sampling import Recorded, sample_fields
from rl.studies.variance_is_seen_verdict import layer_of, noise_share


def estimators():
    return {name: cartpole(episodes=4, baseline=name) for name in ("none", "loo")}


def test_the_problem_keeps_the_contract():
    for problem in estimators().values():
        check_problem(problem)


def test_a_sample_is_the_field_on_the_keys_of_its_number():
    problems, keys = estimators(), Keys.of(range(3), copies=2)
    params = problems["none"].init(keys)
    found = sample_fields(problems, params, keys, 5)
    for name, problem in problems.items():
        assert found[name].shape == (5, 6, problem.dim)
        for i in range(5):
            assert torch.equal(found[name][i], problem.field(params, keys.at(i), 0).values)


def test_how_many_samples_are_rolled_out_together_leaves_no_trace(monkeypatch):
    problems, keys = estimators(), Keys.of(range(4))
    params = problems["none"].init(keys)
    whole = sample_fields(problems, params, keys, 7)
    monkeypatch.setattr("rl.sampling._ROWS", 8)
    parts = sample_fields(problems, params, keys, 7)
    assert all(torch.equal(whole[name], parts[name]) for name in problems)


def test_the_probe_reads_recorded_samples_as_they_are():
    samples = torch.randn(300, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moments = probe(Recorded(samples), torch.zeros(2, 3, dtype=torch.float64), Keys.of([0, 1]), samples=300)
    torch.testing.assert_close(moments.mean, samples.mean(0))
    torch.testing.assert_close(moments.variance, samples.var(0))


def test_a_replica_is_frozen_when_its_own_batch_reaches_the_level_whatever_the_others_do():
    problem = cartpole(episodes=4, baseline="loo")
    keys = Keys.of(range(4))
    frozen, live, _ = frozen_policies(problem, keys, 60.0)
    rows = torch.tensor([1, 3])
    alone, live_alone, _ = frozen_policies(problem, keys.rows(rows), 60.0)
    assert torch.equal(frozen[rows], alone)
    assert torch.equal(live[rows], live_alone)
    assert (live >= 0).all()
    start, never, _ = frozen_policies(problem, keys, 0.0)
    assert torch.equal(start, problem.init(keys))
    assert torch.isnan(never).all()


@pytest.mark.parametrize(("mean", "samples"), [(0.0, 50), (0.5, 2000), (3.0, 2000)])
def test_the_share_of_noise_is_freed_of_the_noise_in_the_mean(mean, samples):
    """Without the correction pure noise would have a share of about 1 - 1 / samples."""
    draws = mean + np.random.default_rng(0).standard_normal((1000, samples))
    arrays = {"none/mean": draws.mean(1)[None], "none/variance": draws.var(1, ddof=1)[None]}
    share = noise_share(arrays, "none", samples)[0]
    assert abs(share - 1 / (1 + mean**2)) < (0.005 if mean else 1e-12)


def test_layers_cover_the_parameters():
    layers = layer_of(cartpole().dim)
    assert (layers == "first layer").sum() == 5 * 32
    assert (layers == "last layer").sum() == 33 * 2
