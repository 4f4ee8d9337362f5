"""Shards of the studies' full plans, over their whole budgets: a replica has the same bits alone, in another
order and in a batch of another size.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from core.lab.experiment import Array, Shard
from core.lab.registry import find
from core.lab.run import Recording
from core.lab.sweep import Sweep
from rl.studies.baseline_settings import BASELINES
from rl.studies.learning_settings import TASKS

ALONE = 4
"""Replicas that are trained by themselves."""
FEWEST = 150
"""In a batch."""


def whole_shard(study: str, name: str, regime: str) -> tuple[Sweep, Shard]:
    """The first shard of tuning in a regime of the full plan, as the study would run it."""
    plan = find(study).study.plan("full")
    experiments = find(study).study.experiments(plan)
    (sweep,) = (e for e in experiments if isinstance(e, Sweep) and e.name == name)
    return sweep, next(s for s in sweep.pending(lambda _: None) if s.spec["regime"] == regime)


def by_seed(sweep: Sweep, spec: dict[str, object]) -> dict[str, Array]:
    """All that training gives, `[settings, seeds, ...]`."""
    run = sweep.run(spec, device="cpu")
    assert run["steps"][-1] == sweep.steps
    settings, seeds = len(spec["rows"]), spec["seeds"]  # type: ignore[arg-type]
    return {
        key: np.reshape(value, (settings, seeds, *value.shape[1:]))
        for key, value in run.items()
        if key != "steps"
    }


def assert_same(found: dict[str, Array], whole: dict[str, Array], place: tuple[object, ...]) -> None:
    assert "params" in whole
    for name, values in whole.items():
        np.testing.assert_array_equal(found[name], values[place], err_msg=name)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("study", "name", "regime"),
    [
        *(("baseline", "baselines", words) for words, kind in BASELINES.items() if kind != "none"),
        *(("learning-curves", task.id, task.id) for task in TASKS),
    ],
)
def test_a_replica_of_a_whole_shard_has_the_same_bits_alone_and_in_any_batch(
    study, name, regime, monkeypatch
):
    tuned = Recording.for_tuning
    monkeypatch.setattr(Recording, "for_tuning", lambda self: dataclasses.replace(tuned(self), params=True))
    sweep, shard = whole_shard(study, name, regime)
    rows, seeds = shard.spec["rows"], shard.spec["seeds"]
    assert len(rows) * seeds >= FEWEST
    whole = by_seed(sweep, shard.spec)
    returns = whole["curves:field/return"][..., -1]
    assert np.nanmax(returns) - np.nanmin(returns) > 10, "the case must hold good policies and poor ones"

    some = seeds // 2
    turned = {**shard.spec, "rows": rows[::-1], "first_seed": shard.spec["first_seed"] + some, "seeds": some}
    assert_same(by_seed(sweep, turned), whole, (slice(None, None, -1), slice(some, 2 * some)))

    chosen = np.random.default_rng(0)
    for row, seed in zip(
        chosen.permutation(len(rows))[:ALONE], chosen.permutation(seeds)[:ALONE], strict=True
    ):
        first = shard.spec["first_seed"] + int(seed)
        alone = by_seed(sweep, {**shard.spec, "rows": [rows[row]], "first_seed": first, "seeds": 1})
        assert_same(alone, whole, (slice(row, row + 1), slice(seed, seed + 1)))
