"""Results for TensorBoard: for each tuned variant the median and quartiles of its curves, and its setting.

A TensorBoard run is a variant in a regime (`STUDY/EXPERIMENT/REGIME/VARIANT`), so that a chart, which is one
quantity in one regime, holds a line a variant; single seeds, of which there may be thousands, stay in the
store (`vhat export` writes them out). TensorBoard is imported only here.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from core.lab.errors import VhatError
from core.lab.experiment import Array
from core.lab.stats import centre
from core.lab.study import Results
from core.lab.sweep import SweepResult

QUANTILES = {"median": 0.5, "lower quartile": 0.25, "upper quartile": 0.75}
_EVENTS = "events.out.tfevents."


def check_tensorboard() -> None:
    """Say at once, and not after a long run, that TensorBoard is missing.

    Raises:
        VhatError: saying so.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise VhatError(
            "--tensorboard needs the package tensorboard: pip install tensorboard (it is vhat's extra "
            "`tensorboard`), or take vhat export"
        ) from error


def write_results(study: str, results: Results, folder: Path) -> int:
    """Write all sweeps of a study; what an earlier call wrote for them is replaced.

    Args:
        study: its name.
        results: of the study.
        folder: TensorBoard's log folder.

    Returns:
        How many TensorBoard runs were written.

    Raises:
        VhatError: if TensorBoard is missing or the folder cannot be written.
    """
    found = [r for r in results.by_name.values() if isinstance(r, SweepResult)]
    sweeps = [sweep for result in found for sweep in result.all_sweeps()]
    return sum(write_sweep(f"{study}/{s.sweep.name}", s, folder) for s in sweeps)


def write_sweep(name: str, result: SweepResult, folder: Path) -> int:
    """Write a sweep, or what `compare` returned (`comparison.result`).

    Args:
        name: under which it is shown; a slash makes a folder.
        result: of the sweep.
        folder: TensorBoard's log folder.

    Returns:
        How many TensorBoard runs were written.

    Raises:
        VhatError: if TensorBoard is missing or the folder cannot be written.
    """
    objective = result.sweep.objective
    # What was tuned: the rest is in the variant's name, and TensorBoard shows few columns at a time.
    settings: dict[tuple[str, str], dict[str, object]] = {
        (regime, variant.name): {
            "variant": variant.name,
            "regime": regime,
            "rule": variant.update_rule.name,
            **result.tuned[regime, variant.name].best,
        }
        for regime in result.regimes
        for variant in result.sweep.variants
    }
    for (regime, variant_name), hyper in settings.items():
        run, values = result.run(regime, variant_name), result.values(regime, variant_name)
        write_curves(
            folder.joinpath(*map(_plain, (*name.split("/"), regime, variant_name))),
            run.steps,
            run.curves,
            group=f"{name}, {regime}",
            hyper=hyper,
            all_hyper={k: v for one in settings.values() for k, v in one.items()},
            summary={
                "objective": centre(values, objective.across),
                "share diverged": float(run.diverged.mean()),
            },
            worst=-np.inf if objective.higher else np.inf,
        )
    return len(settings)


def write_curves(
    folder: Path,
    steps: Array,
    curves: Mapping[str, Array],
    *,
    group: str,
    hyper: Mapping[str, object],
    all_hyper: Mapping[str, object] | None = None,
    summary: Mapping[str, float] | None = None,
    worst: float = np.inf,
) -> None:
    """Write one TensorBoard run: the median and quartiles of curves over replicas, and hyperparameters.

    Args:
        folder: of the run; event files in it are replaced, other files are left alone.
        steps: `[T]`.
        curves: `{quantity: [R, T]}`.
        group: heading of the charts; runs of one group share theirs.
        hyper: setting of the run, for TensorBoard's table of hyperparameters: numbers, text, truth values.
        all_hyper: the columns of that table, where other runs have others, each with any value.
        summary: what the setting gave, for the same table.
        worst: in place of NaN, which a curve is from the step at which its replica diverged.

    Raises:
        VhatError: if TensorBoard is missing or the folder cannot be written.
    """
    with _writer(folder) as writer:
        for name, values in curves.items():
            known = np.where(np.isnan(values), worst, np.asarray(values, dtype=np.float64))
            for which, share in QUANTILES.items():
                # A quantile that is a replica's value: between a finite and an infinite one there is none.
                line = np.quantile(known, share, axis=0, method="inverted_cdf")
                tag = f"{_tag(group)}/{_tag(name)} {which}"
                for step, value in zip(steps.tolist(), line.tolist(), strict=True):
                    writer.add_scalar(tag, value, int(step))
        _add_hyperparameters(writer, hyper, all_hyper or hyper, summary or {})


def _add_hyperparameters(
    writer: Any, hyper: Mapping[str, object], columns: Mapping[str, object], summary: Mapping[str, float]
) -> None:
    """Into the run itself: `SummaryWriter.add_hparams` would make a run of its own beside it."""
    from torch.utils.tensorboard import summary as made

    hparams: Any = made.hparams  # untyped
    table, _, _ = hparams(dict(columns), dict(summary))
    _, start, end = hparams(dict(hyper), dict(summary))
    for part in (table, start, end):
        writer.file_writer.add_summary(part)
    for name, value in summary.items():
        writer.add_scalar(name, value)


@contextmanager
def _writer(folder: Path) -> Iterator[Any]:
    check_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{_EVENTS}*"):
            old.unlink()
        writer = SummaryWriter(str(folder))
        with contextlib.closing(writer):
            yield writer
    except OSError as error:
        raise VhatError(
            f"cannot write into {folder}: {error.strerror or error}; choose another folder with --tensorboard"
        ) from error


def _plain(name: str) -> str:
    """A folder's name that every file system takes."""
    return re.sub(r"[/\\:*?\"<>|\x00-\x1f]+", "-", name).strip(" .") or "unnamed"


def _tag(name: str) -> str:
    # TensorBoard cuts a tag at its first slash.
    return name.replace("/", ": ")
