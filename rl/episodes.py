"""What a task and its running episodes are to a rollout.

Each replica owns E environments and runs each of them for exactly one episode, so that no episode is left out
for being long: taking the first N episodes that end would favour short ones. Nothing is ever reset on the
way (Gymnasium's vector environments would do it at the next step, with a step that has no reward and no
meaning). An environment whose episode has ended is stepped on until its replica is done, or not stepped, as
its task has it; those steps are masked by the caller. A replica whose episodes have all ended is dropped from
the batch by `keep`.

An episode ends because the task is over (*terminated*: the pole fell) or because the time limit was reached
(*truncated*). Truncation is no failure. The objective here is the return within the time limit, so a
truncated episode's return-to-go is the plain sum of its rewards up to the limit, with nothing bootstrapped in
its place.

A replica's episodes depend on its key alone.
"""

from __future__ import annotations

from typing import Protocol

from core.lab.random import Keys
from rl.arrays import Actions, Bools, Floats, Indices


class Episodes(Protocol):
    """One running episode in each of n x E environments; rows are replicas."""

    observations: Floats
    """`[n, E, O]`, what each agent sees now; may be overwritten by the next step."""

    stepped: int
    """Environment steps taken so far, those after an episode's end included."""

    def step(self, actions: Actions) -> tuple[Floats, Bools, Bools]:
        """Act once everywhere: `(rewards, terminated, truncated)`, each `[n, E]`.

        What is returned for an episode that ended earlier is finite and has no meaning. The arrays are
        the caller's until the next step.

        Args:
            actions: choices `[n, E]`, or vectors `[n, E, A]` in units of the task's box, -1 to 1, to which
                they are clipped.
        """

    def keep(self, rows: Indices) -> None:
        """Drop all replicas but `rows` (ascending positions among those still here)."""


class Task(Protocol):
    """A task whose actions are choices or vectors."""

    @property
    def id(self) -> str:
        """Gymnasium's name of the task."""

    @property
    def observation_size(self) -> int:
        """O, numbers in an observation."""

    @property
    def actions(self) -> int:
        """A: actions to choose among, or numbers in an action."""

    @property
    def discrete(self) -> bool:
        """Whether an action is a choice, and not a vector."""

    @property
    def horizon(self) -> int:
        """The time limit in steps."""

    def limited(self, horizon: int) -> Task:
        """The same task with another time limit."""

    def start(self, keys: Keys, episodes: int) -> Episodes:
        """`episodes` fresh environments for each of the R rows of `keys`."""
