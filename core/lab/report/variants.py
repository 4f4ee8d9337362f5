"""What was tried: tables of variants with their grids and tuned settings, and of measured cells."""

from __future__ import annotations

from collections.abc import Mapping

from core.lab.measurement import MeasurementResult
from core.lab.study import Results, Table
from core.lab.sweep import SweepResult, Tuned
from core.lab.tables import number, setting_text
from core.lab.variant import Variant


def tried_tables(results: Results) -> tuple[Table, ...]:
    """One table an experiment, in the order of the study."""
    tables: list[Table] = []
    for name, result in results.by_name.items():
        if isinstance(result, SweepResult):
            tables.append(_sweep_variants(name, result))
        elif isinstance(result, MeasurementResult) and result.cells:
            tables.append(_measured_cells(name, result))
    return tuple(tables)


def _sweep_variants(name: str, result: SweepResult) -> Table:
    sweep = result.sweep
    objective = sweep.objective
    rows = []
    for variant in sweep.variants:
        cells = [_tuned(result.tuned[regime, variant.name]) for regime in result.regimes]
        role = (
            ("control" + (f": {variant.note}" if variant.note else "")) if variant.control else variant.note
        )
        rows.append((variant.name, _rule(variant), _play(variant), *cells, role))
    return Table(
        f"{name}: {sweep.steps} steps a replica; tuned for {objective.label or objective.measure}, "
        f"{objective.across} over {sweep.tuning_seeds} seeds; then run on {sweep.reporting_seeds} others. "
        "In brackets: learning rates tried; where the best lay on the edge, the grid was widened; what "
        "lies on the edge of all that was tried is named.",
        ("variant", "update rule", "play", *(f"tuned: {regime}" for regime in result.regimes), "role"),
        tuple(rows),
    )


def _rule(variant: Variant) -> str:
    """`adam (beta1 0.0)`: the rule with what this variant fixes."""
    fixed = ", ".join(f"{key} {value}" for key, value in variant.hyper.items())
    return variant.update_rule.name + (f" ({fixed})" if fixed else "")


def _play(variant: Variant) -> str:
    adjusted = "" if variant.adjust is None else f", field: {variant.adjust!r}"
    return (repr(variant.play) + adjusted).replace("()", "").lower()


def _tuned(tuned: Tuned) -> str:
    rates = [setting["lr"] for setting in tuned.settings]
    edge = f", on the edge of its widest grid: {', '.join(tuned.edge)}" if tuned.edge else ""
    return f"{setting_text(tuned.best)} [{number(min(rates), 4)} to {number(max(rates), 4)}{edge}]"


def _measured_cells(name: str, result: MeasurementResult) -> Table:
    values: dict[str, list[str]] = {}
    for cell in result.cells:
        for key, value in cell.items():
            text = _plain(value)
            if text not in values.setdefault(key, []):
                values[key].append(text)
    rows = tuple((key, ", ".join(found)) for key, found in values.items())
    return Table(
        f"{name}: {len(result.cells)} cells, each measured over its own seeds.", ("factor", "values"), rows
    )


def _plain(value: object) -> str:
    if isinstance(value, float):
        return number(value, 4)
    if isinstance(value, Mapping):
        return " ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return " ".join(_plain(inner) for inner in value)
    return str(value)
