"""A sweep whose tuned variants also go on for longer, at the rates that were best for its own length."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

from core.lab.experiment import Lookup, Outlook, Payload, Shard, Spec
from core.lab.sweep import Regime, Sweep, SweepResult, Tuned


@dataclass(frozen=True)
class _AtRatesOf(Sweep):
    """A sweep that tunes nothing: it takes its learning rates from another one."""

    tuner: Sweep | None = None

    def _tune_rounds(self, regime: Regime, stored: Lookup) -> tuple[list[Spec], dict[str, Tuned]]:
        assert self.tuner is not None
        missing, tuned = self.tuner._tune_rounds(regime, stored)
        return missing, {v.name: tuned[v.name] for v in self.variants if v.name in tuned}


@dataclass(frozen=True)
class ContinuedResult(SweepResult):
    """What a continued sweep gave; `longer` holds the same variants after more steps."""

    longer: SweepResult

    def all_sweeps(self) -> tuple[SweepResult, ...]:
        """What was tuned, and what went on from it."""
        return SweepResult(self.sweep, self.tuned, self.runs), self.longer


@dataclass(frozen=True)
class ContinuedSweep(Sweep):
    """Some of a sweep's variants are reported a second time after `times` as many steps, from the same starts
    on the same draws: the paths of the report, gone on. What changes is their length alone.

    Attributes:
        continued: names of these variants.
        times: see above.
    """

    continued: tuple[str, ...] = ()
    times: int = 7

    @cached_property
    def _longer(self) -> Sweep:
        settings = {f.name: getattr(self, f.name) for f in fields(Sweep)}
        settings |= {
            "name": f"{self.name}, {self.times} times as long",
            "steps": self.times * self.steps,
            "variants": tuple(v for v in self.variants if v.name in self.continued),
        }
        return _AtRatesOf(**settings, tuner=self)

    def pending(self, stored: Lookup) -> list[Shard]:
        """The sweep's own shards, and once these are stored the longer ones."""
        return super().pending(stored) or self._longer.pending(stored)

    def outlook(self, stored: Lookup) -> Outlook:
        """The sweep's own, and the longer ones."""
        own = super().outlook(stored)
        if not super().pending(stored):
            return own
        # Of regimes whose rates are chosen, and of those whose rates are not.
        known = [s for s in self._longer.pending(stored) if s.spec["experiment"] == self._longer.name]
        return Outlook((*own.sure, *known, *self._longer.outlook(stored).sure), own.possible)

    def run(self, spec: Spec, *, device: str) -> Payload:
        """Train the rows of one shard, short or long."""
        if spec["experiment"] == self._longer.name:
            return self._longer.run(spec, device=device)
        return super().run(spec, device=device)

    def result(self, stored: Lookup) -> ContinuedResult:
        """Both reports.

        Raises:
            VhatError: if a shard is missing.
        """
        own = super().result(stored)
        return ContinuedResult(own.sweep, own.tuned, own.runs, longer=self._longer.result(stored))
