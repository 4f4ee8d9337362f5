"""Problems as objectives of an unrolled training: what `core.optim.hypergradient` differentiates through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from core.lab.errors import VhatError, nearest
from core.lab.modules import ModuleProblem
from core.lab.problem import Problem
from core.lab.random import Keys
from core.optim.objective import ModuleObjective, Objective


@dataclass(frozen=True)
class ProblemObjective:
    """A problem's field and one of its measures, on the draws of some keys."""

    problem: Problem
    keys: Keys
    measure: str

    def field(self, params: Tensor, step: int) -> Tensor:
        """The sampled field `[R, D]`."""
        return self.problem.field(params, self.keys, step).values

    def loss(self, params: Tensor) -> Tensor:
        """The measure `[R]`."""
        measures = self.problem.measure(params, self.keys)
        if self.measure not in measures:
            raise VhatError(nearest(self.measure, measures, kind="measure"))
        return measures[self.measure]

    def project(self, params: Tensor) -> Tensor:
        """Back onto the problem's feasible set."""
        project: Callable[[Tensor], Tensor] | None = getattr(self.problem, "project", None)
        return params if project is None else project(params)


def objective_of(problem: Problem, keys: Keys, measure: str = "loss") -> Objective:
    """A problem on the draws of `keys`, with one of its measures as the loss, in a form to differentiate.

    Of a problem from a module the gradient is rebuilt with its derivatives. Any other problem must compute
    its field and the measure by operations that autograd follows (not detached, not under `no_grad`); an
    unrolled training says so where it does not.

    Raises:
        VhatError: for a measure that the problem does not have.
    """
    if not isinstance(problem, ModuleProblem):
        return ProblemObjective(problem, keys, measure)
    known = {"loss": problem.data} | ({"test_loss": problem.test_data} if problem.test_data else {})
    if measure not in known:
        raise VhatError(nearest(measure, known, kind="measure"))
    evaluation, size = known[measure], problem.batch_size
    if size is None:
        return ModuleObjective(problem.module, problem.loss, lambda _: problem.data, evaluation)

    def batch(step: int) -> Sequence[Tensor]:
        # The batches of the problem's own field: a test compares them.
        index = keys.fold("batch").at(step).integers(len(problem.data[0]), size)
        return tuple(t[index] for t in problem.data)

    rows = tuple(t.expand(len(keys), *t.shape) for t in evaluation)
    return ModuleObjective(problem.module, problem.loss, batch, rows, per_row=True)
