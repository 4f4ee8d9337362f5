"""Sweeps of the studies of games that keep less, or go on: against the plain sweep."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.lab.engines import InProcess
from core.lab.experiment import Payload, Spec
from core.lab.export import export_study
from core.lab.progress import Quiet
from core.lab.run import Recording
from core.lab.runner import local_job, run_jobs
from core.lab.store import Store, canonical
from core.lab.study import Plan
from core.lab.sweep import Objective, Regime, Sweep, SweepResult
from core.lab.tensorboard import write_results
from core.lab.variant import Grid, Variant
from core.optim.play import Alternating
from games.bilinear import BilinearGame
from games.orbit import descent_growth, descent_growth_per_turn, turning
from games.oscillation import spectral_peak
from games.studies.continued_sweep import ContinuedSweep
from games.studies.swing_sweep import KEPT, MEASURES, SwingSweep, swing
from tests.lab.test_planning import checked_against_a_run

NOISY = Regime("xy, noise", BilinearGame, {"noise": "additive", "noise_scale": 0.1})
EXACT = Regime("xy", BilinearGame, {})
VARIANTS = (Variant("GDA", "sgd"), Variant("Adam", "adam"), Variant("alternating", "sgd", play=Alternating()))


def settings(steps: int, regime: Regime = NOISY) -> dict[str, Any]:
    return {
        "name": "tuned",
        "study": "test",
        "regimes": (regime,),
        "variants": VARIANTS,
        "grid": Grid.between(0.01, 0.1),
        "objective": Objective("distance"),
        "steps": steps,
        "tuning_seeds": 2,
        "reporting_seeds": 3,
        "recording": Recording(points=steps, tuning_points=2),
        "widen": 0,
    }


def carried_out(sweep: Sweep) -> tuple[SweepResult, list[Spec]]:
    """All that is pending, until nothing is; the specs in their order."""
    stored: dict[str, Payload] = {}
    done: list[Spec] = []
    while shards := sweep.pending(lambda spec: stored.get(canonical(spec))):
        for shard in shards:
            stored[canonical(shard.spec)] = sweep.run(shard.spec, device="cpu")
            done.append(shard.spec)
    return sweep.result(lambda spec: stored.get(canonical(spec))), done


def test_a_swing_is_that_of_the_whole_path() -> None:
    plain, _ = carried_out(Sweep(**settings(250)))
    condensed, _ = carried_out(SwingSweep(**settings(250)))
    for name in plain.variants:
        whole, kept = plain.run(NOISY.name, name), condensed.run(NOISY.name, name)
        assert condensed.tuned[NOISY.name, name].best == plain.tuned[NOISY.name, name].best
        np.testing.assert_array_equal(
            condensed.values(NOISY.name, name), plain.values(NOISY.name, name), strict=True
        )
        turns, growth = turning(whole.curves["distance"], whole.curves["angle"])
        peak, share = spectral_peak(whole.curves["angle"])
        expected = (1000.0 * np.abs(turns), growth, 1000.0 * np.abs(peak), share)
        for measure, values in zip(MEASURES, expected, strict=True):
            np.testing.assert_array_equal(swing(kept)[measure], values)
        assert len(kept.steps) <= KEPT + 4
        chosen = np.isin(whole.steps, kept.steps)
        np.testing.assert_array_equal(kept.curves["distance"], whole.curves["distance"][:, chosen])


def test_a_swing_agrees_with_the_closed_form() -> None:
    found, _ = carried_out(SwingSweep(**settings(400, EXACT)))
    lr = found.tuned[EXACT.name, "GDA"].best["lr"]
    measured = swing(found.run(EXACT.name, "GDA"))
    np.testing.assert_allclose(measured["turns"], 1000 * np.arctan(lr) / (2 * np.pi), rtol=1e-9)
    np.testing.assert_allclose(measured["growth"], descent_growth_per_turn(lr), rtol=1e-9)
    np.testing.assert_allclose(
        found.run(EXACT.name, "GDA").curves["distance"][:, -1], descent_growth(lr) ** 400, rtol=1e-9
    )


def test_a_continued_path_is_the_reported_one_gone_on() -> None:
    sweep = ContinuedSweep(**settings(20), continued=("GDA", "alternating"), times=3)
    found, specs = carried_out(sweep)
    plain, before = carried_out(Sweep(**settings(20)))
    # Nothing more is tuned, and what goes on comes last.
    assert [canonical(s) for s in specs[: len(before)]] == [canonical(s) for s in before]
    assert {(s["stage"], s["steps"]) for s in specs[len(before) :]} == {("report", 60)}
    longer = found.longer  # type: ignore[attr-defined]
    assert longer.variants == ("GDA", "alternating")
    for name in longer.variants:
        short, long = found.run(NOISY.name, name), longer.run(NOISY.name, name)
        assert longer.tuned[NOISY.name, name].best == plain.tuned[NOISY.name, name].best
        np.testing.assert_array_equal(
            short.curves["distance"], plain.run(NOISY.name, name).curves["distance"]
        )
        # The same starts, the same draws, the same rate; 60 steps recorded at 20 points.
        at = np.isin(long.steps, short.steps)
        np.testing.assert_array_equal(
            long.curves["distance"][:, at][:, :7], short.curves["distance"][:, ::3][:, :7]
        )
        assert long.steps[-1] == 60


def test_the_outlook_holds_what_goes_on() -> None:
    checked_against_a_run(ContinuedSweep(**settings(20), continued=("GDA", "alternating"), times=3))


LONGER = "tuned, 3 times as long"


def test_what_goes_on_is_shown_and_exported_beside_what_was_tuned(tmp_path: Path) -> None:
    sweep = ContinuedSweep(**settings(20), continued=("GDA", "alternating"), times=3)
    plan = Plan("tiny", 20, 2, 3)
    with closing(Store(tmp_path / "s.sqlite")) as store:
        job = local_job("test", plan, (sweep,), store)
        run_jobs([job], InProcess(), 1, Quiet())
        results = job.results()
        assert export_study(job, "parquet", tmp_path) is not None
    found = results.sweep("tuned")
    longer = found.longer  # type: ignore[attr-defined]
    alone, whole, file = (
        found.to_pandas(),
        results.to_pandas(),
        pd.read_parquet(tmp_path / "test" / "tuned.parquet"),
    )
    for frame in (alone, whole, file):
        assert set(frame["experiment"]) == {"tuned", LONGER}
        for name in longer.variants:
            for part, result in (("tuned", found), (LONGER, longer)):
                curve = result.run(NOISY.name, name).curves["distance"]
                mine = frame[(frame["experiment"] == part) & (frame["variant"] == name)]
                mine = mine[(mine["quantity"] == "distance") & (mine["stage"] == "reporting")]
                rows = mine.pivot(index="seed", columns="step", values="value")
                np.testing.assert_array_equal(rows.to_numpy(), curve)
                assert rows.columns.to_list() == result.run(NOISY.name, name).steps.tolist()
    # A plain sweep needs no such column.
    assert "experiment" not in longer.to_pandas().columns
    assert write_results("test", results, tmp_path / "tb") == len(VARIANTS) + 2
    folders = {p.parent.relative_to(tmp_path / "tb").parts for p in (tmp_path / "tb").rglob("events*")}
    assert {f[1:] for f in folders if f[1] == LONGER} == {
        (LONGER, NOISY.name, "GDA"),
        (LONGER, NOISY.name, "alternating"),
    }
