"""Frozen policies: trained until a return is reached, and held there to be probed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from core.lab.random import Keys
from core.optim.rules import RULES
from rl.reinforce import Reinforce

STAGES: Mapping[str, float] = {"untrained": 0.0, "partly trained": 100.0, "nearly solved": 400.0}
"""The return of a training batch of CartPole-v1 at which a policy is frozen; the task's limit is 500."""

TRAINING_RATE = 0.01
MOST_UPDATES = 150
BETA2 = 0.999
BETAS2 = (0.9, 0.99, BETA2)
"""Memories whose v-hat is followed beside the training, which has the last."""


class Frozen(NamedTuple):
    """Policies that were trained and are held.

    Attributes:
        params: `[R, D]`.
        live: v-hat at that moment for each of `BETAS2`, `[R, len(BETAS2), D]` (NaN where nothing was trained;
            the last is Adam's own).
        reached: `[R]`, 1.0 where the level was reached; 0.0 where training ended without it.
    """

    params: Tensor
    live: Tensor
    reached: Tensor


def frozen_policies(problem: Reinforce, keys: Keys, level: float) -> Frozen:
    """Train by Adam until a batch's mean return reaches `level`, each replica for itself, and freeze it
    there, or after `MOST_UPDATES` updates if it does not get there.
    """
    rule = RULES["adam"]
    params = problem.init(keys)
    state = rule.init(params)
    betas = torch.tensor(BETAS2, dtype=torch.float64, device=params.device)[:, None]
    followed = torch.zeros_like(params, dtype=torch.float64)[:, None].repeat(1, len(betas), 1)
    there = torch.zeros(len(keys), dtype=torch.float64, device=params.device)
    frozen, live = params.clone(), torch.full_like(followed, torch.nan)
    training = torch.ones(len(keys), dtype=torch.bool, device=params.device)
    for step in range(MOST_UPDATES + 1):
        sample = problem.field(params, keys, step)
        enough = sample.measures["return"] >= level
        reached = training & (enough | (step == MOST_UPDATES))
        there[reached & enough] = 1.0
        frozen[reached] = params[reached]
        if step:
            live[reached] = followed[reached] / (1 - betas**step)
        training &= ~reached
        if not training.any():
            break
        followed = betas * followed + (1 - betas) * sample.values.double()[:, None] ** 2
        params, state = rule.step(params, sample.values, state, lr=TRAINING_RATE, beta2=BETA2)
    return Frozen(frozen, live, there)
