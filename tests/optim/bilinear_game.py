"""The bilinear game min_x max_y xy, and the paths that play schemes take on it."""

from typing import Any

import torch
from torch import Tensor

from core.optim import (
    RULES,
    Alternating,
    Averaged,
    Consensus,
    Extragradient,
    Lookahead,
    Optimistic,
    PastExtragradient,
    PlayScheme,
    Rule,
    Simultaneous,
    TwoTimeScales,
)
from core.optim.play import Adjusted

LR = 0.1
PLAYERS = (slice(0, 1), slice(1, 2))
SGD = RULES["sgd"]


SCHEMES: tuple[PlayScheme, ...] = (
    Simultaneous(),
    Alternating(),
    Alternating("shared"),
    Extragradient(),
    Extragradient(shared_state=True),
    PastExtragradient(),
    PastExtragradient(shared_state=True),
    Optimistic(0.7),
    Optimistic(0.7, "zero"),
    Lookahead(3, 0.4),
    Averaged(),
    Averaged("ema", 0.8, Alternating()),
    TwoTimeScales((1.0, 0.3)),
    Averaged(play=Lookahead(2, 0.5, TwoTimeScales((2.0, 1.0), Optimistic()))),
    Adjusted(Consensus(0.2), Extragradient()),
)


def bilinear(params: Tensor, draw: int) -> Tensor:
    """The descent field of xy for x, and of -xy for y."""
    return torch.stack([params[:, 1], -params[:, 0]], dim=1)


def start() -> Tensor:
    return torch.tensor([[1.0, 0.5], [-0.3, 2.0]], dtype=torch.float64)


def play(scheme: PlayScheme, steps: int, rule: Rule = SGD, players: Any = PLAYERS, **hyper: Any) -> Tensor:
    """All points of the path `[steps + 1, R, 2]`."""
    params = start()
    state = scheme.init(params, rule, hyper, players)
    path = [params.clone()]
    for _ in range(steps):
        params, state = scheme.step(params, bilinear, state, rule, lr=LR, hyper=hyper, players=players)
        path.append(params.clone())
    return torch.stack(path)
