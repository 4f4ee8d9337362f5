"""Names of the array types of this domain."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]
Actions = NDArray[Any]
"""Choices `[...]` (int64), or vectors `[..., A]` (floating point)."""
