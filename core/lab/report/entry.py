"""What a page is made of."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.lab.errors import VhatError
from core.lab.fingerprint import package_versions
from core.lab.registry import Domain, Registered
from core.lab.runner import job_of
from core.lab.store import Store, StoredShard
from core.lab.study import Plan, Results, Study
from core.lab.terminal import say
from core.lab.verdict import Verdict


@dataclass(frozen=True)
class Provenance:
    """Where a study's numbers come from.

    Attributes:
        shards: stored rows that the results were read from.
        digest: SHA-256 over the digests of those rows, so that a reader can compare results.
        code: digest of the code that computed them; `@device` is appended to it for another device than the
            CPU.
        seconds: computing time of all shards together.
        replicas: trained or measured replicas in all shards together.
        versions: of the packages that the numbers depend on.
    """

    shards: int
    digest: str
    code: str
    seconds: float
    replicas: int
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, shards: Sequence[StoredShard], code: str, versions: Mapping[str, str]) -> Provenance:
        """From what the store knows of a study's shards; their order does not matter."""
        return cls(
            shards=len(shards),
            digest=hashlib.sha256("\n".join(sorted(s.digest for s in shards)).encode()).hexdigest(),
            code=code,
            seconds=math.fsum(s.seconds for s in shards),
            replicas=sum(len(s.spec.get("rows", [None])) * s.spec["seeds"] for s in shards),
            versions=versions,
        )


@dataclass(frozen=True)
class Entry:
    """A study in the report.

    Attributes:
        domain: the field that it belongs to; studies are grouped by it.
        study: the study.
        plan: the plan's name.
        results, verdict, provenance: None for a study that has not been run in this plan.
        held_by: the module that holds the study, if not the one that holds its `judge`.
    """

    domain: Domain
    study: Study
    plan: str
    results: Results | None = None
    verdict: Verdict | None = None
    provenance: Provenance | None = None
    held_by: str = ""

    @property
    def command(self) -> str:
        """What a reader types to run exactly this again."""
        words = ["vhat", "run", self.study.id, f"--{self.plan}"]
        if self.results is not None:
            seeds = self.results.plan.reporting_seeds
            words += ["--seeds", str(seeds)] if seeds != self.study.plan(self.plan).reporting_seeds else []
        device = self.provenance.code.partition("@")[2] if self.provenance else ""
        words += ["--device", device] if device else []
        return " ".join(words)

    @property
    def module(self) -> str:
        """The module that holds the study, so that a reader finds its source."""
        return self.held_by or self.study.judge.__module__


@dataclass(frozen=True)
class Stored:
    """A study whose entry is read from a store, in this process or in another.

    Attributes:
        registered: the study.
        plan: with the seeds that were asked for.
        store: the file.
        device: where the results were computed.
        checked: the file was opened and found sound a moment ago, for all studies at once.
    """

    registered: Registered
    plan: Plan
    store: Path
    device: str = "cpu"
    checked: bool = False

    def entry(self) -> Entry:
        """Results, verdict and provenance; without them where not all of the plan is stored."""
        domain, study = self.registered.domain, self.registered.study
        store = Store(self.store, notify=say, reading=True, checked=self.checked)
        try:
            job = job_of(self.registered, self.plan, store, device=self.device)
            try:
                results = job.results()
            except VhatError:
                # Asked only now: to look for what is pending takes as long as to read what is there.
                if job.complete():
                    raise
                return Entry(domain, study, self.plan.name, held_by=self.registered.module)
            shards = [s for s in store.shards(study.id) if s.address in job.view.addresses]
        finally:
            store.close()
        versions = {"python": platform.python_version()} | package_versions(
            ("torch", "numpy", *study.packages)
        )
        return Entry(
            domain,
            study,
            self.plan.name,
            results,
            study.judge(results),
            Provenance.of(shards, job.view.code, versions),
            self.registered.module,
        )
