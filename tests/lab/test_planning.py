"""What a plan will take: counts that add up, a result that is kept, and the same bits afterwards."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from core.lab import commands
from core.lab.engines import InProcess
from core.lab.errors import VhatError
from core.lab.experiment import Experiment, Outlook, Payload, Shard, Spec, Staged
from core.lab.meta import Adaptation
from core.lab.meta_sweep import MetaSweep, MetaVariant
from core.lab.owner import _born, this_process
from core.lab.planning import Estimate, _largest_first, estimates, plan_table
from core.lab.progress import Quiet
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store, address_of, canonical
from core.lab.sweep import Sweep
from core.lab.variant import Grid
from core.optim.rules import RULES
from core.problems.sinusoids import Sinusoids
from tests.lab import bowls

PLAN = bowls.STUDY.plan("tiny")
MAML = MetaSweep(
    "tuned",
    "test",
    Sinusoids,
    {"5-shot": {"shots": 5}},
    (
        MetaVariant("SGD", Adaptation(RULES["sgd"], steps=1)),
        MetaVariant("Start", Adaptation(RULES["sgd"], steps=1), training="none"),
    ),
    inner=Grid(-4, -3),
    outer=Grid(-6, -4),
    iterations=2,
    tasks=2,
    judged_after=1,
    followed=2,
    rates=(0.1,),
    judged_on=4,
    tuning_seeds=2,
    reporting_seeds=5,
    seeds_per_shard=2,
)


def test_an_estimate_counts_what_is_pending_and_what_follows_and_keeps_what_it_measured(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "s.sqlite")
    sweep, draws = estimates(bowls.REGISTERED, PLAN, store)
    # Two regimes, each with 4 tuning seeds in twos, at two rates of two rules; then each with 6 reporting
    # seeds in twos, at one rate of two rules.
    assert (sweep.shards, sweep.replicas) == (2 * 2 + 2 * 3, 2 * 4 * (2 * 2) + 2 * 6 * 2)
    # Two cells of three pairs.
    assert (draws.shards, draws.replicas) == (6, 2 * 6)
    assert (sweep.measured, draws.measured) == ((4, 4), (2, 2))
    assert 0 < sweep.longest < sweep.seconds
    assert 0 < draws.longest < draws.seconds
    assert (sweep.wider > 0, draws.wider) == (True, 0)
    assert draws.memory >= sweep.memory > 50 * 2**20
    # One of the tuning of each regime and one of each cell: reports on rates that were not chosen are none.
    stored = store.shards("tiny-bowl")
    assert sorted(s.spec.get("stage", "") for s in stored) == ["", "", "tune", "tune"]
    table = plan_table(bowls.REGISTERED, PLAN, tmp_path, [sweep, dataclasses.replace(draws, shards=0)])
    assert [row[0] for row in table.rows] == ["sweep", "draws", "all"]
    assert table.rows[1][3] == "done"
    assert "6 of 6 kinds" in table.caption
    assert {len(row) for row in table.rows} == {len(table.columns)}

    whole = Store(tmp_path / "whole.sqlite")
    for each in (store, whole):
        run_jobs([job_of(bowls.REGISTERED, PLAN, each)], InProcess(), 1, Quiet())
    rows = [{s.address for s in each.shards("tiny-bowl")} for each in (store, whole)]
    assert rows[0] == rows[1]
    for kept in stored:
        alone, again = (each.get("tiny-bowl", kept.spec, kept.code) for each in (store, whole))
        assert alone is not None
        assert again is not None
        assert {k: v.tobytes() for k, v in alone.items()} == {k: v.tobytes() for k, v in again.items()}
    assert [e.shards for e in estimates(bowls.REGISTERED, PLAN, whole)] == [0, 0]
    for each in (store, whole):
        each.close()


def test_without_patience_one_kind_of_each_experiment_is_measured(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    sweep, draws = estimates(bowls.REGISTERED, PLAN, store, patience=0.0)
    assert (sweep.measured, draws.measured) == ((1, 4), (1, 2))
    assert min(sweep.seconds, draws.seconds, sweep.wider) > 0
    assert len(store.shards("tiny-bowl")) == 2
    store.close()


def claimed_by_another(store: Store, specs: Sequence[Spec], code: str) -> None:
    """As if a run that goes on had begun these shards."""
    pid = os.getppid()
    owner = f"{this_process().partition('/')[0]}/{pid}/{_born(pid)}"
    rows = [(address_of("tiny-bowl", spec, code), owner) for spec in specs]
    store._db.executemany("INSERT INTO claims VALUES (?, ?)", rows)


def test_the_largest_shard_of_a_kind_is_measured_unless_another_process_computes_it(tmp_path: Path) -> None:
    """Seven reporting seeds in twos are 2, 2 and 3: the last is the largest."""
    plan = PLAN.with_seeds(7)
    store = Store(tmp_path / "s.sqlite")
    job = job_of(bowls.REGISTERED, plan, store)
    sweep, draws = job.experiments
    tuning = [s.spec for s in sweep.pending(job.view)]
    one, other = (
        [s.spec for s in draws.pending(job.view) if s.spec["cell"] == cell]
        for cell in ({"scale": 1.0}, {"scale": 2.0})
    )
    claimed_by_another(store, [*tuning, one[-1]], job.view.code)
    found = estimates(bowls.REGISTERED, plan, store)
    stored = [s.spec for s in store.shards("tiny-bowl")]
    assert sorted(s["cell"]["scale"] for s in stored) == [1.0, 2.0]
    assert next(s for s in stored if s["cell"]["scale"] == 2.0) == other[-1]
    assert next(s for s in stored if s["cell"]["scale"] == 1.0) in one[:-1]
    # Tuning was left to the other; the reports that follow were measured on stand-ins.
    assert [e.measured for e in found] == [(2, 4), (2, 2)]
    assert all(e.seconds > 0 for e in found)
    # What is ours is given up at the end, and what is not stays.
    assert store._db.execute("SELECT count(*) FROM claims").fetchone() == (len(tuning) + 1,)
    store.close()


def test_nothing_is_computed_twice_where_another_process_computes_all(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    job = job_of(bowls.REGISTERED, PLAN, store)
    pending = [s.spec for s in job.experiments[1].pending(job.view)]
    claimed_by_another(store, pending, job.view.code)
    sweep, draws = estimates(bowls.REGISTERED, PLAN, store, patience=0.0)
    assert (sweep.measured, draws.measured) == ((1, 4), (0, 2))
    assert draws.shards == len(pending)
    assert {s.spec["experiment"] for s in store.shards("tiny-bowl")} == {"sweep"}
    _, unknown, total = plan_table(bowls.REGISTERED, PLAN, tmp_path, [sweep, draws]).rows
    assert unknown[3:] == ("not known", "0 s", "not known", "not known")
    assert total[3] == total[5] == total[6] == "not known"
    store.close()


def test_the_kind_with_the_largest_shard_is_measured_first() -> None:
    """Patience may end with the first kind, and memory is that of the largest block."""
    shards = [
        Shard({"rows": [0] * rows, "seeds": seeds, "number": number}, label, float(rows * seeds))
        for number, (label, rows, seeds) in enumerate(
            [("many", 2, 3), ("many", 2, 2), ("large", 4, 3), ("few", 1, 2), ("many", 2, 3), ("many", 2, 3)]
        )
    ]
    kinds = _largest_first(shards)
    assert list(kinds) == ["large", "many", "few"]
    assert [s.spec["seeds"] for s in kinds["many"]] == [3, 3, 3, 2]


def test_a_process_s_peak_is_its_own() -> None:
    """`ru_maxrss` begins with what the parent held: a smaller child would not be seen to grow."""
    held, grown = bytearray(400 * 2**20), 100 * 2**20
    program = (
        "from core.lab.planning import _peak_memory as peak;"
        f"before = peak(); x = bytearray({grown}); print(peak() - before)"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert len(held) > grown
    assert float(child.stdout) == pytest.approx(grown, rel=0.2)


def by_stage(shards: Sequence[Shard], stage: str) -> list[tuple[int, int]]:
    """Rows and seeds of each."""
    return [
        (len(s.spec.get("rows") or s.spec["points"]), s.spec["seeds"])
        for s in shards
        if s.spec["stage"] == stage
    ]


def run_until_complete(experiment: Experiment, then: Callable[[Outlook, list[Shard]], None]) -> list[Shard]:
    """Compute an experiment stage by stage; all its shards."""
    stored: dict[str, Payload] = {}

    def lookup(spec: Spec) -> Payload | None:
        return stored.get(canonical(spec))

    everything: list[Shard] = []
    while waiting := experiment.pending(lookup):
        assert isinstance(experiment, Staged)
        then(experiment.outlook(lookup), [*everything, *waiting])
        for shard in waiting:
            stored[canonical(shard.spec)] = experiment.run(shard.spec, device="cpu")
        everything += waiting
    assert isinstance(experiment, Staged)
    assert experiment.outlook(lookup) == Outlook()
    return everything


def checked_against_a_run(experiment: Experiment) -> None:
    """At each stage what is said to be sure comes, and no more than what is said to be possible besides."""
    said: list[tuple[Outlook, list[Shard]]] = []
    run = run_until_complete(experiment, lambda ahead, until: said.append((ahead, until)))
    total = sum(s.cost for s in run)
    assert len(said) > 1
    for ahead, until in said:
        sure = sum(s.cost for s in (*until, *ahead.sure))
        assert sure <= total * (1 + 1e-12)
        assert total <= (sure + sum(s.cost for s in ahead.possible)) * (1 + 1e-12)
        assert by_stage([*until, *ahead.sure], "report") == by_stage(run, "report")


def test_the_outlook_of_a_sweep_holds() -> None:
    sweep = bowls.STUDY.experiments(PLAN)[0]
    assert isinstance(sweep, Sweep)
    checked_against_a_run(sweep)
    checked_against_a_run(dataclasses.replace(sweep, widen=0, grid=Grid(-4, 0)))


def test_the_outlook_of_a_sweep_over_meta_learning_holds() -> None:
    checked_against_a_run(MAML)


def test_a_measurement_has_none() -> None:
    assert not isinstance(bowls.STUDY.experiments(PLAN)[1], Staged)


def test_a_complete_plan_says_so(tmp_path: Path) -> None:
    with pytest.raises(VhatError, match=r"nothing is pending.*vhat show tiny-bowl"):
        plan_table(bowls.REGISTERED, PLAN, tmp_path, [Estimate("sweep", 0, 0)])


def test_the_command_prints_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "find", lambda name: bowls.REGISTERED)
    found = [Estimate("sweep", 4, 48, 7200.0, 3600.0, 60.0, 2**28, (2, 2))]
    monkeypatch.setattr(commands, "estimates", lambda *args, **more: found)
    commands.plan_study("tiny-bowl", "tiny", None, "cpu", tmp_path / "out")
    out = capsys.readouterr().out
    assert "CPU time" in out
    assert "2 h" in out
    assert "60 min" in out
    assert "60 s" in out
    assert "256 MiB" in out
