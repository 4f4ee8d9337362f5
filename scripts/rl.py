"""Train policies by REINFORCE on a Gymnasium task, many seeds at once; end with a table and a learning curve.

python scripts/rl.py --env CartPole-v1 --optimizer adam --lr 0.02 --baseline loo --seeds 20
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.lab import figures, stats
from core.lab.commands import check_device
from core.lab.errors import VhatError, nearest
from core.lab.experiment import Array
from core.lab.problem import Field
from core.lab.progress import Bar
from core.lab.random import Keys
from core.lab.run import Recording, Run
from core.lab.study import Table
from core.lab.tables import text_table, with_interval
from core.lab.terminal import guarded
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.rules import RULES
from rl.problems import reinforce
from rl.reinforce import Reinforce


@dataclass
class Args:
    """REINFORCE with a small tanh policy, all seeds in one tensor program."""

    env: str = "CartPole-v1"
    """a Gymnasium task with discrete actions"""
    optimizer: str = "adam"
    """an update rule: adam, sgd, momentum, rmsprop, signsgd, normalized_sgd, ..."""
    lr: float = 0.02
    """learning rate"""
    baseline: str = "loo"
    """what is subtracted from returns: none, or loo (leave-one-out mean of the other episodes)"""
    seeds: int = 20
    """runs, trained all at once"""
    updates: int = 100
    """updates of each run"""
    episodes: int = 8
    """whole episodes an update"""
    hidden: tuple[int, ...] = (32,)
    """sizes of the hidden layers"""
    discount: float = 1.0
    """discount a step"""
    horizon: int | None = None
    """time limit in steps; default: the task's own"""
    failed_below: float | None = None
    """a run has failed if its policy ends below this return; default: 195 on CartPole-v1, none elsewhere"""
    device: str = "cpu"
    """where parameters live and updates are computed; environments run on the CPU"""
    out: Path = Path("out/rl")
    """folder of the learning curve"""


@dataclass
class Shown:
    """A problem that moves a progress bar with each update and tells the return."""

    inner: Reinforce
    bar: Bar
    dim: int = field(init=False)

    def __post_init__(self) -> None:
        self.dim = self.inner.dim

    def init(self, keys: Keys) -> Tensor:
        """As the problem."""
        return self.inner.init(keys)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """As the problem; the bar moves on."""
        sample = self.inner.field(params, keys, step)
        self.bar.advance(1.0, f"return {float(sample.measures['return'].mean()):.1f}")
        return sample

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        """As the problem."""
        return self.inner.measure(params, keys)


def check(args: Args) -> None:
    """Raise one clear line for what cannot be run."""
    if args.optimizer not in RULES:
        raise VhatError(nearest(args.optimizer, RULES, kind="update rule"))
    if args.seeds < 2 or args.updates < 2:
        raise VhatError(f"--seeds and --updates must be at least 2, got {args.seeds} and {args.updates}")
    try:
        RULES[args.optimizer].validate(lr=args.lr)
    except ValueError as error:
        raise VhatError(str(error)) from error
    check_device(args.device)


def table(args: Args, run: Run) -> Table:
    """How the runs ended."""
    final = run.curves["return"][:, -1]
    training = run.curves["field/return"][:, 1:].mean(axis=1)
    rows = [
        ("return after training, IQM", with_interval(stats.interval(_or_worst(final)))),
        ("mean return over training, IQM", with_interval(stats.interval(_or_worst(training)))),
        ("share of runs that diverged", with_interval(stats.proportion(run.diverged))),
    ]
    least = 195.0 if args.failed_below is None and args.env == "CartPole-v1" else args.failed_below
    if least is not None:
        failed = stats.proportion(~(final >= least))
        rows.insert(2, (f"share of runs below {least:g}", with_interval(failed)))
    heads = (f"{args.optimizer}, lr {args.lr:g}, baseline {args.baseline}", f"{args.seeds} seeds")
    return Table("", heads, tuple(rows))


def _or_worst(values: Array) -> Array:
    """A run that diverged counts as the worst."""
    return np.where(np.isnan(values), -np.inf, values)


def draw(args: Args, run: Run) -> Path:
    """The learning curve as a PNG file."""
    figure, (axes,) = figures.new_figure()
    figures.curves_with_intervals(
        axes,
        run.steps[1:],
        run.curves["field/return"][:, 1:],
        args.optimizer,
        higher=True,
        legend=f"{args.optimizer}, lr {args.lr:g}, baseline {args.baseline}",
    )
    title = f"{args.env}: IQM of {args.seeds} seeds, 95% interval"
    figures.label(axes, x=f"update ({args.episodes} episodes each)", y="return", title=title)
    figures.legend_below(figure)
    path = args.out / f"{args.env}-{args.optimizer}-{args.baseline}.png"
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        figures.save_png(figure, path)
    except OSError as error:
        raise VhatError(f"cannot write {path}: {error.strerror}; choose another folder with --out") from error
    return path


def main(args: Args) -> None:
    """Train, then say how it ended."""
    check(args)
    problem = reinforce(
        args.env,
        hidden=args.hidden,
        episodes=args.episodes,
        baseline=args.baseline,
        discount=args.discount,
        horizon=args.horizon,
        evaluation_episodes=32,
        device=args.device,
    )
    keys = Keys.of(range(args.seeds), study="scripts/rl", device=args.device)
    lr = torch.full((args.seeds,), args.lr, dtype=torch.float64, device=args.device)
    block = Block(Variant(args.optimizer, args.optimizer), slice(0, args.seeds), {"lr": lr})
    with Bar(f"{args.env}, {args.seeds} seeds") as bar:
        bar.expect(args.updates)
        recording = Recording(points=min(20, args.updates // 2))
        run = train(Shown(problem, bar), [block], keys, steps=args.updates, recording=recording)
    print(text_table(table(args, run)))
    print(f"\nLearning curve: {draw(args, run)}")


if __name__ == "__main__":
    arguments = tyro.cli(Args, description=__doc__)
    sys.exit(guarded(lambda: main(arguments)))
