"""Films of studies show what the results say, frame by frame, and the same results give the same film."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.lab.engines import InProcess
from core.lab.figures import style
from core.lab.films import Film
from core.lab.measurement import MeasurementResult
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.report.films import Reel, shoot
from core.lab.runner import local_job, run_jobs
from core.lab.store import Store
from core.lab.study import Results
from core.studies import canyon
from finance.studies.mean_variance_films import film_frontier
from finance.studies.mean_variance_frontier import measure_frontier
from games.studies.gan_films import film_samples
from games.studies.gan_settings import FRAMES
from games.studies.limit_cycle_films import film_cycle
from games.studies.limit_cycle_settings import PORTRAITS
from games.studies.orbit_films import film_orbits
from games.studies.orbit_settings import FILMED
from rl.studies.learning_episode import POLICIES
from rl.studies.learning_films import EVERY, film_episodes
from tests.lab import synthetic_study as synthetic
from tests.lab.reels import decoded, frame, in_data, near, spiral

LARGEST = 400_000
"""Bytes of a film."""


def results_of(**measured: MeasurementResult) -> Results:
    return Results(synthetic.PLAN, measured)


def games_cell(name: str, lr: float, steps: int) -> dict[str, object]:
    return {"variant": name, "lr": lr, "steps": steps}


def orbits() -> tuple[Results, Callable[[Results], Film]]:
    paths = [spiral(3.0, 241, 1 + 0.002 * (i - 2)) for i in range(len(FILMED))]
    cells = tuple(games_cell(name, lr, 240) for name, lr in FILMED)
    found = MeasurementResult(cells, tuple({"path": np.stack([p, p])} for p in paths))
    return results_of(film=found), film_orbits


def cycle() -> tuple[Results, Callable[[Results], Film]]:
    path = np.stack([40 * spiral(20.0, 501, 1.0001), 80 * spiral(25.0, 501, 0.999)])
    cells = tuple(games_cell(str(c["variant"]), 0.01, 1500) for c in PORTRAITS)
    found = MeasurementResult(cells, tuple({"path": np.stack([path, path])} for _ in cells))
    return results_of(portrait=found), film_cycle


def samples() -> tuple[Results, Callable[[Results], Film]]:
    drawn = Keys.of([0, 1]).normal(31 * 240 * 2).numpy().reshape(2, 31, 240, 2)
    cells = tuple(games_cell(name, lr, 1500) for name, lr in FRAMES)
    step = np.tile(np.arange(0, 1501, 50), (2, 1))
    found = MeasurementResult(cells, tuple({"samples": drawn, "step": step} for _ in cells))
    return results_of(frames=found), film_samples


def episodes() -> tuple[Results, Callable[[Results], Film]]:
    seen = np.full((3, 2, 500, 4), np.nan, dtype=np.float32)
    for i, length in enumerate((20, 130, 500)):
        time = np.arange(length)
        seen[i, :, :length] = np.stack([0.01 * time, 0 * time, 0.1 * np.sin(time / 9), 0 * time], axis=1)
    cells = tuple({"variant": n, "lr": lr, "updates": 50 * trained} for n, lr, trained in POLICIES)
    return results_of(episodes=MeasurementResult(cells, tuple({"seen": s} for s in seen))), film_episodes


def frontier() -> tuple[Results, Callable[[Results], Film]]:
    cell = {"points": 41}
    arrays = measure_frontier(cell, Keys.of([0, 1]), device="cpu")
    return results_of(frontier=MeasurementResult((cell,), (arrays,))), film_frontier


@pytest.fixture(scope="module")
def canyons(tmp_path_factory: pytest.TempPathFactory) -> Results:
    store = Store(tmp_path_factory.mktemp("store") / "results.sqlite")
    plan = dataclasses.replace(canyon.STUDY.plans["tiny"], steps=60)
    job = local_job("canyon", plan, canyon.experiments(plan)[:1], store)
    run_jobs([job], InProcess(), 1, Quiet())
    return job.results()


def shot(results: Results, draw: Callable[[Results], Film], place: Path) -> tuple[Film, Reel]:
    with style():
        film = draw(results)
        return film, shoot(film, place)


ALL = {f.__name__: f for f in (orbits, cycle, samples, episodes, frontier)}


@pytest.mark.parametrize("name", ALL)
def test_a_film_is_small_and_the_same_twice(name: str, tmp_path: Path) -> None:
    results, draw = ALL[name]()
    (_, first), (_, second) = (shot(results, draw, tmp_path / f"{i}.svg") for i in (0, 1))
    assert first == second
    ground, again = ((tmp_path / f"{i}.svg").read_bytes() for i in (0, 1))
    assert ground == again
    assert len(first.data) < LARGEST
    assert len(ground) < LARGEST
    assert len(set(first.labels)) == len(first.labels), "a label says which frame it is"


def test_orbits_are_the_stored_paths(tmp_path: Path) -> None:
    results, draw = orbits()
    film, reel = shot(results, draw, tmp_path / "ground.svg")
    for number in (0, 13, 40):
        step = int(reel.labels[number].removeprefix("step "))
        heads = film.moving[1::2]
        film.move(number)
        for i, (_, arrays) in enumerate(results.measurement("film")):
            path = arrays["path"][0]
            assert np.array_equal(np.ravel(heads[2 * i].get_data()), path[step])
            assert np.array_equal(np.ravel(heads[2 * i + 1].get_data()), [step, np.linalg.norm(path[step])])


def test_the_canyon_shows_the_stored_paths_up_to_their_end(canyons: Results, tmp_path: Path) -> None:
    film, reel = shot(canyons, canyon.film_paths, tmp_path / "ground.svg")
    sweep = canyons.sweep("coarse")
    cells = [(regime, name) for regime in canyon.REGIMES for name in canyon.DRAWN]
    for number in (0, len(reel.labels) - 1):
        step = int(reel.labels[number].removeprefix("step "))
        film.move(number)
        for (regime, name), way in zip(cells, film.moving[::2], strict=True):
            run = sweep.run(regime.name, name)
            row = canyon.between_the_walls(
                sweep.run(regime.name, "Adam"), regime.settings.get("degrees", 0.0)
            )
            stored = canyon.way_of(run, row)[: step + 1]
            assert np.array_equal(np.transpose(way.get_data()), stored)
            hit = run.hits["gap"][row]
            assert hit < 0 or len(canyon.way_of(run, row)) == hit + 1


def test_the_start_shown_lies_between_floor_and_slope(canyons: Results) -> None:
    for regime in canyon.REGIMES:
        run = canyons.sweep("coarse").run(regime.name, "Adam")
        degrees = regime.settings.get("degrees", 0.0)
        start = run.path[:, 0]
        turned = np.deg2rad(degrees)
        axes = start @ np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
        slope = np.abs(np.rad2deg(np.arctan2(np.abs(axes[:, 1]), np.abs(axes[:, 0]))) - 45.0)
        assert slope[canyon.between_the_walls(run, degrees)] == pytest.approx(slope.min(), abs=1e-9)


def test_the_gans_points_are_the_stored_samples(tmp_path: Path) -> None:
    results, draw = samples()
    film, reel = shot(results, draw, tmp_path / "ground.svg")
    panel = film.figure.axes[1]
    stored = results.measurement("frames").arrays[1]["samples"][0]
    for number in (0, 30):
        assert reel.labels[number] == f"step {50 * number}"
        dots = np.array([piece[0] for piece in decoded(frame(reel, number)[1])])
        inside = stored[number][(np.abs(stored[number]) < 3.0).all(axis=1)][: len(dots)]
        assert len(dots) > 100
        assert np.allclose(in_data(film.figure, panel, dots), inside, atol=near(panel))


def test_carts_and_poles_are_where_the_agent_saw_them(tmp_path: Path) -> None:
    results, draw = episodes()
    film, reel = shot(results, draw, tmp_path / "ground.svg")
    for number in (0, 3, 20, 59):
        film.move(number)
        for i, (_, arrays) in enumerate(results.measurement("episodes")):
            cart, pole, fallen = film.moving[3 * i : 3 * i + 3]
            seen = arrays["seen"][0]
            length = int(np.isfinite(seen[:, 0]).sum())
            place, _, angle, _ = seen[min(EVERY * number, length - 1)]
            assert cart.get_x() + cart.get_width() / 2 == pytest.approx(place, abs=1e-6)
            (x0, x1), (y0, y1) = pole.get_data()
            assert np.arctan2(x1 - x0, y1 - y0) == pytest.approx(angle, abs=1e-6)
            over = EVERY * number >= length
            assert bool(len(fallen.get_xdata())) == over
            assert (f"over after {length}" in reel.labels[number]) == over


def test_weights_move_along_the_frontier(tmp_path: Path) -> None:
    results, draw = frontier()
    film, reel = shot(results, draw, tmp_path / "ground.svg")
    (found,) = results.measurement("frontier").arrays
    weights = np.stack([found[name][0] for name in found if name.startswith("weight ")])
    assert np.allclose(weights.sum(axis=0), 1.0)
    assert weights.min() >= 0.0
    means = np.array([found[name][0] for name in found if name.startswith("return ")])
    assert np.allclose(means @ weights, found["return"][0])
    assert np.all(np.diff(found["return"][0]) > 0)
    assert np.all(np.diff(found["risk"][0]) >= 0)
    point, _, *bars = film.moving
    for number in (0, 20, 40):
        film.move(number)
        assert sorted(bar.get_width() for bar in bars) == pytest.approx(sorted(weights[:, number]))
        assert point.get_ydata()[0] == pytest.approx(25200 * found["return"][0][number])
        assert reel.labels[number].startswith(f"risk {point.get_xdata()[0]:.1f} %")
