"""A study: a claim, how it is tried, and the criterion by which it is judged. Plain data and pure functions.

Figures and verdicts read stored results only, so they are redrawn without training anything again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar

from core.lab.errors import VhatError, nearest
from core.lab.experiment import Experiment
from core.lab.films import FilmSpec
from core.lab.measurement import MeasurementResult
from core.lab.sweep import SweepResult
from core.lab.verdict import Verdict

P = ParamSpec("P")
T = TypeVar("T")

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure


@dataclass(frozen=True)
class Plan:
    """How much is run: `tiny` (seconds, a smoke test), `quick` (minutes), `full` (publication).

    Attributes:
        name: tiny, quick or full.
        steps: training steps of a replica; 0 where nothing is trained.
        tuning_seeds: seeds on which learning rates are chosen.
        reporting_seeds: fresh seeds on which they are reported.
        sizes: whatever else a study lets grow with its plan.
    """

    name: str
    steps: int
    tuning_seeds: int
    reporting_seeds: int
    sizes: Mapping[str, int] = field(default_factory=dict)

    def with_seeds(self, seeds: int | None) -> Plan:
        """The same plan with another number of reporting seeds.

        Raises:
            VhatError: for fewer than two.
        """
        if seeds is None:
            return self
        if seeds < 2:
            raise VhatError(f"--seeds needs at least 2 to give an interval, got {seeds}")
        return dataclasses.replace(self, reporting_seeds=seeds)


@dataclass(frozen=True)
class Results:
    """What a study's experiments gave.

    Attributes:
        plan: that was run.
        by_name: the result of each experiment, by the experiment's name.
    """

    plan: Plan
    by_name: Mapping[str, object]
    _made: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def sweep(self, name: str) -> SweepResult:
        """The result of a sweep."""
        found = self.by_name[name]
        assert isinstance(found, SweepResult)
        return found

    def measurement(self, name: str) -> MeasurementResult:
        """The result of a measurement."""
        found = self.by_name[name]
        assert isinstance(found, MeasurementResult)
        return found

    def once(self, make: Callable[Concatenate[Results, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`make(self, ...)`, made the first time only: judge, tables and figures often ask for the same.

        The arguments must be hashable, and nobody may change what comes back.
        """
        key = (make, args, tuple(sorted(kwargs.items())))
        if key not in self._made:
            self._made[key] = make(self, *args, **kwargs)
        made: T = self._made[key]
        return made

    def to_pandas(self) -> Any:
        """All values as one pandas `DataFrame`, one a row: see `core.lab.frames.results_frame`."""
        from core.lab.frames import results_frame

        return results_frame(self)


Part = Literal["", "controls", "regimes", "learning rates", "learning curves"]


@dataclass(frozen=True)
class FigureSpec:
    """A figure of a study's page.

    Attributes:
        name: file name without a suffix.
        caption: what the reader sees, and how intervals are made.
        alt: what the figure shows, for those who do not see it.
        draw: from stored results to a matplotlib figure (see `core.lab.figures`).
        part: the part of the page that it belongs to. The report draws learning rates and learning curves of
            a study's sweeps by itself where no figure of the study is of that part.
    """

    name: str
    caption: str
    alt: str
    draw: Callable[[Results], MatplotlibFigure]
    part: Part = ""


@dataclass(frozen=True)
class Table:
    """A table of a study's page.

    Attributes:
        caption: what it shows, plain text.
        columns: their heads.
        rows: of ready text, a cell a column.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Study:
    """A claim under test.

    Attributes:
        id: as typed on the command line, unique over all domains.
        title: a question or a phrase.
        claim: the article's claim in our own words.
        setup: problems, variants, controls, grids, seeds; what is measured. One paragraph, plain text.
        criterion: what would make the claim hold and fail, written before the run.
        plans: tiny, quick and full.
        experiments: the work, given a plan.
        judge: the verdict, given all results.
        figures: drawn in this order; the first is the main one.
        tables: beside the findings' table that every page has.
        sceptic: pairs (what a sceptic would ask, our answer).
        films: moving pictures, below the main figure.
        mathematics: the shortest that is needed: pairs (formula in LaTeX, what its symbols are), with symbols
            as in the paper named.
        would_change: what would change our mind: observations that would turn the verdict.
        question: what is asked, in one plain question that a newcomer understands.
        surprise: one sentence from the verdict for the first page, if its own first sentence will not do.
        source: the papers behind it.
        packages: installed packages whose version the results depend on, besides torch and numpy.
        version: raised when the meaning of stored results changes.
    """

    id: str
    title: str
    claim: str
    setup: str
    criterion: str
    plans: Mapping[str, Plan]
    experiments: Callable[[Plan], tuple[Experiment, ...]]
    judge: Callable[[Results], Verdict]
    figures: tuple[FigureSpec, ...]
    tables: Callable[[Results], tuple[Table, ...]]
    sceptic: tuple[tuple[str, str], ...]
    films: tuple[FilmSpec, ...] = ()
    mathematics: tuple[tuple[str, str], ...] = ()
    would_change: str = ""
    question: str = ""
    surprise: Callable[[Verdict], str] | None = None
    source: str = ""
    packages: tuple[str, ...] = ()
    version: int = 1

    def plan(self, name: str) -> Plan:
        """The plan of that name.

        Raises:
            VhatError: if the study has none.
        """
        if name not in self.plans:
            raise VhatError(f"study {self.id!r}: {nearest(name, self.plans, kind='plan')}")
        return self.plans[name]
