"""How much of a gradient estimate's direction is noise, by baseline and by episodes, at frozen policies."""

from __future__ import annotations

from torch import Tensor

from core.lab.measurement import Cell
from core.lab.random import Keys
from rl.frozen import frozen_policies
from rl.problems import cartpole
from rl.sampling import sample_fields
from rl.studies.baseline_settings import BASELINES, BATCHES, NORMALIZED, WITHOUT, batch_name
from rl.studies.settings import EPISODES
from rl.updates import noise_share, sample_mean, unit

MEMORYLESS = tuple(words for words, name in BASELINES.items() if name != "running")
"""The running mean remembers earlier updates, which a frozen policy does not have."""


def noise_by_estimator(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:
    """Train to a return, freeze, and take the noise of the direction, `[R]`, by baseline and by episodes.

    See `rl.updates.noise_share`. Batches of more than `EPISODES` episodes are means of several estimates;
    without a baseline that is exact.
    """
    problems = {
        words: cartpole(episodes=EPISODES, baseline=BASELINES[words], device=device) for words in MEMORYLESS
    }
    problems[NORMALIZED] = cartpole(episodes=EPISODES, baseline="loo", normalized=True, device=device)
    params = frozen_policies(problems["leave-one-out"], keys.fold("training"), float(cell["level"])).params
    samples = int(cell["samples"])
    found = sample_fields(problems, params, keys.fold("estimates"), samples)
    fewest = {batch_name(e): cartpole(episodes=e, device=device) for e in BATCHES if e < EPISODES}
    for name, problem in fewest.items():
        found |= sample_fields({name: problem}, params, keys.fold(name), samples)
    for episodes in (e for e in BATCHES if e >= EPISODES):
        count = episodes // EPISODES
        kept = found[WITHOUT][: samples // count * count]
        found[batch_name(episodes)] = sample_mean(kept.view(-1, count, *kept.shape[1:]).movedim(1, 0))
    return {name: noise_share(unit(values)) for name, values in found.items()}
