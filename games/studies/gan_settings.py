"""What the study `gan` compares, where; plain data."""

from __future__ import annotations

from typing import Any

from core.lab.sweep import Regime
from core.lab.variant import Grid, Variant
from core.optim.play import Alternating, Extragradient, Optimistic
from games.bilinear import BilinearGame
from games.gan_judge import judged_gan

NETWORK: dict[str, Any] = {
    "shape": "ring8",
    "radius": 2.0,
    "std": 0.1,
    "latent": 2,
    "width": 32,
    "batch": 64,
}
REGIMES = (
    Regime("non-saturating loss", judged_gan, NETWORK),
    Regime("saturating loss", judged_gan, {**NETWORK, "loss": "saturating"}),
    Regime("Wasserstein loss", judged_gan, {**NETWORK, "loss": "wasserstein"}, "no penalty"),
    Regime("non-saturating loss, R1", judged_gan, {**NETWORK, "r1": 0.1}, "penalty of 0.1"),
    Regime("5 x 5 grid", judged_gan, {**NETWORK, "shape": "grid25", "radius": 4.0, "latent": 4}),
)
"""The quick plan takes the first."""
LINEAR = Regime("xy, noise", BilinearGame, {"noise": "additive", "noise_scale": 0.2})
"""The game from which rankings are to carry over."""
ADAMS = ("Adam", "Adam, beta1 = 0.5", "Adam, beta1 = 0")
_HALF = {"beta1": 0.5}
ONE_EVALUATION = (
    Variant("GDA", "sgd", lr=Grid.between(0.01, 1.0)),
    Variant("Adam", "adam"),
    Variant("Adam, beta1 = 0.5", "adam", _HALF),
    Variant("Adam, beta1 = 0", "adam", {"beta1": 0.0}),
    Variant("Adam, beta1 = 0.5, optimistic", "adam", _HALF, play=Optimistic()),
    Variant("RMSProp", "rmsprop", control=True, note="no momentum, shorter memory"),
    Variant(
        "Adam, beta1 = 0.5, shared v",
        "adam_shared_v",
        _HALF,
        control=True,
        note="one second moment a player: removes individual rates",
    ),
    Variant("Sign descent", "signsgd", control=True, note="removes memory: only the field's signs"),
    Variant(
        "Normalised descent",
        "normalized_sgd",
        lr=Grid.between(0.003, 0.5),
        control=True,
        note="a player's step has the length lr",
    ),
)
"""One evaluation of the field a step."""
TWO_EVALUATIONS = (
    Variant("Adam, beta1 = 0.5, alternating", "adam", _HALF, play=Alternating()),
    Variant("Adam, beta1 = 0.5, extragradient", "adam", _HALF, play=Extragradient()),
)
"""Two evaluations a step: they take half the steps."""
METHODS = tuple(v.name for v in (*ONE_EVALUATION, *TWO_EVALUATIONS))
GRID = Grid.between(1e-3, 0.05)
LINEAR_GRID = Grid.between(1e-3, 1.0)
FRAMES = (("GDA", 0.1), ("Adam", 0.00316228), ("Adam, beta1 = 0.5", 0.01), ("Adam, beta1 = 0", 0.01))
"""Rates of the frames of samples: fixed beforehand, since tuned rates are known only after tuning."""
FRAME_TIMES = 30
"""Of the film; the figure shows every sixth."""
FRAME_SAMPLES = 240
BY_NAME = {v.name: v for v in (*ONE_EVALUATION, *TWO_EVALUATIONS)}
TIMES = 7
BUDGETS = {"short": 1, "long": TIMES}
"""Evaluations of the field, in units of the plan's steps, for each of which learning rates are tuned. The
quick plan takes the short one alone."""
CONTINUED = ("GDA", *ADAMS)
"""Methods that go on from the short budget to the long one at the rates tuned for the short one, in every
plan."""
