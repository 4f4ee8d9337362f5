"""Hypergradients of a training with Adam by other libraries, each in the shortest way that works.

They train one network at a time, and TorchOpt differentiates lr alone: its betas are numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from scripts.bench.timing import failure, missing_peer

Named = dict[str, Tensor]


@dataclass(frozen=True)
class Training:
    """One run: a regression of `target(x)` on batches drawn beforehand.

    Attributes:
        module: the network, whose own parameters are not read.
        start: its parameters, flat.
        batches: `[steps, B, 1]`.
        everything: the inputs of the final loss.
        target: of the regression.
    """

    module: nn.Module
    start: Tensor
    batches: Tensor
    everything: Tensor
    target: Callable[[Tensor], Tensor]

    def named(self) -> Named:
        """The start by the parameters' names."""
        shapes = {name: p.shape for name, p in self.module.named_parameters()}
        parts = torch.split(self.start, [shape.numel() for shape in shapes.values()])
        return {name: p.view(shapes[name]).clone() for name, p in zip(shapes, parts, strict=True)}

    def loss(self, params: Named, x: Tensor) -> Tensor:
        """Mean squared error."""
        outputs: Tensor = functional_call(self.module, params, (x,))
        return ((outputs - self.target(x)) ** 2).mean()


Peer = Callable[[Training, Mapping[str, float]], dict[str, float]]
"""From a training and its lr, beta1, beta2 to the derivatives of the final loss."""


def leaves(training: Training, hyper: Mapping[str, float]) -> Named:
    """Hyperparameters to differentiate by."""
    return {name: training.start.new_tensor(value).requires_grad_() for name, value in hyper.items()}


def derivatives(loss: Tensor, hyper: Named) -> dict[str, float]:
    """By name."""
    found = torch.autograd.grad(loss, list(hyper.values()))
    return {name: float(value) for name, value in zip(hyper, found, strict=True)}


def by_torchopt(training: Training, hyper: Mapping[str, float]) -> dict[str, float]:
    """Its functional Adam, out of place; by lr alone."""
    import torchopt

    lr = leaves(training, {"lr": hyper["lr"]})
    rule = torchopt.adam(lr=lr["lr"], betas=(hyper["beta1"], hyper["beta2"]))
    params = {name: p.requires_grad_() for name, p in training.named().items()}
    state = rule.init(params)
    for x in training.batches:
        own = torch.autograd.grad(training.loss(params, x), list(params.values()), create_graph=True)
        updates, state = rule.update(dict(zip(params, own, strict=True)), state, params=params, inplace=False)
        params = torchopt.apply_updates(params, updates, inplace=False)
    return derivatives(training.loss(params, training.everything), lr)


def by_higher(training: Training, hyper: Mapping[str, float]) -> dict[str, float]:
    """Its inner loop around torch's Adam, with hyperparameters put in the place of the optimizer's."""
    import higher

    own = leaves(training, hyper)
    module = training.module
    with torch.no_grad():
        for p, value in zip(module.parameters(), training.named().values(), strict=True):
            p.copy_(value)
    optimizer = torch.optim.Adam(module.parameters(), lr=hyper["lr"])
    override = {"lr": [own["lr"]], "betas": [(own["beta1"], own["beta2"])]}
    with warnings.catch_warnings(), higher.innerloop_ctx(module, optimizer, override=override) as (net, step):
        warnings.simplefilter("ignore")  # it turns a tensor into a number, and torch says so
        for x in training.batches:
            step.step(((net(x) - training.target(x)) ** 2).mean())
        loss = ((net(training.everything) - training.target(training.everything)) ** 2).mean()
    return derivatives(loss, own)


def by_torch(training: Training, hyper: Mapping[str, float]) -> dict[str, float]:
    """`differentiable=True`; it steps in place, so what a later step overwrites is cloned before."""
    own = leaves(training, hyper)
    params = {name: p.requires_grad_().clone() for name, p in training.named().items()}
    optimizer = torch.optim.Adam(
        list(params.values()),
        lr=own["lr"],
        betas=(own["beta1"], own["beta2"]),
        foreach=False,
        differentiable=True,
    )
    for x in training.batches:
        loss = training.loss({name: p.clone() for name, p in params.items()}, x)
        gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)
        for p, gradient in zip(params.values(), gradients, strict=True):
            p.grad = gradient
        for slot in optimizer.state.values():
            slot.update({name: slot[name].clone() for name in ("exp_avg", "exp_avg_sq")})
        optimizer.step()
    return derivatives(training.loss(params, training.everything), own)


_PEERS: dict[str, tuple[str, Peer]] = {
    "TorchOpt, lr only": ("torchopt", by_torchopt),
    "higher": ("higher", by_higher),
    "torch, differentiable=True": ("torch", by_torch),
}


def peers(training: Training, hyper: Mapping[str, float]) -> tuple[dict[str, Peer], tuple[str, ...]]:
    """Those that are installed and differentiate a training, and a line for each that cannot."""
    there, lines = {}, []
    for name, (package, peer) in _PEERS.items():
        line = missing_peer(package) or failure(name, partial(peer, training, hyper))
        if line is None:
            there[name] = peer
        else:
            lines.append(line)
    return there, tuple(lines)
