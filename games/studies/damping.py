"""Does Adam dampen the oscillation of a game, and which part of it does?"""

from __future__ import annotations

from core.lab.experiment import Experiment
from core.lab.run import Recording
from core.lab.study import FigureSpec, Plan, Study
from core.lab.sweep import Objective
from games.studies.damping_figures import draw_map, draw_radius, draw_rates, draw_swing
from games.studies.damping_settings import GRID, REGIMES, variants
from games.studies.damping_verdict import judge, tables
from games.studies.swing_sweep import SwingSweep


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """One tuned comparison of all methods in all regimes."""
    return (
        SwingSweep(
            name="tuned",
            study="damping",
            regimes=REGIMES,
            variants=variants(plan.steps),
            grid=GRID,
            objective=Objective("distance", label="final distance (start: 1)"),
            steps=plan.steps,
            tuning_seeds=plan.tuning_seeds,
            reporting_seeds=plan.reporting_seeds,
            recording=Recording(points=plan.steps, tuning_points=2),
            widen=1,
        ),
    )


STUDY = Study(
    id="damping",
    title="Does Adam dampen the oscillation?",
    question="Two players pull against each other: does Adam calm the oscillation?",
    claim=(
        "Where two players pull against each other, simultaneous gradient descent-ascent oscillates; Adam's "
        "momentum and its individual learning rates dampen the oscillation and handle the game better."
    ),
    setup=(
        "Games whose equilibrium is known: xy, a 4 x 4 bilinear game of condition 10, the same with a "
        "quadratic regularisation of 0.05, and the Dirac-GAN without penalty and with an R1 penalty of 0.1; "
        "the field exact, with additive noise of 0.2, or multiplied by 1 + 0.5 times a normal number (the "
        "noisy Dirac-GAN and multiplicative noise on the 4 x 4 game joined after the others had been seen, "
        "under the same criterion). "
        "Starts at distance 1 in keyed directions, float64. Every method is tuned in its learning rate (two "
        "points a decade from 1e-3 to 1, one widening) for the final distance on its own seeds and reported "
        "on fresh ones. Oscillation is measured on the tuned paths: turns in 1,000 steps, growth of the "
        "logarithm of the radius a turn, and the strongest frequency of the direction with its share of the "
        "power (larger games: in the plane of the largest singular value). Steps are counted, not "
        "evaluations of the field: alternating play and extragradient take two a step, adjustments two or "
        "more."
    ),
    criterion=(
        "In each regime, tuned Adam (0.9, 0.999, simultaneous) damps: its final distance is below 0.9 of the "
        "start's; and it damps better than GDA: below 0.9 of the distance at which tuned GDA ends, paired. "
        "Whole 95% bootstrap intervals of the interquartile mean over fresh seeds. Supported if all hold, "
        "refuted if all fail, conditional if some hold and others fail. Shown beside, by regime "
        "and over all together: what momentum, a second moment for each player (at equal momentum), the "
        "memory, normalisation, alternation, optimism, averaging and a decaying learning rate contribute."
    ),
    mathematics=(
        (
            r"z_{t+1} = z_t - \eta\, F(z_t), \qquad F(x, y) = (\nabla_x f,\, -\nabla_y f)",
            "Both players at once: x goes down f, y goes up; F is the field of the game.",
        ),
        (
            r"f(x, y) = x y: \qquad \lVert z_{t+1}\rVert = \sqrt{1 + \eta^2}\,\lVert z_t\rVert",
            "On the purest game simultaneous descent-ascent leaves at every rate. Damping means that "
            "the distance to the equilibrium shrinks.",
        ),
    ),
    would_change=(
        "A regime outside of our list in which tuned Adam damps and tuned momentum-free methods do "
        "not, or a setting in which taking away the second moment of each player leaves the damping "
        "as it was."
    ),
    plans={
        "tiny": Plan("tiny", steps=20, tuning_seeds=2, reporting_seeds=2),
        "quick": Plan("quick", steps=350, tuning_seeds=8, reporting_seeds=16),
        "full": Plan("full", steps=4000, tuning_seeds=20, reporting_seeds=32),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "map",
            "Final distance from the equilibrium of every method in every regime, each at its tuned learning "
            "rate (start: 1): interquartile mean over fresh seeds. Blue: the path came in. Red: it left.",
            "A table of colours with numbers: methods in rows, regimes in columns.",
            draw_map,
        ),
        FigureSpec(
            "radius",
            "Distance over the steps, each at its tuned rate: interquartile mean over fresh seeds with 95% "
            "bootstrap intervals.",
            "Panels of distance over steps, one a regime, one curve a method.",
            draw_radius,
            part="learning curves",
        ),
        FigureSpec(
            "swing",
            "How tuned paths swing: growth of the logarithm of the radius a turn over the turns in 1,000 "
            "steps, with 95% intervals. Below the line a path spirals in. Far to the left it hardly moves.",
            "Panels of points with crosses, one a method, over turns in 1,000 steps and growth a turn.",
            draw_swing,
            part="regimes",
        ),
        FigureSpec(
            "rates",
            "Final distance over the learning rate, on the tuning seeds; the chosen rate is ringed, a square "
            "marks one on the edge of the widest grid.",
            "Panels of final distance over the learning rate, one curve a method.",
            draw_rates,
            part="learning rates",
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Is it momentum, normalisation or the scaling of coordinates?",
            "Adam without momentum, with one v for both players (with momentum and without, so that one "
            "thing changes at a time), without memory (sign descent), with only the length of the field "
            "taken out (normalised descent), and RMSProp stand beside Adam, each tuned.",
        ),
        (
            "Would a decaying learning rate do the same?",
            "GDA with the same decay is a control, and Adam with decay stands beside it.",
        ),
        (
            "Does the best learning rate not simply stand still?",
            "For a method that spirals out at every rate it does: its best rate lies at the edge of the "
            "grid, is marked, and its final distance is that of the start. A comparison with such a method "
            "says that one comes in and the other does not, and nothing about how fast; the table of parts "
            "says in which regimes it is so.",
        ),
        (
            "Is one number over all regimes not a mixture?",
            "It is: exact and noisy games weigh alike, and distances below 1e-9 count as 1e-9. That is why "
            "every finding counts the regimes on either side, and the table of parts has each by itself.",
        ),
        (
            "How many games are behind an interval?",
            "One: the 4 x 4 matrix is drawn once, and Adam, which goes coordinate by coordinate, is not "
            "blind to its singular vectors. Intervals cover starts and noise, not the draw of the game.",
        ),
        (
            "Why does Adam come in where it does?",
            "The study limit-cycle gives the law: every learning rate has a cycle of its own, and tuning "
            "picks one whose cycle is small and still near enough to be reached in time.",
        ),
    ),
    source=(
        "Daskalakis et al. 2018 (optimistic); Korpelevich 1976; Gidel et al. 2019 (negative momentum); "
        "Mescheder et al. 2017 (consensus), 2018 (Dirac-GAN); Heusel et al. 2017 (two time scales); Balduzzi "
        "et al. 2018; Foerster et al. 2018 (LOLA); Schäfer and Anandkumar 2019; Chavdarova et al. 2021 "
        "(lookahead)."
    ),
)
