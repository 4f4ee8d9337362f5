"""Methods of the study `orbits` whose rounds are linear maps on xy, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping

from core.lab.variant import Variant
from core.optim.adjustments import Competitive, Consensus
from core.optim.play import Alternating, Extragradient, Lookahead, Optimistic
from games.bilinear import BilinearGame
from games.spectrum import Point

LINEAR: Mapping[str, Variant] = {
    v.name: v
    for v in (
        Variant("GDA", "sgd"),
        Variant("GDA, alternating", "sgd", play=Alternating()),
        Variant("Momentum 0.5", "sgd", {"momentum": 0.5}),
        Variant("Momentum -0.5, alternating", "sgd", {"momentum": -0.5}, play=Alternating()),
        Variant("Extragradient", "sgd", play=Extragradient()),
        Variant("Optimistic GDA", "sgd", play=Optimistic()),
        Variant("Lookahead GDA", "sgd", play=Lookahead()),
        Variant("Consensus", "sgd", adjust=Consensus(strength=0.5)),
        Variant("Competitive descent", "sgd", adjust=Competitive()),
    )
}
MEMORY = {"Momentum 0.5": 2, "Momentum -0.5, alternating": 2, "Optimistic GDA": 2}
"""Points that say what comes next, where it is not one."""
PLAYED: Mapping[str, Variant] = {**LINEAR, "Adam": Variant("Adam", "adam")}
"""All methods whose paths are looked at."""
FILMED = (
    ("GDA", 0.1),
    ("GDA, alternating", 0.1),
    ("Adam", 0.02),
    ("Optimistic GDA", 0.1),
    ("Extragradient", 0.1),
)
"""With rates: of descent a factor of the gradient, of Adam a length."""
FILMED_STEPS = 240
DISKS = (
    "GDA",
    "GDA, alternating",
    "Momentum -0.5, alternating",
    "Extragradient",
    "Optimistic GDA",
    "Competitive descent",
)
"""Methods whose eigenvalues are drawn."""


def xy_point() -> Point:
    """The game xy at its equilibrium, for linear theory."""
    game = BilinearGame()
    return Point(game.mean_field, game.equilibrium, game.players)
