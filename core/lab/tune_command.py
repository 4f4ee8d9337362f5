"""`vhat tune`: the tool of `core.lab.tune` for a person at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from core.lab.engines import check_device
from core.lab.errors import VhatError, nearest
from core.lab.own_problem import load_problem
from core.lab.progress import Bar
from core.lab.tables import text_table
from core.lab.terminal import say
from core.lab.tune import METHODS, Method, tune
from core.lab.tuning.show import tuned_table
from core.optim.rules import RULES


def tune_problem(
    target: str,
    *,
    rule: str,
    over: Sequence[str],
    method: str,
    together: bool,
    steps: int,
    budget: int,
    ranges: Sequence[str],
    fixed: Sequence[str],
    seeds: int,
    fresh_seeds: int,
    measure: str,
    clip: float,
    device: str,
) -> None:
    """Tune a rule on a problem, by one method or by all at equal cost, and print what was found.

    Args:
        target: see `core.lab.own_problem.load_problem`.
        together: all methods.
        ranges: `lr=1e-4:1` each.
        fixed: `eps=1e-6` each.
        rule, over, method, steps, budget, seeds, fresh_seeds, measure, clip, device: as of
            `core.lab.tune.tune`.

    Raises:
        VhatError: for whatever cannot be tuned.
    """
    check_device(device)
    if method not in METHODS:
        raise VhatError(nearest(method, METHODS, kind="method"))
    bounds, held = dict(map(_range, ranges)), dict(map(_setting, fixed))
    chosen: tuple[Method, ...] = METHODS if together else tuple(m for m in METHODS if m == method)
    problem = load_problem(target)
    with _not_resumed(), Bar("vhat tune") as progress:
        found = [
            tune(
                problem,
                rule,
                steps=steps,
                over=tuple(over) or _usual(rule),
                method=one,
                budget=budget,
                ranges=bounds,
                fixed=held,
                seeds=seeds,
                fresh_seeds=fresh_seeds,
                measure=measure,
                clip=clip,
                device=device,
                progress=progress,
            )
            for one in chosen
        ]
    sys.stdout.write(f"{text_table(tuned_table(found))}\n")
    for line in dict.fromkeys(line for one in found for line in one.warnings):
        say(line)


class Stopped(VhatError):
    """Ctrl-C during a search."""

    exit_code = 130


@contextmanager
def _not_resumed() -> Iterator[None]:
    """Says on Ctrl-C that nothing of a search is kept, other than of a study."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped("stopped; a search that has not ended keeps nothing") from None


def _usual(rule: str) -> tuple[str, ...]:
    """The learning rate and the decays of a rule that has any."""
    if rule not in RULES:
        raise VhatError(nearest(rule, RULES, kind="update rule"))
    decays = ("beta1", "beta2", "momentum", "alpha")
    return ("lr", *(n for n in decays if isinstance(v := RULES[rule].hyper.get(n), float) and 0 < v < 1))


def _setting(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise VhatError(f"cannot read {text!r}; write NAME=VALUE, such as eps=1e-6") from None


def _range(text: str) -> tuple[str, tuple[float, float]]:
    name, _, bounds = text.partition("=")
    low, _, high = bounds.partition(":")
    try:
        return name, (float(low), float(high))
    except ValueError:
        raise VhatError(f"cannot read {text!r}; write NAME=LOWEST:HIGHEST, such as lr=1e-4:1") from None
