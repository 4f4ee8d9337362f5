"""A check that any problem keeps the contract: for our tests, and for other people's domains."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from core.lab.errors import ConformanceError
from core.lab.problem import Field, Problem, players_of
from core.lab.random import Keys
from core.optim.projection import projection_of

ROUNDING = 2.0**12
"""Units in the last place of a row's largest entry that count as rounding, where bits are not asked for."""


def check_problem(
    problem: Problem,
    *,
    seeds: int = 5,
    steps: tuple[int, ...] = (0, 3),
    study: str = "conformance",
    exact: bool = True,
) -> None:
    """Check shapes, finiteness, determinism, and that replicas do not touch each other.

    The field and the measures are evaluated at the starting points and a little away from them: twice, in
    another order, and in smaller batches (of at least two rows); all must agree bit for bit. Then a replica's
    parameters are replaced by infinities and the others must not notice.

    Args:
        problem: to be checked.
        seeds: rows of the batch, at least 4.
        steps: at which the field is sampled.
        study: the namespace of the keys.
        exact: False lets a row differ from itself in another batch by rounding. Some of torch's functions
            (sigmoid, softplus, pow) round by place; a study must avoid them, a person's own module need not.

    Raises:
        ConformanceError: one line that says what the problem does and what it should do.
    """
    if seeds < 4:
        raise ValueError(f"conformance needs at least 4 seeds, got {seeds}")
    _check_parts(problem)
    keys = Keys.of(range(seeds), study=study)
    slack = 0.0 if exact else ROUNDING
    init = problem.init(keys)
    check_init(problem, init, seeds)
    _same(f"{_name(problem)}.init", "with the same keys", init, problem.init(keys))
    for order in _smaller_batches(keys):
        _same(
            f"{_name(problem)}.init",
            f"in a batch of {len(order)}",
            init[order],
            problem.init(keys.rows(order)),
        )
    nudged = init + 0.01 * keys.fold("nudge").normal(problem.dim, dtype=init.dtype)
    project = projection_of(problem)
    if project is not None:
        nudged = project(nudged, lambda: 1.0 + keys.fold("metric").uniform(problem.dim, dtype=init.dtype))
    for step in steps:
        for params in (init, nudged):
            _check_point(problem, params, keys, step, slack)
    _check_players(problem)


def _name(problem: Problem) -> str:
    return type(problem).__name__


def _check_parts(problem: object) -> None:
    missing = [n for n in ("dim", "init", "field", "measure") if not hasattr(problem, n)]
    if missing:
        raise ConformanceError(
            f"an object of type {type(problem).__name__} is no problem: it has no {', '.join(missing)}; see "
            "core.lab.problem.Problem"
        )


def check_init(problem: Problem, init: Tensor, seeds: int) -> None:
    """Check where a problem starts, for so many keys.

    Raises:
        ConformanceError: unless it is a finite floating-point `[R, D]`.
    """
    shape = (seeds, problem.dim)
    if tuple(init.shape) != shape:
        raise ConformanceError(
            f"{_name(problem)}.init gives {tuple(init.shape)} for {seeds} keys; give [R, D] = {shape}"
        )
    if not init.is_floating_point():
        raise ConformanceError(f"{_name(problem)}.init gives {init.dtype}; give a floating-point tensor")
    if not bool(torch.isfinite(init).all()):
        raise ConformanceError(f"{_name(problem)}.init is not finite")


def _smaller_batches(keys: Keys) -> list[Tensor]:
    rows = len(keys)
    orders = (
        torch.arange(rows - 1, -1, -1),
        torch.arange(0, rows, 2),
        torch.arange(0, 2),
        torch.arange(2, rows),
    )
    return [order.to(keys.device) for order in orders]


def _same(what: str, when: str, a: Tensor, b: Tensor, slack: float = 0.0) -> None:
    """`slack` is in units in the last place of a row's largest entry."""
    if a.shape != b.shape:
        raise ConformanceError(
            f"{what} has another shape {when}: {tuple(b.shape)} instead of {tuple(a.shape)}"
        )
    differs = (a != b) & ~(a.isnan() & b.isnan())
    if slack:
        largest = a.abs().reshape(len(a), -1).amax(dim=1).reshape(-1, *(1,) * (a.dim() - 1))
        differs &= ~((a - b).abs() <= slack * torch.finfo(a.dtype).eps * largest)
    if bool(differs.any()):
        row = int(differs.reshape(len(a), -1).any(dim=1).nonzero()[0])
        raise ConformanceError(
            f"{what} differs {when} (first in row {row}): a row must depend on its own parameters and key "
            "alone, with the same bits in any batch; look for a shared generator, an average over rows, a "
            "matrix product that folds the rows together, or a function that rounds by place "
            "(sigmoid, pow, softplus)"
        )


def _evaluate(problem: Problem, params: Tensor, keys: Keys, step: int) -> dict[str, Tensor]:
    field = problem.field(params, keys, step)
    if not isinstance(field, Field):
        raise ConformanceError(
            f"{_name(problem)}.field gives {type(field).__name__}; give core.lab.problem.Field(values)"
        )
    found = {"field": field.values, **{f"field measure {k!r}": v for k, v in field.measures.items()}}
    measures: Mapping[str, Tensor] = problem.measure(params, keys)
    return {**found, **{f"measure {k!r}": v for k, v in measures.items()}}


def _check_point(problem: Problem, params: Tensor, keys: Keys, step: int, slack: float) -> None:
    before = params.clone()
    found = _evaluate(problem, params, keys, step)
    if not torch.equal(before, params):
        raise ConformanceError(
            f"{_name(problem)} writes into the parameters it is given; return new tensors instead"
        )
    rows = len(keys)
    for what, value in found.items():
        shape = (rows, problem.dim) if what == "field" else (rows,)
        if tuple(value.shape) != shape:
            raise ConformanceError(f"{_name(problem)}: {what} has shape {tuple(value.shape)}; give {shape}")
        if what == "field" and (value.dtype, value.device) != (params.dtype, params.device):
            raise ConformanceError(
                f"{_name(problem)}: field is {value.dtype} on {value.device}; "
                f"give the parameters' {params.dtype} on {params.device}"
            )
        if value.requires_grad:
            raise ConformanceError(
                f"{_name(problem)}: {what} carries a graph, which would grow over a run; detach it"
            )
        if not bool(torch.isfinite(value).all()):
            raise ConformanceError(f"{_name(problem)}: {what} is not finite near the starting points")
    for what, value in _evaluate(problem, params, keys, step).items():
        _same(f"{_name(problem)}: {what}", "when it is evaluated twice", found[what], value)
    for order in _smaller_batches(keys):
        for what, value in _evaluate(problem, params[order], keys.rows(order), step).items():
            _same(
                f"{_name(problem)}: {what}", f"in a batch of {len(order)}", found[what][order], value, slack
            )
    broken = params.clone()
    broken[0] = torch.inf
    try:
        after = _evaluate(problem, broken, keys, step)
    except Exception as error:
        raise ConformanceError(
            f"{_name(problem)} raises {type(error).__name__} when one replica's parameters are infinite; "
            "a diverged replica must not stop the others"
        ) from error
    for what, value in after.items():
        _same(
            f"{_name(problem)}: {what}", "when another replica is infinite", found[what][1:], value[1:], slack
        )


def _check_players(problem: Problem) -> None:
    covered = [i for player in players_of(problem) for i in range(*player.indices(problem.dim))]
    if covered != list(range(problem.dim)):
        raise ConformanceError(
            f"{_name(problem)}.players must cover the {problem.dim} coordinates in order, each once; "
            f"they cover {covered}"
        )
