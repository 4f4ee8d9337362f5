"""Sweeps: tuning by brute force, ties, edges, seeds that never meet, and shards that change nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from core.lab.errors import VhatError
from core.lab.experiment import Payload, Spec, seed_blocks
from core.lab.problem import Field
from core.lab.random import Keys
from core.lab.run import Recording, Run
from core.lab.stats import centre
from core.lab.store import canonical
from core.lab.sweep import Objective, Regime, Sweep, SweepResult
from core.lab.tables import sweep_table
from core.lab.train import Block, train
from core.lab.variant import Grid, Variant
from tests.lab.bowls import Bowl


class Answer(Bowl):
    """Reports a loss that is a function of the last displacement, hence of lr alone: the landscape is chosen.

    One coordinate, started at 0, with the field -1: after one step it lies at lr.
    """

    landscape = staticmethod(lambda x: (x.log10() + 2.0) ** 2)

    def __init__(self, device: str = "cpu", **_: object) -> None:
        super().__init__(curvature=(1.0,), dtype=torch.float64)

    def init(self, keys: Keys) -> Tensor:
        return torch.zeros(len(keys), 1, dtype=torch.float64)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        return Field(-torch.ones_like(params))

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        x = params[:, 0].clamp_min(1e-300)
        return {"loss": self.landscape(x), "gain": -self.landscape(x)}


def sweep_of(**more: Any) -> Sweep:
    given: dict[str, Any] = {
        "name": "s",
        "study": "test",
        "regimes": (Regime("one", Bowl),),
        "variants": (Variant("SGD", "sgd"), Variant("Adam", "adam")),
        "grid": Grid(-4, 2),
        "objective": Objective("loss"),
        "steps": 15,
        "tuning_seeds": 5,
        "reporting_seeds": 7,
        **more,
    }
    return Sweep(**given)


def answered(landscape: object, **more: Any) -> Sweep:
    problem = type("Chosen", (Answer,), {"landscape": staticmethod(landscape)})
    given = {"regimes": (Regime("one", problem),), "variants": (Variant("SGD", "sgd"),), "steps": 1, **more}
    return sweep_of(**given)


def finish(sweep: Sweep) -> tuple[SweepResult, list[Spec]]:
    """All stages, in memory: the result, and what was computed, in order."""
    kept: dict[str, Payload] = {}
    done: list[Spec] = []
    while pending := sweep.pending(lambda s: kept.get(canonical(s))):
        for shard in pending:
            assert canonical(shard.spec) not in kept
            kept[canonical(shard.spec)] = sweep.run(shard.spec, device="cpu")
            done.append(shard.spec)
    return sweep.result(lambda s: kept.get(canonical(s))), done


def final_losses(
    variant: Variant, setting: Mapping[str, float], seeds: int, stage: str, steps: int = 15
) -> np.ndarray:
    """One run of the sweep's problem, on its own."""
    keys = Keys.of(range(seeds), study=f"test/{stage}")
    run = train(Bowl(), [Block(variant, slice(0, seeds), dict(setting))], keys, steps=steps)
    return run.curves["loss"][:, -1]


def test_tuning_picks_the_best_by_brute_force() -> None:
    variants = (Variant("SGD", "sgd"), Variant("Momentum", "momentum", tune={"momentum": (0.1, 0.5, 0.9)}))
    sweep = sweep_of(variants=variants, widen=0)
    result, _ = finish(sweep)
    for v in variants:
        tuned = result.tuned["one", v.name]
        settings = v.settings(sweep.grid)
        assert sorted(map(str, tuned.settings)) == sorted(map(str, settings))
        scores = {str(s): centre(final_losses(v, s, 5, "tune")) for s in settings}
        assert scores[str(dict(tuned.best))] == min(scores.values())
        assert tuned.scores == pytest.approx([scores[str(dict(s))] for s in tuned.settings], rel=1e-6)
        assert np.array_equal(result.values("one", v.name), final_losses(v, tuned.best, 7, "report"))


def test_ties_go_to_the_smallest_rate() -> None:
    flat = answered(lambda x: torch.where((x > 0.005) & (x < 0.5), 1.0, 2.0))
    result, _ = finish(flat)
    assert result.tuned["one", "SGD"].best == {"lr": 0.01}
    assert not result.tuned["one", "SGD"].edge


@pytest.mark.parametrize(("optimum", "grid"), [(-5.0, Grid(-4, 2)), (3.0, Grid(-4, 2)), (-1.0, Grid(-2, -2))])
def test_a_best_point_on_the_edge_widens_the_grid_until_it_is_inside(optimum: float, grid: Grid) -> None:
    result, done = finish(answered(lambda x: (x.log10() - optimum) ** 2, grid=grid, widen=4))
    tuned = result.tuned["one", "SGD"]
    assert tuned.best["lr"] == pytest.approx(10**optimum)
    assert not tuned.edge
    rates = [s["lr"] for s in tuned.settings]
    assert rates == sorted(set(rates))
    # Nothing is trained twice: each round holds the new points alone.
    tried = [row["setting"]["lr"] for spec in done if spec["stage"] == "tune" for row in spec["rows"]]
    assert sorted(tried) == rates


@pytest.mark.parametrize(("sign", "end"), [(1.0, 10.0**-6), (-1.0, 10.0**4)])
def test_an_edge_that_cannot_be_widened_further_is_flagged(sign: float, end: float) -> None:
    result, done = finish(answered(lambda x: sign * x.log10(), grid=Grid(-4, 2, 1), widen=1))
    tuned = result.tuned["one", "SGD"]
    assert tuned.edge == ("lr",)
    assert tuned.best["lr"] == pytest.approx(end)
    assert len({canonical(s) for s in done}) == len(done) == 3


@pytest.mark.parametrize(
    ("momenta", "best", "edge"),
    [
        ((0.1, 0.5, 0.7), 0.7, ("momentum",)),
        ((0.5, 0.7, 0.9), 0.5, ("momentum",)),
        ((0.3, 0.6, 0.9), 0.6, ()),
        ((0.6,), 0.6, ()),
    ],
)
def test_every_tuned_setting_on_an_edge_is_named_in_the_table_too(
    momenta: tuple[float, ...], best: float, edge: tuple[str, ...]
) -> None:
    """Two steps of the field -1 lead to lr (2 + momentum), so the answer chooses both."""
    goal = {0.7: 2.9, 0.5: 2.1, 0.6: 2.6}[best]
    momentum = Variant("Momentum", "momentum", tune={"momentum": momenta}, lr=Grid(-1, 1))
    more = {"variants": (momentum,), "steps": 2, "widen": 0}
    result, _ = finish(answered(lambda x: (x - goal) ** 2, **more))
    tuned = result.tuned["one", "Momentum"]
    assert tuned.best == {"lr": 1.0, "momentum": best}
    assert tuned.edge == edge
    shown = sweep_table(result, "one").rows[0][1]
    assert shown == f"lr 1, momentum {best:g}" + (f" (edge: {edge[0]})" if edge else "")


def test_the_end_of_what_a_rule_allows_is_no_edge_of_a_grid() -> None:
    decayed = Variant("AdamW", "adamw", tune={"weight_decay": (0.0, 0.1, 1.0), "beta1": (0.0, 0.9)})
    tried = decayed.settings(Grid(-1, 1))
    assert decayed.on_edge({"lr": 1.0, "weight_decay": 0.0, "beta1": 0.9}, tried) == ("beta1",)
    assert decayed.on_edge({"lr": 1.0, "weight_decay": 1.0, "beta1": 0.9}, tried) == ("weight_decay", "beta1")
    assert decayed.on_edge({"lr": 0.316228, "weight_decay": 0.1, "beta1": 0.9}, tried) == ("lr", "beta1")


def test_higher_is_better_where_it_is_said() -> None:
    objective = Objective("gain", higher=True)
    result, _ = finish(answered(lambda x: (x.log10() + 1.0) ** 2, objective=objective))
    tuned = result.tuned["one", "SGD"]
    assert tuned.best == {"lr": 0.1}
    assert (
        max(tuned.scores)
        == tuned.scores[list(tuned.settings).index({"lr": 0.1})]
        == pytest.approx(0.0, abs=1e-12)
    )
    assert (tuned.scores <= 1e-12).all()


def test_a_diverged_run_is_the_worst_and_is_never_chosen() -> None:
    """Half of the seeds diverge at one rate, where the others are perfect."""

    class Cliff(Bowl):
        def __init__(self, device: str = "cpu") -> None:
            super().__init__(curvature=(1.0,), noise=0.0, dtype=torch.float64)

        def field(self, params: Tensor, keys: Keys, step: int) -> Field:
            moved = step > 0 and (params.abs() < 1e-12)
            lost = keys.uniform(dtype=torch.float64)[:, None] < 0.5
            return Field(torch.where(torch.as_tensor(moved) & lost, torch.inf, params))

    for higher in (False, True):
        regime = Regime("one", Cliff)
        objective = Objective("loss", across="mean", higher=higher)
        sweep = sweep_of(
            regimes=(regime,),
            variants=(Variant("SGD", "sgd"),),
            objective=objective,
            grid=Grid(-2, 0),
            tuning_seeds=12,
            widen=0,
        )
        result, _ = finish(sweep)
        tuned = result.tuned["one", "SGD"]
        at_one = tuned.losses[list(tuned.settings).index({"lr": 1.0})]
        assert 0 < np.isinf(at_one).sum() < 12
        assert set(at_one[np.isinf(at_one)]) == {-np.inf if higher else np.inf}
        assert tuned.best["lr"] < 1.0


@pytest.mark.parametrize("per_shard", [2, 3, 4, 100])
def test_shards_of_any_size_give_the_same_bits(per_shard: int) -> None:
    base = finish(sweep_of(seeds_per_shard=5))[0]
    result, done = finish(sweep_of(seeds_per_shard=per_shard))
    assert min(s["seeds"] for s in done) >= 2
    for key, run in base.runs.items():
        a, b = run.to_arrays(), result.runs[key].to_arrays()
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[k], b[k], equal_nan=True) for k in a)
        assert base.tuned[key].best == result.tuned[key].best
        assert np.array_equal(base.tuned[key].losses, result.tuned[key].losses)


def test_the_order_of_variants_and_regimes_changes_no_bit() -> None:
    regimes = (Regime("quiet", Bowl, {"noise": 0.0}), Regime("loud", Bowl, {"noise": 1.0}))
    variants = (Variant("SGD", "sgd"), Variant("Adam", "adam"), Variant("Sign", "signsgd"))
    forth, _ = finish(sweep_of(regimes=regimes, variants=variants))
    back, _ = finish(sweep_of(regimes=regimes[::-1], variants=variants[::-1]))
    for key, run in forth.runs.items():
        assert np.array_equal(run.curves["loss"], back.runs[key].curves["loss"])


def test_tuning_and_reporting_seeds_never_meet_and_variants_share_theirs() -> None:
    tuned, reported = (Keys.of(range(100), study=f"test/{s}").words for s in ("tune", "report"))
    assert not set(tuned.tolist()) & set(reported.tolist())
    result, _ = finish(sweep_of(tuning_seeds=7, grid=Grid(-2, -2), widen=0))
    starts = {v: result.run("one", v).curves["first"][:, 0] for v in result.variants}
    assert np.array_equal(starts["SGD"], starts["Adam"])
    assert np.array_equal(starts["SGD"], Bowl().init(Keys.of(range(7), study="test/report"))[:, 0].numpy())


def test_a_hit_is_the_worst_when_it_never_comes_or_the_run_is_lost() -> None:
    objective = Objective("loss", at="hit", threshold=1.0)
    curves = {"loss": np.array([[3.0, 2.0], [3.0, 0.5], [3.0, np.nan], [0.5, 0.1]])}
    run = Run(np.array([0, 9]), curves, np.array([-1, -1, 4, -1]), hits={"loss": np.array([-1, 6, 2, 0])})
    assert objective.values(run).tolist() == [np.inf, 6.0, np.inf, 0.0]
    higher = dataclasses.replace(objective, higher=True)
    assert higher.losses(run).tolist() == [np.inf, 6.0, np.inf, 0.0]
    assert Objective("loss", at="mean").values(run).tolist() == [2.0, 0.5, np.inf, 0.1]


def test_a_watched_objective_counts_steps_between_recorded_ones() -> None:
    objective = Objective("loss", at="hit", threshold=0.05, across="median")
    sparse, _ = finish(sweep_of(objective=objective, recording=Recording(1), steps=40))
    dense, _ = finish(sweep_of(objective=objective, recording=Recording(40), steps=40))
    for v in sparse.variants:
        hits = sparse.values("one", v)
        assert np.array_equal(hits, dense.values("one", v))
        loss = dense.run("one", v).curves["loss"]
        below = [np.flatnonzero(row <= np.float32(0.05)) for row in loss]
        assert hits.tolist() == [float(b[0]) if len(b) else np.inf for b in below]


def test_an_objective_on_a_by_product_of_the_field() -> None:
    result, _ = finish(sweep_of(objective=Objective("field/noise"), recording=Recording(1000), widen=0))
    assert np.isfinite(result.values("one", "SGD")).all()


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"variants": ()}, "names of their own"),
        ({"regimes": ()}, "names of their own"),
        ({"variants": (Variant("a", "sgd"), Variant("a", "adam"))}, "names of their own"),
        ({"tuning_seeds": 1}, "2 seeds of each kind"),
        ({"reporting_seeds": 1}, "2 seeds of each kind"),
        ({"steps": 0}, "1 step"),
    ],
)
def test_impossible_sweeps_are_refused(wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(VhatError, match=line):
        sweep_of(**wrong)


def test_a_measure_that_does_not_exist_is_named_with_its_neighbours() -> None:
    with pytest.raises(VhatError, match="unknown measure 'lss'; did you mean 'loss'"):
        finish(sweep_of(objective=Objective("lss")))
    with pytest.raises(VhatError, match="unknown measure 'lss'; did you mean 'loss'"):
        finish(sweep_of(objective=Objective("lss", at="hit", threshold=0.1)))


def test_results_before_the_run_say_so() -> None:
    with pytest.raises(VhatError, match="run the study first"):
        sweep_of().result(lambda _: None)


@pytest.mark.parametrize("wrong", [{"at": "hit"}, {"threshold": 1.0}, {"at": "final", "threshold": 0.0}])
def test_an_objective_has_a_threshold_if_and_only_if_it_is_a_hit(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="threshold"):
        Objective("loss", **wrong)


@given(st.integers(1, 500), st.integers(2, 60))
def test_blocks_of_seeds_cover_them_once_and_none_is_lonely(seeds: int, per_shard: int) -> None:
    blocks = seed_blocks(seeds, per_shard)
    assert [s for first, count in blocks for s in range(first, first + count)] == list(range(seeds))
    assert all(2 <= count <= per_shard + 1 for _, count in blocks) or seeds == 1
    assert seeds < per_shard + 2 or len(blocks) > 1


@pytest.mark.parametrize(("seeds", "per_shard"), [(0, 2), (5, 1), (-1, 4)])
def test_impossible_blocks_are_refused(seeds: int, per_shard: int) -> None:
    with pytest.raises(ValueError, match="per_shard >= 2"):
        seed_blocks(seeds, per_shard)


@given(st.integers(-20, 20), st.integers(0, 20), st.integers(1, 5))
def test_a_grid_between_its_own_ends_is_itself_and_widening_keeps_its_points(
    first: int, more: int, per: int
) -> None:
    grid = Grid(first, first + more, per)
    values = grid.values()
    assert Grid.between(values[0], values[-1], per_decade=per).values() == values
    wider = grid.widened(down=2, up=1).values()
    assert wider[2:-1] == values
    assert list(wider) == sorted(set(wider))


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.1), (float("nan"), 1.0), (1.0, float("inf"))]
)
def test_a_grid_needs_an_order(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="grid of learning rates"):
        Grid.between(low, high)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"rule": "adm"}, "unknown update rule 'adm'; did you mean 'adam'"),
        ({"rule": "adam", "hyper": {"beta3": 0.5}}, "no hyperparameter 'beta3'"),
        ({"rule": "adam", "hyper": {"beta1": 1.5}}, "beta1"),
        ({"rule": "momentum", "tune": {"momentum": (0.9, -1.0)}}, "momentum"),
        ({"rule": "momentum", "tune": {"momentum": ()}}, "at least one value"),
        ({"rule": "adam", "hyper": {"lr": 0.1}}, "lr=Grid"),
        ({"rule": "adam", "tune": {"lr": (0.1,)}}, "lr=Grid"),
    ],
)
def test_impossible_variants_are_refused_in_one_line(wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(VhatError, match=line) as caught:
        Variant("mine", **wrong)
    assert "variant 'mine'" in str(caught.value)
    assert "\n" not in str(caught.value)
