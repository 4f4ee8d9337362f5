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
        found = Method(
            self.method,
            hyper,
            self.play,
            self.adjust,
            self.strength,
            self.iterations,
            self.average,
            self.lookahead,
            self.rates,
        ).variant()
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
