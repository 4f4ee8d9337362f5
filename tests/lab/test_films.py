"""What a film is: its frames hold what the figure holds, in the look of its artists; and films on a page."""

from __future__ import annotations

import dataclasses
import json
import re
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
from core.lab.errors import VhatError
from core.lab.experiment import Array
from core.lab.films import LONGEST, Film, FilmSpec, Trail, every
from core.lab.report import build_report
from core.lab.report.films import shoot
from core.lab.report.recorder import FINE, path_data
from core.lab.study import Results
from tests.lab import synthetic_study as synthetic
from tests.lab.reels import decoded, frame, in_data, near, spiral


def trail_film(path: Array, *, fresh: int = 0) -> tuple[Film, Axes]:
    figure, (axes,) = figures.new_figure(width=4.0, height=4.0)
    trail = Trail.on(axes, path, "Adam", fresh=fresh)
    axes.set_xlim(-2.0, 2.0)
    axes.set_ylim(-2.0, 2.0)

    def move(number: int) -> str:
        trail.to(number)
        return f"step {number}"

    return Film(figure, trail.artists, move, frames=30), axes


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
