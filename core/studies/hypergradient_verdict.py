"""The verdict of the study of hypergradients, and its tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from core.lab import stats
from core.lab.study import Results, Table
from core.lab.tables import number, with_interval
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from core.studies.hypergradient_settings import (
    EXACT,
    GRIDS,
    JUDGED_RATES,
    KNOWN,
    LONGER,
    MODES,
    OVER,
    PROBLEMS,
    RATES,
    STEP,
    TELLS,
    TRIED,
    budgets,
    cases,
    chosen,
    edges,
    probed,
    reported,
    searched,
)

WITHIN = 1.1
"""As good as the best known, or as another setting, to a tenth."""
DESCENT = "hypergradient"
SETTINGS = GRIDS["transfer"]


def errors(results: Results, problem: str, mode: str) -> stats.Interval:
    """The largest relative error of a seed's three derivatives in one mode: median over seeds."""
    found = results.measurement("agreement").only(problem=problem, mode=mode)["error"]
    return stats.interval(found.max(axis=1), "median")


def _agree(results: Results, problem: str, mode: str) -> Finding:
    return finding(
        f"{problem}, {mode}",
        errors(results, problem, mode),
        below=EXACT,
        replicas=results.plan.sizes["probes"],
        text="derivatives by lr, beta1 and beta2 equal central differences in float64",
        unit="relative error",
    )


def _against(results: Results, problem: str, horizon: int, other: str, budget: int) -> Finding:
    """Descent's fresh loss over that of another search with the same seeds, bounds and cost."""
    place = budgets(results.plan).index(budget)
    ours, theirs = (searched(results, problem, horizon, m)[:, place] for m in (DESCENT, other))
    return finding(
        f"{problem}, {horizon} steps, {budget} trainings",
        stats.ratio(ours, theirs, "median"),
        below=1.0,
        replicas=results.plan.reporting_seeds,
        text=f"descent finds a setting with lower fresh loss than {other}",
        unit="x the loss",
        decisive=other != "default",
    )


def sees(results: Results, problem: str, horizon: int) -> np.ndarray:
    """`[seeds, rates]`: whether the derivative has the sign of a change by `STEP` in the rate; no where a
    training diverged."""
    found = results.measurement("slopes").only(problem=problem, horizon=horizon)
    with np.errstate(invalid="ignore"):
        change = found["higher"] - found["lower"]
        return np.asarray(np.isfinite(change) & (found["slope"] * change > 0))


def _tells(results: Results, problem: str, rate: float) -> Finding:
    horizon = probed(results.plan)[-1]
    return finding(
        f"{problem}, {horizon} steps, lr {rate:g}",
        stats.proportion(sees(results, problem, horizon)[:, RATES.index(rate)]),
        above=TELLS,
        replicas=results.plan.sizes["probes"],
        text=f"the derivative by lr tells whether a rate {round(100 * (STEP - 1))}% larger does better than "
        "one as much smaller",
        unit="share of trainings",
    )


def _transfer(results: Results, problem: str, times: int) -> Finding:
    short, long = results.plan.steps, results.plan.steps * times
    carried, own = (reported(results, problem, long, chosen(results, problem, h)) for h in (short, long))
    return finding(
        f"{problem}, tuned for {short}, used for {long} steps",
        stats.ratio(carried, own, "median"),
        below=WITHIN,
        replicas=len(own),
        text="the setting tuned for the short horizon is within 10% of the one tuned for the long one",
        unit="x the loss",
        decisive=False,
    )


def _best_known(results: Results, problem: str, horizon: int) -> Finding:
    ours, known = (searched(results, problem, horizon, method)[:, -1] for method in (DESCENT, KNOWN))
    return finding(
        f"{problem}, {horizon} steps, {budgets(results.plan)[-1]} trainings",
        stats.ratio(ours, known, "median"),
        below=WITHIN,
        replicas=results.plan.reporting_seeds,
        text=f"descent comes within 10% of the best of a dense grid ({len(GRIDS['reference'])} settings)",
        unit="x the loss",
        decisive=False,
    )


def _seen(results: Results, problem: str, horizon: int) -> Finding:
    ours, theirs = (searched(results, problem, horizon, m, "tuning")[:, -1] for m in (DESCENT, "random"))
    return finding(
        f"{problem}, {horizon} steps, {budgets(results.plan)[-1]} trainings",
        stats.ratio(ours, theirs, "median"),
        below=1.0,
        replicas=results.plan.reporting_seeds,
        text="on the tuning seeds themselves descent goes lower than random search",
        unit="x the loss",
        decisive=False,
    )


def judge(results: Results) -> Verdict:
    """Right, useful as a search, and telling the direction; beside it the horizon and the references."""
    plan = results.plan
    agree = [_agree(results, problem, mode) for problem in PROBLEMS for mode in MODES]
    judged = (budgets(plan)[0], budgets(plan)[-1])
    won = [
        _against(results, problem, horizon, other, budget)
        for other in ("random", "grid")
        for problem, horizon in cases(plan)
        for budget in judged
    ]
    tells = [_tells(results, problem, rate) for problem in PROBLEMS for rate in JUDGED_RATES]
    carried = [_transfer(results, problem, times) for problem in PROBLEMS for times in LONGER[1:]]
    beside = [_against(results, p, h, "default", judged[-1]) for p, h in cases(plan)]
    beside += [_best_known(results, p, h) for p, h in cases(plan)]
    beside += [_seen(results, p, h) for p, h in cases(plan)]
    sentence = _sentence(results, agree, won, tells, carried)
    return verdict([*won, *tells, *agree, *carried, *beside], sentence, short=_short(agree, won))


def _short(agree: list[Finding], won: list[Finding]) -> str:
    by_random, by_grid = (tally([f for f in won if f.text.endswith(other)]) for other in ("random", "grid"))
    return (
        f"Derivatives through a training are off by {number(max(f.effect for f in agree), 1)}; at equal cost "
        f"descent on them beats random search in {by_random} settings and a grid in {by_grid}."
    )


def _sentence(
    results: Results, agree: list[Finding], won: list[Finding], tells: list[Finding], carried: list[Finding]
) -> str:
    def score(other: str) -> str:
        own = [f for f in won if f.text.endswith(other)]
        wins, losses = (sum(f.outcome is o for f in own) for o in (Outcome.HOLDS, Outcome.FAILS))
        return f"{other} in {wins} of {len(own)} settings and higher in {losses}"

    blind = "; ".join(f.regime for f in tells if f.outcome is Outcome.FAILS)
    short, long = (results.plan.steps * k for k in (LONGER[0], LONGER[-1]))
    last = [f for f in carried if f.regime.endswith(f"used for {long} steps")]
    ratios = [
        SETTINGS[chosen(results, problem, short)]["lr"] / SETTINGS[chosen(results, problem, long)]["lr"]
        for problem in PROBLEMS
    ]
    far = " and ".join(
        f"{ratio:.2g} times that for {long} on {problem}, where it leaves "
        f"{with_interval((f.effect, f.low, f.high), 2)} times the loss"
        for ratio, problem, f in zip(ratios, PROBLEMS, last, strict=True)
    )
    worst = max(agree, key=lambda f: f.effect)
    error = with_interval((worst.effect, worst.low, worst.high), 1)
    return (
        f"Derivatives through a whole training differ from finite differences by {error}. For the same cost, "
        f"descent on them finds a lower fresh loss than {score('random')}, than {score('grid')}. Their sign "
        "does not tell the better rate here: "
        f"{blind or 'nowhere'}. And on the dense grid the best rate for {short} steps is {far}."
    )


def tables(results: Results) -> tuple[Table, ...]:
    """What each search found, what transfers, and where the derivatives explode."""
    return _searches(results), _transfers(results), _agreements(results)


def _searches(results: Results) -> Table:
    rows = []
    for problem, horizon in cases(results.plan):
        for method in TRIED:
            cell = results.measurement("search").only(problem=problem, horizon=horizon, method=method)
            median = {n: float(np.median(cell[n][:, -1])) for n in OVER}
            setting = _setting(median, edges("reference", median) if method == KNOWN else ())
            rows.append(
                (
                    f"{problem}, {horizon} steps",
                    method,
                    setting,
                    with_interval(stats.interval(cell["tuning"][:, -1], "median")),
                    *(with_interval(stats.interval(column, "median")) for column in cell["fresh"].T),
                )
            )
    paid = budgets(results.plan)
    return Table(
        f"Searches of equal cost: medians over {results.plan.reporting_seeds} searches with 95% bootstrap "
        f"intervals; settings and tuning loss at the largest budget.",
        ("problem", "method", "median setting", "tuning loss", *(f"fresh, {b} trainings" for b in paid)),
        tuple(rows),
    )


def _setting(values: Mapping[str, float], edge: tuple[str, ...]) -> str:
    """A setting, with what lies at an edge of the grid that it is the best of."""
    text = ", ".join(f"{name} {number(value)}" for name, value in values.items())
    return f"{text} (edge of grid: {', '.join(edge)})" if edge else text


def _transfers(results: Results) -> Table:
    rows = []
    for problem in PROBLEMS:
        for times in LONGER:
            horizon = results.plan.steps * times
            best = SETTINGS[chosen(results, problem, horizon)]
            rows.append(
                (
                    problem,
                    str(horizon),
                    _setting(best, edges("transfer", best)),
                    *(
                        with_interval(
                            stats.interval(
                                reported(results, problem, horizon, chosen(results, problem, tuned)),
                                "median",
                            )
                        )
                        for tuned in (results.plan.steps * k for k in LONGER)
                    ),
                )
            )
    names = (f"loss, tuned for {results.plan.steps * k}" for k in LONGER)
    return Table(
        "A dense grid at three horizons: the best setting of each, and its loss (median over the seeds that "
        "did not choose) at all of them. The grid has two values of each beta, so that those are edges all.",
        ("problem", "horizon", "best setting there", *names),
        tuple(rows),
    )


def _agreements(results: Results) -> Table:
    rows = []
    for problem in PROBLEMS:
        for mode in MODES:
            found = results.measurement("agreement").only(problem=problem, mode=mode)["error"]
            rows.append(
                (
                    problem,
                    mode,
                    *(number(float(x), 2) for x in np.median(found, axis=0)),
                    number(float(found.max()), 2),
                )
            )
    return Table(
        f"Relative error of hypergradients of {results.plan.steps} steps against central differences.",
        ("problem", "mode", *(f"{name} (median)" for name in OVER), "largest"),
        tuple(rows),
    )
