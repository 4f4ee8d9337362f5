"""A field at a point, with products with its Jacobian J."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PointField = Callable[[Tensor], Tensor]
"""`params [R, D] -> field [R, D]` on one sample, row by row, by operations that autograd follows."""


class Linearized:
    """The field of R rows at a point, and products of each row's Jacobian with a vector a row.

    Products come by autograd: J'w by one backward pass of the field, Jv by a backward pass of that one, since
    J'w is linear in w. Where gradients are enabled and the point asks for one, everything stays
    differentiable; otherwise it carries no graph.

    Args:
        field: to be linearized.
        params: `[R, D]`, where.

    Raises:
        ValueError: for a field that does not depend differentiably on the parameters.
    """

    def __init__(self, field: PointField, params: Tensor) -> None:
        self._kept = torch.is_grad_enabled() and params.requires_grad
        with torch.enable_grad():
            self._at = params if self._kept else params.detach().requires_grad_()
            self._values = field(self._at)
        if not self._values.requires_grad:
            raise ValueError(
                "an adjustment needs the field's derivatives, and the field does not depend differentiably "
                "on the parameters (is it detached, or computed under no_grad?)"
            )

    @property
    def values(self) -> Tensor:
        """The field `[R, D]`."""
        return self._values if self._kept else self._values.detach()

    def transposed(self, w: Tensor) -> Tensor:
        """J'w, `[R, D]`."""
        with torch.enable_grad():
            (product,) = torch.autograd.grad(
                self._values, self._at, w, retain_graph=True, create_graph=self._kept
            )
        return product

    def forward(self, v: Tensor) -> Tensor:
        """Jv, `[R, D]`."""
        with torch.enable_grad():
            w = torch.zeros_like(self._values, requires_grad=True)
            (product,) = torch.autograd.grad(self._values, self._at, w, create_graph=True, retain_graph=True)
            (product,) = torch.autograd.grad(product, w, v, create_graph=self._kept, retain_graph=True)
        return product

    def jacobian(self) -> Tensor:
        """J of each row, `[R, D, D]`, by D products."""
        rows, size = self._values.shape
        found = []
        for i in range(size):
            unit = torch.zeros_like(self._values)
            unit[:, i] = 1.0
            found.append(self.transposed(unit))
        return torch.stack(found, dim=1).view(rows, size, size)
