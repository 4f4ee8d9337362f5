"""Variants: an update rule with its settings and play scheme, under a name, and the grid on which it is
tuned."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import Tensor

from core.lab.errors import VhatError, nearest
from core.optim.adjustments import Adjustment
from core.optim.play import Adjusted, PlayScheme, Simultaneous
from core.optim.rules import RULES, Rule

Setting = Mapping[str, float]
"""The tuned hyperparameters of one run: `lr` and whatever else the variant tunes."""

Schedule = Callable[[int], float | Tensor]


@dataclass(frozen=True)
class Grid:
    """Learning rates `10 ** (k / per_decade)` for k = first, ..., last: points that stay the same when it is
    widened.

    Raises:
        ValueError: if it holds no point.
    """

    first: int
    last: int
    per_decade: int = 2

    def __post_init__(self) -> None:
        if self.last < self.first or self.per_decade < 1:
            raise ValueError(
                f"an empty grid: first={self.first}, last={self.last}, per_decade={self.per_decade}"
            )

    @classmethod
    def between(cls, low: float, high: float, *, per_decade: int = 2) -> Grid:
        """The grid that covers [low, high].

        Raises:
            ValueError: unless 0 < low <= high < infinity, or if no point lies between them.
        """
        if not 0 < low <= high < math.inf:
            raise ValueError(f"a grid of learning rates needs 0 < low <= high, got low={low}, high={high}")
        k = [math.log10(x) * per_decade for x in (low, high)]
        # The points are rounded to six digits: a range that ends on one holds it.
        first, last = math.ceil(k[0] - 1e-5), math.floor(k[1] + 1e-5)
        if last < first:
            raise ValueError(
                f"no learning rate 10^(k/{per_decade}) lies between {low} and {high}; give a wider range, "
                "or more points a decade"
            )
        return cls(first, last, per_decade)

    def values(self) -> tuple[float, ...]:
        """The points, rounded to six significant digits so that they print as they are."""
        return tuple(float(f"{10 ** (k / self.per_decade):.6g}") for k in range(self.first, self.last + 1))

    def widened(self, *, down: int = 0, up: int = 0) -> Grid:
        """The same grid with points added below and above."""
        return dataclasses.replace(self, first=self.first - down, last=self.last + up)


@dataclass(frozen=True)
class Variant:
    """A rule with its settings, play scheme and field adjustment, under a name.

    Attributes:
        name: as shown; the same name has the same colour in every figure.
        rule: a `Rule`, or the name of one in `core.optim.rules.RULES`.
        hyper: hyperparameters other than `lr`, fixed for this variant.
        lr: its own grid of learning rates; None takes the sweep's.
        tune: further hyperparameters tuned together with `lr`, each with its values in ascending order.
        schedule: multiplies `lr`; a function of the step, counted from 0.
        play: who steps when, on which sample.
        adjust: what is done to the field before the rule sees it; for problems with a differentiable field.
        control: True for a variant that removes the supposed cause.
        note: for a control, what it removes; one phrase.

    Raises:
        VhatError: for no name, an unknown rule, `lr` outside its grid, or hyperparameters that the rule
            refuses.
    """

    name: str
    rule: Rule | str
    hyper: Mapping[str, object] = field(default_factory=dict)
    lr: Grid | None = None
    tune: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    schedule: Schedule | None = None
    play: PlayScheme = field(default_factory=Simultaneous)
    adjust: Adjustment | None = None
    control: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise VhatError("a variant needs a name, which tables and figures show")
        if isinstance(self.rule, str):
            if self.rule not in RULES:
                raise VhatError(f"variant {self.name!r}: {nearest(self.rule, RULES, kind='update rule')}")
            object.__setattr__(self, "rule", RULES[self.rule])
        if "lr" in {*self.hyper, *self.tune}:
            raise VhatError(
                f"variant {self.name!r}: the learning rate is tuned on a grid; give it as lr=Grid(...)"
            )
        if any(len(values) == 0 for values in self.tune.values()):
            raise VhatError(f"variant {self.name!r}: a tuned hyperparameter needs at least one value")
        try:
            for point in itertools.product(*self.tune.values()):
                self.update_rule.validate(
                    lr=1.0, **{**self.hyper, **dict(zip(self.tune, point, strict=True))}
                )
        except ValueError as error:
            raise VhatError(f"variant {self.name!r}: {error}") from error
        object.__setattr__(self, "hyper", MappingProxyType(dict(self.hyper)))
        object.__setattr__(self, "tune", MappingProxyType(dict(self.tune)))

    @property
    def update_rule(self) -> Rule:
        """The rule itself."""
        assert not isinstance(self.rule, str)
        return self.rule

    @property
    def scheme(self) -> PlayScheme:
        """The play scheme, on the adjusted field if it is adjusted."""
        return self.play if self.adjust is None else Adjusted(self.adjust, self.play)

    def settings(self, grid: Grid) -> tuple[dict[str, float], ...]:
        """Every combination of the learning rates of `grid` and the tuned hyperparameters, learning rate
        slowest."""
        names = ("lr", *self.tune)
        return tuple(
            dict(zip(names, point, strict=True))
            for point in itertools.product(grid.values(), *self.tune.values())
        )

    def on_edge(self, chosen: Setting, tried: Sequence[Setting]) -> tuple[str, ...]:
        """The names of settings whose chosen value is the least or the largest that was tried.

        Not those of which one value was given, and not where the rule allows no value beyond: a decay of 0 is
        the end of its range, not the edge of a grid.
        """
        found = []
        for name, value in chosen.items():
            values = {s[name] for s in tried}
            given = name == "lr" or len(values) > 1
            ends = [(min(values), -math.inf), (max(values), math.inf)]
            if given and any(value == end and self._allows(chosen, name, beyond) for end, beyond in ends):
                found.append(name)
        return tuple(found)

    def _allows(self, chosen: Setting, name: str, beyond: float) -> bool:
        """Whether the rule takes a value of this setting a hair nearer to `beyond`."""
        try:
            moved = {**chosen, name: math.nextafter(chosen[name], beyond)}
            self.update_rule.validate(lr=moved.pop("lr"), **{**self.hyper, **moved})
        except ValueError:
            return False
        return True

    def describe(self) -> dict[str, object]:
        """All that determines its results, as plain data: part of the address of stored results."""
        return {
            "rule": self.update_rule.name,
            "hyper": {k: str(v) for k, v in sorted({**self.update_rule.hyper, **self.hyper}.items())},
            "schedule": repr(self.schedule),
            "play": repr(self.scheme),
        }
