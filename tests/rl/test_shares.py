"""Shares of a gain, and scales without a ceiling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.shares import logit, share_of_gain

RNG = np.random.default_rng(5)
BASE = RNG.normal(50.0, 5.0, 40)
FULL = RNG.normal(300.0, 30.0, 40)


def test_the_base_has_nothing_and_the_full_variant_all():
    assert share_of_gain(BASE, BASE, FULL) == (0.0, 0.0, 0.0)
    assert share_of_gain(FULL, BASE, FULL) == (1.0, 1.0, 1.0)


@given(part=st.floats(-1.0, 2.0))
def test_a_mixture_has_its_part_on_every_resample(part):
    estimate, low, high = share_of_gain(BASE + part * (FULL - BASE), BASE, FULL)
    assert estimate == pytest.approx(part, abs=1e-9)
    assert (low, high) == (pytest.approx(part, abs=1e-9), pytest.approx(part, abs=1e-9))


def test_it_does_not_matter_whether_more_is_better():
    control = RNG.normal(150.0, 20.0, 40)
    assert share_of_gain(-control, -BASE, -FULL) == pytest.approx(share_of_gain(control, BASE, FULL))


def test_the_interval_holds_the_estimate():
    estimate, low, high = share_of_gain(RNG.normal(150.0, 20.0, 40), BASE, FULL)
    assert low < estimate < high


def test_where_nothing_is_gained_there_is_no_share():
    assert np.isnan(share_of_gain(FULL, BASE, BASE)).all()


def test_the_logit_is_odd_about_one_half_and_clipped_at_the_ends():
    values = logit(np.array([250.0, 100.0, 400.0, 0.0, 500.0]), 500.0)
    assert values[0] == pytest.approx(0.0)
    assert values[1] == pytest.approx(-values[2])
    assert values[3] == pytest.approx(-values[4])
    assert np.isfinite(values).all()
    assert (np.diff(logit(np.linspace(10.0, 490.0, 30), 500.0)) > 0).all()
