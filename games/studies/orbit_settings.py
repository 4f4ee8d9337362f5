"""Methods of the study `orbits` whose rounds are linear maps on xy, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping

from core.lab.variant import Variant
from games.rates import KNOWN

LINEAR: Mapping[str, Variant] = {name: known.variant for name, known in KNOWN.items()}
"""All methods with a closed form."""
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
