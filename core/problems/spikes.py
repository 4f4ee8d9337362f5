r"""One huge gradient among ordinary ones, and spikes in silence: closed forms, and lives that show them.

Derivation. Ordinary gradients have mean square 1 and v has settled there. One gradient of size S takes the
place of an ordinary one; k steps later

.. math::
    v_k = 1 + A \beta_2^k, \qquad A = (1 - \beta_2)(S^2 - 1),

so the scaling 1 / sqrt(v) is `1 / sqrt(1 + A beta2^k)` of what it would be. It is back at a share f after

.. math::
    k^* = \max\Big(0, \Big\lceil \frac{\ln\big(A / (f^{-2} - 1)\big)}{-\ln \beta_2} \Big\rceil\Big)

steps: never below f unless `S > sqrt(1 + (f^{-2} - 1) / (1 - beta2))`, which is 55 for f = 1/2 and
beta2 = 0.999. Summed over all steps, the ordinary way that is not gone is, in units of lr,

.. math::
    \sum_k 1 - (1 + A \beta_2^k)^{-1/2} \approx \frac{2}{-\ln\beta_2} \ln\frac{1 + \sqrt{1 + A}}{2},

while the spike itself, through m, moves the feature by less than
`(1-beta1) / sqrt(1-beta2) / (1 - beta1 / sqrt(beta2))` (31.8 with the usual betas), whatever its size.
A feature that is silent between spikes loses no ordinary way: there the last formula is all it gets, and with
spikes `gap` steps apart it is multiplied by `sqrt(1 - beta2^gap)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.lab.experiment import Array
from core.lab.measurement import Cell
from core.lab.random import Keys
from core.optim.adam import AdamState, adam, adam_init, check_adam
from core.optim.rule import Rule
from core.optim.rules import RULES
from core.problems.streams import Stream, follow

CLIP = 10.0


def clipped_adam(
    params: Tensor, grads: Tensor, state: AdamState, *, clip: float, **hyper: Any
) -> tuple[Tensor, AdamState]:
    """Adam on gradients `[R, D]` whose coordinates are cut to [-clip, clip] (clipping by value)."""
    return adam(params, grads.clamp(-clip, clip), state, **hyper)


CLIPPED = Rule(
    name="adam_clipped",
    formula=clipped_adam,
    start=adam_init,
    check=check_adam,
    hyper={**RULES["adam"].hyper, "clip": CLIP},
)
RULES_TRIED: dict[str, tuple[Rule, dict[str, Any]]] = {
    "Adam, beta2 = 0.9": (RULES["adam"], {"beta2": 0.9}),
    "Adam, beta2 = 0.99": (RULES["adam"], {"beta2": 0.99}),
    "Adam": (RULES["adam"], {}),
    "RMSProp": (RULES["rmsprop"], {}),
    "AMSGrad": (RULES["amsgrad"], {}),
    "Adam, clipped": (CLIPPED, {}),
}
ADAMS = {"Adam, beta2 = 0.9": 0.9, "Adam, beta2 = 0.99": 0.99, "Adam": 0.999}
CONTROLS = ("RMSProp", "AMSGrad", "Adam, clipped")
BACKGROUNDS = {"steady": Stream(mean=1.0, noise=0.0), "noisy": Stream(mean=0.6, noise=0.8)}
"""Both with mean square 1."""
SPIKES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
SHARE = 0.5
COORDINATES = 4
BEFORE = 5000
AFTER = 8000
LAGS = tuple(sorted({round(x) for x in np.geomspace(1, AFTER - 1, 60)} | {0}))
GAP, SPIKES_IN_SILENCE = 1000, 8
SILENT_RULES: dict[str, tuple[Rule, dict[str, Any]]] = {
    **RULES_TRIED,
    "Sign descent": (RULES["signsgd"], {}),
    "Gradient descent": (RULES["sgd"], {}),
}


def excess(spike: float, beta2: float) -> float:
    """A: by how much v exceeds its ordinary value just after a spike."""
    return (1 - beta2) * (spike**2 - 1)


def recovery_steps(spike: float, beta2: float, share: float = SHARE) -> int:
    """k*, steps after the spike until the scaling is back at `share` of its ordinary value."""
    ratio = excess(spike, beta2) / (share**-2 - 1)
    return max(0, math.ceil(math.log(ratio) / -math.log(beta2))) if ratio > 0 else 0


def lost_way(spike: float, beta2: float) -> float:
    """The ordinary way that a spike costs, over lr (the integral that stands for the sum)."""
    return 2 / -math.log(beta2) * math.log((1 + math.sqrt(1 + excess(spike, beta2))) / 2)


def way_of_a_spike(beta1: float, beta2: float, gap: float = math.inf) -> float:
    """How far a spike moves a feature that is silent between spikes `gap` steps apart, over lr."""
    alone = (1 - beta1) / math.sqrt(1 - beta2) / (1 - beta1 / math.sqrt(beta2))
    return alone * math.sqrt(1 - beta2**gap)


def _under_root(state: Any) -> Tensor:
    """What the rule divides by the root of (bias correction aside, which two lives have in common)."""
    for name in ("max_exp_avg_sq", "exp_avg_sq", "square_avg"):
        value = getattr(state, name, None)
        if isinstance(value, Tensor):
            return value
    raise TypeError(f"{type(state).__name__} holds no second moment")


def spiked(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:  # noqa: ARG001
    """Lives that differ in one gradient, after `BEFORE` ordinary ones: an ordinary one, and one a spike.

    Returns:
        `recovery` `[R, spikes]`: mean over the coordinates of the steps after which the scaling stays above
        `SHARE` of that of the ordinary life; inf if it is still below at the end.
        `scaling` `[R, spikes, lags]`: that share, over steps since the spike; mean over the coordinates.
        `lost` `[R, spikes]`: how much farther the ordinary life goes in `AFTER` steps, over lr.
    """
    rule, hyper = RULES_TRIED[cell["rule"]]
    seeds, lives = len(keys), len(SPIKES) + 1
    size = torch.tensor(SPIKES, dtype=torch.float64, device=keys.device)[:, None, None]

    def gradients() -> Iterator[Tensor]:
        drawn = BACKGROUNDS[cell["background"]].gradients(keys, BEFORE + AFTER, COORDINATES)
        for t, g in enumerate(drawn):
            all_lives = g.expand(lives, *g.shape).clone()
            if t == BEFORE:
                all_lives[1:] = size
            yield all_lives.flatten(0, 1)

    shape = (lives - 1, seeds, COORDINATES)
    last_below = torch.full(shape, -1.0, dtype=torch.float64, device=keys.device)
    lost = torch.zeros_like(last_below)
    scaling = []
    for k, (descent, state) in enumerate(follow(rule, gradients(), **hyper), start=-BEFORE):
        if k < 0:
            continue
        v = _under_root(state).view(lives, seeds, COORDINATES)
        share = (v[:1] / v[1:]).sqrt()
        last_below[share < SHARE] = float(k)
        way = descent.view(lives, seeds, COORDINATES)
        lost += way[:1] - way[1:]
        if k in LAGS:
            scaling.append(share.mean(dim=2))
    last_below[last_below == AFTER - 1] = math.inf
    recovery, lost = ((x).mean(dim=2).T for x in (last_below + 1, lost))
    kept = {"recovery": recovery, "lost": lost, "scaling": torch.stack(scaling, dim=2).transpose(0, 1)}
    return {name: value.contiguous().cpu().numpy() for name, value in kept.items()}


def silent(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:  # noqa: ARG001
    """A feature without gradients but for spikes of keyed size (100 to 1000) and one sign, `GAP` steps apart.

    Returns:
        `way` `[R]`: how far it moves for each of the last spikes, over lr.
    """
    rule, hyper = SILENT_RULES[cell["rule"]]
    # Not 10.0**u: torch rounds powers by an element's place, and a row's bits would depend on its batch.
    size = 100.0 * keys.fold("size").uniform(1, dtype=torch.float64).mul(math.log(10.0)).exp()
    still = torch.zeros_like(size)
    stream = (size if t % GAP == 0 else still for t in range(SPIKES_IN_SILENCE * GAP))
    half = SPIKES_IN_SILENCE // 2
    way = torch.zeros_like(size)
    for t, (descent, _) in enumerate(follow(rule, stream, **hyper)):
        if t >= half * GAP:
            way += descent / half
    return {"way": way[:, 0].cpu().numpy()}
