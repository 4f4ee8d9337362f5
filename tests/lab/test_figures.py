"""The visual language: same bytes from same data, colours that stay apart, nothing hidden or filled in."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.figures.palette import FAMILIES, Family
from core.lab.verdict import finding
from tests.lab import synthetic_study as synthetic

# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color vision
# deficiency", severity 1, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}
RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(colour: str) -> np.ndarray:
    """sRGB's transfer function undone."""
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE 1976 L*a*b* of linear RGB, white point D65."""
    xyz = RGB_TO_XYZ @ np.clip(rgb, 0, 1) / (RGB_TO_XYZ @ np.ones(3))
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def least_distance(colours: list[str], vision: str) -> float:
    seen = [lab(VISION[vision] @ linear(c)) for c in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("vision", VISION)
def test_colours_of_rules_stay_apart(vision: str) -> None:
    assert least_distance([f.colour for f in FAMILIES], vision) > 12


@pytest.mark.parametrize("vision", VISION)
def test_colours_of_other_names_stay_apart(vision: str) -> None:
    looks = figures.lines([f"something else {i}" for i in range(8)])
    assert least_distance([look["color"] for look in looks.values()], vision) > 12


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_lines_stand_out_from_white_paper(family: Family) -> None:
    luminance = float(RGB_TO_XYZ[1] @ linear(family.colour))
    assert 1.05 / (luminance + 0.05) > 2.2


def test_rules_differ_without_colour() -> None:
    assert len({f.marker for f in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("Adam", "Adam"),
        ("adam (no baseline)", "Adam"),
        ("Adam, alternating", "Adam"),
        ("Optimistic Adam", "Adam"),
        ("Adam without momentum", "Adam"),
        ("β₁ = 0 in Adam", "Adam"),
        ("adam_uncorrected", "Adam"),
        ("AdamW", "AdamW"),
        ("adam_l2", "Adam with L2"),
        ("AMSGrad", "AMSGrad"),
        ("Adam, one v for all coordinates", "shared v"),
        ("adam_shuffled_v", "shuffled v"),
        ("GDA", "gradient descent"),
        ("SGD", "gradient descent"),
        ("Gradient descent", "gradient descent"),
        ("SGD with momentum", "momentum"),
        ("SGD, no momentum", "gradient descent"),
        ("Nesterov momentum", "Nesterov"),
        ("RMSProp, centred", "RMSProp"),
        ("signSGD", "sign descent"),
        ("normalized_sgd", "normalised descent"),
        ("Normalised descent", "normalised descent"),
        ("extragradient GDA", "extragradient"),
        ("extragradient", "extragradient"),
        ("optimistic GDA", "optimistic"),
    ],
)
def test_a_name_finds_its_rule(name: str, rule: str) -> None:
    found = figures.family(name)
    assert found is not None
    assert found.name == rule


def test_what_is_changed_about_a_rule_changes_the_line_and_not_the_colour() -> None:
    plain = figures.line("Adam")
    for name in (
        "Adam, beta1 = 0",
        "Adam, alternating",
        "Adam (no baseline)",
        "Adam, extragradient",
        "Adam, cosine",
    ):
        changed = figures.line(name)
        assert changed["color"] == plain["color"]
        assert changed["linestyle"] != plain["linestyle"] == "-"
    styles = [str(figures.line(f"Adam, beta1 = {b}")["linestyle"]) for b in (0, 0.5, 0.9, -0.5)]
    assert len(set(styles)) == 4
    assert figures.line("Adam without momentum") == figures.line("Adam, beta1 = 0")
    both = figures.line("Adam, beta1 = 0.5, alternating")["linestyle"]
    assert both not in (
        figures.line("Adam, alternating")["linestyle"],
        figures.line("Adam, beta1 = 0.5")["linestyle"],
    )


@given(st.text())
def test_any_name_has_one_look_that_matplotlib_can_draw(name: str) -> None:
    look = figures.line(name)
    assert look == figures.line(name)
    Figure().subplots().plot([0, 1], [0, 1], **look)


def test_settings_of_matplotlib_come_back() -> None:
    before = dict(mpl.rcParams)
    figure, (axes,) = figures.new_figure()
    figures.label(axes, x="step", y="loss", log="y")
    with figures.style():
        assert mpl.rcParams["svg.hashsalt"] == "vhat"
        within = dict(mpl.rcParams)
        with figures.style():
            assert dict(mpl.rcParams) == within
        assert dict(mpl.rcParams) == within
    assert figure.axes == [axes]
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("draw", [synthetic.draw_curves, synthetic.draw_effects, synthetic.draw_paths])
def test_a_figure_saved_twice_has_the_same_bytes(draw: object, tmp_path: Path) -> None:
    assert callable(draw)
    for name in ("a", "b"):
        figures.save_svg(draw(synthetic.results()), tmp_path / f"{name}.svg")
        figures.save_png(draw(synthetic.results()), tmp_path / f"{name}.png", dpi=40)
    for suffix in ("svg", "png"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    assert "<dc:date>" not in (tmp_path / "a.svg").read_text("utf-8")


@pytest.mark.parametrize("draw", [synthetic.draw_curves, synthetic.draw_effects, synthetic.draw_paths])
def test_every_horizontal_axis_is_named(draw: object) -> None:
    assert callable(draw)
    assert all(axes.get_xlabel() for axes in draw(synthetic.results()).axes)


def line_called(axes: object, name: str) -> np.ndarray:
    (found,) = [x for x in axes.lines if x.get_label() == name]  # type: ignore[attr-defined]
    return np.asarray(found.get_ydata(), dtype=float)


@pytest.mark.parametrize("higher", [False, True])
def test_a_diverged_replica_is_the_worst_and_never_filled_in(higher: bool) -> None:
    curves = np.tile(np.linspace(1.0, 2.0, 5), (8, 1)) + np.arange(8)[:, None]
    curves[:1, 2:] = np.nan
    _, (axes,) = figures.new_figure()
    figures.curves_with_intervals(axes, np.arange(5), curves, "Adam", "median", higher=higher)
    worst = np.where(np.isnan(curves), -np.inf if higher else np.inf, curves)
    np.testing.assert_allclose(line_called(axes, "Adam"), np.median(worst, axis=0))
    assert [t.get_text() for t in axes.texts] == ["1 of 8 diverged"]
    assert np.isfinite(axes.get_ylim()).all()


def test_a_line_ends_where_most_replicas_diverged() -> None:
    curves = np.ones((8, 6))
    curves[:7, 3:] = np.nan
    _, (axes,) = figures.new_figure()
    figures.curves_with_intervals(axes, np.arange(6), curves, "Adam")
    assert np.isnan(line_called(axes, "Adam")).tolist() == [False] * 3 + [True] * 3
    crosses = [x for x in axes.lines if x.get_marker() == "x"]
    assert [np.ravel(x.get_xdata()).tolist() for x in crosses] == [[2]]


def test_many_steps_are_thinned_and_keep_their_ends() -> None:
    curves = np.random.default_rng(0).random((4, 5001))
    _, (axes,) = figures.new_figure()
    figures.curves_with_intervals(axes, np.arange(5001), curves, "Adam")
    steps = np.asarray(axes.lines[0].get_xdata(), dtype=float)
    assert steps[0] == 0
    assert steps[-1] == 5000
    assert len(steps) <= 200


def test_the_band_is_the_bootstrap_interval() -> None:
    curves = np.random.default_rng(1).random((10, 7))
    _, (axes,) = figures.new_figure()
    figures.curves_with_intervals(axes, np.arange(7), curves, "Adam")
    _, low, high = stats.curve_interval(curves)
    outline = axes.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose(outline[:7, 1], low)
    np.testing.assert_allclose(outline[7:14, 1], high[::-1])


def test_the_learning_rate_curve_marks_what_was_chosen() -> None:
    result = synthetic.sweep_result()
    regime = result.regimes[0]
    _, (axes,) = figures.new_figure()
    figures.lr_curve(axes, result, regime)
    rings = [x for x in axes.lines if x.get_markersize() == 11]
    chosen = [float(np.ravel(x.get_xdata())[0]) for x in rings]
    assert chosen == [result.tuned[regime, v].best["lr"] for v in result.variants]
    squares = [x for x in axes.lines if x.get_markersize() == 15]
    assert len(squares) == sum(bool(result.tuned[regime, v].edge) for v in result.variants) == 1
    # The largest rate diverged for the others: no point of theirs is drawn there, a cross on the edge is.
    lost = [x for x in axes.lines if x.get_marker() == "x"]
    assert len(lost) == len(result.variants) - 1
    assert axes.get_xscale() == "log"
    assert axes.get_ylabel() == "loss above the optimum"


@pytest.mark.parametrize("failed", [np.inf, np.nan])
def test_a_rate_at_which_some_diverge_keeps_the_panel_in_bounds(failed: float) -> None:
    values = np.random.default_rng(2).random((3, 8)) + 0.5
    values[2, :3] = failed
    _, (axes,) = figures.new_figure()
    figures.rate_curve(axes, np.array([0.1, 1.0, 10.0]), values, 0, "Adam", "mean")
    assert [x.get_marker() for x in axes.lines].count("x") == 1
    assert np.abs(axes.get_ylim()).max() < 10


def test_a_curve_that_nears_the_largest_float_is_drawn(tmp_path: Path) -> None:
    figure, (axes,) = figures.new_figure()
    axes.plot([1.0, 2.0], [1e-49, 1e283])
    figures.label(axes, x="step", y="loss", log="y")
    axes.set_ylim(1e-50, 1e300)
    with np.errstate(over="ignore"):
        figures.save_svg(figure, tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").stat().st_size > 1000


def test_effects_at_infinity_are_arrows() -> None:
    inf = math.inf
    intervals = [(inf, 1.0, inf), (inf, inf, inf), (1.0, 0.5, 2.0)]
    found = [finding(str(x), x, above=0.0, replicas=5, text="") for x in intervals]
    _, (axes,) = figures.new_figure()
    figures.effect_bars(axes, found)
    assert np.isfinite(axes.get_xlim()).all()
    right = [x for x in axes.lines if "right" in str(x.get_marker())]
    left = [x for x in axes.lines if "left" in str(x.get_marker())]
    assert [float(np.ravel(x.get_ydata())[0]) for x in right] == [0.0, 1.0]
    assert not left


@given(
    st.lists(
        st.tuples(*[st.floats(allow_nan=True, allow_infinity=True, width=32)] * 3), min_size=1, max_size=4
    ),
    st.booleans(),
)
def test_any_interval_can_be_drawn(rows: list[tuple[float, float, float]], log: bool) -> None:
    _, (axes,) = figures.new_figure()
    if log:
        axes.set_xscale("log")
    intervals = [
        (x, min(x, a, b), max(x, a, b)) if not math.isnan(x + a + b) else (x, a, b) for x, a, b in rows
    ]
    figures.dots_with_intervals(axes, [f"name {i}" for i in range(len(rows))], intervals)
    assert np.isfinite(axes.get_xlim()).all()


def test_points_that_a_logarithm_cannot_show_are_counted() -> None:
    _, (axes,) = figures.new_figure()
    x = np.array([1.0, 10.0, -1.0, 0.0, np.nan, np.inf])
    figures.scatter_log(axes, x, np.ones(6), ["a", "b", "a", "b", "a", "b"], identity=True)
    shown = np.concatenate([c.get_offsets() for c in axes.collections])
    assert sorted(shown[:, 0].tolist()) == [1.0, 10.0]
    assert any("4 of 6" in t.get_text() for t in axes.texts)


def test_a_path_stops_where_it_is_no_longer_finite() -> None:
    path = np.array([[0.0, 0.0], [1.0, 1.0], [np.inf, 2.0], [3.0, 3.0]])
    _, (axes,) = figures.new_figure()
    figures.phase_path(axes, path, "GDA")
    np.testing.assert_array_equal(line_called(axes, "GDA"), [0.0, 1.0])
    figures.phase_path(axes, path[2:3], "Adam")
    assert "Adam" not in [x.get_label() for x in axes.lines]


def test_a_landscape_is_drawn_at_equal_ratios_above_its_least_value() -> None:
    _, (axes,) = figures.new_figure()
    figures.landscape(axes, lambda x, y: 5.0 + x**2 + y**2, (-1, 1), (-1, 1), levels=6)
    levels = np.diff(axes.collections[0].levels)  # type: ignore[attr-defined]
    np.testing.assert_allclose(levels, levels[0])
    assert axes.get_xlim() == (-1, 1)


def test_the_legend_names_each_variant_once() -> None:
    figure = synthetic.draw_curves(synthetic.results())
    (legend,) = figure.legends
    texts = [t.get_text().replace("\n", " ") for t in legend.get_texts()]
    assert texts == list(synthetic.NAMES)


@given(st.floats(-300, 300), st.floats(1e-3, 200))
def test_a_logarithmic_axis_has_a_few_numbers_all_within_and_apart(low: float, span: float) -> None:
    _, (axes,) = figures.new_figure()
    figures.label(axes, log="y")
    bottom, top = 10.0**low, 10.0 ** min(low + span, 305)
    axes.set_ylim(bottom, top)
    with np.errstate(over="ignore"):  # a power of ten beyond the last float
        places = np.asarray(axes.yaxis.get_major_locator()())
        axes.invert_yaxis()
        assert sorted(axes.yaxis.get_major_locator()()) == places.tolist()
    assert ((bottom * (1 - 1e-8) <= places) & (places <= top * (1 + 1e-8))).all()
    assert (np.diff(places) > 0).all()
    assert len(places) <= 7
    if span >= 0.7:
        assert len(places) >= 2


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_a_plain_axis_has_from_three_to_seven_numbers(low: float, span: float) -> None:
    _, (axes,) = figures.new_figure()
    axes.set_ylim(low, low + span)
    bottom, top = axes.get_ylim()
    places = np.asarray(axes.yaxis.get_major_locator()())
    assert 3 <= ((bottom <= places) & (places <= top)).sum() <= 7


@pytest.mark.parametrize("shared", [False, True])
def test_an_axis_without_any_value_has_no_numbers_unless_others_share_it(shared: bool) -> None:
    result = synthetic.sweep_result()
    regime = result.regimes[0]
    never = {
        key: replace(tuned, losses=tuple(np.full_like(own, np.inf) for own in tuned.losses))
        for key, tuned in result.tuned.items()
    }
    _, (left, right) = figures.new_figure(columns=2, sharey=shared)
    figures.lr_curve(left, replace(result, tuned=never), regime)
    figures.lr_curve(right, result, regime)
    assert (len(left.get_yticks()) > 0) == shared
    assert len(right.get_yticks())


@given(st.integers(1, 12), st.integers(1, 4))
def test_a_grid_has_as_many_panels_as_asked_for_row_by_row(count: int, columns: int) -> None:
    figure, panels = figures.new_grid(count, columns, height=2.0)
    assert list(panels) == figure.axes
    assert figure.get_figheight() == 2.0 * math.ceil(count / columns)
    spots = [(place.rowspan.start, place.colspan.start) for a in panels if (place := a.get_subplotspec())]
    assert spots == [divmod(i, columns) for i in range(count)]
