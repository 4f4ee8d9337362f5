"""What is the same on every device that this machine has, and what is close."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from core.lab.engines import Done, InProcess, compute
from core.lab.experiment import Experiment, Payload, Spec
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.registry import studies
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from tests.crash.faults import first_shards
from tests.lab import bowls

ALL = studies()
NO_GPU = "no GPU is here; on a machine with one: python -m pytest -q tests/lab/test_devices.py"
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
CLOSE = 0.9
"""The share of a shard's numbers that have to be close: what is near an edge may fall on either side."""
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


def first_shards_are_close(name: str, device: str) -> int:
    """A study's cheapest shard of each experiment there and on the processor; how many numbers were compared.

    Where an agent draws its actions, one rounded number in a thousand steps may be another action, and from
    there on another episode: then only what is finite and how it is shaped is the same.
    """
    drawn = ALL[name].domain.name == "rl"
    compared = 0
    for experiment, shard in first_shards(ALL[name], 1):
        here, there = (compute(experiment, shard.spec, d) for d in ("cpu", device))
        assert here.payload is not None, here.error
        assert there.payload is not None, there.error
        assert here.payload.keys() == there.payload.keys()
        for key, whole in here.payload.items():
            found = there.payload[key]
            assert (found.dtype, found.shape) == (whole.dtype, whole.shape), key
            if drawn or whole.size == 0 or whole.dtype.kind not in "fiu":
                continue
            near = np.isclose(found, whole, rtol=1e-2, atol=1e-4, equal_nan=True)
            assert near.mean() >= CLOSE, (experiment.name, key, float(near.mean()))
            compared += whole.size
    assert compared or drawn
    return compared


@pytest.mark.parametrize("name", ["first-step", "orbits"])
def test_first_shards_of_two_studies(name: str) -> None:
    """The processor, named: what the next test does on a GPU."""
    assert first_shards_are_close(name, "cpu:0") > 10


@needs_gpu
@pytest.mark.parametrize("name", sorted(ALL))
def test_first_shards_of_every_study_on_a_gpu(name: str) -> None:
    first_shards_are_close(name, "cuda")


def test_a_device_that_computes_something_else_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = compute

    def other(experiment: Experiment, spec: Spec, device: str) -> Done:
        done = honest(experiment, spec, "cpu")
        assert done.payload is not None
        return (
            done if device == "cpu" else Done({k: v + v.dtype.type(1) for k, v in done.payload.items()}, 0.0)
        )

    monkeypatch.setitem(globals(), "compute", other)
    with pytest.raises(AssertionError):
        first_shards_are_close("first-step", "elsewhere")


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
