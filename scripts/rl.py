"""Train policies by REINFORCE on a Gymnasium task, many seeds at once; end with a table and a learning curve.

python scripts/rl.py --env CartPole-v1 --optimizer adam --lr 0.02 --baseline loo --seeds 20
python scripts/rl.py --compare adam:0.02 rmsprop:0.02 sgd:0.003 --baselines none loo value
python scripts/rl.py --save out/rl/cartpole.npz --film out/rl/cartpole.gif
python scripts/rl.py --load out/rl/cartpole.npz
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.lab import figures, stats
from core.lab.engines import check_device
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
from rl.agents import Agents, load
from rl.baselines import BASELINES
from rl.film import SUFFIXES, film
from rl.problems import reinforce
from rl.reinforce import Reinforce
from rl.rollout import Batch

TESTED = 32
"""Episodes on which a trained policy is put to the test."""

USUAL_RATES = {
    "sgd": 1e-3,
    "momentum": 3e-4,
    "nesterov": 3e-4,
    "rmsprop": 1e-2,
    "rmsprop_centered": 1e-2,
    "signsgd": 1e-2,
    "normalized_sgd": 0.1,
    "adam_shuffled_v": 3e-4,
}
"""Where a rule's rate is not given: near the best of the studies on CartPole-v1. Their scales differ."""
USUAL_RATE = 0.02
"""Of Adam and its relatives."""


@dataclass
class Args:
    """REINFORCE with a small tanh policy, all seeds in one tensor program."""

    env: str = "CartPole-v1"
    """a Gymnasium task with discrete or box actions"""
    optimizer: str = "adam"
    """an update rule: adam, sgd, momentum, rmsprop, signsgd, normalized_sgd, ..."""
    lr: float | None = None
    """learning rate; default: one that suits the update rule on CartPole-v1"""
    baseline: str = "loo"
    """what is subtracted from returns: none, running (mean of earlier updates), loo (leave-one-out mean of
    the other episodes), value (function of state and time), optimal (constant), mean (biased)"""
    compare: tuple[str, ...] = ()
    """several optimizers instead of one, each a name or name:rate, as in adam:0.02 sgd:0.003; one without a
    rate takes --lr if that is given, else one that suits it"""
    baselines: tuple[str, ...] = ()
    """several baselines instead of one; with --compare, every pair is run"""
    seeds: int = 20
    """runs of each, trained all at once"""
    updates: int = 100
    """updates of each run"""
    episodes: int = 8
    """whole episodes an update"""
    hidden: tuple[int, ...] = (32,)
    """sizes of the hidden layers"""
    discount: float = 1.0
    """discount a step"""
    drop_discount: bool = False
    """drop the factor discount^t, as most implementations do (biased)"""
    normalize: bool = False
    """divide advantages by their standard deviation (biased)"""
    entropy: float = 0.0
    """weight of a bonus on the policy's entropy"""
    horizon: int | None = None
    """time limit in steps; default: the task's own"""
    failed_below: float | None = None
    """a run has failed if its policy ends below this return; default: 195 on CartPole-v1, none elsewhere"""
    device: str = "cpu"
    """where parameters live and updates are computed; environments run on the CPU"""
    out: Path = Path("out/rl")
    """folder of the learning curve"""
    save: Path | None = None
    """a file for the trained policies of all seeds (.npz)"""
    film: Path | None = None
    """a film of one seed's policy before and after training (.gif, .png or .webp)"""
    load: Path | None = None
    """put saved policies to the test instead of training"""


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
        self.bar.advance(1.0, f"return {float(sample.measures['return'].nanmean()):.1f}")
        return sample

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        """As the problem."""
        return self.inner.measure(params, keys)


@dataclass
class Tally:
    """Environment steps of training."""

    inside: int = 0
    """of episodes"""
    stepped: int = 0
    """of environments, those whose episode had ended included"""

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        self.inside += int(batch.lengths.sum())
        self.stepped += batch.stepped

    def __str__(self) -> str:
        share = self.inside / self.stepped
        vain = "" if share == 1.0 else "; the rest waited for a run's longer episodes"
        counts = f"{self.inside:,} in episodes, {self.stepped:,} taken"
        return f"Environment steps: {counts} ({share:.0%} useful{vain})."


@dataclass(frozen=True)
class Trained:
    """The runs of one optimizer with one baseline."""

    optimizer: str
    lr: float
    baseline: str
    run: Run

    @property
    def name(self) -> str:
        """In tables."""
        return f"{self.optimizer}, lr {self.lr:g}, baseline {self.baseline}"


def optimizers(args: Args) -> list[tuple[str, float]]:
    """Update rules and learning rates to run, or one clear line."""
    chosen = []
    for word in args.compare or (args.optimizer,):
        name, colon, rate = word.partition(":")
        if name not in RULES:
            raise VhatError(nearest(name, RULES, kind="update rule"))
        try:
            lr = float(rate) if colon else usual_rate(name) if args.lr is None else args.lr
        except ValueError:
            raise VhatError(f"{word!r} should be an update rule and its rate, as in adam:0.02") from None
        try:
            RULES[name].validate(lr=lr)
        except ValueError as error:
            raise VhatError(str(error)) from error
        if lr == 0.0:
            raise VhatError(f"{name}: with lr 0 nothing is learned; give a rate above 0")
        if (name, lr) in chosen:
            raise VhatError(f"{name} with rate {lr:g} is compared with itself; give it once")
        chosen.append((name, lr))
    return chosen


def usual_rate(rule: str) -> float:
    """The rate of a rule for which none is given."""
    return USUAL_RATES.get(rule, USUAL_RATE)


def about_rates(args: Args) -> str:
    """One line where rates were not chosen rule by rule; empty if they were."""
    words = args.compare or (args.optimizer,)
    open_rates = [word for word in words if ":" not in word]
    if args.lr is None and open_rates:
        return "Rates not given are near the best on CartPole-v1, not tuned for this run: give name:rate."
    if len(open_rates) > 1:
        return (
            f"All rules without a rate of their own run at lr {args.lr:g}, which suits few: give name:rate."
        )
    return ""


def check(args: Args) -> None:
    """Raise one clear line for what cannot be run."""
    if args.seeds < 2 or args.updates < 2:
        raise VhatError(f"--seeds and --updates must be at least 2, got {args.seeds} and {args.updates}")
    if min(args.hidden, default=1) < 1:
        raise VhatError(f"--hidden must be sizes of 1 or more, got {args.hidden}")
    if args.film is not None and args.film.suffix not in SUFFIXES:
        raise VhatError(f"--film must end in {', '.join(SUFFIXES)}, got {args.film}")
    several = len(optimizers(args)) * len(args.baselines or (args.baseline,)) > 1
    if several and (args.save or args.film):
        raise VhatError("--save and --film need one optimizer and one baseline")
    check_device(args.device)


def problem_of(args: Args, baseline: str) -> Reinforce:
    """The task with one baseline."""
    return reinforce(
        args.env,
        hidden=args.hidden,
        episodes=args.episodes,
        baseline=baseline,
        discount=args.discount,
        discounted_states=not args.drop_discount,
        normalized=args.normalize,
        entropy=args.entropy,
        horizon=args.horizon,
        evaluation_episodes=TESTED,
        device=args.device,
    )


def train_all(args: Args, tally: Tally) -> list[Trained]:
    """All optimizers at once, one baseline after another; `tally` counts their steps."""
    chosen, found = optimizers(args), []
    problems = {name: problem_of(args, name) for name in args.baselines or (args.baseline,)}
    keys = Keys.of(range(args.seeds), study="scripts/rl", device=args.device, copies=len(chosen))
    blocks = []
    for number, (name, lr) in enumerate(chosen):
        rates = torch.full((args.seeds,), lr, dtype=torch.float64, device=args.device)
        rows = slice(number * args.seeds, (number + 1) * args.seeds)
        blocks.append(Block(Variant(f"{name} {lr:g}", name), rows, {"lr": rates}))
    with Bar(f"{args.env}, {len(chosen) * len(problems)} x {args.seeds} runs") as bar:
        bar.expect(args.updates * len(problems))
        for baseline, problem in problems.items():
            recording = Recording(points=min(20, args.updates // 2), params=True)
            watched = replace(problem, watch=tally.add)
            run = train(Shown(watched, bar), blocks, keys, steps=args.updates, recording=recording)
            for (name, lr), block in zip(chosen, blocks, strict=True):
                found.append(Trained(name, lr, baseline, run.rows(block.rows)))
    return found


def least_return(args: Args) -> float | None:
    """The return below which a run has failed, if any."""
    usual = args.failed_below is None and args.env == "CartPole-v1" and args.horizon is None
    return 195.0 if usual else args.failed_below


def table(args: Args, trained: list[Trained]) -> Table:
    """How the runs ended, a row each."""
    least = least_return(args)
    heads = [f"{args.env}, {args.seeds} seeds", "return after training, IQM", "mean return in training, IQM"]
    heads += [] if least is None else [f"share below {least:g}"]
    rows = []
    for one in trained:
        final = one.run.curves["return"][:, -1]
        training = one.run.curves["field/return"][:, 1:].mean(axis=1)
        row = [one.name, *(with_interval(stats.interval(_or_worst(x))) for x in (final, training))]
        if least is not None:
            row.append(with_interval(stats.proportion(~(final >= least))))
        rows.append((*row, with_interval(stats.proportion(one.run.diverged))))
    return Table("", (*heads, "share diverged"), tuple(rows))


def _or_worst(values: Array) -> Array:
    """A run that diverged counts as the worst."""
    return np.where(np.isnan(values), -np.inf, values)


def draw(args: Args, trained: list[Trained]) -> Path:
    """The learning curves as a PNG file, one panel a baseline."""
    baselines = list(dict.fromkeys(one.baseline for one in trained))
    width, height = (None, None) if len(baselines) == 1 else (3.6 * max(2, len(baselines)), 4.0)
    figure, panels = figures.new_figure(columns=len(baselines), sharey=True, width=width, height=height)
    for axes, baseline in zip(panels, baselines, strict=True):
        for one in trained:
            if one.baseline != baseline:
                continue
            figures.curves_with_intervals(
                axes,
                one.run.steps[1:],
                one.run.curves["field/return"][:, 1:],
                one.optimizer,
                higher=True,
                legend=f"{one.optimizer}, lr {one.lr:g}",
            )
        words = BASELINES[baseline].words
        title = f"{args.env}, {words}" if len(baselines) == 1 else words
        figures.label(axes, x=f"update ({args.episodes} episodes each)", title=title)
    figures.label(panels[0], y="return")
    figures.legend_below(figure, panels[0])
    names = "-".join(dict.fromkeys(one.optimizer for one in trained))
    path = args.out / f"{args.env.replace('/', '-')}-{names}-{'-'.join(baselines)}.png"
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        figures.save_png(figure, path)
    except OSError as error:
        raise VhatError(f"cannot write {path}: {error.strerror}; choose another folder with --out") from error
    return path


def film_of(path: Path, agents: Agents, returns: Array) -> None:
    """A film of the policy whose return is the median of all seeds, before and after."""
    row = int(np.argsort(_or_worst(returns))[len(returns) // 2])
    before = agents.fresh(Keys.of([row], study="scripts/rl").fold("policy"))
    keys = Keys.of([row], study="scripts/rl").fold("film")
    print(f"Film of seed {row}, the median: {film(path, before, agents.only(row), keys)}")


def test_saved(args: Args, path: Path) -> None:
    """How saved policies do now."""
    agents = load(path)
    keys = Keys.of(range(len(agents.params)), study="scripts/rl").fold("test")
    returns = agents.episodes(TESTED, keys).returns.mean(axis=1)
    rows = (
        (f"mean return of {TESTED} episodes, IQM", with_interval(stats.interval(returns))),
        ("lowest and highest policy", f"{returns.min():.4g}, {returns.max():.4g}"),
    )
    print(text_table(Table("", (agents.task.id, f"{len(returns)} policies"), rows)))
    if args.film is not None:
        film_of(args.film, agents, returns)


def main(args: Args) -> None:
    """Train, then say how it ended."""
    if args.load is not None:
        test_saved(args, args.load)
        return
    check(args)
    tally = Tally()
    trained = train_all(args, tally)
    print(text_table(table(args, trained)))
    if said := about_rates(args):
        print(f"\n{said}")
    print(f"\n{tally}")
    for baseline in dict.fromkeys(one.baseline for one in trained):
        if biased := problem_of(args, baseline).biased:
            print(f"\nWith baseline {baseline} the gradient estimate is biased: {'; '.join(biased)}.")
    print(f"\nLearning curve: {draw(args, trained)}")
    run = trained[0].run
    assert run.params is not None
    problem = problem_of(args, trained[0].baseline)
    agents = Agents(problem.task, problem.policy, run.params)
    if args.save is not None:
        print(f"Policies of all seeds: {agents.save(args.save)}")
    if args.film is not None:
        film_of(args.film, agents, run.curves["return"][:, -1])


if __name__ == "__main__":
    arguments = tyro.cli(Args, description=__doc__)
    sys.exit(guarded(lambda: main(arguments)))
