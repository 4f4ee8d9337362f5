"""R copies of a plain feed-forward network at once, through batched matrix products.

`torch.func.vmap` is the general way; for a chain of linear layers and activations this one does the same sums
in fewer and larger kernels. One replica never meets another: the replica axis is the batch of `baddbmm`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

Forward = Callable[[Tensor, Tensor], Tensor]
"""`(params [R, D], inputs [R, B, in] or [B, in]) -> outputs [R, B, out]`."""

_ELEMENTWISE = (
    nn.Tanh,
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Softplus,
    nn.Sigmoid,
    nn.Identity,
    nn.Hardtanh,
)


_EXACT = (nn.Tanh, nn.ReLU, nn.LeakyReLU, nn.Identity, nn.Hardtanh)
_WHOLE = 64


def _in_whole_vectors(layer: nn.Module, values: Tensor) -> Tensor:
    """An elementwise layer on a length that vector units take without a rest.

    torch computes the last elements of a tensor, too few for a vector, by another exponential than the rest:
        the same
    number would round by its place in the batch.
    """
    count = values.numel()
    padded = nn.functional.pad(values.reshape(-1), (0, -count % _WHOLE))
    out: Tensor = layer(padded)
    return out[:count].view(values.shape)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is nn.Sequential:
        for child in module:
            yield from _layers(child)
    else:
        yield module


def chain_of(module: nn.Module) -> list[nn.Module] | None:
    """The layers of a chain of `nn.Linear` and elementwise activations, or None for any other module."""
    layers = list(_layers(module))
    plain = all(type(layer) is nn.Linear or type(layer) in _ELEMENTWISE for layer in layers)
    hooked = any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    shared = len({id(p) for p in module.parameters()}) < sum(len(list(x.parameters())) for x in layers)
    if not plain or hooked or shared or not any(isinstance(layer, nn.Linear) for layer in layers):
        return None
    return layers


def batched_forward(module: nn.Module) -> Forward | None:
    """The forward pass of a chain of `nn.Linear` and elementwise activations, or None for any other module.

    The parameters of a row lie as `module.parameters()` gives them, flattened one after another.
    """
    layers = chain_of(module)
    if layers is None:
        return None
    sizes = [p.numel() for p in module.parameters()]

    def forward(params: Tensor, inputs: Tensor) -> Tensor:
        rows = params.shape[0]
        hidden = inputs if inputs.dim() == 3 else inputs.expand(rows, *inputs.shape)
        # One split, so that the backward pass joins the gradient once instead of padding each part to full
        # length.
        parts = iter(torch.split(params, sizes, dim=1))
        for layer in layers:
            if not isinstance(layer, nn.Linear):
                hidden = layer(hidden) if type(layer) in _EXACT else _in_whole_vectors(layer, hidden)
                continue
            weight = next(parts).view(rows, layer.out_features, layer.in_features).mT
            if layer.bias is None:
                hidden = torch.bmm(hidden, weight)
            else:
                hidden = torch.baddbmm(next(parts).unsqueeze(1), hidden, weight)
        return hidden

    return forward
