"""What the study `ridge` is run on: its regimes, and AdamW with the ridge penalty as its decay."""

from __future__ import annotations

from torch import Tensor

from core.lab.sweep import Regime
from core.optim.adam import AdamState, adam, adam_init
from core.optim.ops import PURE, Ops
from core.optim.ranges import NOT_NEGATIVE, Settings, check_ranges
from core.optim.rule import Rule
from core.optim.scalars import Scalar
from core.problems.regression import Regression

RIDGE = 0.03
BATCH = 10
FEATURES = {"independent": 0.0, "correlated": 0.95}
REGIMES = tuple(
    Regime(
        f"{name}, {'full batch' if batch is None else f'batches of {batch}'}",
        Regression,
        {"correlation": correlation, "ridge": RIDGE, "batch": batch},
        f"neighbouring features correlated by {correlation:g}",
    )
    for batch in (None, BATCH)
    for name, correlation in FEATURES.items()
)
NOISY = tuple(r for r in REGIMES if r.settings["batch"] is not None)


def adamw_for_ridge(
    params: Tensor, grads: Tensor, state: AdamState, *, lr: Scalar, penalty: float, ops: Ops = PURE
) -> tuple[Tensor, AdamState]:
    """AdamW on `[R, D]` that takes the ridge penalty over as weight decay: `penalty * params` leaves the
    gradient and comes back decoupled."""
    bare = grads - penalty * params
    return adam(params, bare, state, lr=lr, weight_decay=penalty, decoupled_weight_decay=True, ops=ops)


def _check(settings: Settings) -> None:
    check_ranges(settings, {"lr": NOT_NEGATIVE, "penalty": NOT_NEGATIVE})


ADAMW_FOR_RIDGE = Rule(
    name="adamw_for_ridge", formula=adamw_for_ridge, start=adam_init, check=_check, hyper={"penalty": RIDGE}
)
