"""Statistics against scipy, closed forms, and their promises about failures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as reference

from core.lab import stats

finite = st.floats(-1e6, 1e6)


@given(arrays(np.float64, st.integers(1, 40), elements=finite))
def test_centres_equal_scipy_and_numpy(values: np.ndarray) -> None:
    assert stats.centre(values, "iqm") == pytest.approx(
        reference.trim_mean(values, 0.25), rel=1e-12, abs=1e-9
    )
    assert stats.centre(values, "median") == np.median(values)
    assert stats.centre(values, "mean") == pytest.approx(values.mean(), rel=1e-12, abs=1e-9)


def test_the_iqm_ignores_failures_outside_the_middle_half_and_shows_those_inside() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, np.inf, np.inf])
    assert stats.centre(values) == pytest.approx(4.5)
    assert stats.centre(np.array([1.0, np.inf, np.inf, np.inf])) == np.inf
    assert stats.centre(np.array([-np.inf, -np.inf, 1.0, 2.0])) == -np.inf
    assert stats.centre(np.array([-np.inf, np.inf]), "mean") == np.inf


@pytest.mark.parametrize("values", [np.array([]), np.array([1.0, np.nan])])
def test_a_centre_of_nothing_or_of_no_number_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least one value"):
        stats.centre(values)


@pytest.mark.parametrize("how", ["iqm", "median", "mean"])
def test_intervals_cover_the_truth_as_often_as_they_say(how: stats.Centre) -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        _, low, high = stats.interval(rng.normal(3.0, 2.0, 30), how, resamples=400)
        covered += low <= 3.0 <= high
    assert 0.90 <= covered / 300 <= 0.985


def test_strata_are_resampled_each_by_itself() -> None:
    rng = np.random.default_rng(1)
    low, high = rng.normal(0.0, 0.01, 20), rng.normal(100.0, 0.01, 20)
    apart = stats.interval([low, high], "mean")
    together = stats.interval(np.concatenate([low, high]), "mean")
    # Between strata there is no spread to resample: only theirs within counts.
    assert apart[2] - apart[1] < 0.05
    assert together[2] - together[1] > 10
    assert apart[0] == pytest.approx(together[0])


def test_constant_data_have_an_interval_of_no_width() -> None:
    assert stats.interval(np.full(10, 2.5)) == (2.5, 2.5, 2.5)
    assert stats.interval(np.full(10, np.inf)) == (np.inf, np.inf, np.inf)
    assert stats.paired_difference(np.full(5, np.inf), np.full(5, np.inf)) == (0.0, 0.0, 0.0)
    assert stats.ratio(np.full(5, np.inf), np.full(5, np.inf)) == (1.0, 1.0, 1.0)


@given(arrays(np.float64, st.integers(2, 15), elements=finite | st.sampled_from([np.inf, -np.inf])))
@settings(max_examples=40)
def test_intervals_are_ordered_deterministic_and_never_nan(values: np.ndarray) -> None:
    low_high = stats.interval(values, resamples=200)
    assert not np.isnan(low_high).any()
    assert low_high[1] <= low_high[2]
    assert low_high == stats.interval(values.copy(), resamples=200)
    if np.isfinite(values).all():
        assert values.min() - 1e-6 <= low_high[1] <= low_high[2] <= values.max() + 1e-6


def test_an_interval_reaches_infinity_when_failures_make_that_plausible() -> None:
    few = np.array([*range(1, 40), np.inf], dtype=float)
    many = np.array([*range(1, 25), *[np.inf] * 15], dtype=float)
    assert math.isfinite(stats.interval(few, "median")[2])
    estimate, low, high = stats.interval(many, "median")
    assert math.isfinite(estimate)
    assert math.isfinite(low)
    assert high == np.inf


@pytest.mark.parametrize("values", [np.array([1.0]), [np.array([1.0, 2.0]), np.array([1.0])]])
def test_one_value_gives_no_interval(values: object) -> None:
    with pytest.raises(ValueError, match="at least two values"):
        stats.interval(values)  # type: ignore[arg-type]


def test_paired_differences_use_the_pairs() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 100, 40)
    estimate, low, high = stats.paired_difference(noise + 1.0, noise)
    assert (estimate, low, high) == pytest.approx((1.0, 1.0, 1.0))
    flipped = stats.paired_difference(noise, noise + 1.0)
    assert flipped == pytest.approx((-1.0, -1.0, -1.0))
    one_failed = stats.paired_difference(np.array([np.inf] * 4), np.arange(4.0))
    assert one_failed == (np.inf, np.inf, np.inf)
    with pytest.raises(ValueError, match="one length"):
        stats.paired_difference(np.zeros(3), np.zeros(4))


def test_ratios_are_taken_in_logarithms() -> None:
    b = np.array([1.0, 10.0, 100.0, 1000.0])
    assert stats.ratio(2 * b, b) == pytest.approx((2.0, 2.0, 2.0))
    lop_sided = stats.ratio(np.array([1.0, 100.0]), np.array([10.0, 10.0]), "mean")
    assert lop_sided[0] == pytest.approx(1.0)  # the geometric mean of 1/10 and 10
    assert stats.ratio(np.full(4, np.inf), b)[0] == np.inf
    assert stats.ratio(b, np.full(4, np.inf))[0] == 0.0


@given(
    arrays(np.float64, st.integers(1, 20), elements=st.integers(-5, 5).map(float) | st.just(np.inf)),
    arrays(np.float64, st.integers(1, 20), elements=st.integers(-5, 5).map(float) | st.just(np.inf)),
)
@settings(max_examples=60)
def test_the_probability_of_improvement_is_mann_whitneys_u(a: np.ndarray, b: np.ndarray) -> None:
    estimate, low, high = stats.probability_of_improvement(a, b, resamples=50)
    # scipy refuses no infinities, but ranks them as we do: large ones tie.
    u = reference.mannwhitneyu(np.nan_to_num(b, posinf=99), np.nan_to_num(a, posinf=99)).statistic
    assert estimate == pytest.approx(u / (len(a) * len(b)))
    other = stats.probability_of_improvement(b, a, resamples=50)[0]
    assert estimate + other == pytest.approx(1.0)
    assert 0.0 <= low <= high <= 1.0 + 1e-12


def test_the_probability_over_pairs_counts_wins_and_half_of_ties() -> None:
    inf = np.inf
    a, b = np.array([1.0, 2.0, inf, inf, 3.0]), np.array([2.0, 1.0, 5.0, inf, 3.0])
    assert stats.paired_probability(a, b)[0] == pytest.approx((1 + 0 + 0 + 0.5 + 0.5) / 5)
    assert stats.paired_probability(b, a)[0] == pytest.approx(1 - 2 / 5)
    with pytest.raises(ValueError, match="numbers"):
        stats.paired_probability(np.array([1.0, np.nan]), np.array([1.0, 2.0]))


def test_pairs_tell_apart_what_unpaired_runs_do_not() -> None:
    """b is a little later than a from every start, and starts differ far more."""
    a = np.random.default_rng(0).uniform(10.0, 1000.0, 80)
    assert stats.paired_probability(a, a + 1.0) == (1.0, 1.0, 1.0)
    _, low, high = stats.probability_of_improvement(a, a + 1.0)
    assert low < 0.5 < high


def test_the_probability_of_improvement_covers_the_truth() -> None:
    rng = np.random.default_rng(3)
    truth = reference.norm.cdf(0.5 / 2**0.5)
    hits = 0
    for _ in range(200):
        _, low, high = stats.probability_of_improvement(
            rng.normal(0, 1, 30), rng.normal(0.5, 1, 30), resamples=300
        )
        hits += low <= truth <= high
    assert 0.89 <= hits / 200 <= 0.99


@pytest.mark.parametrize(("a", "b"), [([np.nan], [1.0]), ([1.0], [np.nan]), ([], [1.0]), ([1.0], [])])
def test_no_number_is_no_loss(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match="probability of improvement"):
        stats.probability_of_improvement(np.array(a), np.array(b))


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_proportions_have_wilsons_interval(counts: tuple[int, int]) -> None:
    k, n = counts
    share, low, high = stats.proportion(np.array([True] * k + [False] * (n - k)))
    z = reference.norm.ppf(0.975)
    middle = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    assert share == k / n
    assert (low, high) == pytest.approx((middle - half, middle + half), abs=1e-9)


@given(
    arrays(np.float64, 9, elements=st.integers(-4, 4).map(float)),
    arrays(np.float64, 9, elements=st.integers(-4, 4).map(float)),
)
@settings(max_examples=60)
def test_spearman_equals_scipy(a: np.ndarray, b: np.ndarray) -> None:
    assume(np.ptp(a) > 0 and np.ptp(b) > 0)
    assert float(stats.spearman(a, b)) == pytest.approx(reference.spearmanr(a, b).statistic, abs=1e-12)
    both = stats.spearman(np.stack([a, b, np.ones(9)]), np.stack([a, a, a]))
    assert both == pytest.approx([1.0, float(stats.spearman(a, b)), 0.0], abs=1e-12)


@given(
    arrays(np.float64, st.integers(2, 60), elements=st.floats(-1e300, 1e300) | st.just(np.inf)),
    st.sampled_from((0.5, 0.9, 0.95, 0.99)),
)
def test_intervals_end_at_numpys_quantiles(values: np.ndarray, level: float) -> None:
    """Which are not interpolated: nothing lies between a finite and an infinite value."""
    tail = (1.0 - level) / 2.0
    ends = [np.quantile(values, q, method=m) for q, m in ((tail, "lower"), (1.0 - tail, "higher"))]
    assert list(stats._percentiles(values, level)) == ends


def test_false_discovery_is_controlled_as_by_hand() -> None:
    p = np.array([0.04, 0.001, 0.03, 0.5])
    order, m = np.argsort(p), len(p)
    by_hand = np.empty(m)
    running = 1.0
    for rank in range(m, 0, -1):
        running = min(running, p[order[rank - 1]] * m / rank)
        by_hand[order[rank - 1]] = running
    harmonic = sum(1 / i for i in range(1, m + 1))
    assert stats.adjusted(p, method="bh") == pytest.approx(by_hand)
    assert stats.adjusted(p) == pytest.approx(np.minimum(by_hand * harmonic, 1.0))


def test_sign_flips_agree_with_wilcoxon_and_take_failures() -> None:
    rng = np.random.default_rng(4)
    none, shifted = rng.normal(0, 1, 30), rng.normal(1, 1, 30)
    for sample in (none, shifted):
        expected = reference.wilcoxon(sample).pvalue
        assert stats.sign_flip_p(sample) == pytest.approx(expected, abs=0.03)
    assert list(stats.sign_flip_p(np.stack([none, shifted]))) == [
        stats.sign_flip_p(none),
        stats.sign_flip_p(shifted),
    ]
    assert stats.sign_flip_p(np.array([np.inf] * 12)) < 0.01
    assert stats.sign_flip_p(np.array([np.inf, -np.inf] * 6)) > 0.5


@pytest.mark.parametrize("how", ["iqm", "median", "mean"])
def test_a_curves_interval_is_that_of_each_step_by_itself(how: stats.Centre) -> None:
    curves = np.random.default_rng(3).standard_normal((9, 37))
    curves[0, 20:] = np.nan
    whole = stats.curve_interval(curves, how)
    for t in range(curves.shape[1]):
        column = np.where(np.isnan(curves[:, t]), np.inf, curves[:, t])
        alone = stats.interval(column, how, resamples=stats.CURVE_RESAMPLES)
        assert tuple(part[t] for part in whole) == alone


def test_curve_intervals_count_a_diverged_replica_as_the_worst() -> None:
    curves = np.tile(np.array([3.0, 2.0, 1.0]), (8, 1))
    curves[:6, 2] = np.nan
    estimate, low, high = stats.curve_interval(curves)
    assert estimate.tolist() == [3.0, 2.0, np.inf]
    assert low[:2].tolist() == high[:2].tolist() == [3.0, 2.0]
    assert high[2] == np.inf


@pytest.mark.parametrize("how", ["iqm", "median", "mean"])
def test_what_is_asked_about_keeps_its_order(how: stats.Centre) -> None:
    values = np.random.default_rng(3).standard_normal((9, 7))
    before = values.copy()
    stats.centre(values[:, 0], how)
    stats.interval(values[:, 0], how)
    stats.interval([values[0], values[1]], how)
    stats.curve_interval(values, how)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("how", ["iqm", "median", "mean"])
@pytest.mark.parametrize("steps", [1, 200])
def test_a_band_is_the_same_however_many_steps_are_resampled_at_once(how: stats.Centre, steps: int) -> None:
    curves = np.random.default_rng(4).standard_normal((11, steps))
    found = stats.curve_interval(curves, how)
    alone = [stats.curve_interval(curves[:, [t]], how) for t in range(steps)]
    for all_steps, parts in zip(found, zip(*alone, strict=True), strict=True):
        np.testing.assert_array_equal(all_steps, np.concatenate(parts))
