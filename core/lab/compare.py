"""One call for people with a problem of their own: tune each variant, report on fresh seeds, show and keep
it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.lab import stats
from core.lab.conformance import check_problem
from core.lab.engines import InProcess
from core.lab.errors import VhatError
from core.lab.owner import is_alive, this_process
from core.lab.problem import Problem
from core.lab.progress import Bar
from core.lab.run import Recording
from core.lab.runner import local_job, run_jobs
from core.lab.store import Store
from core.lab.store_file import MEMORY
from core.lab.study import Plan, Table
from core.lab.sweep import Objective, Regime, Sweep, SweepResult
from core.lab.tables import number, sweep_table, text_table
from core.lab.variant import Grid, Variant

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAME = "compare"


@dataclass(frozen=True, repr=False)
class Comparison:
    """Tuned variants on one problem, reported on fresh seeds. Printing it shows the table; a notebook shows
    the figure too.

    Attributes:
        result: of the sweep behind it, which has one regime.
    """

    result: SweepResult

    @property
    def table(self) -> Table:
        """Variant, tuned setting, objective with interval, failures, and the probability of beating the first
        one."""
        return sweep_table(self.result, self.result.regimes[0])

    def best(self, variant: str) -> dict[str, float]:
        """The tuned hyperparameters of a variant.

        Raises:
            KeyError: if it was not compared.
        """
        return dict(self.result.tuned[self.result.regimes[0], variant].best)

    def figure(self) -> Figure:
        """Learning curves with intervals, and the objective over the learning rate."""
        from core.lab import figures

        figure, (left, right) = figures.new_figure(columns=2)
        regime, objective = self.result.regimes[0], self.result.sweep.objective
        for name in self.result.variants:
            run = self.result.run(regime, name)
            figures.curves_with_intervals(left, run.steps, run.curves[objective.measure], name)
        figures.label(left, x="step", y=objective.label or objective.measure)
        _frame(left)
        figures.lr_curve(right, self.result, regime)
        figures.legend_below(figure, left)
        return figure

    def to_pandas(self) -> pd.DataFrame:
        """Every value in tidy long form: see `core.lab.frames.sweep_frame`."""
        from core.lab.frames import sweep_frame

        return sweep_frame(self.result)

    def save(self, folder: Path | str) -> Path:
        """Write `table.txt`, `comparison.svg` and `summary.json` into a folder; the stored run lies where
        `out` said.

        Raises:
            VhatError: if the folder cannot be written.
        """
        from core.lab import figures

        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "table.txt").write_text(f"{self}\n", "utf-8")
            summary = {v: {"setting": self.best(v), **self._summary(v)} for v in self.result.variants}
            (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", "utf-8")
            figures.save_svg(self.figure(), folder / "comparison.svg")
        except OSError as error:
            raise VhatError(f"cannot write into {folder}: {error.strerror}; choose another folder") from error
        return folder

    def _summary(self, variant: str) -> dict[str, str]:
        estimate, low, high = stats.interval(self.result.values(self.result.regimes[0], variant))
        return {"objective": number(estimate), "low": number(low), "high": number(high)}

    def __str__(self) -> str:
        return text_table(self.table)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from core.lab.notebook import shown

        label = self.result.sweep.objective.label or self.result.sweep.objective.measure
        names = ", ".join(self.result.variants)
        alt = (
            f"Left: {label} over steps for {names}, with intervals. Right: {label} on the tuning seeds over "
            "the learning rate; the chosen one is ringed. The table says the same in numbers."
        )
        return shown(self.table, self.figure(), alt)


def _frame(axes: Axes) -> None:
    """Show the lines whole: a band may run out of the picture, as where a few replicas are on their way to
    diverge. Values over more than a decade and a half are shown on a logarithmic axis."""
    from core.lab import figures

    drawn = figures.drawn_values(axes)
    if not len(drawn):
        return
    low, high = float(drawn.min()), float(drawn.max())
    if low > 0 and high > 30 * low:
        figures.label(axes, log="y")
        margin = (high / low) ** 0.15
        within = (low / margin, high * margin)
    else:
        margin = 0.15 * (high - low) or abs(high) or 1.0
        within = (low - margin, high + margin)
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, within[0]), min(top, within[1]))


def compare(
    problem: Problem,
    variants: Sequence[str | Variant],
    *,
    steps: int,
    lr: Grid | tuple[float, float] = (1e-4, 1.0),
    seeds: int = 20,
    tuning_seeds: int = 10,
    objective: Objective | str = "loss",
    points: int = 50,
    out: Path | str | None = None,
) -> Comparison:
    """Tune each variant on a problem and report it on fresh seeds.

    Args:
        problem: keeps the contract of `core.lab.problem.Problem` (checked first); see `problem_from` for
            modules.
        variants: names of update rules, or `Variant`s.
        steps: training steps of each run.
        lr: a grid, or (lowest, highest) learning rate at two points a decade; widened where the best is on
            its edge.
        seeds: fresh seeds for the report. tuning_seeds: seeds to choose learning rates on.
        objective: what is compared; the name of a measure stands for its final value, lower is better.
        points: recorded points of a curve.
        out: a file in which the stored run is kept, in place of those of earlier calls; None keeps it in
            memory.

    Raises:
        VhatError: for unknown rules, too few seeds, a problem that does not keep the contract, or an `out`
            that belongs to something else.
    """
    check_problem(problem, exact=False)
    if isinstance(variants, str):
        raise VhatError(f"variants are a list, such as [{variants!r}]; got a word")
    try:
        grid = lr if isinstance(lr, Grid) else Grid.between(*lr)
        recording = Recording(points)
    except TypeError as error:
        raise VhatError(f"lr is a Grid or (lowest, highest), got {lr!r}") from error
    except ValueError as error:
        raise VhatError(str(error)) from error
    chosen = tuple(Variant(v, v) if isinstance(v, str) else v for v in variants)
    goal = Objective(objective, label=objective) if isinstance(objective, str) else objective
    sweep = Sweep(
        name=_NAME,
        study=_NAME,
        regimes=(Regime("own problem", lambda device: problem),),  # noqa: ARG005
        variants=chosen,
        grid=grid,
        objective=goal,
        steps=steps,
        tuning_seeds=tuning_seeds,
        reporting_seeds=seeds,
        recording=recording,
    )
    # The problem is only known to this call: what lies in the file may be another problem's, of an earlier
    # call or of one that goes on in another process.
    code = f"{this_process()} {uuid.uuid4().hex}"
    with closing(Store(Path(out) if out is not None else MEMORY, chosen=True)) as store:
        store.forget_rows(s.address for s in store.shards(_NAME) if not _goes_on(s.code))
        job = local_job(_NAME, Plan("own", steps, tuning_seeds, seeds), (sweep,), store, code=code)
        with Bar(_NAME) as progress:
            run_jobs([job], InProcess(), 1, progress)
        return Comparison(sweep.result(job.view))


def _goes_on(code: str) -> bool:
    """Whether another process may still need the rows of a call."""
    owner = code.partition(" ")[0]
    return owner != this_process() and is_alive(owner)
