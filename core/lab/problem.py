"""What a study trains: a sampled descent field over R replicas of D flat parameters.

A loss gives a gradient, a policy gives a policy-gradient estimate, a game gives every player's gradient at
once, a market gives the gradient of utility on the days that were drawn. To the trainer they are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor

from core.lab.random import Keys


@dataclass(frozen=True)
class Field:
    """One sample of the field.

    Attributes:
        values: `[R, D]`, what the update rule descends along (a gradient to be minimised).
        measures: by-products that cost nothing extra, per replica: `{name: [R]}` (a batch's loss, an
            episode's return).
    """

    values: Tensor
    measures: Mapping[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Problem(Protocol):
    """A sampled descent field over R replicas of D parameters.

    The contract, checked by `core.lab.conformance.check_problem`:

    - replicas do not touch each other: row r depends on row r of the parameters and of the keys alone, with
      the same bits in any batch of at least two rows;
    - the same parameters, keys and step give the same bits;
    - nothing is kept between calls, unless it can be recomputed from the arguments.

    A problem may also offer:

    - `players: tuple[slice, ...]`: the blocks of D that move as one, each with its own rule state and step
      counter;
    - `project(params) -> Tensor`: back onto the feasible set, called after each move of a player; with an
      attribute `projects_in_metric` that is true, `project(params, metric)`: in the rule's own metric
      `[R, D]` (sqrt(v̂) + eps for Adam), None where it is Euclidean;
    - a `field` made of operations that autograd follows: field adjustments take its derivatives;
    - `losses(params, keys, step) -> Tensor`: the losses `[R]` whose gradient `field` is, twice
      differentiable, where `field` itself keeps no derivatives (`core.lab.differentiable` takes it).
    """

    @property
    def dim(self) -> int:
        """D, the number of flat parameters of a replica."""

    def init(self, keys: Keys) -> Tensor:
        """Starting parameters `[R, D]`; their dtype and device are those of the whole run."""

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """A sample of the field at `params` `[R, D]`; `keys` are of the run, `step` counts from 0."""

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        """A noise-free or held-out evaluation, `{name: [R]}`."""


def players_of(problem: Problem) -> tuple[slice, ...]:
    """The problem's blocks of coordinates that move as one; a problem without players is one block."""
    return getattr(problem, "players", (slice(0, problem.dim),))
