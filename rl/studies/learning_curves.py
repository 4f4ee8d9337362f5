"""Does Adam learn faster and more safely than descent from policy gradients, task by task?"""

from __future__ import annotations

from core.lab.experiment import Experiment
from core.lab.films import FilmSpec
from core.lab.measurement import Measurement
from core.lab.run import Recording
from core.lab.study import FigureSpec, Plan, Study
from core.lab.sweep import Sweep
from core.lab.variant import Grid
from rl.studies.learning_episode import FILMED, POLICIES, measure_episode
from rl.studies.learning_figures import draw_curves, draw_effects, draw_profiles, draw_rates, draw_scores
from rl.studies.learning_films import film_episodes
from rl.studies.learning_settings import TASKS
from rl.studies.learning_verdict import judge, tables
from rl.studies.settings import OBJECTIVE

ID = "learning-curves"


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """One sweep a task, and an episode to look at."""
    sweeps = tuple(
        Sweep(
            name=task.id,
            study=f"{ID}, third run",
            regimes=(task.regime(),),
            variants=task.variants(plan.sizes["per_decade"]),
            grid=Grid.between(1e-3, 1e-1),
            objective=OBJECTIVE,
            steps=task.steps(plan.steps),
            tuning_seeds=plan.tuning_seeds,
            reporting_seeds=plan.reporting_seeds,
            recording=Recording(points=min(25, task.steps(plan.steps) // 2), tuning_points=1),
        )
        for task in TASKS
    )
    updates = FILMED.steps(plan.steps)
    policies = tuple(
        {"variant": name, "lr": lr, "updates": updates if trained else 0} for name, lr, trained in POLICIES
    )
    episodes = Measurement("episodes", f"{ID}, film", measure_episode, policies, 2, cost=2.0 * updates)
    return (*sweeps, episodes)


STUDY = Study(
    id=ID,
    title="Learning from noisy policy gradients",
    question="Does an agent learn better with Adam than with plain gradient descent?",
    claim=(
        "Policy gradients are notoriously noisy; Adam's scaling gives more cautious and more stable steps, "
        "so an agent that learns by Adam learns better than one that learns by plain gradient descent."
    ),
    setup=(
        "REINFORCE (reward-to-go, no discount, leave-one-out baseline) with one hidden layer of 32 tanh "
        "units on three Gymnasium tasks: CartPole-v1 and Acrobot-v1 (categorical policies, 8 whole episodes "
        "an update) and MountainCarContinuous-v0 (Gaussian policy, 4 episodes). The last need not favour "
        "anyone: the goal is not found within the budget, and what can be learned is to spend no effort, "
        "from a return of -31 to 0. Each variant is tuned in its learning rate on seeds of its own for the "
        "mean return over training, grids widened at edges, and run on fresh seeds; all variants of a seed "
        "share starting policies, starting states and chances. A run has learned when its training episodes "
        "return 195, -150, -10, and has failed if its policy after training returns less on fresh episodes; "
        "one that diverged counts as untrained. Scores put an untrained policy at 0 and the best at 1. What "
        "it is about Adam that helps is the matter of variance-reduction."
    ),
    criterion=(
        "On each of the three tasks, on fresh seeds, with 95% bootstrap intervals over paired seeds: "
        "(return) the mean return over training of tuned Adam lies above that of the better of tuned "
        "gradient descent and tuned momentum, chosen on the tuning seeds; (steps) the mean of log2 of the "
        "updates until the task counts as learned is lower (never counts as twice the budget). A part fails "
        "where its whole interval lies on the wrong side. Supported if all hold, refuted if all fail, "
        "conditional if some hold and others fail."
    ),
    mathematics=(
        (
            r"g = \frac{1}{N}\sum_{i=1}^{N}\sum_t \nabla\log\pi_\theta(a_t^i \mid "
            r"s_t^i)\left(G_t^i - \frac{1}{N - 1}\sum_{j \ne i} G_t^j\right)",
            "REINFORCE (Williams 1992) with the leave-one-out baseline (Kool et al. 2019): N episodes "
            "an update, G the return to go at time t.",
        ),
    ),
    would_change=(
        "More tasks: three cannot say how often each order of the rules comes. Longer budgets may let "
        "descent catch up; its rate is tuned for these."
    ),
    plans={
        "tiny": Plan("tiny", steps=10, tuning_seeds=2, reporting_seeds=2, sizes={"per_decade": 1}),
        "quick": Plan("quick", steps=50, tuning_seeds=20, reporting_seeds=50, sizes={"per_decade": 2}),
        "full": Plan("full", steps=200, tuning_seeds=30, reporting_seeds=100, sizes={"per_decade": 4}),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "curves",
            "Return of the training episodes at each variant's tuned learning rate: IQM over fresh seeds "
            "with 95% bootstrap intervals. Dashed: the return that counts as learned. Adam and AMSGrad all "
            "but coincide.",
            "Three panels of learning curves with bands, return over updates, one curve a variant.",
            draw_curves,
            part="learning curves",
        ),
        FigureSpec(
            "effects",
            "Adam's lead over each other variant: mean paired difference over fresh seeds with 95% bootstrap "
            "intervals, in mean return over training, and on two scales without a ceiling (logit of the "
            "score, log2 of the updates until learned). Left of the dashed line the other variant is better.",
            "Nine panels of dots with intervals, Adam's lead over five variants by task and scale.",
            draw_effects,
            part="controls",
        ),
        FigureSpec(
            "profiles",
            "Performance profiles: the share of runs whose score lies above a bound, with 95% stratified "
            "bootstrap bands; higher is better.",
            "Four panels of falling curves, one curve a variant.",
            draw_profiles,
        ),
        FigureSpec(
            "scores",
            "Left: IQM of the score over the three tasks, with 95% stratified bootstrap intervals. Right: "
            "task by task, the probability that a run of Adam has a higher score than a run of the other, "
            "with 95% intervals for which both samples of seeds are resampled.",
            "Four panels of dots with intervals.",
            draw_scores,
            part="regimes",
        ),
        FigureSpec(
            "rates",
            "Mean return over training against the learning rate, on the tuning seeds; the chosen rate is "
            "ringed.",
            "Three panels of curves over the learning rate, one curve a variant, higher is better.",
            draw_rates,
            part="learning rates",
        ),
    ),
    films=(
        FilmSpec(
            "episodes",
            "One seed's policy on CartPole-v1 from the same start: untrained, after training by gradient "
            "descent and by Adam, each at the middle of its grid of rates; the first seconds, in real time. "
            "One seed is an example: the figures show all.",
            "Three tracks with a cart and a pole each. In the film the untrained policy's pole falls within "
            "a second; the other two show what training has made of it.",
            film_episodes,
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "One task, and one that Adam likes.",
            "Three, judged each for itself. A pilot on other seeds had shown that they differ.",
        ),
        (
            "Gradient descent was tuned badly.",
            "Its whole learning-rate curve is shown, its grid widened until the best rate lies inside, and "
            "momentum stands beside it.",
        ),
        (
            "A rate that shines on five tuning seeds may fail on fresh ones.",
            "Rates are tuned on at least 20 seeds by the mean and reported on at least 50 others; the share "
            "of failed runs stands beside the IQM.",
        ),
        (
            "Near the limit of 500 all look alike.",
            "The lead is shown on the logit of the score, and in log2 of the updates to a threshold.",
        ),
        (
            "Is this REINFORCE worth looking at?",
            "A table gives the environment steps until CartPole-v1 returns 475, on Gymnasium's and on SLM "
            "Lab's terms, beside published figures, and says what is not alike.",
        ),
        (
            "Was the criterion written before the run?",
            "Before the reporting seeds, after pilot runs on other seeds, CartPole's first two among them.",
        ),
    ),
    source="Williams 1992 (REINFORCE); Agarwal et al. 2021 (statistics); Kool et al. 2019 (leave-one-out).",
)
