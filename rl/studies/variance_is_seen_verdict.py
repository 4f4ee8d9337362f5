"""The verdict and the tables of the study of the second moment."""

from __future__ import annotations

import numpy as np

from core.lab import stats
from core.lab.experiment import Array, Payload
from core.lab.study import Results, Table
from core.lab.tables import with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, verdict
from rl.frozen import BETA2, BETAS2, STAGES
from rl.problems import cartpole
from rl.studies.variance_is_seen_measure import AFTER, BASELINES, BATCHES, EPISODES, MEMORIES, UPDATES

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
    samples, replicas = results.plan.sizes["samples"], results.plan.reporting_seeds
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
    return verdict([*findings, *beside], _sentence(findings, results))


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
    return found


def _following_findings(results: Results) -> list[Finding]:
    """How far v-hat has come after a move of the policy, beside the verdict."""
    return [
        finding(
            f"{cell['stage']}: {FOLLOWED} updates",
            stats.interval(np.asarray(arrays[f"level/{beta2:g}"][:, AFTER.index(FOLLOWED)]), "median"),
            above=0.5,
            replicas=results.plan.reporting_seeds,
            text=f"v-hat at beta2 = {beta2:g} over the second moment where the policy is now",
            unit="ratio, median coordinate",
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
        f"policy has moved from untrained to partly trained, v-hat at beta2 = {BETA2:g} has "
        f"{_level_after(results, 20):.0%} of its new level after 20 updates."
    )


def _span(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def _count(found: list[Finding]) -> str:
    return f"in {sum(f.outcome is Outcome.HOLDS for f in found)} of {len(found)} regimes"


def _dial_tables(results: Results) -> tuple[Table, ...]:
    return tuple(
        Table(
            f"{cell['stage']}, no baseline: rank correlation of v-hat after {UPDATES} updates with the "
            "measured variance, by episodes a gradient and beta2, and the share of variance in the second "
            "moment of the median coordinate. Means with 95% bootstrap intervals.",
            ("episodes", *(f"beta2 = {beta2:g}" for beta2 in MEMORIES), "share of variance"),
            tuple(
                (
                    str(episodes),
                    *(
                        with_interval(
                            stats.interval(np.asarray(arrays[f"correlation/{episodes}/{beta2:g}"]), "mean")
                        )
                        for beta2 in MEMORIES
                    ),
                    with_interval(stats.interval(np.asarray(arrays[f"share/{episodes}"]), "mean")),
                )
                for episodes in BATCHES
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
    moments, samples = results.measurement("moments"), results.plan.sizes["samples"]
    rows = []
    for regime, stage, name in regimes():
        arrays = moments.only(stage=stage)
        values = (
            arrays["return"],
            correlations(arrays, name)["v-hat"],
            slopes(arrays, name),
            noise_share(arrays, name, samples),
            np.median(
                np.abs(arrays[f"{name}/mean"]) / np.sqrt(np.maximum(arrays[f"{name}/variance"], 1e-300)),
                axis=1,
            ),
        )
        rows.append((regime, *(with_interval(stats.interval(v, "mean")) for v in values)))
    return (
        Table(
            f"Means over {results.plan.reporting_seeds} policies with 95% bootstrap intervals; {samples} "
            f"samples for v-hat and {samples} others for mean and variance, of {EPISODES} episodes each.",
            (
                "regime",
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
