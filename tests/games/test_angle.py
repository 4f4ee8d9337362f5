"""Angles: right, and the same bits whatever the batch."""

from __future__ import annotations

import math

import pytest
import torch

from games.angle import angle


def test_angles_of_the_axes() -> None:
    x, y = torch.tensor([1.0, 0.0, -1.0, 0.0]).double(), torch.tensor([0.0, 1.0, 0.0, -1.0]).double()
    assert angle(x, y).tolist() == pytest.approx([0.0, math.pi / 2, math.pi, -math.pi / 2], abs=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_has_its_bits_in_any_batch_and_layout(dtype: torch.dtype) -> None:
    points = torch.randn(3000, 2, dtype=dtype, generator=torch.Generator().manual_seed(1))
    whole = angle(points[:, 0], points[:, 1])
    columns = points.T.contiguous()
    for size in (2, 3, 5, 7, 64, 1000):
        parts = [angle(x, y) for x, y in zip(columns[0].split(size), columns[1].split(size), strict=True)]
        assert torch.equal(torch.cat(parts), whole)
