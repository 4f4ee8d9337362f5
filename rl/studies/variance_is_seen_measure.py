"""What the study of the second moment measures at frozen policies."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from core.lab import stats
from core.lab.measurement import Cell
from core.lab.probe import probe
from core.lab.random import Keys
from rl.frozen import BETA2, BETAS2, STAGES, frozen_policies
from rl.problems import cartpole
from rl.sampling import Recorded, sample_fields
from rl.studies.settings import BASELINES, EPISODES
from rl.updates import sample_mean

BATCHES = (2, 8, 32, 128)
"""Episodes a gradient."""
MEMORIES = (0.0, 0.9, 0.99, BETA2)
"""Values of beta2; without memory v-hat is the last gradient's square."""
UPDATES = 16
"""Updates that v-hat has seen in the comparison of batches and memories."""
MORE_UPDATES = 256
"""The same at `EPISODES` episodes, where memories differ: see `effective_updates`."""
AFTER = (0, 1, 2, 5, 10, 20, 50, 100, 200)
"""Updates since the policy moved, at which v-hat is looked at."""


def frozen_moments(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:
    """Train to a stage, freeze, and sample the field twice: once for v-hat, once for its true mean and
    variance.

    The two sets of samples are independent, so that agreement between v-hat and the variance is not owed to
    their being computed from the same numbers.

    Returns:
        `return` `[R]` of the frozen policy on episodes of its own, `live` `[R, B, D]` and `reached` `[R]`
        (see `rl.frozen.Frozen`), and for each baseline b: `b/v_hat`, `b/mean`, `b/variance` `[R, D]`.
    """
    problems = {
        name: cartpole(episodes=EPISODES, baseline=name, evaluation_episodes=100, device=device)
        for name in BASELINES
    }
    params, live, reached = frozen_policies(problems["loo"], keys.fold("training"), float(cell["level"]))
    samples, truth = int(cell["samples"]), int(cell["truth"])
    seen = sample_fields(problems, params, keys.fold("seen by Adam"), samples)
    fresh = sample_fields(problems, params, keys.fold("measured"), truth)
    returned = problems["loo"].measure(params, keys.fold("test"))["return"]
    found = {"return": returned, "live": live, "reached": reached}
    for name in problems:
        found[f"{name}/v_hat"] = probe(
            Recorded(seen[name]), params, keys, samples=samples, beta2=BETA2
        ).exp_avg_sq
        measured = probe(Recorded(fresh[name]), params, keys, samples=truth)
        found[f"{name}/mean"], found[f"{name}/variance"] = measured.mean, measured.variance
    return found


def remembered(squares: Tensor, beta2: float) -> Tensor:
    """Adam's v-hat after squares `[..., T, R, D]` of T updates, from a start at zero: `[..., R, D]`.

    In closed form, sum_i (1 - beta2) beta2^(T - i) g_i^2 / (1 - beta2^T).
    """
    count = squares.shape[-3]
    weights = beta2 ** torch.arange(count - 1, -1, -1, dtype=squares.dtype, device=squares.device)
    return (squares.movedim(-3, -1).contiguous() * (weights / weights.sum())).sum(dim=-1)


def effective_updates(beta2: float, updates: int) -> float:
    """How many equally weighted squares are as good as v-hat's exponential weights after so many updates:
    1 / sum of squared weights = (1 + b) (1 - b^T) / ((1 - b) (1 + b^T)).

    With bias correction it is near T for every beta2 whose memory is longer than T.
    """
    kept = beta2**updates
    return (1 + beta2) * (1 - kept) / ((1 - beta2) * (1 + kept))


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's correlation over the last axis, `[..., n]` to `[...]`."""
    return torch.from_numpy(np.asarray(stats.spearman(a.cpu().numpy(), b.cpu().numpy())))


def batches_and_memories(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:
    """How well v-hat orders coordinates by their variance, over episodes a gradient and over beta2, and which
    share of the second moment is variance.

    Without a baseline, where a gradient of many episodes is a mean of gradients of few.

    Returns:
        `correlation/E/beta2` `[R]`: after `UPDATES` updates (or as many as there are samples for), mean over
        all disjoint stretches of that many. `correlation/more/beta2`: the same after `MORE_UPDATES`, at
        `EPISODES` episodes.
        `share/E` `[R]`: the median coordinate's share of variance in variance + mean^2.
    """
    fewest = min(BATCHES)
    trained = cartpole(episodes=EPISODES, baseline="loo", device=device)
    params = frozen_policies(trained, keys.fold("training"), float(cell["level"])).params
    problem = {"none": cartpole(episodes=fewest, device=device)}
    samples = int(cell["samples"])
    seen = sample_fields(problem, params, keys.fold("seen by Adam"), samples)["none"].double()
    fresh = sample_fields(problem, params, keys.fold("measured"), samples)["none"].double()
    variance = fresh.var(dim=0)
    square = (sample_mean(fresh) ** 2 - variance / samples).clamp_min(0.0)
    found = {}
    for episodes in BATCHES:
        count = episodes // fewest
        gradients = sample_mean(seen[: samples // count * count].view(-1, count, *params.shape).movedim(1, 0))
        lengths = {str(episodes): UPDATES} | ({"more": MORE_UPDATES} if episodes == EPISODES else {})
        for name, most in lengths.items():
            length = min(most, len(gradients))
            stretches = gradients[: len(gradients) // length * length].view(-1, length, *params.shape)
            for beta2 in MEMORIES:
                v_hat = remembered(stretches**2, beta2)
                order = rank_correlation(v_hat, (variance / count).expand_as(v_hat))
                found[f"correlation/{name}/{beta2:g}"] = sample_mean(order)
        share = (variance / count) / (variance / count + square).clamp_min(1e-300)
        found[f"share/{episodes}"] = share.quantile(0.5, dim=1)
    return found


def following(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:
    """How fast v-hat follows a policy that has moved: in swing at an earlier stage of a run, it then sees
    gradients of a later stage of the same run.

    Returns:
        For each beta2 `correlation/beta2` and `level/beta2` `[R, len(AFTER)]`, after so many updates at the
        later policy: the rank correlation of v-hat with the variance there, and the median coordinate's ratio
        of v-hat to the second moment there.
    """
    problem = {"loo": cartpole(episodes=EPISODES, baseline="loo", device=device)}
    training, samples = keys.fold("training"), max(int(cell["samples"]), max(AFTER))
    earlier, later = (
        frozen_policies(problem["loo"], training, float(cell[end])).params for end in ("from", "to")
    )
    before = sample_fields(problem, earlier, keys.fold("before"), samples)["loo"].double()
    after = sample_fields(problem, later, keys.fold("after"), max(AFTER))["loo"].double()
    fresh = sample_fields(problem, later, keys.fold("measured"), samples)["loo"].double()
    variance, second = fresh.var(dim=0), sample_mean(fresh**2)
    found = {}
    for beta2 in BETAS2:
        v = sample_mean(before**2)
        orders, levels = [], []
        for update in range(max(AFTER) + 1):
            if update in AFTER:
                orders.append(rank_correlation(v, variance))
                levels.append((v / second.clamp_min(1e-300)).quantile(0.5, dim=1))
            if update < max(AFTER):
                v = beta2 * v + (1 - beta2) * after[update] ** 2
        found[f"correlation/{beta2:g}"] = torch.stack(orders, dim=1)
        found[f"level/{beta2:g}"] = torch.stack(levels, dim=1)
    return found


def moves() -> tuple[tuple[str, str], ...]:
    """Pairs of neighbouring stages."""
    names = tuple(STAGES)
    return tuple(itertools.pairwise(names))
