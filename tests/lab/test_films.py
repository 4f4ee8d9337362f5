"""Films show what the results say, frame by frame, and the same results give the same film."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib.image as mpimg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as arrays_of
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.path import Path as Outline

from core.lab import figures
from core.lab.engines import InProcess
from core.lab.errors import VhatError
from core.lab.experiment import Array
from core.lab.figures import style
from core.lab.films import LONGEST, Film, FilmSpec, Trail, every
from core.lab.measurement import MeasurementResult
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.report import build_report
from core.lab.report.films import Reel, shoot
from core.lab.report.recorder import FINE, path_data
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

LARGEST = 400_000
"""Bytes of a film."""


def decoded(data: str) -> list[Array]:
    """The pieces of SVG path data, each `[n, 2]` in the drawing's units."""
    pieces: list[list[tuple[int, int]]] = []
    for letter, text in re.findall(r"([MlhZ])([^MlhZ]*)", data):
        numbers = [int(x) for x in text.split()]
        if letter == "M":
            pieces.append([(numbers[0], numbers[1])])
        elif letter == "l":
            x, y = pieces[-1][-1]
            pieces[-1].append((x + numbers[0], y + numbers[1]))
        elif letter == "h":
            pieces[-1].append(pieces[-1][-1])
        else:
            pieces[-1].append(pieces[-1][0])
    return [np.array(piece) for piece in pieces]


def frame(reel: Reel, number: int) -> list[str]:
    """Path data of every layer, as the player puts it together."""
    film = json.loads(reel.data)
    return [
        whole[:part] if isinstance(part, int) else part
        for whole, part in zip(film["longest"], film["moves"][number], strict=True)
    ]


def in_data(figure: Figure, axes: Axes, points: Array) -> Array:
    """From the drawing's units to an axes' data."""
    height = 72 * figure.get_figheight()
    pixels = np.stack([points[:, 0] / FINE, height - points[:, 1] / FINE], axis=1)
    return np.asarray(axes.transData.inverted().transform(pixels))


def near(axes: Axes) -> float:
    """What a twentieth of a point may be in data, generously."""
    (x, y) = axes.transData.inverted().transform([[0.0, 0.0], [0.2, 0.2]])
    return float(np.abs(y - x).max())


def spiral(turns: float, count: int = 60, growth: float = 1.0) -> Array:
    phase = np.linspace(0.0, 2 * np.pi * turns, count)
    return np.stack([np.cos(phase), np.sin(phase)], axis=1) * growth ** np.arange(count)[:, None]


def trail_film(path: Array, *, fresh: int = 0) -> tuple[Film, Axes]:
    figure, (axes,) = figures.new_figure(width=4.0, height=4.0)
    trail = Trail.on(axes, path, "Adam", fresh=fresh)
    axes.set_xlim(-2.0, 2.0)
    axes.set_ylim(-2.0, 2.0)

    def move(number: int) -> str:
        trail.to(number)
        return f"step {number}"

    return Film(figure, trail.artists, move, frames=30), axes


def results_of(**measured: MeasurementResult) -> Results:
    return Results(synthetic.PLAN, measured)


# What a film is.


def test_a_film_is_short_and_has_its_still() -> None:
    figure = Figure()

    def move(_: int) -> str:
        return ""

    Film(figure, [], move, frames=int(LONGEST * 8), fps=8.0, still=-40)
    for frames, fps, still in ((0, 8.0, -1), (5, 0.0, -1), (41, 8.0, -1), (5, 8.0, 5), (5, 8.0, -6)):
        with pytest.raises(VhatError, match="film"):
            Film(figure, [], move, frames=frames, fps=fps, still=still)


@given(steps=st.integers(0, 5000), frames=st.integers(1, 60))
def test_shown_steps_run_from_the_first_to_the_last_without_repeating_any(steps: int, frames: int) -> None:
    shown = every(steps, frames)
    assert shown[0] == 0
    assert shown[-1] == steps
    assert len(shown) <= frames + 1
    gaps = np.diff(shown)
    assert len(gaps) == 0 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


@settings(max_examples=50, deadline=None)
@given(
    points=arrays_of(
        np.float64, st.tuples(st.integers(2, 30), st.just(2)), elements=st.floats(-2000, 2000, width=32)
    ),
    cut=st.integers(1, 30),
)
def test_path_data_gives_points_back_and_a_trail_begins_as_it_began_before(points: Array, cut: int) -> None:
    def data(part: Array) -> str:
        return path_data(Outline(part).cleaned(), 100.0)

    (found,) = decoded(data(points))
    expected = np.stack([points[:, 0], 100.0 - points[:, 1]], axis=1)
    assert np.abs(found / FINE - expected).max() <= 0.5 / FINE + 1e-6
    assert data(points).startswith(data(points[: max(2, cut)]))


def test_every_frame_of_a_trail_is_the_path_so_far(tmp_path: Path) -> None:
    path = spiral(2.0)
    film, axes = trail_film(path, fresh=5)
    reel = shoot(film, tmp_path / "ground.svg")
    assert reel.labels == tuple(f"step {i}" for i in range(30))
    for number in (1, 7, 29):
        way, tail, head = (decoded(d) for d in frame(reel, number)[:3])
        assert np.allclose(in_data(film.figure, axes, way[0]), path[: number + 1], atol=near(axes))
        assert np.allclose(
            in_data(film.figure, axes, tail[0]), path[max(0, number - 5) : number + 1], atol=near(axes)
        )
        middle = 0.5 * (head[0].min(axis=0) + head[0].max(axis=0))
        assert np.allclose(in_data(film.figure, axes, middle[None])[0], path[number], atol=2 * near(axes))


def test_a_way_ends_where_its_numbers_do(tmp_path: Path) -> None:
    path = spiral(1.0)
    path[11:] = np.inf
    film, axes = trail_film(path)
    reel = shoot(film, tmp_path / "ground.svg")
    (way,) = decoded(frame(reel, 29)[0])
    assert np.allclose(in_data(film.figure, axes, way), path[:11], atol=near(axes))


def test_a_growing_trail_is_stored_once(tmp_path: Path) -> None:
    film, _ = trail_film(spiral(3.0, growth=1.001))
    data = json.loads(shoot(film, tmp_path / "ground.svg").data)
    assert all(isinstance(moves[0], int) for moves in data["moves"])


def test_the_look_is_that_of_the_artist(tmp_path: Path) -> None:
    film, axes = trail_film(spiral(1.0), fresh=3)
    film.moving[0].set(linewidth=2.5, color="#123456", linestyle="--")
    reel = shoot(film, tmp_path / "ground.svg")
    look = reel.layers[0].look
    assert (look.stroke, look.width, look.fill, look.cap) == ("#123456", 25, "none", "butt")
    assert look.stroke_opacity == pytest.approx(0.35)
    assert look.dash == tuple(round(FINE * 2.5 * x) for x in (3.7, 1.6))
    # Nothing shows outside the panel.
    left, top, width, height = reel.clips[reel.layers[0].clip]
    box = axes.get_window_extent()
    assert np.allclose([left, width, height], FINE * np.array([box.x0, box.width, box.height]), atol=1)
    assert top == pytest.approx(reel.height - FINE * box.y1, abs=1)


def test_what_moves_is_not_in_the_picture_of_what_stands_still(tmp_path: Path) -> None:
    film, _ = trail_film(spiral(1.0))
    for artist in film.moving:
        artist.set_color("#abcdef")
    shoot(film, tmp_path / "ground.svg")
    assert "#abcdef" not in (tmp_path / "ground.svg").read_text("utf-8")


def test_moving_text_and_images_are_refused(tmp_path: Path) -> None:
    figure, (axes,) = figures.new_figure()
    text = axes.text(0.5, 0.5, "hello")
    picture = axes.imshow(np.eye(3))
    for artist in (text, picture):
        with pytest.raises(VhatError, match="film"):
            shoot(Film(figure, [artist], str, frames=2), tmp_path / "ground.svg")
    assert isinstance(picture, mpimg.AxesImage)


# Films of studies.


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


# Films on a page.

EVIL = "</script><script>alert(1)</script>"


def evil_film(_: Results) -> Film:
    film, _ = trail_film(spiral(1.0))
    return dataclasses.replace(film, move=lambda number: film.move(number) + EVIL)


def broken_film(_: Results) -> Film:
    raise KeyError(EVIL)


def page_with(films: tuple[FilmSpec, ...], out: Path) -> tuple[str, Path, tuple[str, ...]]:
    """The page of a study that has films and nothing else, the report's folder, and its problems."""
    study = dataclasses.replace(synthetic.STUDY, figures=(), tables=lambda _: (), films=films)
    entry = dataclasses.replace(synthetic.entries()[0], study=study, results=Results(synthetic.PLAN, {}))
    index, problems = build_report([entry], out / "report")
    return (index.parent / "studies" / "synthetic.html").read_text("utf-8"), index.parent, problems


def test_a_film_that_fails_does_not_stop_the_rest_and_words_cannot_break_out(tmp_path: Path) -> None:
    films = (FilmSpec("bad", EVIL, EVIL, broken_film), FilmSpec("good", EVIL, EVIL, evil_film))
    page, root, problems = page_with(films, tmp_path)
    (problem,) = (p for p in problems if "film" in p)
    assert "film 'bad' failed: KeyError" in problem
    assert EVIL not in page
    assert page.count("&lt;/script&gt;") >= 4
    assert (root / "figures/synthetic/film-good.svg").is_file()
    assert not (root / "figures/synthetic/film-bad.svg").exists()
    data = re.search(r'<script type="application/json">(.*?)</script>', page)
    assert data is not None
    assert json.loads(data[1])["labels"][3] == "step 3" + EVIL


def test_a_page_without_films_has_no_player(tmp_path: Path) -> None:
    page, _, problems = page_with((), tmp_path)
    assert problems == ()
    assert "player" not in page
