"""The best learning rate by linear theory beside the tuned one, where a round is a linear map."""

from __future__ import annotations

from core.lab.study import Table
from core.lab.sweep import SweepResult
from core.lab.tables import number
from games.bilinear import BilinearGame
from games.spectrum import Point, has_theory, predicted_rates
from games.theory import best_text


def theory_table(sweep: SweepResult) -> Table:
    """All methods with a linear theory in the exact bilinear regimes.

    A tuned rate is the best of a grid for so many steps from a far start; theory's is the best in the long
    run near the equilibrium.
    """
    rows = []
    for regime in sweep.sweep.regimes:
        game = regime.build("cpu")
        if not isinstance(game, BilinearGame) or game.noise != "none":
            continue
        point = Point.of(game)
        for variant in sweep.sweep.variants:
            if not has_theory(variant) or variant.schedule is not None:
                continue
            lr = sweep.tuned[regime.name, variant.name].best["lr"]
            factor = float(predicted_rates(point, variant, [lr])[0])
            rows.append((regime.name, variant.name, best_text(point, variant), number(lr), number(factor, 4)))
    return Table(
        "Linear theory beside tuning, in the exact bilinear games: the learning rate with the smallest "
        "factor a round and that factor, and the tuned rate with the factor that theory gives for it.",
        ("regime", "method", "best lr by theory (factor)", "tuned lr", "factor at the tuned lr"),
        tuple(rows),
    )
