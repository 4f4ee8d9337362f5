"""Starting points of a module: its own initialisers, once a seed."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from core.lab.random import Keys


def fresh_starts(module: nn.Module, keys: Keys, device: torch.device | str) -> Tensor:
    """`[R, D]`: the trained parameters, flat, of the module reset by its `reset_parameters` once a seed."""
    starts = []
    for seed in keys.fold("init").distinct().generator_seeds():
        # torch's initialisers draw from the global generator: lent for the moment, and given back.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = copy.deepcopy(module).cpu()
            for part in fresh.modules():
                reset = getattr(part, "reset_parameters", None)
                if callable(reset):
                    reset()
        starts.append(torch.cat([p.detach().flatten() for p in fresh.parameters() if p.requires_grad]))
    return keys.spread(torch.stack(starts).to(device))
