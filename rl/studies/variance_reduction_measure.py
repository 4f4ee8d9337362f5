"""The updates of many rules at frozen policies, beside the true gradient, and what they do to the return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from core.lab.measurement import Cell
from core.lab.random import Keys
from rl.frozen import frozen_policies
from rl.grafting import lengths
from rl.problems import cartpole
from rl.reinforce import Reinforce
from rl.sampling import sample_fields
from rl.shares import logit
from rl.studies.settings import BASELINES, EPISODES, LIMIT
from rl.studies.variance_reduction_settings import TRUE, TRUE_SCALED, frozen_rules
from rl.updates import measures, sample_mean, unit, updates

STRETCH = 25
"""Consecutive updates that are looked at together."""
TRIES = 4
"""Updates of each rule whose effect on the return is measured."""
TRIAL_EPISODES = 32
LENGTH = 0.2
"""Root mean square length of an update that is tried: about that of Adam's at its tuned rate. A policy's own
length is about 7.
"""


def update_quality(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:
    """Train to a stage, freeze, and follow every rule along a stream of gradient estimates.

    The true gradient, and the oracles' variance and mean^2, come from `truth` other estimates.

    Returns:
        `return` `[R]` of the frozen policy, `reached` (see `rl.frozen.Frozen`), and for each baseline b, rule
        r and measure m (see `rl.updates.measures`) `b/r/m` `[R]`; `b/r/measured gain` is the mean change of
        the return after one update of a common root mean square length, also along the true gradient itself,
        unscaled and scaled as Adam scales it, where there is no noise left to reduce; `b/r/measured gain,
        logit` the same in the logit of the return over its limit.
    """
    problems = {name: cartpole(episodes=EPISODES, baseline=name, device=device) for name in BASELINES}
    params, _, reached = frozen_policies(problems["loo"], keys.fold("training"), float(cell["level"]))
    samples, truth, warm = int(cell["samples"]), int(cell["truth"]), int(cell["warm"])
    seen = sample_fields(problems, params, keys.fold("seen by the rule"), samples + warm)
    fresh = sample_fields(problems, params, keys.fold("measured"), truth)
    trials: dict[str, Tensor] = {}
    found: dict[str, Tensor] = {}
    for name in problems:
        mean, variance = sample_mean(fresh[name].double()), fresh[name].double().var(dim=0)
        for rule_name, rule in frozen_rules(mean, variance, truth).items():
            moved = updates(rule, seen[name], warm=warm, start=params)
            for measure, values in measures(moved, mean, stretch=STRETCH).items():
                found[f"{name}/{rule_name}/{measure}"] = values
            trials[f"{name}/{rule_name}"] = _tried(moved)
        for noiseless, way in ((TRUE, mean), (TRUE_SCALED, mean / (variance + mean**2).sqrt())):
            trials[f"{name}/{noiseless}"] = (-LENGTH * unit(way))[None].to(params.dtype)
    before, after = measured_returns(problems["loo"], params, trials, keys.fold("tried"))
    found |= {"return": before, "reached": reached}
    for scale, of in (("", torch.clone), (", logit", _logit)):
        found |= {f"{n}/measured gain{scale}": sample_mean(of(r) - of(before)) for n, r in after.items()}
    return found


def _logit(returns: Tensor) -> Tensor:
    return torch.from_numpy(logit(returns.cpu().numpy(), LIMIT))


def _tried(moved: Tensor) -> Tensor:
    """`TRIES` updates `[TRIES, R, D]`, evenly spaced, scaled so that the whole stream has a root mean
    square length of `LENGTH`.
    """
    size = sample_mean(lengths(moved).square()).sqrt()
    chosen = moved[torch.linspace(0, len(moved) - 1, TRIES).long()]
    return (chosen * (LENGTH / torch.where(size > 0, size, 1.0))).to(moved.dtype)


def measured_returns(
    problem: Reinforce, params: Tensor, trials: Mapping[str, Tensor], keys: Keys
) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean return of `params` `[R, D]`, `[R]`, and of the policies moved by each of the trials
    `[N, R, D]`, `[N, R]` by name; all on the same chances.
    """
    count = len(params)
    test = replace(problem, evaluation_episodes=TRIAL_EPISODES)
    index = torch.arange(count, device=keys.device)

    def mean_return(points: Tensor) -> Tensor:
        own = keys.rows(index.repeat(len(points) // count))
        return test.measure(points, own)["return"].view(-1, count)

    after = {
        name: mean_return((params + moved).reshape(-1, params.shape[1])) for name, moved in trials.items()
    }
    return mean_return(params)[0], after
