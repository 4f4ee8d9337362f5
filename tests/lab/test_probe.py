"""The probe's moments against numpy on the same samples, and v-hat against the rule that it claims to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.lab.probe import probe
from core.lab.random import Keys
from core.optim.rules import RULES
from tests.lab.bowls import Bowl

PROBLEM = Bowl(curvature=(1.0, 1e6, 0.0), noise=0.3, dtype=torch.float64)


def sampled(samples: int, rows: int = 3) -> tuple[torch.Tensor, Keys, np.ndarray]:
    keys = Keys.of(range(rows))
    params = PROBLEM.init(keys)
    drawn = [PROBLEM.field(params, keys.fold("probe"), i).values.numpy() for i in range(samples)]
    return params, keys, np.stack(drawn)


@pytest.mark.parametrize("samples", [2, 3, 50])
def test_moments_are_those_of_the_samples(samples: int) -> None:
    params, keys, drawn = sampled(samples)
    found = probe(PROBLEM, params, keys, samples=samples)
    assert found.mean.numpy() == pytest.approx(drawn.mean(axis=0), rel=1e-12)
    # The second coordinate's mean is 1e6 times its noise: sums of squares would lose the variance.
    assert found.variance.numpy() == pytest.approx(drawn.var(axis=0, ddof=1), rel=1e-6)
    assert found.samples == samples
    raw = found.variance + found.mean**2
    assert torch.allclose(found.noise_share, found.variance / raw)
    assert torch.allclose(found.signal_to_noise, found.mean.abs() / found.variance.sqrt())


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.5)])
def test_v_hat_and_m_hat_are_adams(betas: tuple[float, float]) -> None:
    params, keys, drawn = sampled(20)
    found = probe(PROBLEM, params, keys, samples=20, beta1=betas[0], beta2=betas[1])
    rule = RULES["adam"].with_hyper(beta1=betas[0], beta2=betas[1])
    state, at = rule.init(params), params
    for gradient in drawn:
        at, state = rule.step(at, torch.from_numpy(gradient), state, lr=0.0)
    assert torch.allclose(found.exp_avg_sq, state.exp_avg_sq / (1 - betas[1] ** 20), rtol=1e-12)
    assert torch.allclose(found.exp_avg, state.exp_avg / (1 - betas[0] ** 20), rtol=1e-12)


def test_streams_are_fresh_samples_and_dead_coordinates_are_nothing() -> None:
    params, keys, _ = sampled(5)
    assert not torch.equal(
        probe(PROBLEM, params, keys, samples=5).mean, probe(PROBLEM, params, keys, samples=5, stream="b").mean
    )
    quiet = Bowl(curvature=(1.0, 0.0), noise=0.0)
    found = probe(quiet, quiet.init(keys), keys, samples=4)
    assert found.signal_to_noise[:, 0].tolist() == [float("inf")] * 3
    assert found.signal_to_noise[:, 1].tolist() == [0.0] * 3
    assert found.noise_share.tolist() == [[0.0, 0.0]] * 3
    with pytest.raises(ValueError, match="at least two samples"):
        probe(quiet, quiet.init(keys), keys, samples=1)
