"""One method on one game: its options as they are typed, and the run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from core.lab.engines import check_device
from core.lab.errors import VhatError
from core.lab.problem import Problem
from core.lab.random import Keys
from core.lab.run import Recording, Run
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.adjustments import LOLA
from core.optim.rules import RULES
from core.optim.schedules import Cosine, InverseSquareRoot
from games.methods import Adjust, Average, Method, Play


@dataclass(frozen=True)
class Played:
    """The method, and how it is run; every attribute is an option of the command line, with its help below
    it."""

    method: str = "adam"
    """update rule: sgd (GDA), momentum, rmsprop, adam, amsgrad, signsgd, normalized_sgd, adam_shared_v, ...
    """
    play: Play = "simultaneous"
    """who steps when (past: extrapolation from the past; joint: one state of the rule for both players)"""
    adjust: Adjust = "none"
    """what is done to the field before the rule sees it"""
    strength: float | None = None
    """of the adjustment; default: its own (the learning rate for anticipating, lola and competitive)"""
    iterations: int = 0
    """of conjugate gradients for competitive; 0 solves with the full matrix, for small games"""
    average: Average = "none"
    """of the iterates"""
    lookahead: int = 0
    """rounds between two steps back of lookahead-minmax; 0 for none"""
    rates: tuple[float, ...] = ()
    """two time scales: a factor of the learning rate for each player"""
    fresh_sample: bool = False
    """extragradient: evaluate the field at the point ahead on a fresh sample"""
    shared_state: bool = False
    """extragradient, also from the past: the look-ahead leaves its mark on the rule's state (ExtraAdam)"""
    optimism: float = 1.0
    """strength of optimistic play: times the change of the rule's step"""
    first: Literal["plain", "zero"] = "plain"
    """optimistic play's first step: plain, the rule's own; zero, 1 + optimism times as long"""
    counters: Literal["own", "shared"] = "own"
    """under alternating play: a step counter for each player, or one for all"""
    lookahead_strength: float = 0.5
    """how much of the way of those rounds lookahead-minmax keeps"""
    ema_decay: float = 0.999
    """of the exponential average"""
    lr: float = 0.01
    """learning rate of both players"""
    decay: Literal["none", "cosine", "inverse-sqrt"] = "none"
    """of the learning rate"""
    beta1: float | None = None
    """decay of Adam's first moment, may be negative; default: the rule's"""
    beta2: float | None = None
    """decay of Adam's second moment (alpha of rmsprop); default: the rule's"""
    momentum: float | None = None
    """of the rules that have one, may be negative; default: the rule's"""
    seeds: int = 8
    """replicas, at least two"""
    device: str = "cpu"
    """where it is computed"""
    threads: int = 1
    """of torch"""

    def variant(self, steps: int) -> Variant:
        """The method as a variant."""
        second = "alpha" if self.method in RULES and "alpha" in RULES[self.method].hyper else "beta2"
        asked = {"beta1": self.beta1, second: self.beta2, "momentum": self.momentum}
        hyper = {name: value for name, value in asked.items() if value is not None}
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(Method)[2:]}
        found = Method(self.method, hyper, **own).variant()
        schedules = {"none": None, "cosine": Cosine(steps), "inverse-sqrt": InverseSquareRoot()}
        return dataclasses.replace(found, schedule=schedules[self.decay])

    def run(self, problem: Problem, steps: int, points: int) -> tuple[Variant, Keys, Run]:
        """Train all replicas, paths kept.

        Raises:
            VhatError: for numbers of seeds, steps, threads or a rate that make no sense, or a method that the
                problem refuses.
        """
        if self.seeds < 2 or steps < 1 or self.threads < 1 or not 0.0 < self.lr < np.inf:
            raise VhatError(
                "--seeds needs at least 2, --steps and --threads at least 1 and --lr a number above 0, "
                f"got {self.seeds}, {steps}, {self.threads} and {self.lr:g}"
            )
        check_device(self.device)
        torch.set_num_threads(self.threads)
        variant = self.variant(steps)
        if isinstance(variant.adjust, LOLA) and not getattr(problem, "zero_sum", True):
            raise VhatError(
                "lola is written for losses that add up to zero, which non-saturating ones do not; choose "
                "another --loss or --adjust"
            )
        keys = Keys.of(range(self.seeds), study="scripts/games", device=self.device)
        block = Block(variant, slice(0, self.seeds), {"lr": self.lr})
        try:
            run = train(problem, [block], keys, steps=steps, recording=Recording(points, path=True))
        except ValueError as error:
            raise VhatError(f"{variant.name}: {error}") from error
        return variant, keys, run

    def head(self, variant: Variant, steps: int) -> tuple[str, str]:
        """The table's."""
        return variant.name, f"lr {self.lr:g}, {steps} steps, {self.seeds} seeds"
