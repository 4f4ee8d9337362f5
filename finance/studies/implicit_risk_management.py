"""Does dividing by the root of the second moment make an allocation more cautious?"""

from __future__ import annotations

from core.lab.experiment import Experiment
from core.lab.measurement import Measurement
from core.lab.run import Recording
from core.lab.study import FigureSpec, Plan, Study
from core.lab.sweep import Objective, Sweep
from core.lab.variant import Grid
from core.optim.schedules import Cosine
from finance.embedded import COMPANIES
from finance.studies.implicit_risk_figures import draw_law, draw_paths, draw_weights
from finance.studies.implicit_risk_settings import (
    BATCH,
    MARGIN,
    REGIMES,
    REST_BATCH,
    come_to_rest,
    rest_cells,
    variants,
)
from finance.studies.implicit_risk_verdict import NEARER, judge, tables

STUDY_ID = "implicit-risk-management"
# The sizes of the quick plan were settled on other seeds, which do not judge.
SEEDS = f"{STUDY_ID}/2"


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """Tuned runs with their paths; and long runs at a fixed rate, to where they come to rest."""
    grid = Grid.between(1e-3, 1.0)
    return (
        Sweep(
            name="tuned",
            study=SEEDS,
            regimes=REGIMES,
            variants=variants(Cosine(plan.steps), BATCH),
            grid=grid,
            objective=Objective("relative_gap", label="gap to the optimum (equal weights = 1)"),
            steps=plan.steps,
            tuning_seeds=plan.tuning_seeds,
            reporting_seeds=plan.reporting_seeds,
            recording=Recording(points=1, params=True),
            widen=2,
        ),
        Measurement(
            "rest",
            SEEDS,
            come_to_rest,
            rest_cells(plan),
            plan.sizes["rest seeds"],
            seeds_per_shard=10,
            cost=5.0 * plan.sizes["rest steps"],
        ),
    )


STUDY = Study(
    id=STUDY_ID,
    title="Caution by division",
    question="Does dividing by the second moment make a portfolio more cautious?",
    claim=(
        "Dividing each asset's step by the root of its second moment is risk management without being asked "
        "for: volatile assets move less, so that the portfolio comes out more cautious."
    ),
    setup=(
        f"Mean-variance utility of {COMPANIES}, risk aversion 1 and 20, {BATCH} drawn days a step; weights "
        "by Euclidean projection, as softmax of logits that descend along the gradient of the weights "
        "(exponentiated), by projection in the metric of sqrt(v̂), and as softmax. Adam against Adam with "
        "one v shared by all assets, with v shuffled over assets, with the assets' true volatilities in "
        "place of sqrt(v̂), and with v turned over; all with cosine decay, each tuned in its learning rate "
        "for the utility gap, run for as many steps from equal weights on fresh seeds. Volatility, "
        "effective number of assets and of risk contributions are taken at the end and along the path. "
        f"Long runs ({REST_BATCH} days a step) are compared with the point of rest that is derived. "
        "Derivation: a step moves w by -lr g / d, d = sqrt(v), and the Euclidean projection takes one "
        "amount off all weights held. So Adam rests where g_i = λ d_i on the support and g_i ≥ λ d_i "
        "elsewhere, not where the g_i are equal: the conditions of the greatest utility under the budget Σ "
        "d_i w_i = c. With v_i = g_i² + s_i² / B this is g_i = λ' s_i with s the standard deviation of one "
        "day's gradient, nearly the asset's volatility, whatever the batch size B. Where the investor "
        "would like to invest more than he has (low risk aversion) it holds less of volatile assets, where "
        "he must invest more than he likes (high) more of them. Logits that descend along g / d come to "
        "rest at the same point, for weights stand still when all logits move alike. In the metric d, and "
        "with the gradient of the logits themselves, the point of rest is the optimum."
    ),
    criterion=(
        f"In each of the {len(REGIMES)} settings, on fresh seeds: after as many steps the yearly volatility "
        f"of tuned Adam's portfolio is below {1 - MARGIN:g} times that of tuned Adam with one shared v, "
        "with the whole 95% interval of the paired ratio (IQM). It fails where the whole interval lies "
        "above. Supported if it holds in all settings, refuted if it fails in all, conditional if it holds "
        "in some and fails in others. Shown beside the verdict: the same at equal gaps of utility along "
        "long runs at one common rate, for Adam and for each control (unknown where a seed has no gap in "
        "common with one v); effective numbers of assets and risk contributions; the controls; "
        "and the derived point of rest: a long run's distance to it is less than its distance to the "
        f"optimum (at risk aversion 20 less than {NEARER:g} of it), and its volatility is within 10% of the "
        "derived one."
    ),
    mathematics=(
        (
            r"U(w) = \mathrm{E}[r^\top w] - \frac{\gamma}{2}\,\mathrm{E}[(r^\top w)^2]",
            "Mean-variance utility of weights w (Markowitz 1952, by second moments about zero); r is "
            "a day's returns, γ the risk aversion.",
        ),
        (
            r"w_{t+1} = \Pi\left(w_t + \eta\,\frac{\hat m_t}{\sqrt{\hat v_t} + "
            r"\varepsilon}\right)",
            "Adam's step up the utility, then the projection Π onto positive weights with sum one. "
            "Where Π measures distance otherwise than the step does, the point of rest is not the "
            "optimum.",
        ),
        (
            r"g_i(w) = \lambda\, d_i \;\; (w_i > 0), \qquad g_i(w) \ge \lambda\, d_i \;\; (w_i = 0), "
            r"\qquad g = \gamma\, \mathrm{E}[r r^\top]\, w - \mathrm{E}[r], \quad d = \sqrt{v}",
            "Where a step divided by d, and then the nearest portfolio, comes to rest, for one λ: the "
            "conditions of the greatest utility under the budget Σ d_i w_i, not under Σ w_i.",
        ),
    ),
    would_change=(
        "A setting in which Adam's portfolio is less volatile than that of one v for all assets at an "
        "equal gap of utility: that, and not a difference after equal time, would be risk management."
    ),
    plans={
        "tiny": Plan("tiny", 30, 2, 3, {"rest steps": 30, "rest seeds": 3}),
        "quick": Plan("quick", 500, 4, 16, {"rest steps": 1500, "rest seeds": 10}),
        "full": Plan("full", 10000, 20, 100, {"rest steps": 30000, "rest seeds": 40}),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "law",
            "Volatility of the exact optimum (solid) and of the point where Adam comes to rest by the "
            "derivation (dashed) over risk aversion, with the ends of long runs from equal weights: IQM "
            "over seeds with 95% intervals. At low risk aversion the runs of the quick plan are still on "
            "their way.",
            "Four panels: with the Euclidean projection and the exponentiated gradient the dashed curve "
            "and Adam's points lie below the optimum at low risk aversion and above it at high; with the "
            "other two they lie on it.",
            draw_law,
        ),
        FigureSpec(
            "weights",
            "Weights at rest with the Euclidean projection: the optimum, the derived point, and long runs of "
            "Adam.",
            "Two panels of horizontal bars, one a ticker: Adam's points lie at the derived marks, not at the "
            "ends of the bars.",
            draw_weights,
        ),
        FigureSpec(
            "paths",
            "Volatility against the gap to the optimum along long runs at one common rate, from equal "
            "weights (left) towards the optimum (star): medians over seeds; a mark at the end.",
            "Eight panels of paths, four parametrisations by two risk aversions: with the Euclidean "
            "projection Adam's path ends away from the star.",
            draw_paths,
            part="controls",
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Is it v, or any uneven division?",
            "With v shuffled over assets (by one permutation, the same for all seeds) the same sizes divide "
            "other assets and the portfolio ends elsewhere, with v turned over the effect changes its "
            "sign, with the true volatilities it is Adam's.",
        ),
        (
            "Could lower volatility just be a run that is not finished?",
            "The comparison is at equal steps with tuned rates, and beside it at equal gaps. The long "
            "runs go where the derivation puts them, not to the optimum.",
        ),
        (
            "So is this risk management?",
            "Caution at low risk aversion and boldness at high are one and the same error: the gradient is "
            "made equal per unit of volatility where it should be equal per unit of money. It shrinks both "
            "kinds of investor towards one in between, about risk aversion 5 here, where the budget costs "
            "nothing.",
        ),
        (
            "Does the law need the batch size?",
            "No. The share of v that is noise changes with it, and with it the pace, but not the point of "
            "rest.",
        ),
        (
            "What of softmax with controls that divide unevenly?",
            "Its point of rest is the optimum for all of them, but a logit moves at a pace in proportion "
            "to its weight, so with denominators that do not shrink along it takes long: the table of "
            "long runs shows how far they are.",
        ),
    ),
    source=(
        "Kingma and Ba 2015; Reddi, Kale and Kumar 2018 (projection in the norm of sqrt(v)); Kivinen and "
        "Warmuth 1997; Markowitz 1952; the point of rest is derived here."
    ),
    packages=("skfolio", "scipy"),
)
