"""The values that hyperparameters may take."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

Settings = Mapping[str, object]
Check = Callable[[Settings], None]


@dataclass(frozen=True)
class Range:
    """The finite numbers from `low` to `high`, without either end if it is open.

    Attributes:
        low, high: the ends.
        open_above, open_below: whether `high`, or `low`, is left out.
    """

    low: float = -math.inf
    high: float = math.inf
    open_above: bool = False
    open_below: bool = False

    def __contains__(self, value: float) -> bool:
        below = value < self.high if self.open_above else value <= self.high
        above = value > self.low if self.open_below else value >= self.low
        return math.isfinite(value) and above and below

    def __str__(self) -> str:
        left = f"{'(' if self.open_below or self.low == -math.inf else '['}{self.low:g}"
        return f"{left}, {self.high:g}{')' if self.open_above or self.high == math.inf else ']'}"


FINITE = Range()
NOT_NEGATIVE = Range(low=0.0)
DECAY = Range(low=0.0, high=1.0, open_above=True)
MOMENTUM = Range(low=-1.0, high=1.0, open_above=True, open_below=True)
"""Negative momentum is a method for games (Gidel et al. 2019)."""
ABOVE_MINUS_ONE = Range(low=-1.0, open_below=True)
FRACTION = Range(low=0.0, high=1.0)


def check_ranges(settings: Settings, ranges: Mapping[str, Range]) -> None:
    """Check each number, and each row of each tensor.

    Raises:
        ValueError: a value lies outside its range, or is no number.
    """
    for name, allowed in ranges.items():
        value = settings[name]
        rows = value.detach().reshape(-1).tolist() if isinstance(value, Tensor) else [value]
        for row, number in enumerate(rows):
            if isinstance(number, bool) or not isinstance(number, int | float) or number not in allowed:
                where = f" in row {row}" if isinstance(value, Tensor) and value.ndim else ""
                raise ValueError(f"{name} must be a number in {allowed}, got {number!r}{where}")
