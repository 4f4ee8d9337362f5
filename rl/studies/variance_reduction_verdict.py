"""The verdict and the tables of the study of variance reduction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.lab import stats
from core.lab.experiment import Array
from core.lab.study import Results, Table
from core.lab.sweep import SweepResult
from core.lab.tables import sweep_table, with_interval
from core.lab.verdict import Finding, Verdict, finding, verdict
from rl.frozen import STAGES
from rl.outcomes import Column, outcome_table, speed
from rl.shares import logit, share_of_gain
from rl.studies.variance_reduction_settings import (
    BASE,
    BASELINES,
    BLIND,
    FULL,
    LIMIT,
    ORACLES,
    SCALING,
    TRUE,
    TRUE_SCALED,
)

NOISE = "noise of direction"
LEAST_RATIO = 1.05
"""A signal-to-noise ratio that is better by less than a twentieth is the same."""
SCALES = {
    "return": "mean return over training",
    "logit": "logit of return / 500",
    "speed": "log2 of the updates to a return of 100",
}
LEARNED = 100.0
"""A return of the training episodes that is counted as reached: a random policy has 22."""
MAIN_PART = 0.5
"""What has half of Adam's gain is a main part of its cause."""


def measured(results: Results, stage: str, baseline: str, rule: str, measure: str) -> Array:
    """`[policies]`: a measure of a rule's updates at the frozen policies of a stage."""
    values = results.measurement("updates").only(stage=stage)[f"{baseline}/{rule}/{measure}"]
    return np.asarray(values, dtype=np.float64)


def _where(results: Results, regime: str, variant: str) -> tuple[SweepResult, str, str]:
    """The sweep, its regime and its variant; the oracles are regimes of a sweep of their own."""
    if variant in ORACLES:
        return results.sweep("oracles"), variant, "Averaged"
    return results.sweep("learning"), regime, variant


def learned(results: Results, regime: str, variant: str, scale: str = "return") -> Array:
    """`[seeds]`: how well a variant learned, on one of `SCALES`; a diverged replica counts as a return of
    nothing.
    """
    sweep, *where = _where(results, regime, variant)
    if scale == "speed":
        return speed(sweep.run(*where), LEARNED)
    values = sweep.values(*where)
    returns = np.where(np.isfinite(values), values, 0.0)
    return logit(returns, LIMIT) if scale == "logit" else returns


def noise_shared(results: Results, stage: str, baseline: str, rule: str) -> stats.Interval:
    """The share of Adam's cut in the direction's noise that a rule has too."""
    return share_of_gain(*(measured(results, stage, baseline, r, NOISE) for r in (rule, BASE, FULL)))


def gain_shared(results: Results, regime: str, variant: str, scale: str = "return") -> stats.Interval:
    """The share of Adam's gain that a variant has too, both over gradient descent, on one of `SCALES`."""
    return share_of_gain(*(learned(results, regime, v, scale) for v in (variant, BASE, FULL)))


def best_blind(results: Results, regime: str) -> str:
    """The best of the controls that do not know which coordinate is noisy, on the tuning seeds."""
    tuned = results.sweep("learning").tuned
    return max(BLIND, key=lambda name: float(np.max(tuned[regime, name].scores)))


def _stages() -> list[tuple[str, str, str]]:
    return [(f"{stage}, {words}", stage, b) for stage in STAGES for b, words in BASELINES.items()]


@dataclass(frozen=True)
class _Frozen:
    """A stage of training with a baseline."""

    regime: str
    stage: str
    baseline: str

    def difference(self, results: Results, measure: str, a: str, b: str) -> stats.Interval:
        """A measure under one rule less that under another, paired by policy."""
        first, second = (measured(results, self.stage, self.baseline, rule, measure) for rule in (a, b))
        return stats.paired_difference(first, second, "mean")

    def decisive(self, results: Results) -> list[Finding]:
        """What the criterion speaks of."""
        policies = results.plan.sizes["policies"]
        return [
            finding(
                f"{self.regime}: noise",
                self.difference(results, NOISE, SCALING, BASE),
                below=0.0,
                replicas=policies,
                text="noise in the direction after scaling by v (Adam, beta1 = 0) less that of the gradient",
                unit="share of noise",
            ),
            finding(
                f"{self.regime}: part",
                noise_shared(results, self.stage, self.baseline, SCALING),
                above=MAIN_PART,
                replicas=policies,
                text="share of Adam's cut in that noise that scaling by v makes alone (Adam, beta1 = 0)",
                unit="share of the cut",
            ),
        ]

    def beside(self, results: Results) -> list[Finding]:
        """What stands beside the verdict."""
        after, before = (
            np.maximum(measured(results, self.stage, self.baseline, rule, "signal to noise"), 1e-3)
            for rule in (SCALING, BASE)
        )
        shown = (
            (
                "averaging",
                noise_shared(results, self.stage, self.baseline, "Momentum"),
                MAIN_PART,
                "share of Adam's cut in that noise that averaging makes alone (momentum)",
                "share of the cut",
            ),
            (
                "coordinates",
                stats.ratio(after, before, "mean"),
                LEAST_RATIO,
                "signal-to-noise of a coordinate after scaling by v over that before",
                "ratio",
            ),
            (
                "cosine",
                self.difference(results, "cosine", SCALING, BASE),
                0.0,
                "cosine with the true gradient after scaling by v less that before",
                "cosine",
            ),
            (
                "no noise",
                self.difference(results, "measured gain", TRUE_SCALED, TRUE),
                0.0,
                "gain in return of one step along the true gradient: scaled as by v, less unscaled",
                "return",
            ),
        )
        return [
            finding(
                f"{self.regime}: {part}",
                values,
                above=bound,
                replicas=results.plan.sizes["policies"],
                text=text,
                unit=unit,
                decisive=False,
            )
            for part, values, bound, text, unit in shown
        ]


def _learning_findings(results: Results, regime: str) -> list[Finding]:
    """The decisive finding of a regime of learning first."""
    replicas, best = results.plan.reporting_seeds, best_blind(results, regime)

    def part(variant: str, *, decisive: bool = False) -> Finding:
        return finding(
            f"{regime}: learning",
            gain_shared(results, regime, variant),
            below=MAIN_PART,
            replicas=replicas,
            text=f"share of Adam's gain in return over gradient descent that {variant} has too",
            unit="share of the gain",
            decisive=decisive,
        )

    unceiled = [
        finding(
            f"{regime}: learning",
            gain_shared(results, regime, best, scale),
            below=MAIN_PART,
            replicas=replicas,
            text=f"the same for {best} on a scale without a ceiling ({SCALES[scale]})",
            unit="share of the gain",
            decisive=False,
        )
        for scale in ("logit", "speed")
    ]
    others = [v for v in results.sweep("learning").variants if v not in (BASE, FULL, best)]
    oracles = [o for o in results.sweep("oracles").regimes if regime == BASELINES["none"]]
    return [part(best, decisive=True), *unceiled, *(part(v) for v in [*others, *oracles])]


def judge(results: Results) -> Verdict:
    """The criterion: at frozen policies, and in learning."""
    frozen = [_Frozen(*where) for where in _stages()]
    found = [f for where in frozen for f in (*where.decisive(results), *where.beside(results))]
    found += [f for regime in BASELINES.values() for f in _learning_findings(results, regime)]
    decisive = [f for f in found if f.decisive]
    return verdict([*decisive, *(f for f in found if not f.decisive)], _sentence(results))


def _sentence(results: Results) -> str:
    def noise(rule: str) -> list[float]:
        return [noise_shared(results, stage, b, rule)[0] for _, stage, b in _stages()]

    def gain(variant: str) -> list[float]:
        return [gain_shared(results, regime, variant)[0] for regime in BASELINES.values()]

    averaging, scaling = "Momentum", SCALING
    best = {regime: best_blind(results, regime) for regime in BASELINES.values()}
    shares = [gain_shared(results, regime, name)[0] for regime, name in best.items()]
    apart = min(noise(averaging)) > MAIN_PART > max(noise(scaling)) and (
        min(gain(scaling)) > MAIN_PART > max(gain(averaging))
    )
    free = " and ".join(
        f"{_free(results, TRUE, s):+.0f} to {_free(results, TRUE_SCALED, s):+.0f}" for s in STAGES
    )
    return (
        f"Of Adam's cut in the noise of its direction averaging alone makes {_span(noise(averaging))} and "
        f"scaling by v alone {_span(noise(scaling))}; of its gain in return over gradient descent averaging "
        f"alone has {_span(gain(averaging))} and scaling alone {_span(gain(scaling))}"
        f"{': what cuts the noise is not what helps to learn' if apart else ''}. "
        f"{' and '.join(dict.fromkeys(best.values()))}, blind to noise, has {_span(shares)} of the gain. "
        "Along the true gradient, where no noise is left, the same scaling changes what a step of "
        f"equal length gains from {free} ({', '.join(STAGES)})."
    )


def _free(results: Results, rule: str, stage: str) -> float:
    """The measured gain of a way without noise, over both baselines."""
    return float(np.mean([measured(results, stage, b, rule, "measured gain").mean() for b in BASELINES]))


def _span(values: list[float]) -> str:
    low, high = (f"{100 * x:.0f}" for x in (min(values), max(values)))
    return f"{low}%" if low == high else f"{low} to {high}%"


_COLUMNS = (
    ("noise", "noise in the update"),
    (NOISE, "noise in its direction"),
    ("noise together", "noise in 25 updates together"),
    ("cosine", "cosine"),
    ("improvement to noise", "improvement to noise"),
    ("downhill", "share downhill"),
    ("signal to noise", "signal to noise"),
    ("measured gain", "measured gain"),
)


def _frozen_table(results: Results, regime: str, stage: str, baseline: str) -> Table:
    names = dict.fromkeys(
        key.split("/")[1]
        for key in results.measurement("updates").only(stage=stage)
        if key.startswith(f"{baseline}/")
    )
    arrays = results.measurement("updates").only(stage=stage)
    rows = tuple(
        (
            name,
            *(
                with_interval(stats.interval(arrays[key], "mean"), 2) if key in arrays else ""
                for key in (f"{baseline}/{name}/{measure}" for measure, _ in _COLUMNS)
            ),
        )
        for name in names
    )
    return Table(
        f"{regime}: what updates are like. Means over {results.plan.sizes['policies']} frozen policies with "
        "95% bootstrap intervals; cosine with the true gradient, mean over standard deviation of the "
        "first-order improvement, root mean square signal-to-noise of a coordinate, and the change in return "
        "after one update of equal length.",
        ("rule", *(head for _, head in _COLUMNS)),
        rows,
    )


def _shares_table(results: Results, regime: str) -> Table:
    """How each variant learned, and its share of Adam's gain on three scales."""

    def share(scale: str) -> Column:
        return (
            f"share of Adam's gain, {scale}",
            lambda name: "" if name == BASE else with_interval(gain_shared(results, regime, name, scale), 2),
        )

    more = tuple(share(scale) for scale in SCALES)
    return outcome_table(results.sweep("learning"), regime, learned=LEARNED, more=more)


def tables(results: Results) -> tuple[Table, ...]:
    """Learning first, then the updates at each frozen policy."""
    learning, oracles = results.sweep("learning"), results.sweep("oracles")
    return (
        *(_shares_table(results, regime) for regime in learning.regimes),
        *(sweep_table(learning, regime) for regime in learning.regimes),
        *(sweep_table(oracles, regime) for regime in oracles.regimes),
        *(_frozen_table(results, *where) for where in _stages()),
    )
