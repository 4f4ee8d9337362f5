"""The angle of a point in the plane, with the same bits in any batch."""

from __future__ import annotations

import torch
from torch import Tensor


def angle(x: Tensor, y: Tensor) -> Tensor:
    """atan2(y, x), elementwise on `[R]`.

    Over contiguous memory torch rounds the last elements otherwise than those before; over every second
    number it takes them one by one.
    """
    both = torch.stack([x, y], dim=-1)
    return torch.atan2(both[..., 1], both[..., 0])
