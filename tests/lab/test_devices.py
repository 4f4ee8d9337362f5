"""What is the same on every device that this machine has, and what is close."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from core.lab.engines import InProcess, compute
from core.lab.experiment import Payload
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from tests.lab import bowls

DEVICES = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
PLAN = dataclasses.replace(bowls.STUDY.plan("tiny"), steps=5)
SWEEP, DRAWS = bowls.experiments(PLAN)


@pytest.mark.parametrize("device", DEVICES)
def test_random_bits_are_the_same_and_what_is_rounded_is_close(device: str) -> None:
    here, there = (
        Keys.of(range(5), study="devices", device=d, copies=2).fold("x").at(3) for d in ("cpu", device)
    )
    for draw in (
        lambda keys: keys.integers(10**6, 50),
        lambda keys: keys.signs(50),
        lambda keys: keys.uniform(50, dtype=torch.float64),
        lambda keys: keys.uniform(50),
    ):
        found = draw(there)
        assert found.device.type == torch.device(device).type
        assert torch.equal(found.cpu(), draw(here))
    for dtype in (torch.float64, torch.float32):
        torch.testing.assert_close(there.normal(50, dtype=dtype).cpu(), here.normal(50, dtype=dtype))


def close(a: Payload, b: Payload) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("device", DEVICES)
def test_a_shard_is_close_to_that_of_the_processor_and_comes_back_as_plain_arrays(device: str) -> None:
    for experiment in (SWEEP, DRAWS):
        spec = experiment.pending(lambda _: None)[0].spec
        here, there, again = (compute(experiment, spec, d).payload for d in ("cpu", device, device))
        assert here is not None
        assert there is not None
        assert again is not None
        close(here, there)
        close(there, again)


def test_results_of_each_device_have_addresses_of_their_own(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    for device in DEVICES:
        job = job_of(bowls.REGISTERED, PLAN, store, device=device)
        assert not job.complete()
        run_jobs([job], InProcess(), 1, Quiet())
        assert job.complete()
    codes = {s.code for s in store.shards("tiny-bowl")}
    assert len(codes) == len(DEVICES)
    store.close()
