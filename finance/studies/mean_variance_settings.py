"""The settings of the study mean-variance, and what is read off its stored results."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.lab import stats
from core.lab.experiment import Array
from core.lab.measurement import Cell
from core.lab.random import Keys
from core.lab.run import Run
from core.lab.study import Results
from core.lab.sweep import Regime, Tuned
from finance.markets import SPANS, market
from finance.optimum import long_only_optimum, unconstrained_optimum
from finance.parametrisation import Parametrisation

LONG_ONLY = ("softmax", "exponentiated", "simplex", "metric")
RULES = ("Gradient descent", "Momentum", "Adam", "AMSGrad")
DECAYED = ", cosine decay"
BATCHES: dict[str, int | None] = {"1 day": 1, "32 days": 32, "all days": None}
LOW, MIDDLE, HIGH = 1.0, 5.0, 20.0
NEAR = 0.1
"""A tenth of the gap of equal weights."""


def _regime(parametrisation: str, text: str, risk_aversion: float, *, span: str | None = None) -> Regime:
    name = f"{parametrisation}, {text}, γ = {risk_aversion:g}" + (f", {span}" if span else "")
    settings = {
        "parametrisation": parametrisation,
        "batch": BATCHES[text],
        "risk_aversion": risk_aversion,
        "span": span,
    }
    return Regime(name, market, settings)


REGIMES = (
    *(_regime(p, text, g) for p in LONG_ONLY for text in BATCHES for g in (LOW, HIGH)),
    *(_regime(p, "32 days", MIDDLE) for p in LONG_ONLY),
    *(_regime(p, "32 days", HIGH, span=span) for p in LONG_ONLY for span in SPANS),
    *(_regime("free", "32 days", g) for g in (LOW, HIGH)),
)


def draw_of(regime: Regime) -> dict[str, Any]:
    """What decides the days that a regime draws and the problem they make, whatever the parametrisation."""
    kept = ("batch", "risk_aversion", "span")
    return {
        **{k: regime.settings[k] for k in kept},
        "long_only": regime.settings["parametrisation"] != "free",
    }


def draws() -> tuple[Cell, ...]:
    """Each once."""
    unique = {tuple(draw_of(r).items()): draw_of(r) for r in REGIMES}
    return tuple(unique.values())


def exact_on_drawn_days(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:
    """The exact solution of the problem that the drawn days make, and its gap over the whole sample, `[R]`.

    With the keys of a sweep's report these are the days on which its runs have trained.
    """
    parametrisation: Parametrisation = "simplex" if cell["long_only"] else "free"
    problem = market(
        risk_aversion=cell["risk_aversion"],
        batch=cell["batch"],
        parametrisation=parametrisation,
        span=cell["span"],
        device=device,
    )
    returns = problem.returns.cpu().numpy()
    solve = long_only_optimum if cell["long_only"] else unconstrained_optimum
    weights = np.tile(problem.optimum.weights, (len(keys), 1))
    if cell["batch"] is not None:
        days = torch.cat(
            [keys.fold("days").at(s).integers(len(returns), cell["batch"]) for s in range(cell["steps"])],
            dim=1,
        )
        for row, drawn in enumerate(days.cpu().numpy()):
            share = np.bincount(drawn, minlength=len(returns)) / len(drawn)
            moment = (returns * share[:, None]).T @ returns
            weights[row] = solve(share @ returns, moment, cell["risk_aversion"]).weights
    gap = problem.measure(torch.as_tensor(weights, device=device), keys)["relative_gap"]
    return {"relative_gap": gap, "weights": torch.as_tensor(weights)}


def better_schedule(results: Results, regime: str, rule: str) -> str:
    """The variant of a rule, constant or decayed, that did better on the tuning seeds."""

    def score(name: str) -> float:
        tuned: Tuned = results.sweep("tuned").tuned[regime, name]
        return float(tuned.scores[tuned.settings.index(tuned.best)])

    return min((rule, rule + DECAYED), key=score)


def run_of(results: Results, regime: str, rule: str) -> Run:
    """The reported run of a rule with its better schedule."""
    return results.sweep("tuned").run(regime, better_schedule(results, regime, rule))


def gap(results: Results, regime: str, rule: str) -> Array:
    """Final gap `[R]` of a rule with its better schedule; infinite where a run diverged."""
    return results.sweep("tuned").values(regime, better_schedule(results, regime, rule))


def exact_gap(results: Results, regime: str) -> Array:
    """Gap `[R]` of the exact solution on the same days."""
    settings = next(r for r in REGIMES if r.name == regime)
    out: Array = results.measurement("exact").only(**draw_of(settings))["relative_gap"]
    return out


def attainable(results: Results, regime: str) -> Array:
    """`exact_gap` `[S]`, or 1 where the exact solution of the same days is worse than equal weights."""
    out: Array = np.minimum(exact_gap(results, regime), 1.0)
    return out


def excess(results: Results, regime: str, rule: str) -> Array:
    """`gap` less `attainable`, seed by seed, `[S]`."""
    return stats.differences(gap(results, regime, rule), attainable(results, regime))


def regimes_of(parametrisation: str) -> tuple[str, ...]:
    """Names of the regimes of a parametrisation."""
    return tuple(r.name for r in REGIMES if r.settings["parametrisation"] == parametrisation)
