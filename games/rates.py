"""Eigenvalues of a round in closed form, method by method, on bilinear games.

The game min over x, max over y of s xy + (mu / 2)(x^2 - y^2) has the field (s y + mu x, -s x + mu y), whose
eigenvalues are e = mu +- i s. A game x'Ay splits into such games, one a singular value s of A. For methods
that act on the field as a whole an eigenvalue of the round is a root of a polynomial in e; alternation
couples the two coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from core.lab.experiment import Array
from core.lab.variant import Variant
from core.optim.adjustments import (
    LOLA,
    Anticipating,
    Competitive,
    Consensus,
    SymplecticGradient,
)
from core.optim.play import (
    Alternating,
    Extragradient,
    Lookahead,
    Optimistic,
    PastExtragradient,
    TwoTimeScales,
)

Roots = Callable[[float, float, float], Sequence[complex] | Array]
"""`(lr, s, mu) -> eigenvalues of a period of rounds`; of a complex pair one is enough."""


@dataclass(frozen=True)
class Known:
    """A method whose rounds on bilinear games are known.

    Attributes:
        variant: the method.
        roots: see `Roots`.
        source: where it is from.
        note: what the paper says about bilinear games, where it says more.
    """

    variant: Variant
    roots: Roots
    source: str
    note: str = ""

    def factor(self, lr: float, singular: Sequence[float], mu: float = 0.0) -> float:
        """The factor a round on a game with these singular values, in the long run."""
        largest = max(float(np.abs(np.asarray(self.roots(lr, s, mu))).max()) for s in singular)
        return float(largest ** (1.0 / self.variant.scheme.period))


def _momentum(beta: float) -> Roots:
    def roots(lr: float, s: float, mu: float) -> Array:
        return np.roots([1.0, -(1.0 + beta - lr * (mu + 1j * s)), beta])

    return roots


def _alternating(beta: float) -> Roots:
    """q(t)^2 + lr^2 s^2 t^3 with q(t) = t^2 - (1 + beta - lr mu) t + beta."""

    def roots(lr: float, s: float, mu: float) -> Array:
        own = np.array([1.0, -(1.0 + beta - lr * mu), beta])
        return np.roots(np.polyadd(np.polymul(own, own), [(lr * s) ** 2, 0.0, 0.0, 0.0]))

    return roots


def _optimistic(strength: float) -> Roots:
    def roots(lr: float, s: float, mu: float) -> Array:
        e = lr * (mu + 1j * s)
        return np.roots([1.0, -(1.0 - (1.0 + strength) * e), -strength * e])

    return roots


def _scales(first: float, second: float) -> Roots:
    def roots(lr: float, s: float, mu: float) -> Array:
        field = np.array([[first * mu, first * s], [-second * s, second * mu]])
        return np.asarray(np.linalg.eigvals(np.eye(2) - lr * field))

    return roots


def _one(root: Callable[[float, complex], complex]) -> Roots:
    """A single eigenvalue, from lr and e = mu + i s."""
    return lambda lr, s, mu: (root(lr, mu + 1j * s),)


_ALL = (
    Known(
        Variant("GDA", "sgd"),
        _one(lambda lr, e: 1.0 - lr * e),
        "Arrow, Hurwicz and Uzawa 1958",
        "sqrt(1 + lr^2 s^2) > 1 a step: it diverges at any rate",
    ),
    Known(
        Variant("GDA, alternating", "sgd", play=Alternating()),
        _alternating(0.0),
        "Gidel et al. 2019; Bailey et al. 2020",
        "factor 1 for lr s < 2: it conserves a quadratic form",
    ),
    Known(
        Variant("Momentum -0.5", "sgd", {"momentum": -0.5}),
        _momentum(-0.5),
        "Gidel et al. 2019",
        "simultaneous play diverges for any momentum",
    ),
    Known(
        Variant("Momentum -0.5, alternating", "sgd", {"momentum": -0.5}, play=Alternating()),
        _alternating(-0.5),
        "Gidel et al. 2019",
        "below 1 for lr s < 1; at lr s = 1 an eigenvalue is -1",
    ),
    Known(
        Variant("Extragradient", "sgd", play=Extragradient()),
        _one(lambda lr, e: 1.0 - lr * e + (lr * e) ** 2),
        "Korpelevich 1976",
        "sqrt(1 - lr^2 s^2 + lr^4 s^4) < 1 for lr s < 1",
    ),
    Known(
        Variant("Extrapolation from the past", "sgd", play=PastExtragradient()),
        _optimistic(1.0),
        "Popov 1980; Gidel et al. 2019",
    ),
    Known(
        Variant("Optimistic GDA", "sgd", play=Optimistic()),
        _optimistic(1.0),
        "Daskalakis et al. 2018; Mertikopoulos et al. 2019",
        "below 1 for lr s < 1 / sqrt(3)",
    ),
    Known(
        Variant("Consensus 0.5", "sgd", adjust=Consensus(0.5)),
        _one(lambda lr, e: 1.0 - lr * (e + 0.5 * abs(e) ** 2)),
        "Mescheder et al. 2017",
    ),
    Known(
        Variant("Symplectic adjustment", "sgd", adjust=SymplecticGradient()),
        _one(lambda lr, e: 1.0 - lr * (1.0 - 1j * e.imag) * e),
        "Balduzzi et al. 2018",
        "equal to consensus optimisation of strength 1 where mu = 0",
    ),
    Known(
        Variant("Anticipating", "sgd", adjust=Anticipating()),
        _one(lambda lr, e: 1.0 - lr * (1.0 - 1j * lr * e.imag) * e),
        "Zhang and Lesser 2010; Letcher et al. 2019",
        "equal to extragradient where mu = 0",
    ),
    Known(
        Variant("LOLA", "sgd", adjust=LOLA()),
        _one(lambda lr, e: 1.0 - lr * (1.0 - 2j * lr * e.imag) * e),
        "Foerster et al. 2018",
    ),
    Known(
        Variant("Competitive", "sgd", adjust=Competitive()),
        _one(lambda lr, e: 1.0 - lr * e / (1.0 + 1j * lr * e.imag)),
        "Schäfer and Anandkumar 2019",
        "1 / sqrt(1 + lr^2 s^2) where mu = 0: it converges at any rate",
    ),
    Known(
        Variant("Lookahead, k = 6", "sgd", play=Lookahead(6, 0.5)),
        _one(lambda lr, e: 0.5 + 0.5 * (1.0 - lr * e) ** 6),
        "Chavdarova et al. 2021",
        "converges where the angle of (1 + i lr s)^k and alpha balance its growth",
    ),
    Known(
        Variant("Two time scales 1 : 4", "sgd", play=TwoTimeScales((0.5, 2.0))),
        _scales(0.5, 2.0),
        "Heusel et al. 2017",
        "on xy as GDA at the geometric mean of both rates: it does not help",
    ),
)

KNOWN: Mapping[str, Known] = MappingProxyType({known.variant.name: known for known in _ALL})
"""The methods with a closed form, by name."""
