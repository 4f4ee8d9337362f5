"""The arithmetic that update rules are written in, twice: allocating and differentiable (`PURE`), or in place
(`IN_PLACE`).

A rule is one function over an `Ops`; so its formula stands once and both twins round alike. Each operation is
the torch kernel that torch.optim calls, or one that was measured to return the same bits at every CPU
capability: `lerp` with a tensor weight, `addcmul(x, a, y)` for `add(x, y, alpha=a)`, `addcmul(x, a * y, z)`
for `addcmul(x, y, z, value=a)`, and `addcdiv(x, a * y, z)` for `addcdiv(x, y, z, value=a)`. All of them round
alike wherever an element lies in memory.

The first argument is the one that `IN_PLACE` overwrites: the parameters, a state tensor, or a temporary of
the formula.
"""

from typing import Protocol

import torch
from torch import Tensor

from core.optim.scalars import Scalar


class Ops(Protocol):
    """Arithmetic on tensors `[R, ...]` with coefficients that are floats or broadcast against them."""

    @property
    def differentiable(self) -> bool:
        """Whether derivatives flow through the operations."""

    def replace(self, x: Tensor, y: Tensor) -> Tensor:
        """`y`, in the place and type of `x`."""

    def scale(self, x: Tensor, a: Scalar) -> Tensor:
        """`a x`."""

    def divide(self, x: Tensor, a: Scalar) -> Tensor:
        """`x / a`."""

    def shift(self, x: Tensor, a: Scalar) -> Tensor:
        """`x + a`."""

    def add_scaled(self, x: Tensor, a: Scalar, y: Tensor) -> Tensor:
        """`x + a y`."""

    def add_product(self, x: Tensor, a: Scalar, y: Tensor, z: Tensor) -> Tensor:
        """`x + a y z`."""

    def add_quotient(self, x: Tensor, a: Scalar, y: Tensor, z: Tensor) -> Tensor:
        """`x + a y / z`."""

    def lerp(self, x: Tensor, y: Tensor, weight: Scalar) -> Tensor:
        """`x + weight (y - x)`."""

    def maximum(self, x: Tensor, y: Tensor) -> Tensor:
        """The larger, element by element."""

    def root(self, x: Tensor) -> Tensor:
        """`sqrt(x)` in new memory, with derivative 0 at 0, where the chain rule would give inf * 0."""


class Pure:
    """New tensors throughout; differentiable once and more."""

    differentiable = True

    def replace(self, x: Tensor, y: Tensor) -> Tensor:
        return y.to(x.dtype, copy=True)

    def scale(self, x: Tensor, a: Scalar) -> Tensor:
        return x * a

    def divide(self, x: Tensor, a: Scalar) -> Tensor:
        return x / a

    def shift(self, x: Tensor, a: Scalar) -> Tensor:
        return x + a

    def add_scaled(self, x: Tensor, a: Scalar, y: Tensor) -> Tensor:
        return torch.addcmul(x, a, y) if isinstance(a, Tensor) else torch.add(x, y, alpha=a)

    def add_product(self, x: Tensor, a: Scalar, y: Tensor, z: Tensor) -> Tensor:
        return torch.addcmul(x, a * y, z) if isinstance(a, Tensor) else torch.addcmul(x, y, z, value=a)

    def add_quotient(self, x: Tensor, a: Scalar, y: Tensor, z: Tensor) -> Tensor:
        return torch.addcdiv(x, a * y, z) if isinstance(a, Tensor) else torch.addcdiv(x, y, z, value=a)

    def lerp(self, x: Tensor, y: Tensor, weight: Scalar) -> Tensor:
        return torch.lerp(x, y, weight)

    def maximum(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.maximum(x, y)

    def root(self, x: Tensor) -> Tensor:
        dead = x == 0
        return torch.where(dead, 0.0, torch.where(dead, 1.0, x).sqrt())


class InPlace:
    """The first argument is overwritten and returned; call under `torch.no_grad()`."""

    differentiable = False

    def replace(self, x: Tensor, y: Tensor) -> Tensor:
        return x.copy_(y)

    def scale(self, x: Tensor, a: Scalar) -> Tensor:
        return x.mul_(a)

    def divide(self, x: Tensor, a: Scalar) -> Tensor:
        return x.div_(a)

    def shift(self, x: Tensor, a: Scalar) -> Tensor:
        return x.add_(a)

    def add_scaled(self, x: Tensor, a: Scalar, y: Tensor) -> Tensor:
        return x.addcmul_(a, y) if isinstance(a, Tensor) else x.add_(y, alpha=a)

    def add_product(self, x: Tensor, a: Scalar, y: Tensor, z: Tensor) -> Tensor:
        return x.addcmul_(a * y, z) if isinstance(a, Tensor) else x.addcmul_(y, z, value=a)

    def add_quotient(self, x: Tensor, a: Scalar, y: Tensor, z: Tensor) -> Tensor:
        return x.addcdiv_(a * y, z) if isinstance(a, Tensor) else x.addcdiv_(y, z, value=a)

    def lerp(self, x: Tensor, y: Tensor, weight: Scalar) -> Tensor:
        return x.lerp_(y, weight)

    def maximum(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.maximum(x, y, out=x)

    def root(self, x: Tensor) -> Tensor:
        return x.sqrt()


class Prepared(InPlace):
    """`InPlace` where numbers reach the kernels as tensors without dimensions: the same bits.

    torch makes such a tensor of each number, at each call, at about the cost of a kernel on a thousand
    elements; here a number that comes again finds its own.

    Args:
        like: a tensor of the type (float32 or float64) and device of all that will be stepped.
    """

    def __init__(self, like: Tensor) -> None:
        self._like = like.new_zeros(())
        self._divisor = like.new_zeros(())
        self._made: dict[float, Tensor] = {}

    def _constant(self, a: Scalar) -> Tensor:
        if isinstance(a, Tensor):
            return a
        made = self._made.get(a)
        if made is None:
            if len(self._made) >= 16:  # a schedule's numbers never come again
                self._made.clear()
            made = self._made[a] = self._like.new_tensor(a)
        return made

    def scale(self, x: Tensor, a: Scalar) -> Tensor:
        return x.mul_(self._constant(a))

    def divide(self, x: Tensor, a: Scalar) -> Tensor:
        return x.div_(a if isinstance(a, Tensor) else self._divisor.fill_(a))

    def shift(self, x: Tensor, a: Scalar) -> Tensor:
        return x.add_(self._constant(a))

    def lerp(self, x: Tensor, y: Tensor, weight: Scalar) -> Tensor:
        return x.lerp_(y, self._constant(weight))


PURE = Pure()
IN_PLACE = InPlace()
