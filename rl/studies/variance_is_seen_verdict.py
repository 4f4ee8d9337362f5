"""The verdict and the tables of the study of the second moment."""

from __future__ import annotations

import numpy as np

from core.lab import stats
from core.lab.experiment import Array, Payload
from core.lab.study import Results, Table
from core.lab.tables import with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from rl.frozen import BETA2, BETAS2, STAGES
from rl.problems import cartpole
from rl.studies.settings import BASELINES, EPISODES
from rl.studies.variance_is_seen_measure import (
    AFTER,
    BATCHES,
    MEMORIES,
    MORE_UPDATES,
    UPDATES,
    effective_updates,
)

LEAST_CORRELATION = 0.9
LEAST_SHARE = 0.9
FOLLOWED = 20
"""Updates after a move of the policy by which v-hat is judged to have followed."""
LAYERS = ("first layer", "last layer")
COMPARED = {
    "v-hat": "rank correlation over coordinates of v-hat with the measured variance",
    "v-hat, first layer only": "the same within the first layer",
    "|mean| in place of noise": "rank correlation of v-hat with the size of the measured mean",
    "v-hat shuffled": "rank correlation of shuffled v-hat with the measured variance",
    "v-hat in training": "the same for the v-hat that the training run had at that moment",
}


def noise_share(arrays: Payload, baseline: str, samples: int) -> Array:
    """`[R]`: the median coordinate's share of variance in variance + mean^2, the estimate of mean^2 freed of
    its bias.
    """
    variance = arrays[f"{baseline}/variance"]
    square = np.maximum(arrays[f"{baseline}/mean"] ** 2 - variance / samples, 0.0)
    share: Array = np.median(variance / np.maximum(variance + square, 1e-300), axis=1)
    return share


def correlations(arrays: Payload, baseline: str) -> dict[str, Array]:
    """Spearman's correlations over coordinates, `[R]` each, by the names in `COMPARED`."""
    variance, v_hat = arrays[f"{baseline}/variance"], arrays[f"{baseline}/v_hat"]
    first = layer_of(v_hat.shape[1]) == LAYERS[0]
    shuffled = np.random.default_rng(0).permuted(v_hat, axis=1)
    found = [
        stats.spearman(v_hat, variance),
        stats.spearman(v_hat[:, first], variance[:, first]),
        stats.spearman(v_hat, np.abs(arrays[f"{baseline}/mean"])),
        stats.spearman(shuffled, variance),
    ]
    if baseline == "loo" and np.isfinite(arrays["live"]).all():
        # The training run had the leave-one-out baseline: there is no such v-hat without one.
        found.append(stats.spearman(arrays["live"][:, -1], variance))
    return dict(zip(COMPARED, found, strict=False))


def slopes(arrays: Payload, baseline: str) -> Array:
    """`[R]`: least-squares slope of log standard deviation over log sqrt(v-hat); 1 where one is proportional
    to the other.
    """
    x = np.log(np.maximum(arrays[f"{baseline}/v_hat"], 1e-300)) / 2
    y = np.log(np.maximum(arrays[f"{baseline}/variance"], 1e-300)) / 2
    x, y = (a - a.mean(axis=1, keepdims=True) for a in (x, y))
    slope: Array = (x * y).sum(axis=1) / (x**2).sum(axis=1)
    return slope


def layer_of(dim: int) -> Array:
    """`[D]`, which layer a coordinate belongs to, as words."""
    sizes = [a * b for a, b in cartpole().policy.shapes]
    assert sum(sizes) == dim
    return np.repeat(LAYERS, sizes)


def regimes() -> list[tuple[str, str, str]]:
    """Name, stage and baseline of each."""
    return [(f"{stage}, {words}", stage, name) for stage in STAGES for name, words in BASELINES.items()]


def judge(results: Results) -> Verdict:
    """The criterion, stage by stage and baseline by baseline."""
    moments = results.measurement("moments")
    samples, replicas = results.plan.sizes["truth"], results.plan.reporting_seeds
    findings: list[Finding] = []
    beside: list[Finding] = []
    for regime, stage, name in regimes():
        arrays = moments.only(stage=stage)
        for what, values in correlations(arrays, name).items():
            found = finding(
                f"{regime}: order",
                stats.interval(values, "mean"),
                above=LEAST_CORRELATION,
                replicas=replicas,
                text=COMPARED[what],
                unit="rank correlation",
                decisive=what == "v-hat",
            )
            (findings if found.decisive else beside).append(found)
        findings.append(
            finding(
                f"{regime}: noise",
                stats.interval(noise_share(arrays, name, samples), "mean"),
                above=LEAST_SHARE,
                replicas=replicas,
                text="share of variance in the second moment, median coordinate",
                unit="share",
            )
        )
    beside += _dial_findings(results) + _following_findings(results)
    sentence = _sentence(findings, results)
    return verdict([*findings, *beside], sentence, short=_short(findings), main=findings[0])


def _short(findings: list[Finding]) -> str:
    ranks, shares = ([f for f in findings if f.unit == unit] for unit in ("rank correlation", "share"))
    return (
        f"At a frozen policy v̂ orders coordinates by noise in {tally(ranks)} regimes; noise is over "
        f"{LEAST_SHARE:.0%} of it in {tally(shares)} ({_span([f.effect for f in shares])})."
    )


def _by_memory(results: Results) -> str:
    """The rank correlation after `MORE_UPDATES`, mean over stages, by memory."""
    means = {
        beta2: np.mean([a[f"correlation/more/{beta2:g}"].mean() for _, a in results.measurement("dial")])
        for beta2 in MEMORIES
    }
    return ", ".join(f"{mean:.2f} at beta2 = {beta2:g}" for beta2, mean in means.items())


def _share_at(results: Results, episodes: int) -> float:
    return float(np.mean([a[f"share/{episodes}"].mean() for _, a in results.measurement("dial")]))


def _level_after(results: Results, updates: int, beta2: float = BETA2) -> float:
    arrays = results.measurement("following").arrays[0]
    return float(np.median(arrays[f"level/{beta2:g}"][:, AFTER.index(updates)]))


def _dial_findings(results: Results) -> list[Finding]:
    """Over batches and memories, beside the verdict."""
    found = []
    for cell, arrays in results.measurement("dial"):
        for episodes in (BATCHES[0], BATCHES[-1]):
            shared = {
                f"rank correlation with the variance after {UPDATES} updates, beta2 = {BETA2:g}": (
                    arrays[f"correlation/{episodes}/{BETA2:g}"],
                    LEAST_CORRELATION,
                    "rank correlation",
                ),
                "share of variance in the second moment, median coordinate": (
                    arrays[f"share/{episodes}"],
                    LEAST_SHARE,
                    "share",
                ),
            }
            found += [
                finding(
                    f"{cell['stage']}, {episodes} episodes",
                    stats.interval(values, "mean"),
                    above=least,
                    replicas=results.plan.reporting_seeds,
                    text=text,
                    unit=unit,
                    decisive=False,
                )
                for text, (values, least, unit) in shared.items()
            ]
        found += [
            finding(
                f"{cell['stage']}, {MORE_UPDATES} updates",
                stats.interval(arrays[f"correlation/more/{beta2:g}"], "mean"),
                above=LEAST_CORRELATION,
                replicas=results.plan.reporting_seeds,
                text=f"rank correlation with the variance, beta2 = {beta2:g}, {EPISODES} episodes",
                unit="rank correlation",
                decisive=False,
            )
            for beta2 in MEMORIES
        ]
    return found


def _apart(levels: Array) -> Array:
    """`[R]`: |log2| of ratios `[R]`: too high is as far off as too low."""
    return np.asarray(np.abs(np.log2(np.maximum(levels, 1e-300))))


def _following_findings(results: Results) -> list[Finding]:
    """How far v-hat has come after a move of the policy, beside the verdict."""
    return [
        finding(
            f"{cell['stage']}: {FOLLOWED} updates",
            stats.interval(
                _apart(np.asarray(arrays[f"level/{beta2:g}"][:, AFTER.index(FOLLOWED)])), "median"
            ),
            below=1.0,
            replicas=results.plan.reporting_seeds,
            text=(
                f"doublings between v-hat at beta2 = {beta2:g} and the second moment at the new policy, "
                "above or below"
            ),
            unit="doublings, median coordinate",
            decisive=False,
        )
        for cell, arrays in results.measurement("following")
        for beta2 in BETAS2
    ]


def _sentence(findings: list[Finding], results: Results) -> str:
    ranks = [f for f in findings if f.unit == "rank correlation"]
    shares = [f for f in findings if f.unit == "share"]
    signal = [
        correlations(a, b)["|mean| in place of noise"].mean()
        for _, a in results.measurement("moments")
        for b in BASELINES
    ]
    return (
        "At a frozen policy v-hat orders the coordinates as their measured noise does: rank correlation "
        f"{_span([f.effect for f in ranks])}, above {LEAST_CORRELATION} {_count(ranks)}. But v-hat is not "
        f"noise alone: the share of variance in it is {_span([f.effect for f in shares])}, above "
        f"{LEAST_SHARE} {_count(shares)}, and it orders the size of the mean gradient too "
        f"({_span(signal)}). The share falls from {_share_at(results, min(BATCHES)):.2f} at {min(BATCHES)} "
        f"episodes a gradient to {_share_at(results, max(BATCHES)):.2f} at {max(BATCHES)}; and once the "
        f"policy has moved from untrained to partly trained, v-hat at beta2 = {BETA2:g} is "
        f"{_level_after(results, FOLLOWED):.2f} times its new level after {FOLLOWED} updates, of which "
        f"{1 - BETA2**FOLLOWED:.0%} are new by its weights alone. After {MORE_UPDATES} updates of {EPISODES} "
        f"episodes it orders the noise with a rank correlation of {_by_memory(results)}."
    )


def _span(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def _count(found: list[Finding]) -> str:
    return f"in {sum(f.outcome is Outcome.HOLDS for f in found)} of {len(found)} regimes"


def _effective(updates: int) -> str:
    """See `effective_updates`, for each memory."""
    return ", ".join(f"{effective_updates(b, updates):.3g} at beta2 = {b:g}" for b in MEMORIES)


def _dial_tables(results: Results) -> tuple[Table, ...]:
    return tuple(
        Table(
            f"{cell['stage']}, no baseline: rank correlation of v-hat with the measured variance, by "
            "episodes a gradient, updates and beta2, and the share of variance in the second moment of the "
            "median coordinate. Means with 95% bootstrap intervals. v-hat is as good as so many equally "
            f"weighted gradients: {_effective(UPDATES)} after {UPDATES} updates, "
            f"{_effective(MORE_UPDATES)} after {MORE_UPDATES}.",
            ("episodes, updates", *(f"beta2 = {beta2:g}" for beta2 in MEMORIES), "share of variance"),
            tuple(
                (
                    f"{episodes}, {updates}",
                    *(
                        with_interval(
                            stats.interval(np.asarray(arrays[f"correlation/{key}/{beta2:g}"]), "mean")
                        )
                        for beta2 in MEMORIES
                    ),
                    with_interval(stats.interval(np.asarray(arrays[f"share/{episodes}"]), "mean")),
                )
                for episodes, key, updates in (
                    *((e, str(e), UPDATES) for e in BATCHES),
                    (EPISODES, "more", MORE_UPDATES),
                )
            ),
        )
        for cell, arrays in results.measurement("dial")
    )


def _live_table(results: Results) -> Table:
    rows = []
    for stage in list(STAGES)[1:]:
        arrays = results.measurement("moments").only(stage=stage)
        second = arrays["loo/mean"] ** 2 + arrays["loo/variance"]
        for number, beta2 in enumerate(BETAS2):
            live = arrays["live"][:, number]
            if np.isfinite(live).all():
                level = np.median(live / np.maximum(second, 1e-300), axis=1)
                order = stats.spearman(live, arrays["loo/variance"])
                rows.append(
                    (
                        stage,
                        f"{beta2:g}",
                        with_interval(stats.interval(order, "mean")),
                        with_interval(stats.interval(level, "median")),
                    )
                )
    return Table(
        "v-hat that the training run had at the moment of freezing (leave-one-out), against the frozen "
        "policy: rank correlation with the variance, and ratio to the second moment of the median "
        "coordinate.",
        ("stage", "beta2", "rank correlation", "level"),
        tuple(rows),
    )


def tables(results: Results) -> tuple[Table, ...]:
    """All that was measured at each frozen policy."""
    moments, sizes = results.measurement("moments"), results.plan.sizes
    rows = []
    for regime, stage, name in regimes():
        arrays = moments.only(stage=stage)
        values = (
            arrays["return"],
            correlations(arrays, name)["v-hat"],
            slopes(arrays, name),
            noise_share(arrays, name, sizes["truth"]),
            np.median(
                np.abs(arrays[f"{name}/mean"]) / np.sqrt(np.maximum(arrays[f"{name}/variance"], 1e-300)),
                axis=1,
            ),
        )
        missed = int((arrays["reached"] == 0).sum())
        rows.append((regime, str(missed), *(with_interval(stats.interval(v, "mean")) for v in values)))
    return (
        Table(
            f"Means over {results.plan.reporting_seeds} policies with 95% bootstrap intervals; "
            f"{sizes['samples']} samples for v-hat and {sizes['truth']} others for mean and variance, of "
            f"{EPISODES} episodes each. Missed: policies that never returned what the stage is named for.",
            (
                "regime",
                "missed",
                "return",
                "rank correlation",
                "log-log slope",
                "share of variance",
                "signal to noise (median)",
            ),
            tuple(rows),
        ),
        _live_table(results),
        *_dial_tables(results),
    )
