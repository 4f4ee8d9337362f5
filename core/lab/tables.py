"""Tables of results as ready text."""

from __future__ import annotations

import math

import numpy as np

from core.lab import stats
from core.lab.study import Table
from core.lab.sweep import SweepResult, Tuned
from core.lab.verdict import Finding

_CENTRES = {"iqm": "interquartile mean", "median": "median", "mean": "mean"}


def number(value: float, digits: int = 3) -> str:
    """A number for people: three significant digits, a true minus sign left out, infinity as a word's
    sign."""
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.{digits}g}"


def with_interval(interval: stats.Interval, digits: int = 3) -> str:
    """`estimate [low, high]`."""
    estimate, low, high = (number(x, digits) for x in interval)
    return f"{estimate} [{low}, {high}]"


def setting_text(setting: dict[str, float] | object) -> str:
    """`lr 0.01, momentum 0.9`."""
    assert hasattr(setting, "items")
    return ", ".join(f"{key} {number(value, 4)}" for key, value in setting.items())


def tuned_text(tuned: Tuned) -> str:
    """`lr 0.01, momentum 0.95 (edge: momentum)`: the chosen setting, and what lies on an edge."""
    return setting_text(tuned.best) + (f" (edge: {', '.join(tuned.edge)})" if tuned.edge else "")


def sweep_table(result: SweepResult, regime: str) -> Table:
    """How each variant did in a regime: tuned setting, objective with interval, failures; and against the
    first variant the chance to beat it and the p-value of their paired difference, adjusted for all rows."""
    objective, first, *others = result.sweep.objective, *result.variants
    losses = {name: objective.losses(result.run(regime, name)) for name in result.variants}
    adjusted = {}
    if others:
        differences = np.array([stats.differences(losses[name], losses[first]) for name in others])
        p_values = stats.sign_flip_p(differences, resamples=2999)
        adjusted = dict(zip(others, stats.adjusted(p_values), strict=True))
    rows = []
    for name in result.variants:
        tuned = result.tuned[regime, name]
        chance = stats.probability_of_improvement(losses[name], losses[first])
        rows.append(
            (
                name,
                tuned_text(tuned),
                with_interval(stats.interval(result.values(regime, name), objective.across)),
                with_interval(stats.proportion(np.isinf(losses[name])), 2),
                "" if name == first else with_interval(chance, 2),
                "" if name == first else number(adjusted[name], 2),
            )
        )
    label = objective.label or objective.measure
    failed = "share diverged or never there" if objective.at == "hit" else "share diverged"
    return Table(
        f"{regime}, {label}: {_CENTRES[objective.across]} over {result.sweep.reporting_seeds} fresh seeds "
        f"with 95% bootstrap intervals; tuned on {result.sweep.tuning_seeds} others. p: of the paired "
        f"difference from {first}, by sign flips, with the false discovery rate controlled over all rows.",
        ("variant", "tuned setting", label, failed, f"P(better than {first})", "p"),
        tuple(rows),
    )


def findings_table(findings: tuple[Finding, ...]) -> Table:
    """The findings behind a verdict."""
    return Table(
        "Findings",
        ("regime", "what was found", "effect", "threshold", "replicas", "outcome"),
        tuple(
            (
                f.regime,
                f.text,
                f"{with_interval((f.effect, f.low, f.high))} {f.unit}".strip(),
                number(f.threshold),
                str(f.replicas),
                f.outcome.value + ("" if f.decisive else " (beside the verdict)"),
            )
            for f in findings
        ),
    )


def text_table(table: Table) -> str:
    """Columns set in plain text."""
    lines = [table.columns, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    rule = tuple("-" * w for w in widths)
    lines.insert(1, rule)
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown_table(table: Table) -> str:
    """A table in Markdown, one line a row."""
    lines = [table.columns, *table.rows]
    cells = [" | ".join(" ".join(cell.split()).replace("|", r"\|") for cell in line) for line in lines]
    cells.insert(1, "|".join("---" for _ in table.columns))
    return "\n".join(f"|{line}|" if line.startswith("---") else f"| {line} |" for line in cells)
