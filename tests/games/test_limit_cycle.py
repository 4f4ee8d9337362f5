"""The averaged law of Adam's cycle on xy: against its own balance, against spectra of linear methods, against
Adam.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.play import (
    Alternating,
    Averaged,
    Extragradient,
    Optimistic,
    PastExtragradient,
    PlayScheme,
    Simultaneous,
)
from games.bilinear import BilinearGame
from games.joint import Joint
from games.limit_cycle import LimitCycle, gradient_age, optimism_to_collapse
from games.spectrum import Point, predicted_rates

DRIVES = st.floats(0.05, 30.0)
MEMORIES = st.floats(1e-4, 0.03)


def _damping(k: float, w: float) -> float:
    return k / (k * k + 4.0 * w * w)


@given(DRIVES, MEMORIES)
def test_drive_and_damping_balance_on_the_cycle(c: float, k: float) -> None:
    cycle = LimitCycle(c, k)
    assert cycle.exists
    radius = cycle.radius()
    assert _damping(k, math.sqrt(2.0) / radius) == pytest.approx(c, rel=1e-9)
    # Inside the turn a step is larger, the damping weaker, and the path goes out.
    assert _damping(k, math.sqrt(2.0) / (0.9 * radius)) < c < _damping(k, math.sqrt(2.0) / (1.1 * radius))


@given(DRIVES, MEMORIES, st.floats(0.0, 200.0))
def test_eps_shortens_the_step_and_softens_the_swing(c: float, k: float, eps: float) -> None:
    radius = LimitCycle(c, k).radius(eps)
    assert radius > 0.0
    root = radius / math.sqrt(2.0)
    turn, softened = 1.0 / (root + eps), root / (root + eps)
    assert softened * _damping(k, turn) == pytest.approx(c, rel=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.2, 10.0), st.floats(1e-3, 0.02))
def test_little_noise_leaves_the_radius(c: float, k: float) -> None:
    cycle = LimitCycle(c, k)
    assert cycle.mean_radius(0.05) == pytest.approx(cycle.radius(), rel=1e-3)


def test_much_noise_makes_the_radius_independent_of_the_learning_rate() -> None:
    # In units of the noise, the limit of lr -> 0.
    cycle = LimitCycle(1.0, 0.01)
    small, smaller = (cycle.mean_radius(s) / s for s in (1e4, 1e5))
    assert small == pytest.approx(smaller, rel=1e-3)
    assert 0.5 * 0.01**0.25 < small < 3.0 * 0.01**0.25


def test_no_cycle_without_drive_or_with_too_much() -> None:
    for cycle in (LimitCycle.of(0.9, 0.9), LimitCycle(-0.1, 0.01), LimitCycle(0.0, 0.01)):
        assert not cycle.exists
        assert math.isnan(cycle.radius())
    assert math.isnan(LimitCycle.of(0.9, 0.9).mean_radius(1.0))


@given(st.floats(-0.9, 0.95))
def test_optimism_takes_the_drive_away_at_its_threshold(beta1: float) -> None:
    threshold = Optimistic(strength=optimism_to_collapse(beta1))
    assert LimitCycle.of(beta1, 0.99, threshold).drive == pytest.approx(0.0, abs=1e-9)


def test_known_thresholds() -> None:
    assert LimitCycle.of(1.0 / 3.0, 0.99, Extragradient()).drive == pytest.approx(0.0, abs=1e-12)
    shared = Extragradient(shared_state=True)
    assert LimitCycle.of(math.sqrt(2.0) - 1.0, 0.99, shared).drive == pytest.approx(0.0, abs=1e-12)
    assert LimitCycle.of(0.0, 0.99, Alternating()).drive == 0.0


def test_an_unknown_scheme_is_refused() -> None:
    for play in (Averaged(), PastExtragradient(shared_state=True)):
        with pytest.raises(ValueError, match="age"):
            gradient_age(0.0, play)


@pytest.mark.parametrize("beta", [-0.5, 0.0, 0.3, 0.8])
@pytest.mark.parametrize(
    "play",
    [
        Simultaneous(),
        Alternating(),
        Optimistic(),
        Optimistic(strength=0.4),
        Extragradient(),
        Extragradient(shared_state=True),
        PastExtragradient(),
    ],
    ids=str,
)
def test_drive_is_that_of_descent_with_momentum(beta: float, play: PlayScheme) -> None:
    """Without a second moment log r grows by c w^2 / 2 a step: the spectrum of descent says the same.

    Momentum without dampening sums gradients: a step is 1 / (1 - beta) times Adam's, and so is w.
    """
    lr = 1e-4
    game = BilinearGame()
    point = Point.of(game)
    variant = Variant("method", "sgd", {"momentum": beta}, play=play)
    w = lr / (1.0 - beta)
    factor = predicted_rates(point, variant, [lr])[0]
    drive = 1.0 + 2.0 * gradient_age(beta, play)
    assert math.log(factor) / (w * w / 2.0) == pytest.approx(drive, abs=2e-3 + 2e-4 * abs(drive))


@given(DRIVES, MEMORIES)
def test_approach_is_the_slower_eigenvalue_of_the_averaged_equations(c: float, k: float) -> None:
    cycle = LimitCycle(c, k)
    q = cycle.radius() ** 2 / 2.0

    def motion(log_r: float, log_v: float) -> np.ndarray:
        half, level = q * math.exp(2.0 * log_r), q * math.exp(log_v)
        w2 = 1.0 / level
        growth = w2 / 2.0 * (c - half / level * k / (k * k + 4.0 * w2))
        return np.array([growth, k * (half / level - 1.0)])

    h = 1e-5
    columns = [
        (motion(h, 0.0) - motion(-h, 0.0)) / (2 * h),
        (motion(0.0, h) - motion(0.0, -h)) / (2 * h),
    ]
    slowest = -np.linalg.eigvals(np.stack(columns, axis=1)).real.max()
    assert cycle.approach == pytest.approx(slowest, rel=1e-4, abs=1e-9)


def test_averaged_path_ends_on_the_cycle() -> None:
    cycle = LimitCycle.of(0.5, 0.995)
    for start in (0.3, 3.0):
        path = cycle.path(start * cycle.radius(), 8000)
        assert path[0] == pytest.approx(start * cycle.radius())
        assert path[-1] == pytest.approx(cycle.radius(), rel=0.02)


def _settled(variant: Variant, start: float, steps: int) -> np.ndarray:
    """Radius in learning rates, root mean square over the last fifth."""
    lr, keys = 0.02, Keys.of(range(4), study="cycle")
    problem = BilinearGame(radius=start * lr)
    blocks = [Block(variant, slice(0, 4), {"lr": lr})]
    run = train(problem, blocks, keys, steps=steps, recording=Recording(points=400))
    return np.sqrt((run.curves["distance"][:, -80:] ** 2).mean(axis=1)) / lr


@pytest.mark.parametrize(
    ("rule", "hyper", "cycle"),
    [
        ("rmsprop", {"alpha": 0.98}, LimitCycle.of(0.0, 0.98)),
        ("adam", {"beta1": 0.4, "beta2": 0.98}, LimitCycle.of(0.4, 0.98)),
        ("adam_uncorrected", {"beta1": 0.4, "beta2": 0.98}, LimitCycle.of(0.4, 0.98)),
    ],
)
def test_adam_settles_on_the_predicted_cycle(rule: str, hyper: dict[str, float], cycle: LimitCycle) -> None:
    for start in (0.5, 2.0):
        radius = _settled(Variant("method", rule, hyper), start * cycle.radius(), 1500)
        np.testing.assert_allclose(radius, cycle.radius(), rtol=0.06)


def test_a_gradient_from_ahead_makes_the_cycle_collapse() -> None:
    hyper = {"beta1": 0.0, "beta2": 0.98}
    for play in (Optimistic(), Extragradient(), Alternating()):
        radius = _settled(Variant("method", "adam", hyper, play=play), 30.0, 1500)
        assert (radius < 5.0).all()


@pytest.mark.parametrize("rule", ["adam_shared_v", "amsgrad"])
def test_a_second_moment_that_does_not_swing_does_not_damp(rule: str) -> None:
    """r^2 grows by 2 c lr^2 a step: shared v exactly in the limit of small steps, AMSGrad at most."""
    hyper = {"beta1": 0.0, "beta2": 0.98}
    variant = Variant("method", rule, hyper, play=Joint() if rule == "adam_shared_v" else Simultaneous())
    start, steps = 40.0, 1500
    radius = _settled(variant, start, steps)
    assert (radius > 1.1 * start).all()
    if rule == "adam_shared_v":
        halfway = 0.9 * steps
        np.testing.assert_allclose(radius, math.sqrt(start**2 + 2.0 * halfway), rtol=0.02)
