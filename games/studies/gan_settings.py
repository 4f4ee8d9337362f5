"""What the study `gan` compares, where; plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from core.lab.experiment import Array
from core.lab.run import Run
from core.lab.sweep import Objective, Regime
from core.lab.variant import Grid, Variant
from core.optim.adjustments import Consensus
from core.optim.play import Alternating, Extragradient, Optimistic
from games.bilinear import BilinearGame
from games.gan_judge import judged_digits_gan, judged_gan

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
    Regime("8x8 digits", judged_digits_gan, {"latent": 16, "width": 64, "batch": 64}, "real images"),
)
"""The quick plan takes the first."""
_NOISE = {"noise": "additive", "noise_scale": 0.2}
LINEAR = (
    Regime("xy, noise", BilinearGame, _NOISE),
    Regime("4 x 4 bilinear, noise", BilinearGame, {"size": 4, "condition": 10.0, **_NOISE}),
)
"""The games from which rankings are to carry over. On xy a player has one coordinate, so that a second moment
a player is one a coordinate, and a step of fixed length a sign; on the larger one they differ."""


@dataclass(frozen=True)
class ModesAtEnd(Objective):
    """Modes covered at the end, in tuning as in the report: a replica that diverged covers none."""

    measure: str = "modes"
    higher: bool = True
    across: Literal["iqm", "median", "mean"] = "mean"
    label: str = "modes covered at the end"

    def values(self, run: Run) -> Array:
        """`[R]`."""
        return np.maximum(super().values(run), 0.0)


ADAMS = ("Adam", "Adam, beta1 = 0.5", "Adam, beta1 = 0")
_HALF = {"beta1": 0.5}
DESCENT = Grid.between(0.01, 1.0)
"""Of methods whose step is lr times the gradient."""
ONE_EVALUATION = (
    Variant("GDA", "sgd", lr=DESCENT),
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
    Variant("Optimistic GDA", "sgd", lr=DESCENT, play=Optimistic()),
)
"""One evaluation of the field a step."""
TWO_EVALUATIONS = (
    Variant("Adam, beta1 = 0.5, alternating", "adam", _HALF, play=Alternating()),
    Variant("Adam, beta1 = 0.5, extragradient", "adam", _HALF, play=Extragradient()),
    Variant("GDA, alternating", "sgd", lr=DESCENT, play=Alternating()),
    Variant("Extragradient", "sgd", lr=DESCENT, play=Extragradient()),
    Variant("Momentum -0.5, alternating", "sgd", {"momentum": -0.5}, lr=DESCENT, play=Alternating()),
    Variant("Consensus", "sgd", lr=DESCENT, adjust=Consensus(strength=0.1)),
)
"""Two evaluations a step (of consensus: the field and a product with its Jacobian): they take half the
steps. GDA's are those that come in on bilinear games. The quick plan takes the first four."""
CURES = (
    "Optimistic GDA",
    "GDA, alternating",
    "Extragradient",
    "Momentum -0.5, alternating",
    "Consensus",
)
"""What makes GDA stay or come in on bilinear games."""
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
