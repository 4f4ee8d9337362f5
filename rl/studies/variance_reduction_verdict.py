"""The verdict of the study of variance reduction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.lab import stats
from core.lab.experiment import Array
from core.lab.study import Results
from core.lab.sweep import SweepResult
from core.lab.verdict import Finding, Outcome, Verdict, finding, verdict
from rl.frozen import STAGES
from rl.outcomes import returns, speed
from rl.shares import logit, share_of_gain
from rl.studies.settings import BASELINES, LEARNED, LIMIT, best_of
from rl.studies.variance_reduction_settings import (
    AVERAGED,
    BASE,
    BLIND,
    FULL,
    MOMENTS,
    SCALING,
    SIGNS,
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
_ALONE = ("Momentum", SCALING)
MAIN_PART = 0.5
"""What has half of Adam's gain is a main part of its cause."""


def measured(results: Results, stage: str, baseline: str, rule: str, measure: str) -> Array:
    """`[policies]`: a measure of a rule's updates at the frozen policies of a stage."""
    values = results.measurement("updates").only(stage=stage)[f"{baseline}/{rule}/{measure}"]
    return np.asarray(values, dtype=np.float64)


def _where(results: Results, regime: str, variant: str) -> tuple[SweepResult, str, str]:
    """The sweep, its regime and its variant; the oracles are regimes of a sweep of their own."""
    if variant in MOMENTS:
        return results.sweep("oracles"), variant, AVERAGED
    return results.sweep("learning"), regime, variant


def learned(results: Results, regime: str, variant: str, scale: str = "return") -> Array:
    """`[seeds]`: how well a variant learned, on one of `SCALES`."""
    sweep, *where = _where(results, regime, variant)
    if scale == "speed":
        return speed(sweep.run(*where), LEARNED)
    values = returns(sweep, *where)
    return logit(values, LIMIT) if scale == "logit" else values


def noise_shared(results: Results, stage: str, baseline: str, rule: str) -> stats.Interval:
    """The share of Adam's cut in the direction's noise that a rule has too."""
    return results.once(_noise_shared, stage, baseline, rule)


def _noise_shared(results: Results, stage: str, baseline: str, rule: str) -> stats.Interval:
    return share_of_gain(*(measured(results, stage, baseline, r, NOISE) for r in (rule, BASE, FULL)))


def gain_shared(results: Results, regime: str, variant: str, scale: str = "return") -> stats.Interval:
    """The share of Adam's gain that a variant has too, both over gradient descent, on one of `SCALES`."""
    return results.once(_gain_shared, regime, variant, scale)


def _gain_shared(results: Results, regime: str, variant: str, scale: str) -> stats.Interval:
    return share_of_gain(*(learned(results, regime, v, scale) for v in (variant, BASE, FULL)))


def best_blind(results: Results, regime: str) -> str:
    """The best of the controls that do not know which coordinate is noisy, on the tuning seeds."""
    return best_of(results.sweep("learning"), regime, BLIND)


def stages() -> list[tuple[str, str, str]]:
    """Name, stage and baseline of each regime of frozen policies."""
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
            *(
                (
                    "no noise",
                    self.difference(results, f"measured gain{scale}", TRUE_SCALED, TRUE),
                    0.0,
                    "gain in return of one step along the true gradient: scaled as by v, less unscaled",
                    unit,
                )
                for scale, unit in (("", "return"), (", logit", "logit of return / 500"))
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
    best = best_blind(results, regime)

    def part(variant: str, scale: str = "return", *, decisive: bool = False) -> Finding:
        without = "" if scale == "return" else f", on a scale without a ceiling ({SCALES[scale]})"
        return finding(
            f"{regime}: {'sign' if variant in SIGNS else 'learning'}",
            gain_shared(results, regime, variant, scale),
            below=MAIN_PART,
            replicas=results.plan.reporting_seeds,
            text=f"share of Adam's gain over gradient descent that {variant} has too{without}",
            unit="share of the gain",
            decisive=decisive,
        )

    others = [v for v in results.sweep("learning").variants if v not in (BASE, FULL, best)]
    oracles = list(MOMENTS) if regime == BASELINES["none"] else []
    return [
        part(best, decisive=True),
        part(best, "logit"),
        part(best, "speed"),
        *(part(v, scale) for v in [*others, *oracles] for scale in ("return", "logit")),
    ]


def judge(results: Results) -> Verdict:
    """The criterion: at frozen policies, and in learning."""
    frozen = [_Frozen(*where) for where in stages()]
    found = [f for where in frozen for f in (*where.decisive(results), *where.beside(results))]
    found += [f for regime in BASELINES.values() for f in _learning_findings(results, regime)]
    decisive = [f for f in found if f.decisive]
    beside = [f for f in found if not f.decisive]
    return verdict([*decisive, *beside], _sentence(results), short=_short(results))


def _short(results: Results) -> str:
    cut, gain = (
        [_span(values) for values in shares]
        for shares in (
            [[noise_shared(results, s, b, rule)[0] for _, s, b in stages()] for rule in _ALONE],
            [[gain_shared(results, regime, rule)[0] for regime in BASELINES.values()] for rule in _ALONE],
        )
    )
    return (
        f"Of Adam's noise cut averaging alone makes {cut[0]} and scaling {cut[1]}; of its gain in return "
        f"averaging has {gain[0]}, scaling {gain[1]}."
    )


def _sentence(results: Results) -> str:
    def noise(rule: str) -> list[float]:
        return [noise_shared(results, stage, b, rule)[0] for _, stage, b in stages()]

    def gain(variant: str) -> list[float]:
        return [gain_shared(results, regime, variant)[0] for regime in BASELINES.values()]

    averaging, scaling = "Momentum", SCALING
    best = {regime: best_blind(results, regime) for regime in BASELINES.values()}
    found = [_learning_findings(results, regime)[0] for regime in best]
    apart = min(noise(averaging)) > MAIN_PART > max(noise(scaling)) and (
        min(gain(scaling)) > MAIN_PART > max(gain(averaging))
    )
    outcomes = {f.outcome for f in found}
    if outcomes == {Outcome.HOLDS}:
        conclusion = "so most of that gain needs a scale of its own for each coordinate"
    elif outcomes == {Outcome.FAILS}:
        conclusion = "so at least half of that gain needs no coordinate's own scale"
    else:
        conclusion = "so how much of it needs a scale of its own for each coordinate is not the same in both"
    signs = [x for name in SIGNS for x in gain(name)]
    changed = " and ".join(
        ", ".join(f"{text} ({stage})" for stage, text in _freed(results, scale).items()) + f" in {unit}"
        for scale, unit in (("", "return"), (", logit", "its logit"))
    )
    return (
        f"Of Adam's cut in the noise of its direction averaging alone makes {_span(noise(averaging))} and "
        f"scaling by v alone {_span(noise(scaling))}; of its gain in return over gradient descent averaging "
        f"alone has {_span(gain(averaging))} and scaling alone {_span(gain(scaling))}"
        f"{': what cuts the noise is not what helps to learn' if apart else ''}. "
        f"The best control that does not know which coordinate is noisy ({_with_baselines(best)}) has "
        f"{_span([f.effect for f in found])} of the gain (shared v {_span(gain('Adam, shared v'))}, "
        f"shuffled v {_span(gain('Adam, shuffled v'))}), {conclusion}; the signs, whose mean step is nearly "
        f"Adam's under Gaussian noise, have {_span(signs)}. Along the true gradient, where no noise is left, "
        f"the scaling by v changes what a step of equal length gains by {changed}."
    )


def _with_baselines(best: dict[str, str]) -> str:
    """Which control it is, regime by regime where they differ."""
    names = list(dict.fromkeys(best.values()))
    return names[0] if len(names) == 1 else ", ".join(f"{name} with {r}" for r, name in best.items())


def _freed(results: Results, scale: str) -> dict[str, str]:
    """By stage: the measured gain along the scaled true gradient less that along the true gradient, mean over
    both baselines, with its interval.
    """
    texts = {}
    for stage in STAGES:
        scaled, plain = (
            np.mean([measured(results, stage, b, way, f"measured gain{scale}") for b in BASELINES], axis=0)
            for way in (TRUE_SCALED, TRUE)
        )
        mean, low, high = stats.paired_difference(scaled, plain, "mean")
        texts[stage] = f"{mean:+.2g} [{low:.2g}, {high:.2g}]"
    return texts


def _span(values: list[float]) -> str:
    low, high = (f"{100 * x:.0f}" for x in (min(values), max(values)))
    return f"{low}%" if low == high else f"{low} to {high}%"
