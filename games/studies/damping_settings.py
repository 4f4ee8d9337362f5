"""What the study `damping` compares, where."""

from __future__ import annotations

from core.lab.sweep import Regime
from core.lab.variant import Grid, Variant
from core.optim.adjustments import LOLA, Competitive, Consensus, SymplecticGradient
from core.optim.play import (
    Alternating,
    Averaged,
    Extragradient,
    Lookahead,
    Optimistic,
    PastExtragradient,
    TwoTimeScales,
)
from core.optim.schedules import Cosine
from games.dirac import DiracGAN
from games.joint import Joint
from games.oscillation import LeadingPlane

_MANY = {"size": 4, "condition": 10.0}
_NOISE = {"noise": "additive", "noise_scale": 0.2}
_MULTIPLIED = {"noise": "multiplicative", "noise_scale": 0.5}
REGIMES = (
    Regime("xy", LeadingPlane, {}, "exact"),
    Regime("xy, noise", LeadingPlane, _NOISE, "a fifth of the field at the start"),
    Regime(
        "xy, multiplicative noise",
        LeadingPlane,
        _MULTIPLIED,
        "half of the field, none at the equilibrium",
    ),
    Regime("4 x 4 bilinear", LeadingPlane, _MANY, "condition 10, exact"),
    Regime("4 x 4 bilinear, noise", LeadingPlane, {**_MANY, **_NOISE}, "condition 10"),
    Regime("4 x 4 bilinear, multiplicative noise", LeadingPlane, {**_MANY, **_MULTIPLIED}, "condition 10"),
    Regime("regularised", LeadingPlane, {**_MANY, "regularization": 0.05}, "condition 10, exact"),
    Regime("regularised, noise", LeadingPlane, {**_MANY, "regularization": 0.05, **_NOISE}, "condition 10"),
    Regime("Dirac-GAN", DiracGAN, {}, "saturating, no penalty, exact"),
    Regime("Dirac-GAN, noise", DiracGAN, _NOISE, "saturating, no penalty"),
    Regime("Dirac-GAN, penalty", DiracGAN, {"penalty": 0.1}, "R1 of 0.1, exact"),
)
GRID = Grid.between(1e-3, 1.0)
DECAYED = "with lr decay"


def variants(steps: int) -> tuple[Variant, ...]:
    """All methods; the decayed ones go to zero in half a cosine wave over the run."""
    decay = Cosine(steps)
    no_momentum, half, negative = ({"beta1": b} for b in (0.0, 0.5, -0.5))
    return (
        Variant("GDA", "sgd"),
        Variant("Adam", "adam"),
        Variant("Adam, beta1 = 0.5", "adam", half),
        Variant("Adam, beta1 = 0", "adam", no_momentum, control=True, note="removes momentum"),
        Variant("Adam, beta1 = -0.5", "adam", negative),
        Variant("Adam, alternating", "adam", play=Alternating()),
        Variant("Adam, beta1 = 0.5, alternating", "adam", half, play=Alternating()),
        Variant("Adam, beta1 = 0, alternating", "adam", no_momentum, play=Alternating()),
        Variant("Adam, beta1 = -0.5, alternating", "adam", negative, play=Alternating()),
        Variant(f"Adam {DECAYED}", "adam", schedule=decay),
        Variant(f"Adam, beta1 = 0.5, {DECAYED}", "adam", half, schedule=decay),
        Variant(f"Adam, beta1 = 0, {DECAYED}", "adam", no_momentum, schedule=decay),
        Variant(f"Adam, beta1 = -0.5, {DECAYED}", "adam", negative, schedule=decay),
        Variant("Adam, averaged", "adam", play=Averaged()),
        Variant(f"GDA {DECAYED}", "sgd", schedule=decay, control=True, note="lr decay alone"),
        Variant("RMSProp", "rmsprop", control=True, note="no momentum, shorter memory"),
        Variant("AMSGrad", "amsgrad", control=True, note="v cannot fall"),
        Variant("Adam, shared v", "adam_shared_v", play=Joint(), control=True, note="one v: no scaling"),
        Variant(
            "Adam, beta1 = 0, shared v",
            "adam_shared_v",
            no_momentum,
            play=Joint(),
            control=True,
            note="one v, no momentum",
        ),
        Variant("Sign descent", "signsgd", control=True, note="removes memory: only the field's signs"),
        Variant(
            "Normalised descent", "normalized_sgd", play=Joint(), control=True, note="only the field's length"
        ),
        Variant("GDA, alternating", "sgd", play=Alternating()),
        Variant("GDA, alternating, averaged", "sgd", play=Averaged(play=Alternating())),
        Variant("Momentum 0.5", "sgd", {"momentum": 0.5}),
        Variant("Momentum -0.5", "sgd", {"momentum": -0.5}),
        Variant("Two time scales 1 : 4", "sgd", play=TwoTimeScales((0.5, 2.0))),
        Variant("Momentum -0.5, alternating", "sgd", {"momentum": -0.5}, play=Alternating()),
        Variant("Optimistic GDA", "sgd", play=Optimistic()),
        Variant("Extragradient", "sgd", play=Extragradient()),
        Variant("Extragradient from the past", "sgd", play=PastExtragradient()),
        Variant("Lookahead GDA", "sgd", play=Lookahead()),
        Variant("Consensus", "sgd", adjust=Consensus(strength=1.0)),
        Variant("Symplectic adjustment", "sgd", adjust=SymplecticGradient()),
        Variant("LOLA", "sgd", adjust=LOLA()),
        Variant("Competitive descent", "sgd", adjust=Competitive()),
        Variant("Adam, optimistic", "adam", play=Optimistic()),
        Variant("Adam, beta1 = 0.5, optimistic", "adam", half, play=Optimistic()),
        Variant("Adam, beta1 = 0, optimistic", "adam", no_momentum, play=Optimistic()),
        Variant("Adam, beta1 = 0, extragradient", "adam", no_momentum, play=Extragradient()),
        Variant(
            "Adam, beta1 = 0, extragradient, shared state",
            "adam",
            no_momentum,
            play=Extragradient(shared_state=True),
        ),
        Variant(
            "Adam, beta1 = 0, extragradient from the past", "adam", no_momentum, play=PastExtragradient()
        ),
    )
