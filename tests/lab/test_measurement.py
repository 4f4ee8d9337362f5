"""Measurements: every cell on every seed, once; rows keyed by seed alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.lab.errors import VhatError
from core.lab.experiment import Payload
from core.lab.measurement import Measurement, MeasurementResult
from core.lab.random import Keys
from core.lab.store import canonical
from tests.lab.bowls import draw

CELLS = ({"scale": 1.0}, {"scale": 3.0, "other": "x"})


def finish(measurement: Measurement) -> tuple[MeasurementResult, int]:
    kept: dict[str, Payload] = {}
    pending = measurement.pending(lambda s: kept.get(canonical(s)))
    for shard in pending:
        kept[canonical(shard.spec)] = measurement.run(shard.spec, device="cpu")
        assert shard.cost == measurement.cost * shard.spec["seeds"]
    assert measurement.pending(lambda s: kept.get(canonical(s))) == []
    return measurement.result(lambda s: kept.get(canonical(s))), len(pending)


@pytest.mark.parametrize("per_shard", [2, 3, 5, 11, 50])
def test_cells_hold_all_seeds_in_order_whatever_the_shards(per_shard: int) -> None:
    result, shards = finish(Measurement("m", "test", draw, CELLS, 11, seeds_per_shard=per_shard))
    keys = Keys.of(range(11), study="test")
    assert shards == 2 * {2: 5, 3: 4, 5: 2, 11: 1, 50: 1}[per_shard]
    for cell, arrays in result:
        assert np.array_equal(arrays["value"], (cell["scale"] * keys.normal(3)).numpy())
        assert np.array_equal(arrays["seed"], keys.uniform(dtype=torch.float64).numpy())
        assert arrays["seed"].dtype == np.float64
    assert result.cells == CELLS


def test_cells_are_found_by_their_entries() -> None:
    result, _ = finish(Measurement("m", "test", draw, CELLS, 2))
    assert np.array_equal(result.only(scale=3.0)["value"], result.arrays[1]["value"])
    assert len(result.where().cells) == 2
    assert result.where(scale=1.0).cells == CELLS[:1]
    with pytest.raises(KeyError, match="0 cells"):
        result.only(scale=2.0)
    with pytest.raises(KeyError, match="2 cells"):
        result.only()


def test_cells_without_an_entry_do_not_match_it() -> None:
    result, _ = finish(Measurement("m", "test", draw, CELLS, 2))
    assert result.where(other="x").cells == CELLS[1:]


def test_impossible_measurements_are_refused() -> None:
    with pytest.raises(VhatError, match="at least 2 seeds, got 1"):
        Measurement("m", "test", draw, CELLS, 1)
    with pytest.raises(VhatError, match="has no cells"):
        Measurement("m", "test", draw, (), 5)
    with pytest.raises(VhatError, match="run the study first"):
        Measurement("m", "test", draw, CELLS, 5).result(lambda _: None)
