"""What figures say in numbers is what was drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.lab import figures
from core.lab.figures.words import Panel, words_of
from core.lab.verdict import finding

HEIGHTS = st.floats(-1e6, 1e6).filter(lambda y: y == 0 or abs(y) > 1e-6)


def only(panels: tuple[Panel, ...]) -> Panel:
    (panel,) = panels
    return panel


@given(st.lists(HEIGHTS, min_size=2, max_size=9))
def test_a_curve_is_its_ends_and_the_extremes_between(heights: list[float]) -> None:
    figure, (axes,) = figures.new_figure()
    axes.plot(range(len(heights)), heights, label="Adam")
    axes.plot([0, 1], [3, 4])  # without a name it is not part of the legend either
    ((name, text),) = only(words_of(figure)).rows
    assert name == "Adam"
    assert text.startswith(f"from {heights[0]:.3g} at 0 to {heights[-1]:.3g} at {len(heights) - 1}")
    ends = {f"{heights[i]:.3g}" for i in (0, -1)}
    assert ("lowest" in text) == (f"{min(heights):.3g}" not in ends)
    assert ("highest" in text) == (f"{max(heights):.3g}" not in ends)
    if "lowest" in text:
        assert f"lowest {min(heights):.3g} at {heights.index(min(heights))}" in text


def test_what_is_not_finite_is_not_part_of_a_curve() -> None:
    figure, (axes,) = figures.new_figure()
    axes.plot([1, 2, 3, 4], [np.nan, 5.0, 6.0, np.inf], label="SGD")
    axes.plot([1, 2], [np.nan, np.nan], label="gone")
    assert only(words_of(figure)).rows == (("SGD", "from 5 at 2 to 6 at 3"),)


def test_a_path_through_the_plane_is_no_curve() -> None:
    figure, (axes,) = figures.new_figure()
    figures.phase_path(axes, np.array([[0.0, 1.0], [2.0, -3.0], [1.0, 0.5]]), "Adam")
    ((_, text),) = only(words_of(figure)).rows
    assert text == "a path from (0, 1) to (1, 0.5), between heights -3 and 1"


def test_rows_of_intervals_are_read_with_their_names() -> None:
    figure, (axes,) = figures.new_figure()
    names = ["Adam", "SGD", "nowhere", "without end"]
    intervals = [(1.0, 0.5, 2.0), (3.0, 2.5, 3.5), (np.nan, np.nan, np.nan), (2.0, 1.0, np.inf)]
    figures.dots_with_intervals(axes, names, intervals, reference=1.0)
    rows = dict(only(words_of(figure)).rows)
    assert rows["Adam"] == "1 [0.5, 2]"
    assert rows["SGD"] == "3 [2.5, 3.5]"
    assert rows["nowhere"] == "not a number"
    assert rows["without end"] == "2 [1, ∞]"


@pytest.mark.parametrize("coloured", [True, False])
def test_several_intervals_of_a_row_are_told_apart_by_the_legend(coloured: bool) -> None:
    figure, (axes, other) = figures.new_figure(columns=2)
    for label, marker, face in (("cold", "o", "grey"), ("warm", "o", "white"), ("cut", "s", "grey")):
        axes.plot([], [], color="grey", marker=marker, markerfacecolor=face, label=label)
    for panel in (axes, other):
        panel.set_yticks([0, 1], ["SGD", "Adam"])
        for at, marker, hollow, x in ((0, "o", False, 1), (0.1, "s", False, 2), (0.9, "o", True, 3)):
            colour = "grey" if coloured else "C0"
            panel.plot([x - 0.5, x + 0.5], [at, at], color=colour)
            face = "white" if hollow else colour
            panel.plot(x, at, marker=marker, color=colour, markerfacecolor=face, label=f"_{x}")
        panel.plot(9, 1, marker="x", label="a mark in a row")
    for found in words_of(figure):
        assert found.rows == (
            ("SGD, cold", "1 [0.5, 1.5]"),
            ("SGD, cut", "2 [1.5, 2.5]"),
            ("Adam, warm", "3 [2.5, 3.5]"),
        )


def test_a_mark_at_infinity_is_in_no_row() -> None:
    figure, (axes,) = figures.new_figure()
    figures.dots_with_intervals(axes, ["Adam"], [(1.0, 0.5, 2.0)])
    axes.plot([1.0], [np.inf], marker="o")
    assert only(words_of(figure)).rows == (("Adam", "1 [0.5, 2]"),)


def test_findings_are_read_against_their_threshold() -> None:
    figure, (axes,) = figures.new_figure()
    found = [
        finding("calm", (2.0, 1.5, 2.5), above=1.0, unit="times", replicas=20, text="faster"),
        finding("steep", (0.5, 0.2, 0.8), above=1.0, unit="times", replicas=20, text="faster"),
    ]
    figures.effect_bars(axes, found)
    panel = only(words_of(figure))
    assert panel.rows[:2] == (("calm", "2 [1.5, 2.5]"), ("steep", "0.5 [0.2, 0.8]"))
    assert "effect [times] with 95 % interval" in panel.axes


def test_bars_error_bars_and_clouds() -> None:
    figure, (bars, errors, cloud) = figures.new_figure(columns=3)
    bars.barh([0, 1], [3.0, -4.0], label="weight")
    bars.set_yticks([0, 1], ["KO", "$PEP".replace("$", r"\$")])
    errors.errorbar([1, 2, 3], [5.0, 7.0, 6.0], yerr=0.1, label="measured")
    figures.scatter_log(
        cloud, np.array([1.0, 2.0, -1.0]), np.array([10.0, 20.0, 3.0]), ["a", "b", "b"], identity=True
    )
    one, two, three = words_of(figure)
    assert one.rows == (("KO", "weight: 3"), ("$PEP", "weight: -4"))
    assert two.rows == (("measured", "from 5 at 1 to 6 at 3; highest 7 at 2"),)
    assert ("a", "1 point, across from 1 to 1, up from 10 to 10") in three.rows
    assert ("b", "1 point, across from 2 to 2, up from 20 to 20") in three.rows
    assert three.axes == ""


def test_the_cells_of_a_map_are_read_row_by_row() -> None:
    figure, (axes,) = figures.new_figure()
    axes.imshow(np.zeros((2, 2)))
    axes.set_xticks([0, 1], ["calm", "noisy"])
    axes.set_yticks([0, 1], ["Adam", "GDA"])
    for (row, column), text in {(0, 0): "0.5", (0, 1): "0.7", (1, 1): "1"}.items():
        axes.text(column, row, text)
    assert only(words_of(figure)).rows == (("Adam", "calm: 0.5; noisy: 0.7"), ("GDA", "noisy: 1"))


def test_rows_are_named_also_where_a_neighbour_has_their_names() -> None:
    figure, panels = figures.new_figure(columns=2, sharey=True)
    for axes in panels:
        figures.dots_with_intervals(axes, ["Adam", "SGD"], [(1.0, 0.5, 2.0), (3.0, 2.5, 3.5)])
        axes.label_outer()
    first, second = words_of(figure)
    assert first.rows == second.rows == (("Adam", "1 [0.5, 2]"), ("SGD", "3 [2.5, 3.5]"))


def test_rows_without_names_are_those_of_the_panel_to_their_left() -> None:
    figure, panels = figures.new_figure(columns=3, rows=2)
    for number, axes in enumerate(panels):
        names = ["Adam", "SGD"] if number < 3 else ["Momentum", "RMSProp"]
        values = [(1.0, 0.5, 2.0), (3.0, 2.5, 3.5)]
        figures.dots_with_intervals(axes, names, values)
        if number % 3:
            axes.set_yticklabels([])
    panels[2].set_ylim(5.0, -5.0)  # rows at other heights
    panels[5].set_yticks([0, 1], ["0", "1"])  # numbers, not bare
    found = words_of(figure)
    assert [[name for name, _ in panel.rows] for panel in found] == [
        ["Adam", "SGD"],
        ["Adam", "SGD"],
        ["Momentum", "RMSProp"],
        ["Momentum", "RMSProp"],
    ]


def test_powers_of_ten_are_no_names() -> None:
    figure, (axes,) = figures.new_figure()
    axes.plot([1, 10], [1, 100], label="Adam")
    axes.set_yscale("log")
    axes.set_yticks([1, 10, 100])
    figures.label(axes, y="loss")
    assert only(words_of(figure)).axes == "up: loss, logarithmic"


def test_panels_share_what_their_neighbours_say_of_the_axes() -> None:
    figure, panels = figures.new_figure(rows=2, columns=2)
    for axes in panels:
        axes.plot([1, 10], [1, 100], label="Adam")
    for axes in panels[2:]:
        figures.label(axes, x="learning rate", log="x")
    figures.label(panels[0], y="loss", title="first", log="y")
    panels[3].set_visible(False)
    found = words_of(figure)
    assert [p.title for p in found] == ["first", "", ""]
    assert found[0].axes == "across: learning rate; up: loss, logarithmic"
    assert found[2].axes == "across: learning rate, logarithmic; up: loss"


def test_a_level_is_said_where_it_has_a_name() -> None:
    figure, (axes,) = figures.new_figure()
    axes.axhline(0.25, label="equal share")
    axes.axhline(0.5)
    assert only(words_of(figure)).rows == (("equal share", "at 0.25"),)


@pytest.mark.parametrize("what", ["nothing", "picture"])
def test_a_panel_without_names_says_nothing(what: str) -> None:
    figure, (axes,) = figures.new_figure()
    if what == "picture":
        axes.imshow(np.zeros((2, 2)))
    assert words_of(figure) == ()
