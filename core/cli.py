"""The command line: `vhat list | plan | run | show | report | clean | tune | new-domain`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from core.lab.errors import VhatError
from core.lab.terminal import guarded


@dataclass(frozen=True)
class _PlanChoice:
    """Which plan's results."""

    tiny: bool = False
    """seconds a study: a smoke test, too small for verdicts"""
    quick: bool = False
    """minutes in all: the default"""
    full: bool = False
    """hours: what one would publish"""
    seeds: int | None = None
    """reporting seeds a variant; default: the plan's"""
    device: str = "cpu"
    """where it is computed: cpu, cuda, ..."""
    out: Path = Path("out")
    """folder of the results and the report"""

    @property
    def plan(self) -> str:
        """The plan's name.

        Raises:
            VhatError: if more than one was asked for.
        """
        chosen = [name for name in ("tiny", "quick", "full") if getattr(self, name)]
        if len(chosen) > 1:
            raise VhatError(f"--{' and --'.join(chosen)} exclude each other; give one")
        return chosen[0] if chosen else "quick"


@dataclass(frozen=True)
class List:
    """List the studies of all domains."""

    def __call__(self) -> None:
        from core.lab.commands import list_studies

        list_studies()


@dataclass(frozen=True)
class Run(_PlanChoice):
    """Run studies; what is stored is reused, and a run that was stopped goes on."""

    studies: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[STUDY ...]")] = ()
    """their names; all studies if none is given"""
    workers: int | None = None
    """processes; default: one a core"""
    fresh: bool = False
    """forget stored results of these studies first"""

    def __call__(self) -> None:
        from core.lab.commands import run_studies

        run_studies(
            self.studies, self.plan, self.seeds, self.device, self.out, self.workers, fresh=self.fresh
        )


@dataclass(frozen=True)
class Show(_PlanChoice):
    """Show a study's verdict, findings and tables from stored results."""

    study: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY")] = field(default=tyro.MISSING)
    """its name"""

    def __call__(self) -> None:
        from core.lab.commands import show_study

        show_study(self.study, self.plan, self.seeds, self.device, self.out)


@dataclass(frozen=True)
class Plan(_PlanChoice):
    """Say what a study's plan will take: replicas, shards, CPU hours and memory, from one measured shard."""

    study: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY")] = field(default=tyro.MISSING)
    """its name"""

    def __call__(self) -> None:
        from core.lab.commands import plan_study

        plan_study(self.study, self.plan, self.seeds, self.device, self.out)


@dataclass(frozen=True)
class Report(_PlanChoice):
    """Write the report from stored results."""

    def __call__(self) -> None:
        from core.lab.commands import write_report

        write_report(self.plan, self.seeds, self.device, self.out)


@dataclass(frozen=True)
class Clean:
    """Remove stored results, of some studies or of all, and the report."""

    studies: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[STUDY ...]")] = ()
    """their names; all studies if none is given"""
    out: Path = Path("out")
    """folder of the results and the report"""

    def __call__(self) -> None:
        from core.lab.commands import clean

        clean(self.studies, self.out)


@dataclass(frozen=True)
class Tune:
    """Tune an optimizer on a problem of your own: by hypergradient descent, on a grid, or at random."""

    problem: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE.py:NAME")] = field(
        default=tyro.MISSING
    )
    """a problem, or a class or function without arguments that gives one; also MODULE:NAME"""
    rule: str = "adam"
    """the update rule"""
    over: tuple[str, ...] = ()
    """hyperparameters to tune; default: lr and the rule's decays"""
    steps: int = 200
    """of each training; what is tuned is the loss after them"""
    method: str = "hypergradient"
    """hypergradient, grid or random"""
    compare: bool = False
    """all three methods, at equal cost"""
    budget: int = 120
    """what may be paid, in trainings of one setting on all tuning seeds"""
    ranges: tuple[str, ...] = ()
    """bounds, as in lr=1e-4:1 beta1=0.5:0.99"""
    fixed: tuple[str, ...] = ()
    """hyperparameters to hold, as in eps=1e-6"""
    seeds: int = 8
    """tuning seeds"""
    fresh_seeds: int = 20
    """seeds for the report"""
    measure: str = "loss"
    """the problem's measure to tune for; lower is better"""
    device: str = "cpu"
    """where it is computed: cpu, cuda, ..."""

    def __call__(self) -> None:
        from core.lab.tune_command import tune_problem

        tune_problem(
            self.problem,
            rule=self.rule,
            over=self.over,
            method=self.method,
            together=self.compare,
            steps=self.steps,
            budget=self.budget,
            ranges=self.ranges,
            fixed=self.fixed,
            seeds=self.seeds,
            fresh_seeds=self.fresh_seeds,
            measure=self.measure,
            device=self.device,
        )


@dataclass(frozen=True)
class NewDomain:
    """Write a folder with a small domain that works: a problem, a study, a test; change it into your own."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = field(default=tyro.MISSING)
    """of the folder and its package: small letters, digits and underscores"""
    into: Path | None = None
    """folder that will hold it; default: beside core, where it is found at once"""

    def __call__(self) -> None:
        from core.lab.new_domain import new_domain

        new_domain(self.name, self.into)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console command."""
    command = tyro.cli(
        List | Plan | Run | Show | Report | Clean | Tune | NewDomain,
        args=argv,
        prog="vhat",
        description="v-hat: an optimizer laboratory. Every claim about Adam becomes a study with a verdict.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    return guarded(command)


if __name__ == "__main__":
    sys.exit(main())
