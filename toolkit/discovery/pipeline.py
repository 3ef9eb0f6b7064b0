"""source → filter → names → catalog, on one page."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Final

from toolkit.catalog import ToolCatalog, ToolView
from toolkit.compiler import CompiledTool, compile_examined, end_probe
from toolkit.contract import ACCEPTED, RejectionReason, ToolContract, Verdict
from toolkit.discovery.filters import examine
from toolkit.discovery.hooks import Hooks
from toolkit.discovery.index import publishers, pydantic_plugins
from toolkit.discovery.report import (
    Candidate,
    DiscoveryReport,
    Failure,
    Finding,
    Kind,
    Outcome,
)
from toolkit.discovery.sources import (
    METHOD_OF,
    CandidateSource,
    EntryPointSource,
    Found,
    ModuleSource,
    ObjectSource,
    failure,
    load,
    refusal_of,
)
from toolkit.discovery.unmatched import unmatched
from toolkit.errors import InvalidToolError
from toolkit.guards import start_pydantic
from toolkit.naming import (
    Claim,
    CollisionPolicy,
    ToolName,
    give_names,
    prefer,
    qualify,
    refuse,
)
from toolkit.origin import Origin
from toolkit.settings import Settings

logger = logging.getLogger(__name__)

CONTRACTS: Final[Mapping[Kind, ToolContract]] = {
    kind: ToolContract(method=method) for kind, method in METHOD_OF.items()
}


def discover(
    settings: Settings | None = None,
    *,
    sources: Sequence[CandidateSource] | None = None,
    objects: Iterable[object] = (),
) -> tuple[ToolCatalog, DiscoveryReport]:
    """Find every tool there is, judge it, and settle the names.

    A bad plugin never raises here and never hides another: it is in the report, with
    its origin. The answer does not depend on the order of installation.

    Args:
        settings: What the operator decided; by default `Settings()`.
        sources: Where to look; by default the entry points of installed distributions
            and the modules named in the settings.
        objects: Tools handed in beside them: classes, instances, iterables, modules.

    Returns:
        The frozen catalog and the report. A catalog without tools is an error in the
        log and ``empty`` in the report's `status`.

    Raises:
        DiscoveryFailedError: With ``settings.strict``: all faults at once.
    """
    settings = settings or Settings()
    started = time.perf_counter()
    start_pydantic(_kept_from_pydantic(settings))
    if sources is None:
        sources = default_sources(settings)
    run = _Run()
    run.take(found for source in sources for found in source.candidates())
    run.take(ObjectSource(objects).candidates())
    run.judge_all()
    catalog, report = run.catalog(collision_policy(settings))
    notes = unmatched(settings, report.findings, catalog.view)
    report = replace(report, notes=notes, seconds=time.perf_counter() - started)
    for note in notes:
        logger.warning("%s", note)
    level = logging.ERROR if report.status == "empty" else logging.INFO
    logger.log(level, "discovery %s", report.summary())
    if settings.strict:
        report.raise_faults()
    return catalog, report


def default_sources(settings: Settings) -> tuple[CandidateSource, ...]:
    """Return the sources an application has: installed entry points, named modules."""
    return (EntryPointSource(publishers(), settings), ModuleSource(settings.modules))


def _kept_from_pydantic(settings: Settings) -> frozenset[str]:
    """Return the plugins of pydantic that the operator's lists keep out."""
    if settings.allow is None and not settings.deny:
        return frozenset()
    return pydantic_plugins(lambda name: bool(refusal_of(name, settings)))


def collision_policy(settings: Settings) -> CollisionPolicy:
    """Return the policy that the settings name."""
    otherwise = qualify if settings.collisions == "qualify" else refuse
    return prefer(settings.prefer, otherwise)


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A candidate that survived, with what the catalog keeps of it."""

    candidate: Candidate
    name: ToolName
    tool: CompiledTool | None
    seconds: float


@dataclass(slots=True)
class _Run:
    """One discovery while it happens."""

    hooks: Hooks = field(default_factory=Hooks)
    candidates: list[Candidate] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    accepted: list[_Accepted] = field(default_factory=list)
    _origins: dict[int, Origin] = field(default_factory=dict)

    def take(self, found: Iterable[Found]) -> None:
        """Sort what a source yields into candidates and what is settled already."""
        for one in found:
            if isinstance(one, Candidate):
                self.candidates.append(one)
            elif isinstance(one, Failure):
                self._fail(one)
            else:
                skipped = Finding(Outcome.SKIPPED, one.origin, one.kind)
                self.findings.append(replace(skipped, detail=one.detail))

    def judge_all(self) -> None:
        """Judge the candidates in an order of their own, after all hooks are known."""
        ordered = sorted(self.candidates, key=lambda one: (one.origin, one.attribute))
        for candidate in ordered:
            if candidate.kind == "plugin":
                self._register(candidate)
        for candidate in ordered:
            if candidate.kind != "plugin":
                got = load(partial(self._judge, candidate), candidate.origin)
                if got.error is not None:  # what no verdict is made of: an interrupt
                    self._fail(
                        failure(
                            got.error, candidate.origin, candidate.kind, got.seconds
                        )
                    )

    def catalog(self, policy: CollisionPolicy) -> tuple[ToolCatalog, DiscoveryReport]:
        """Settle the names and freeze everything."""
        tools = [one.tool for one in self.accepted if one.tool is not None]
        view = ToolView(tools, policy)
        agents = [one for one in self.accepted if one.candidate.kind == "agent"]
        claims = [Claim(one.name, one.candidate.origin) for one in agents]
        naming = give_names(claims, policy)
        pairs = zip(naming.listed, agents, strict=True)
        catalog = ToolCatalog(
            view=view,
            agents=MappingProxyType(
                {name: (one.candidate.obj, one.candidate.origin) for name, one in pairs}
            ),
            hooks=self.hooks.for_calls(),
            collision_policy=policy,
        )
        listed = {id(one.tool): one.definition for one in view}
        names = dict(zip(map(id, agents), naming.listed, strict=True))
        for one in self.accepted:
            definition = listed.get(id(one.tool))
            self.findings.append(
                Finding(
                    Outcome.ACCEPTED,
                    one.candidate.origin,
                    one.candidate.kind,
                    name=definition.name
                    if definition
                    else names.get(id(one), one.name),
                    qualified_name=definition.qualified_name if definition else "",
                    is_explicit=one.candidate.is_explicit,
                    seconds=one.seconds,
                )
            )
        report = DiscoveryReport(
            findings=tuple(sorted(self.findings, key=lambda f: (f.origin, f.name))),
            collisions=(*view.collisions, *naming.collisions),
        )
        return catalog, report

    def _fail(self, one: Failure) -> None:
        self.findings.append(
            Finding(
                Outcome.FAILED,
                one.origin,
                one.kind,
                detail=one.detail,
                traceback=one.traceback,
                seconds=one.seconds,
            )
        )

    def _register(self, candidate: Candidate) -> None:
        """Take a module of hooks; a broken one is a failure like any other."""
        name = f"{candidate.origin.owner}:{candidate.origin.entry_point}"
        got = load(partial(self.hooks.register, candidate.obj, name), candidate.origin)
        if got.error is not None:
            self._fail(failure(got.error, candidate.origin, "plugin", got.seconds))
            return
        label = ToolName(candidate.origin.entry_point)
        spent = candidate.seconds + got.seconds
        self.accepted.append(_Accepted(candidate, label, None, spent))

    def _judge(self, candidate: Candidate) -> None:
        started = time.perf_counter()
        verdict, tool = self._compiled(candidate)
        seconds = candidate.seconds + time.perf_counter() - started
        if verdict.accepted and tool is not None:
            kept = tool if candidate.kind == "tool" else None
            self.accepted.append(_Accepted(candidate, tool.name, kept, seconds))
            self._origins[id(candidate.obj)] = candidate.origin
        else:
            self._reject(candidate, verdict, seconds)

    def _compiled(self, candidate: Candidate) -> tuple[Verdict, CompiledTool | None]:
        contract = CONTRACTS[candidate.kind]
        verdict, subject = examine(candidate, contract)
        try:
            if verdict.accepted:
                verdict = self._outside_rules(candidate)
            if verdict.accepted and subject is not None:
                return verdict, compile_examined(subject, contract, candidate.origin)
        except InvalidToolError as error:
            verdict = Verdict(RejectionReason(error.reason), error.detail)
        finally:
            end_probe(subject)
        return verdict, None

    def _outside_rules(self, candidate: Candidate) -> Verdict:
        """Judge what no look at the object alone can tell: published twice, vetoed."""
        known = self._origins.get(id(candidate.obj))
        if known is not None:
            reason = RejectionReason.SAME_OBJECT
            return Verdict(
                reason, f"it is already accepted as {known}. {reason.remedy}"
            )
        for name, why in self.hooks.vetoes(candidate):
            reason = RejectionReason.VETOED
            return Verdict(reason, f"the hook of {name} says: {why}. {reason.remedy}")
        return ACCEPTED

    def _reject(self, candidate: Candidate, verdict: Verdict, seconds: float) -> None:
        self.findings.append(
            Finding(
                Outcome.REJECTED,
                candidate.origin,
                candidate.kind,
                name=candidate.attribute,
                reason=verdict.reason,
                detail=verdict.detail,
                is_explicit=candidate.is_explicit,
                seconds=seconds,
            )
        )
