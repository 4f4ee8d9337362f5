"""The verdict of the study `gan`, and its tables; they read stored results only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.lab import stats
from core.lab.experiment import Array
from core.lab.run import Run
from core.lab.study import Results, Table
from core.lab.sweep import SweepResult
from core.lab.tables import number, sweep_table, with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, verdict
from games.studies.continued_sweep import ContinuedResult
from games.studies.gan_settings import ADAMS, BUDGETS, CONTINUED, LINEAR, METHODS

KEPT = "same rates"
"""Of what goes on for seven times as long without being tuned again."""
LEAST_EFFECT = 0.5
"""Half a mode, on average over seeds."""


@dataclass(frozen=True)
class Compared:
    """The sweeps of one budget, by one and by two evaluations a step, as one."""

    parts: tuple[SweepResult, ...]

    @classmethod
    def of(cls, results: Results, budget: str) -> Compared:
        """The sweeps of a budget."""
        return cls((results.sweep(f"{budget}: one evaluation"), results.sweep(f"{budget}: two evaluations")))

    @classmethod
    def continued(cls, results: Results) -> Compared:
        """The methods that go on from the short budget, seven times as long at the same rates."""
        parts = cls.of(results, "short").parts
        return cls(tuple(part.longer for part in parts if isinstance(part, ContinuedResult)))

    @property
    def regimes(self) -> tuple[str, ...]:
        """Names, in the sweeps' order."""
        return self.parts[0].regimes

    def part(self, name: str) -> SweepResult:
        """The sweep that holds a method."""
        return next(p for p in self.parts if name in p.variants)

    def run(self, regime: str, name: str) -> Run:
        """The reported run."""
        return self.part(name).run(regime, name)

    def final(self, regime: str, name: str) -> Array:
        """The objective `[S]`; a replica that diverged covers no mode."""
        values = self.part(name).values(regime, name)
        return np.maximum(values, 0.0) if self.part(name).sweep.objective.higher else values


def budgets(results: Results) -> tuple[str, ...]:
    """Those of the plan."""
    return tuple(BUDGETS)[: results.plan.sizes["budgets"]]


def churn(run: Run) -> Array:
    """`[R]`: modes gained or lost from record to record, on average over the second half of training."""
    modes = run.curves["modes"]
    return np.asarray(np.abs(np.diff(modes[:, modes.shape[1] // 2 :], axis=1)).mean(axis=1))


def mass(run: Run) -> Array:
    """`[R, T, K]`: the share of samples near each mode."""
    count = sum(name.startswith("mass ") for name in run.curves)
    return np.stack([run.curves[f"mass {k}"] for k in range(count)], axis=-1)


def mass_moved(run: Run) -> Array:
    """`[R]`: share of samples that would have to change modes between two records, second half of training:
    half the sum of the changes of the modes' masses."""
    near = mass(run)[:, run.steps.shape[0] // 2 :]
    return np.asarray(0.5 * np.abs(np.diff(near, axis=1)).sum(axis=2).mean(axis=1))


def regained(run: Run) -> Array:
    """`[R]`: how often a mode that had been dropped is covered again, over all of training."""
    near = mass(run)
    covered = near >= 0.25 / near.shape[2]
    ever = np.maximum.accumulate(covered, axis=1)
    return np.asarray((covered[:, 1:] & ~covered[:, :-1] & ever[:, :-1]).sum(axis=(1, 2)), dtype=np.float64)


def loss_spread(run: Run) -> Array:
    """`[R]`: standard deviation of the generator's loss on held-out points from record to record, in the
    second half of training."""
    losses = run.curves["loss_generator"]
    return np.asarray(losses[:, losses.shape[1] // 2 :].std(axis=1))


STEADINESS = {
    "modes gained or lost a record": churn,
    "share of samples moved a record": mass_moved,
    "modes regained": regained,
    "spread of the generator's loss": loss_spread,
}


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

    def correlation(pick_linear: Array, pick_modes: Array) -> float:
        near = [-stats.centre(x[pick_linear]) for x in linear]
        covered = [float(x[pick_modes].mean()) for x in modes]
        return float(stats.spearman(np.array(near), np.array(covered)))

    sizes = len(linear[0]), len(modes[0])
    draws = [correlation(*(rng.integers(0, n, n) for n in sizes)) for _ in range(resamples)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return correlation(*(np.arange(n) for n in sizes)), float(low), float(high)


def _carries_over(results: Results, budget: str, regime: str) -> Finding:
    """Whether methods that come nearer on noisy xy cover more modes."""
    linear, of = Compared.of(results, "linear"), Compared.of(results, budget)
    effect = _resampled_ranks(
        [linear.final(LINEAR.name, m) for m in METHODS], [of.final(regime, m) for m in METHODS]
    )
    return finding(
        f"{regime}, {budget}: ranking of {len(METHODS)} methods",
        effect,
        above=0.0,
        replicas=results.plan.reporting_seeds,
        text="Methods that end nearer the equilibrium of noisy xy cover more modes",
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
                )
            ]
            beside.append(_carries_over(results, budget, regime))
    short, continued = Compared.of(results, "short"), Compared.continued(results)
    for regime in short.regimes:
        beside += [_longer(continued, short, regime, m, KEPT) for m in CONTINUED]
        beside += [_modes(continued, KEPT, regime, a, "GDA", decisive=False) for a in ADAMS]
    if len(budgets(results)) == len(BUDGETS):
        long = Compared.of(results, "long")
        beside += [_longer(long, short, r, m, "tuned again") for r in long.regimes for m in ("GDA", *ADAMS)]
    return verdict([*decisive, *beside], _sentence(results, decisive, beside))


def _fate(longer: Finding) -> str:
    if longer.high < 0.0:
        return "loses modes"
    return "was slow" if longer.outcome is Outcome.HOLDS else "neither gains nor loses surely"


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
    ranking = parts[f"{regime}, {budget}: ranking of {len(METHODS)} methods"]
    carried = {
        Outcome.HOLDS: "the ranking of methods on noisy xy carries over",
        Outcome.FAILS: "the ranking of methods on noisy xy does not carry over",
        Outcome.UNCLEAR: "whether the ranking of methods on noisy xy carries over is open",
    }
    return (
        f"Of 8 modes, tuned and at the end ({regime}): {values}; Adam covers at least half a mode more than "
        f"GDA in {held} of {len(decisive)} settings, {said[momentum]}, and {carried[ranking.outcome]} (rank "
        f"correlation {ranking.effect:.2g}). Seven times as long at the same rates: {longer} ({fates})."
    )


def tables(results: Results) -> tuple[Table, ...]:
    """Tuned modes, quality and distances, steadiness, and ranks beside the linear game."""
    found: list[Table] = []
    for budget in budgets(results):
        of = Compared.of(results, budget)
        for regime in of.regimes:
            found += [sweep_table(part, regime) for part in of.parts]
            found += [_quality(of, regime, budget), _steadiness(of, regime, budget)]
    return (*found, *(_continued(results, r) for r in Compared.continued(results).regimes), _ranks(results))


def _with(values: Array) -> str:
    return with_interval(stats.interval(np.nan_to_num(values, nan=np.inf)))


def _quality(of: Compared, regime: str, budget: str) -> Table:
    names = ("quality", "energy", "sliced")
    rows = [(m, *(_with(of.run(regime, m).curves[n][:, -1]) for n in names)) for m in METHODS]
    return Table(
        f"{regime}, {budget} budget, at the end: share of samples within 3 standard deviations of a mode "
        "(0.989 for the data itself), energy distance and sliced Wasserstein distance to held-out points "
        "(lower is better).",
        ("method", "high-quality samples", "energy distance", "sliced Wasserstein distance"),
        tuple(rows),
    )


def _steadiness(of: Compared, regime: str, budget: str) -> Table:
    rows = [(m, *(_with(measure(of.run(regime, m))) for measure in STEADINESS.values())) for m in METHODS]
    return Table(
        f"{regime}, {budget} budget: oscillation during training, from 40 records (who covers few modes has "
        "few to lose; modes regained: counted over all of training, the rest over its second half).",
        ("method", *STEADINESS),
        tuple(rows),
    )


def _continued(results: Results, regime: str) -> Table:
    """Slower, or less stable? The same paths, seven times as long."""
    short, long = Compared.of(results, "short"), Compared.continued(results)
    rows = []
    for name in CONTINUED:
        runs = [of.run(regime, name) for of in (short, long)]
        rows.append(
            (
                name,
                number(short.part(name).tuned[regime, name].best["lr"]),
                *(with_interval(stats.interval(of.final(regime, name), "mean")) for of in (short, long)),
                *(_with(run.curves[n][:, -1]) for n in ("quality", "sliced") for run in runs),
                _with(regained(runs[1])),
            )
        )
    return Table(
        f"{regime}: the same paths at the end of the short budget (1x) and after seven times as many "
        "evaluations (7x), at the rate tuned for the short one. Modes regained: from 40 records over all of "
        "the long run.",
        (
            "method",
            "learning rate",
            "modes, 1x",
            "modes, 7x",
            "high-quality samples, 1x",
            "high-quality samples, 7x",
            "sliced Wasserstein distance, 1x",
            "sliced Wasserstein distance, 7x",
            "modes regained, 7x",
        ),
        tuple(rows),
    )


def _ranks(results: Results) -> Table:
    """Where the ranking of the linear game carries over, and where it turns over."""
    linear = Compared.of(results, "linear")
    budget = budgets(results)[-1]
    of = Compared.of(results, budget)
    regime = of.regimes[0]
    near = [stats.centre(linear.final(LINEAR.name, m)) for m in METHODS]
    covered = [float(of.final(regime, m).mean()) for m in METHODS]
    places = [np.argsort(np.argsort(x, kind="stable")) + 1 for x in (np.array(near), -np.array(covered))]
    rows = [
        (m, number(near[i]), str(places[0][i]), number(covered[i]), str(places[1][i]))
        for i, m in sorted(enumerate(METHODS), key=lambda pair: near[pair[0]])
    ]
    return Table(
        f"Places in the noisy game xy and in the GAN ({regime}, {budget} budget), each method tuned in each. "
        "On xy a player has one coordinate: there a v shared within a player is its own.",
        ("method", "final distance on xy", "place", "modes covered", "place"),
        tuple(rows),
    )
