"""The verdict of the study `gan`; it reads stored results only."""

from __future__ import annotations

import numpy as np
from scipy.stats import trim_mean

from core.lab import stats
from core.lab.experiment import Array
from core.lab.study import Results
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from games.studies.gan_compared import Compared, budgets, churn
from games.studies.gan_settings import ADAMS, BUDGETS, CONTINUED, CURES, LINEAR

KEPT = "same rates"
"""Of what goes on for seven times as long without being tuned again."""
LEAST_EFFECT = 0.5
"""Half a mode, on average over seeds."""


def _modes(of: Compared, budget: str, regime: str, a: str, b: str, *, decisive: bool) -> Finding:
    """Modes at the end of `a` less those of `b`."""
    final = [of.final(regime, v) for v in (a, b)]
    return finding(
        f"{regime}, {budget}: {a} against {b}",
        stats.paired_difference(final[0], final[1], "mean"),
        above=LEAST_EFFECT if decisive else 0.0,
        replicas=len(final[0]),
        text=f"{a} covers more modes than {b} at the end, both tuned, at equal evaluations",
        unit="modes",
        decisive=decisive,
    )


def _steadier(of: Compared, budget: str, regime: str, a: str, b: str) -> Finding:
    """Churn of `a` less that of `b`; a replica that diverged counts as the worst."""
    turnover = [np.nan_to_num(churn(of.run(regime, v)), nan=np.inf) for v in (a, b)]
    return finding(
        f"{regime}, {budget}: churn, {a} against {b}",
        stats.paired_difference(turnover[0], turnover[1], "mean"),
        below=0.0,
        replicas=len(turnover[0]),
        text=f"{a} gains and drops fewer modes from record to record than {b}, second half of training",
        unit="modes a record",
        decisive=False,
    )


def _longer(long: Compared, short: Compared, regime: str, name: str, how: str) -> Finding:
    """Modes at the long less those at the short budget."""
    final = [of.final(regime, name) for of in (long, short)]
    return finding(
        f"{regime}: {name}, seven times as long, {how}",
        stats.paired_difference(final[0], final[1], "mean"),
        above=0.0,
        replicas=len(final[0]),
        text=f"{name} covers more modes with seven times the evaluations: it was slow, not unstable",
        unit="modes",
        decisive=False,
    )


def _resampled_ranks(
    linear: list[Array], modes: list[Array], resamples: int = 1000
) -> tuple[float, float, float]:
    """Spearman's correlation of the methods' merits in the two games, with its bootstrap interval over
    seeds."""
    rng = np.random.default_rng([11, len(linear), len(modes[0])])

    def correlations(pick_linear: Array, pick_modes: Array) -> Array:
        """`[B]`, of picked seeds `[B, n]`."""
        near = np.stack([-trim_mean(x[pick_linear], 0.25, axis=1) for x in linear], axis=1)
        covered = np.stack([x[pick_modes].mean(axis=1) for x in modes], axis=1)
        return stats.spearman(near, covered)

    sizes = len(linear[0]), len(modes[0])
    drawn = [[rng.integers(0, n, n) for n in sizes] for _ in range(resamples)]
    low, high = np.quantile(correlations(*map(np.array, zip(*drawn, strict=True))), [0.025, 0.975])
    (estimate,) = correlations(*(np.arange(n)[None] for n in sizes))
    return float(estimate), float(low), float(high)


def _carries_over(results: Results, budget: str, regime: str, game: str) -> Finding:
    """Whether methods that come nearer in a noisy linear game cover more modes."""
    linear, of = Compared.of(results, "linear"), Compared.of(results, budget)
    effect = _resampled_ranks(
        [linear.final(game, m) for m in of.methods], [of.final(regime, m) for m in of.methods]
    )
    return finding(
        f"{regime}, {budget}: ranking of methods, {game}",
        effect,
        above=0.0,
        replicas=results.plan.reporting_seeds,
        text=f"Of {len(of.methods)} methods those that end nearer the equilibrium of {game} cover more modes",
        unit="rank correlation",
        decisive=False,
    )


def judge(results: Results) -> Verdict:
    """The criterion, for every beta1, game and budget of the plan."""
    decisive: list[Finding] = []
    beside: list[Finding] = []
    half = "Adam, beta1 = 0.5"
    for budget in budgets(results):
        of = Compared.of(results, budget)
        for regime in of.regimes:
            decisive += [_modes(of, budget, regime, a, "GDA", decisive=True) for a in ADAMS]
            beside += [_steadier(of, budget, regime, a, "GDA") for a in ADAMS]
            beside += [
                _modes(of, budget, regime, a, b, decisive=False)
                for a, b in (
                    ("Adam, beta1 = 0", "Adam"),
                    (half, "RMSProp"),
                    (half, f"{half}, shared v"),
                    (half, "Sign descent"),
                    (half, "Normalised descent"),
                    (f"{half}, optimistic", half),
                    (f"{half}, alternating", half),
                    (f"{half}, extragradient", half),
                    *((cure, "GDA") for cure in _cures(of)),
                )
            ]
            beside += [_carries_over(results, budget, regime, game.name) for game in LINEAR]
    short, continued = Compared.of(results, "short"), Compared.continued(results)
    for regime in short.regimes:
        beside += [_longer(continued, short, regime, m, KEPT) for m in CONTINUED]
        beside += [_modes(continued, KEPT, regime, a, "GDA", decisive=False) for a in ADAMS]
    if len(budgets(results)) == len(BUDGETS):
        long = Compared.of(results, "long")
        beside += [_longer(long, short, r, m, "tuned again") for r in long.regimes for m in ("GDA", *ADAMS)]
    sentence = _sentence(results, decisive, beside)
    return verdict([*decisive, *beside], sentence, short=_short(results, decisive))


def _short(results: Results, decisive: list[Finding]) -> str:
    of = Compared.of(results, budgets(results)[-1])
    modes = "; ".join(f"{name}: {of.final(of.regimes[0], name).mean():.1f}" for name in ("GDA", *ADAMS))
    return f"Of 8 modes, {modes}. Adam has over half a mode more than GDA in {tally(decisive)} settings."


def _fate(longer: Finding) -> str:
    if longer.high < 0.0:
        return "loses modes"
    return "was slow" if longer.outcome is Outcome.HOLDS else "neither gains nor loses surely"


_CARRIED = {
    Outcome.HOLDS: "it carries over",
    Outcome.FAILS: "it does not carry over",
    Outcome.UNCLEAR: "it is open whether it carries over",
}


def _sentence(results: Results, decisive: list[Finding], beside: list[Finding]) -> str:
    budget = budgets(results)[-1]
    of = Compared.of(results, budget)
    regime = of.regimes[0]
    values, longer = (
        ", ".join(f"{name}: {x.final(regime, name).mean():.1f}" for name in ("GDA", *ADAMS))
        for x in (of, Compared.continued(results))
    )
    held = sum(f.outcome is Outcome.HOLDS for f in decisive)
    parts = {f.regime: f for f in beside}
    momentum = parts[f"{regime}, {budget}: Adam, beta1 = 0 against Adam"].outcome
    said = {
        Outcome.HOLDS: "momentum of 0.9 costs modes",
        Outcome.FAILS: "momentum of 0.9 costs no modes",
        Outcome.UNCLEAR: "whether momentum of 0.9 costs modes is open",
    }
    fates = ", ".join(
        f"{name} {_fate(parts[f'{regime}: {name}, seven times as long, {KEPT}'])}" for name in ("GDA", *ADAMS)
    )
    rankings = ", ".join(
        f"{game.name} {_CARRIED[found.outcome]} (rank correlation {found.effect:.2g})"
        for game in LINEAR
        for found in [parts[f"{regime}, {budget}: ranking of methods, {game.name}"]]
    )
    edges = of.edges(regime)
    edge = f" (best rate on the edge of the widest grid: {'; '.join(edges)})" if edges else ""
    return (
        f"Of 8 modes, tuned and at the end ({regime}): {values}{edge}; Adam covers more than half a mode "
        f"more than GDA in {held} of {len(decisive)} settings, {said[momentum]}; of GDA's cures on bilinear "
        f"games {_cured(parts, of, regime, budget)}; the ranking of methods: from {rankings}. Seven times as "
        f"long at the rates tuned for the short budget: {longer} ({fates})."
    )


def _cures(of: Compared) -> list[str]:
    """Those of the plan."""
    return [cure for cure in CURES if cure in of.methods]


def _cured(parts: dict[str, Finding], of: Compared, regime: str, budget: str) -> str:
    """Which of the cures cover more modes than plain GDA."""
    found = {cure: parts[f"{regime}, {budget}: {cure} against GDA"].outcome for cure in _cures(of)}
    better = [cure for cure, outcome in found.items() if outcome is Outcome.HOLDS]
    return f"{len(better)} of {len(found)} cover more modes than it" + (
        f" ({'; '.join(better)})" if better else ""
    )
