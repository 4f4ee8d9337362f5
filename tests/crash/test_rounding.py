"""Functions of torch that problems and rules may use: a row has the same bits in any batch of two or more.

Not among them, for they round by an element's place in memory: sigmoid, softplus, elu, silu, mish, logaddexp,
atan2, exp2, sinh, cosh, powers but squares, cubes and roots, sums and means over the first axis, the softmax
and the logsumexp of a first axis, one matrix for all rows (`x @ W`, einsum), lstsq.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests import tally

Function = Callable[[Tensor], Tensor]


def gradient(function: Function) -> Function:
    def found(x: Tensor) -> Tensor:
        at = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(function(at).sum(), at)
        return slope

    return found


ELEMENTWISE: dict[str, Function] = {
    **{
        f.__name__: f
        for f in (torch.exp, torch.expm1, torch.sin, torch.cos, torch.tanh, torch.erf, torch.sign)
    },
    "log": lambda x: x.abs().add(0.1).log(),
    "log1p": lambda x: x.abs().log1p(),
    "sqrt": lambda x: x.abs().sqrt(),
    "rsqrt": lambda x: x.abs().add(0.1).rsqrt(),
    "relu": functional.relu,
    "square": lambda x: x**2,
    "cube": lambda x: x**3,
    "divide": lambda x: x / (x.flip(1) + 1e-3),
    "lerp": lambda x: torch.lerp(x, x.flip(1), 0.3),
    "addcmul": lambda x: torch.addcmul(x, x, x.flip(1), value=0.3),
    "addcdiv": lambda x: torch.addcdiv(x, x, x.abs() + 1, value=0.3),
}
BY_ROW: dict[str, Function] = {
    "sum": lambda x: x.sum(1),
    "mean": lambda x: x.mean(1),
    "var": lambda x: x.var(1, correction=0),
    "norm": lambda x: torch.linalg.vector_norm(x, dim=1),
    "cumsum": lambda x: x.cumsum(1),
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(1),
    "logsumexp": lambda x: x.logsumexp(1),
    "sort": lambda x: x.sort(1).values,
    "var over the first axis": lambda x: x.T.contiguous().var(0, correction=0),
}


def positive(x: Tensor) -> Tensor:
    return torch.bmm(x.mT, x) / x.shape[1] + torch.eye(x.shape[2], dtype=x.dtype)


BATCHED: dict[str, Function] = {
    "bmm": lambda x: torch.bmm(x, x.mT),
    "bmm, transposed": lambda x: torch.bmm(x.mT, x),
    "bmm with a vector": lambda x: torch.bmm(x, x[:, :1].mT),
    "baddbmm": lambda x: torch.baddbmm(x[:, :, :1], x, x.mT),
    "sum over the middle": lambda x: x.sum(1),
    "mean over the middle": lambda x: x.mean(1),
    "mean over both": lambda x: x.mean((1, 2)),
    "cholesky": lambda x: torch.linalg.cholesky(positive(x)),
    "solve": lambda x: torch.linalg.solve(positive(x), x[:, 0]),
    "eigvalsh": lambda x: torch.linalg.eigvalsh(positive(x)),
}
GRADIENTS = {
    f"gradient of {name}": gradient(f)
    for name, f in {**ELEMENTWISE, **BY_ROW}.items()
    if name
    in ("exp", "tanh", "log1p", "sqrt", "sin", "relu", "sum", "mean", "logsumexp", "log_softmax", "var")
}


def parts(rows: int) -> list[list[int]]:
    """Smaller batches, and another order."""
    return [
        [0, 1],
        [rows - 2, rows - 1],
        list(range(1, rows)),
        list(range(rows))[::-1],
        list(range(0, rows, 2)),
    ]


def same_in_any_batch(function: Function, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(sum(shape)))
    whole = function(x)
    for rows in parts(shape[0]):
        part = function(x[rows])
        assert bool(((whole[rows] == part) | (part.isnan() & whole[rows].isnan())).all()), (
            shape,
            dtype,
            rows,
        )


@pytest.mark.parametrize("name", [*ELEMENTWISE, *BY_ROW, *GRADIENTS])
def test_a_row_of_a_matrix(name: str) -> None:
    function = {**ELEMENTWISE, **BY_ROW, **GRADIENTS}[name]
    for dtype in (torch.float32, torch.float64):
        for rows in (4, 5, 13, 33):
            for columns in (1, 2, 3, 7, 8, 17, 65):
                same_in_any_batch(function, (rows, columns), dtype)
    tally.kept("functions of torch")


@pytest.mark.parametrize("name", BATCHED)
def test_a_matrix_of_a_batch(name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        for rows in (4, 5, 9):
            for middle in (1, 3, 7, 16):
                for columns in (1, 2, 5, 17):
                    same_in_any_batch(BATCHED[name], (rows, middle, columns), dtype)
    tally.kept("functions of torch")
