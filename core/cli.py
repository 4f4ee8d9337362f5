"""The command line: `vhat list | plan | run | show | report | export | doctor | clean | ...`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
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
class List(_PlanChoice):
    """List the studies of all domains, or with --verdicts what came out of those that are stored."""

    verdicts: bool = False
    """print a Markdown table: question, verdict, how many findings hold, and the answer in short"""

    def __call__(self) -> None:
        from core.lab.commands import list_studies, list_verdicts

        if self.verdicts:
            list_verdicts(self.plan, self.seeds, self.device, self.out)
        elif self != List():
            raise VhatError(
                "--tiny, --quick, --full, --seeds, --device and --out choose verdicts: add --verdicts"
            )
        else:
            list_studies()


@dataclass(frozen=True)
class Run(_PlanChoice):
    """Run studies; what is stored is reused, and a run that was stopped goes on."""

    studies: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[STUDY ...]")] = ()
    """their names; all studies if none is given"""
    workers: int | None = None
    """processes; default: one a core that may be used"""
    engine: Annotated[str, tyro.conf.arg(metavar="local|dask")] = "local"
    """local: processes of this machine; dask: an existing Dask cluster (extra `cluster`), whose peers may run
    anything on each other: connect to your own only"""
    scheduler: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    """of the cluster's scheduler, as in tcp://10.0.0.1:8786"""
    fresh: bool = False
    """forget what is stored of these studies in this plan first; other plans' results stay"""
    tensorboard: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """also write curves (median and quartiles of each variant) and tuned settings for TensorBoard"""

    def __call__(self) -> None:
        from core.lab.commands import run_studies

        run_studies(
            self.studies,
            self.plan,
            self.seeds,
            self.device,
            self.out,
            self.workers,
            fresh=self.fresh,
            kind=self.engine,
            scheduler=self.scheduler,
            tensorboard=self.tensorboard,
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
    """Say what a study's plan will take: replicas, shards, CPU hours and memory, from measured shards."""

    study: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY")] = field(default=tyro.MISSING)
    """its name"""

    def __call__(self) -> None:
        from core.lab.commands import plan_study

        plan_study(self.study, self.plan, self.seeds, self.device, self.out)


@dataclass(frozen=True)
class Report(_PlanChoice):
    """Write the report from stored results."""

    workers: int | None = None
    """processes that draw; default: one a core"""
    redraw: bool = False
    """draw anew also what an earlier report has drawn from the same results"""

    def __call__(self) -> None:
        from core.lab.commands import write_report

        write_report(self.plan, self.seeds, self.device, self.out, self.workers, redraw=self.redraw)


@dataclass(frozen=True)
class Export(_PlanChoice):
    """Write every stored curve and value as files, one value a row: a folder a study."""

    studies: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[STUDY ...]")] = ()
    """their names; all that are stored if none is given"""
    format: Annotated[str, tyro.conf.arg(metavar="csv|parquet")] = "csv"
    """of the files; Parquet needs pyarrow"""
    to: Path | None = None
    """folder of the files; default: the folder `export` in --out"""

    def __call__(self) -> None:
        from core.lab.commands import export_studies

        export_studies(self.studies, self.plan, self.seeds, self.device, self.out, self.format, self.to)


@dataclass(frozen=True)
class Doctor:
    """Look at this machine and the stored results in seconds; with --full rerun every promise's tests."""

    full: bool = False
    """rerun the tests (well over an hour; needs the development install) and keep what they count"""
    device: str = "cpu"
    """where a small sweep is tried: cpu, cuda, ..."""
    out: Path = Path("out")
    """folder of the results and the report"""

    def __call__(self) -> None:
        from core.lab.commands import doctor

        doctor(self.out, self.device, full=self.full)


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
    clip: float = 0.0
    """hypergradients (by logarithms and logits) longer than this are clipped to it; 0: all are"""
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
            clip=self.clip,
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


def parse(argv: Sequence[str] | None = None) -> Callable[[], None]:
    """The command that a line asks for, ready to be called; a line that makes no sense ends the process with
    an explanation and exit code 2."""
    command: Callable[[], None] = tyro.cli(
        List | Plan | Run | Show | Report | Export | Doctor | Clean | Tune | NewDomain,
        args=argv,
        prog="vhat",
        description="v-hat: an optimizer laboratory. Every claim about Adam becomes a study with a verdict.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console command."""
    return guarded(parse(argv))


if __name__ == "__main__":
    sys.exit(main())
