"""Do meta-gradients flow through the memory of a stateful inner optimizer, and does it matter?"""

from __future__ import annotations

from core.lab.study import FigureSpec, Plan, Study
from core.studies.maml_figures import draw_along, draw_errors, draw_parts, draw_rates, tables
from core.studies.maml_settings import FOLLOWED, STEPS, STUDY_ID, experiments
from core.studies.maml_verdict import COST, SHARE, judge

# tasks: in a meta-step; judged: fresh tasks of a seed; rounds: meta-steps to the start at which derivatives
# are measured; longest: inner steps there; probes: seeds there; reach: half decades around a grid's middle.
_TINY = {
    "tasks": 2,
    "judged": 4,
    "rounds": 2,
    "longest": 3,
    "probes": 4,
    "inner reach": 0,
    "outer reach": 0,
}
_QUICK = {
    "tasks": 4,
    "judged": 40,
    "rounds": 30,
    "longest": 6,
    "probes": 40,
    "inner reach": 1,
    "outer reach": 0,
}
_FULL = {
    "tasks": 10,
    "judged": 100,
    "rounds": 500,
    "longest": 10,
    "probes": 100,
    "inner reach": 1,
    "outer reach": 1,
}

STUDY = Study(
    id=STUDY_ID,
    title="Meta-gradients through the optimizer's memory",
    question="When a start is learned, must gradients pass through the memory of Adam?",
    claim=(
        "Meta-learning adapts in an inner loop, often by an optimizer such as Adam, and improves the start "
        "of that adaptation in an outer one. When the inner optimizer is stateful, its memories m and v "
        "carry dependencies from the inner loop to the outer one, and the meta-gradient has to be taken "
        "through them."
    ),
    setup=(
        "Sinusoid regression (amplitude 0.1 to 5, phase 0 to pi, inputs -5 to 5; network 1-40-40-1), 5 and "
        f"10 shots, {STEPS} inner steps while meta-learning. Inner SGD, and inner Adam: cold (a fresh state "
        "for each task, the usual reset); warm (the optimizer is not reset: each inner loop starts from the "
        "mean over tasks of the states that the last ones left, and so do new tasks at the end); and warm "
        "with beta1 = 0, where v is all that is carried over. Meta-gradients: full; state cut (the state "
        "counts as constant in the next step); first order (the gradient counts as constant). The outer rule "
        "is Adam, its rate falling to zero along half a cosine. Each variant's inner learning rate is tuned "
        "on its own seeds and tasks (in the full plan the outer one too, which the quick plan keeps at 0.03) "
        "and reported on fresh ones. Controls: joint training on the pooled tasks and the random start, both "
        "adapted at a tuned rate; a cold v without m. In float64: how far the cut and the first-order "
        "meta-gradient lie from the full one, by number of inner steps and by eps, and the full one against "
        "central differences (tanh network, since rectified linear units make the adapted parameters jump)."
    ),
    criterion=(
        "For inner Adam cold, warm, and warm with v alone. Flows: at a trained start and "
        f"{STEPS} inner steps, the state-cut meta-gradient differs from the full one by more than {SHARE:g} "
        "of its length (median over seeds). Matters, at 5 and at 10 shots: a start learned with the state "
        f"cut has more than {COST:g} times the error of one learned with full meta-gradients, after {STEPS} "
        "inner steps on fresh tasks (interquartile mean of paired ratios), each at its own tuned rate. "
        "With whole 95% intervals. Supported if all hold, refuted if all fail, conditional if some hold and "
        "some fail. Beside the verdict: exactness to 1e-7; whether one cold step's full meta-gradient is "
        "the first-order one to 0.01; what first order costs; the rules and controls against each other."
    ),
    mathematics=(
        (
            r"\min_\theta\ \mathrm{E}_\tau\left[L_\tau(U_\tau^k(\theta))\right], \qquad "
            r"\nabla_\theta L_\tau(U_\tau^k(\theta)) = \left(\frac{\partial "
            r"U_\tau^k}{\partial\theta}\right)^\top \nabla L_\tau(U_\tau^k(\theta))",
            "Finn, Abbeel and Levine 2017: U is the adaptation to task τ by k inner steps from the "
            "start θ. First order takes the Jacobian for the identity; with the state cut it is taken "
            "as if m and v did not depend on θ.",
        ),
    ),
    would_change=(
        "A family of tasks, or an adaptation of many more than three steps, in which a start learned "
        "with the state cut is clearly worse. Sinusoids are the smallest family in use."
    ),
    surprise=lambda found: (
        "To leave Adam's memory out of the meta-gradient was to cost a good start. It does in "
        f"{sum('shot' in regime for regime in found.holds_in)} of "
        f"{sum(f.decisive and 'shot' in f.regime for f in found.findings)} cases."
    ),
    plans={
        "tiny": Plan("tiny", steps=3, tuning_seeds=2, reporting_seeds=3, sizes=_TINY),
        "quick": Plan("quick", steps=180, tuning_seeds=4, reporting_seeds=10, sizes=_QUICK),
        "full": Plan("full", steps=5000, tuning_seeds=8, reporting_seeds=30, sizes=_FULL),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "errors",
            f"Mean squared error on fresh tasks after {STEPS} inner steps, each variant at its own tuned "
            "rate (interquartile mean over seeds, 95% bootstrap interval).",
            "Two panels, 5 and 10 shots; a row for each inner rule with marks for full, state-cut and "
            "first-order meta-gradients and for the controls. Controls lie to the right of their rule's "
            "meta-learned starts; SGD and warm Adam with v alone lie farthest left.",
            draw_errors,
        ),
        FigureSpec(
            "parts",
            "How far cheaper meta-gradients lie from the full one, over its length (medians over seeds, "
            "trained start, float64). Left: first order. Middle: state cut; SGD has no state, and one step "
            "has none to cut. Right: first order after one cold step of Adam, by eps, with 95% interval.",
            "Three log panels. Left: all distances grow with the number of steps from about 0.1 to about 1, "
            "but that of cold Adam starts near 1e-4 at one step. Middle: from below 0.1 at two steps "
            "upwards, far lower for a warm v alone. Right: the one-step distance grows a thousandfold "
            "between eps = 1e-8 and 1e-4.",
            draw_parts,
            part="controls",
        ),
        FigureSpec(
            "along",
            f"Error along the adaptation, to {FOLLOWED} steps ({STEPS} while meta-learning: vertical line), "
            "with full meta-gradients and for the controls (interquartile mean, 95% interval).",
            "Two panels, error against inner steps. At 10 shots SGD, cold Adam and Adam with v alone go on "
            "falling beyond the steps that they were trained for; at 5 shots curves level off or turn up.",
            draw_along,
            part="learning curves",
        ),
        FigureSpec(
            "rates",
            f"Error after {STEPS} steps of starts, each learned at its own tuned inner rate (ringed), "
            "adapted at other inner rates: how much is the start, how much the rate.",
            "Two panels, error against the inner learning rate; the controls' best rates do not reach the "
            "errors of the learned starts at theirs.",
            draw_rates,
            part="learning rates",
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Is it the start, or the inner learning rate?",
            "The random and the jointly trained start get the same tuning, the figure of rates adapts every "
            "learned start at every rate, and the table gives the rate that turned out best for each.",
        ),
        (
            "Is the meta-gradient computed right?",
            "It is compared with central differences in float64 in every run of the study, by the start, by "
            "the inner learning rate and by the carried state. Their width is the one at which differences "
            "agree best among themselves, without a look at the derivative (the first runs took the width "
            "that agreed best with it).",
        ),
        (
            "Is it m or v that should be carried over?",
            "Both together and v alone are run, and v alone with a reset. A carried m moves each task along "
            "where earlier tasks went; v only says how large gradients are, which tasks share.",
        ),
        (
            "Does cold Adam fail only for want of a larger eps?",
            "With a larger eps the first step is no longer a sign and its derivative comes back (figure of "
            "parts, right): then it is the step of plain descent over eps, no longer Adam's.",
        ),
        (
            "Are so few meta-steps enough?",
            "The quick plan stops long before the errors do (Finn et al. take 70,000 meta-steps, the full "
            "plan 5,000); it compares what each meta-gradient gives for the same small number of tasks.",
        ),
    ),
    source=(
        "Finn, Abbeel and Levine 2017 (MAML, sinusoids, first order); Nichol, Achiam and Schulman 2018 "
        "(Reptile: inner Adam with beta1 = 0, state carried over)."
    ),
)
