"""One episode of a policy before and after training, as the agent saw it: what the film of a study shows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from core.lab.experiment import Array
from core.lab.measurement import Cell
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from rl.agents import Agents
from rl.problems import reinforce
from rl.studies.learning_settings import TASKS

FILMED = TASKS[0]
POLICIES = (("Adam", 0.03, False), ("Gradient descent", 0.001, True), ("Adam", 0.03, True))
"""Variant, learning rate, and whether it is trained: the middle of each grid of rates, since tuned rates are
known only after tuning."""


def measure_episode(cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
    """`seen` `[S, T, O]`: what the policy saw in one episode, NaN after its end."""
    regime = FILMED.regime()
    problem = reinforce(**regime.settings, device=device)
    params: Array = problem.init(keys).cpu().numpy()
    if cell["updates"]:
        variant = next(v for v in FILMED.variants(1) if v.name == cell["variant"])
        block = Block(variant, slice(0, len(keys)), {"lr": cell["lr"]})
        recording = Recording(points=1, params=True)
        run = train(problem, [block], keys, steps=cell["updates"], recording=recording)
        assert run.params is not None
        params = run.params
    agents = Agents(problem.task, problem.policy, params)
    chances = keys.fold("film")
    # Each policy by itself, so that it does not matter whose episode is the longest.
    each = [agents.only(r).episodes(1, chances.rows(slice(r, r + 1))) for r in range(len(keys))]
    rows = [batch.first_episode()[0] for batch in each]
    seen = np.full((len(rows), problem.task.horizon, rows[0].shape[1]), np.nan, dtype=np.float32)
    for row, observations in enumerate(rows):
        seen[row, : len(observations)] = observations
    return {"seen": seen}
